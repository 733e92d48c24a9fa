//! G9: whatever one client sends, others on its gateway are served as before. Each flood is sent
//! over sockets of one user, on every thread that holds the others' connections.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::watch::Watch;
use crate::support::{Deployment, Node, SOON, Ws, json, limited, limited_alone};

/// Sockets of each flood.
const SOCKETS: usize = 4;
const LASTS: Duration = Duration::from_secs(4);
/// An ordinary connection's answer and a message's delivery beside a flood (G9), with what a
/// machine of two cores adds to programs that are built for debugging.
const SERVED_WITHIN: Duration = Duration::from_millis(500);
/// The end of access beside a flood (G6).
const ENDED_WITHIN: Duration = Duration::from_secs(1);

/// A client's frame, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match u16::try_from(payload.len()).unwrap() {
        length @ 0..126 => bytes.push(0x80 | u8::try_from(length).unwrap()),
        length => {
            bytes.push(0xfe);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

/// One socket that sends the same bytes as fast as they are taken, and reads all that comes.
/// Returns the last bytes that came before the server's end of it, or `None` when it stayed open.
async fn flood(
    gateway: &Node,
    token: &str,
    opening: Vec<u8>,
    flood: Vec<u8>,
    lasts: Duration,
) -> JoinHandle<Option<Vec<u8>>> {
    let mut socket = TcpStream::connect(("127.0.0.1", gateway.port())).await.unwrap();
    let request = format!(
        "GET /ws/chat HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    let bytes: Vec<u8> = flood.iter().copied().cycle().take(flood.len() * (1 + 65_536 / flood.len())).collect();
    tokio::spawn(async move {
        let (mut reading, mut writing) = socket.into_split();
        let write = async move {
            writing.write_all(&opening).await.ok();
            while writing.write_all(&bytes).await.is_ok() {}
            std::future::pending::<()>().await;
        };
        let read = async move {
            let (mut last, mut buffer) = (Vec::new(), vec![0; 65_536]);
            while let Ok(count @ 1..) = reading.read(&mut buffer).await {
                last.extend_from_slice(&buffer[..count]);
                last.drain(..last.len().saturating_sub(64));
            }
            last
        };
        tokio::select! {
            last = read => Some(last),
            () = write => None,
            () = tokio::time::sleep(lasts) => None,
        }
    })
}

async fn round_trips(ws: &mut Ws, until: Instant) -> Duration {
    let mut slowest = Duration::ZERO;
    while Instant::now() < until {
        let asked = Instant::now();
        ws.command(json!({"type": "ping"})).await;
        slowest = slowest.max(asked.elapsed());
        // the pace of an ordinary client, within its own rate
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    slowest
}

/// Others' ping, delivery and logout beside one kind of flood.
async fn harms_nobody(d: &Deployment, kind: &str, opening: Vec<u8>, bytes: Vec<u8>) {
    let (attacker, author, reader, leaving) = (d.user().await, d.user().await, d.user().await, d.user().await);
    let chat_id = author.group_id(&[&reader]).await;
    let mut victims = Vec::new();
    for _ in 0..4 {
        victims.push(reader.connect_to(0).await);
    }
    let subscribed = Watch::subscribed(reader.connect_to(0).await, chat_id).await;
    let ended = Watch::start(leaving.connect_to(0).await);
    let mut floods = Vec::new();
    for _ in 0..SOCKETS {
        floods.push(flood(d.gateway(0), &attacker.access, opening.clone(), bytes.clone(), LASTS + SOON).await);
    }
    let until = Instant::now() + LASTS;
    let pings = futures_util::future::join_all(victims.iter_mut().map(|ws| round_trips(ws, until)));
    let delivery = async {
        let mut slowest = Duration::ZERO;
        while Instant::now() < until {
            let sent = Instant::now();
            let seq = author.say(chat_id, "beside a flood").await["seq"].as_i64();
            subscribed
                .expect("the message", SOON, |seen| seen.is("new_message") && seen.frame["seq"].as_i64() == seq)
                .await;
            slowest = slowest.max(sent.elapsed());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        slowest
    };
    let (pings, delivery) = tokio::join!(pings, delivery);
    let logged_out = Instant::now();
    leaving.rest.post_nothing("/auth/logout").await.ok(204);
    let code = ended.expect_close(SOON).await.code;
    let logout = logged_out.elapsed();
    for flood in floods {
        flood.abort();
    }
    let ping = pings.into_iter().max().unwrap();
    println!(
        "G9 {SOCKETS} sockets of {kind}: others' slowest ping {ping:.0?}, delivery {delivery:.0?}, logout {logout:.0?}"
    );
    assert_eq!(code, 4502);
    assert!(ping < SERVED_WITHIN, "{kind}: a ping took {ping:?}");
    assert!(delivery < SERVED_WITHIN, "{kind}: a delivery took {delivery:?}");
    assert!(logout < ENDED_WITHIN, "{kind}: a logout took {logout:?}");
}

async fn every_flood_harms_nobody(d: &Deployment) {
    harms_nobody(d, "commands", Vec::new(), frame(0x81, b"{}")).await;
    let many = format!("{{\"type\":\"ping\",\"z\":[1{}]}}", ",1".repeat(32_000));
    harms_nobody(d, "long commands", Vec::new(), frame(0x81, many.as_bytes())).await;
    harms_nobody(d, "pings", Vec::new(), frame(0x89, b"")).await;
    harms_nobody(d, "pongs", Vec::new(), frame(0x8a, b"x")).await;
    harms_nobody(d, "empty parts", frame(0x01, b"{"), frame(0x00, b"")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_harms_nobody_in_one_process() {
    limited_alone(async {
        let wide = ("RATE_LOGINS_PER_MINUTE", "RATE_REGISTRATIONS_PER_MINUTE");
        let d = Deployment::embedded().env("RATE_LIMITS", "on").env(wide.0, 1000).env(wide.1, 1000).start().await;
        every_flood_harms_nobody(&d).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_harms_nobody_on_a_gateway() {
    limited_alone(async {
        let wide = ("RATE_LOGINS_PER_MINUTE", "RATE_REGISTRATIONS_PER_MINUTE");
        let d = Deployment::cluster(1, 1).env("RATE_LIMITS", "on").env(wide.0, 1000).env(wide.1, 1000).start().await;
        every_flood_harms_nobody(&d).await;
    })
    .await;
}

/// A connection that the server closes gets a moment to end, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_after_the_close_loses_its_connection() {
    limited_alone(async {
        let d = Deployment::cluster(1, 1).start().await;
        let begun = Instant::now();
        let bytes = frame(0x82, &vec![0; 60_000]);
        let last = flood(d.gateway(0), "nobody", Vec::new(), bytes, SOON).await.await.unwrap();
        assert!(last.is_some(), "open after {SOON:?}");
        println!("G9 a socket that floods after its close is gone after {:.0?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    })
    .await;
}

/// Without limits a flood is not paused, and no turn of it is long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_without_limits_takes_turns() {
    limited_alone(async {
        let d = Deployment::cluster(1, 1).start().await;
        harms_nobody(&d, "pings, no limits", Vec::new(), frame(0x89, b"")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_any_kind_ends_with_4429() {
    limited(async {
        let d = Deployment::embedded().env("RATE_LIMITS", "on").start().await;
        let attacker = d.user().await;
        let kinds = [
            ("commands", Vec::new(), frame(0x81, b"{}")),
            ("pings", Vec::new(), frame(0x89, b"")),
            ("empty parts", frame(0x01, b"{"), frame(0x00, b"")),
        ];
        let mut floods = Vec::new();
        for (kind, opening, bytes) in kinds {
            floods.push((kind, flood(d.gateway(0), &attacker.access, opening, bytes, Duration::from_secs(30)).await));
        }
        for (kind, flood) in floods {
            let last = flood.await.unwrap().unwrap_or_else(|| panic!("{kind}: open after 30 s"));
            let close = last.windows(4).find(|at| at[0] == 0x88 && at[2..] == 4429_u16.to_be_bytes());
            assert!(close.is_some(), "{kind}: {last:x?}");
        }
    })
    .await;
}

/// A whole answer of this server, or what there is of it within a moment.
async fn status(stream: &mut TcpStream) -> String {
    let mut line = [0; 12];
    let read = tokio::time::timeout(SOON, stream.read_exact(&mut line)).await;
    read.expect("an answer in time")
        .map_or_else(|error| error.to_string(), |_| String::from_utf8_lossy(&line).into_owned())
}

async fn ask(d: &Deployment, head: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", d.gateway(0).port())).await.unwrap();
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: x\r\n{head}\r\n").as_bytes()).await.unwrap();
    let status = status(&mut stream).await;
    (stream, status)
}

#[tokio::test]
async fn an_address_holds_so_many_connections_and_no_more() {
    limited(async {
        let d = Deployment::embedded().env("MAX_CONNECTIONS_PER_ADDRESS", 12).start().await;
        let user = d.user().await;
        // The harness keeps a few connections of its own.
        let mut held = Vec::new();
        while held.len() < 12 {
            let (stream, status) = ask(&d, "").await;
            if status.contains("429") {
                break;
            }
            held.push(stream);
        }
        assert!(held.len() < 12, "the harness holds one at least");
        let (_, status) = ask(&d, "").await;
        assert!(status.contains("429"), "{status}");
        // One that becomes a WebSocket keeps its place.
        drop(held.pop());
        let ws = crate::support::eventually("a place", SOON, async || {
            Ws::handshake(crate::support::ws::request(
                &d.gateway(0).ws_url(),
                crate::support::Way::Header,
                &user.access,
            ))
            .await
            .ok()
        })
        .await;
        let (_, status) = ask(&d, "").await;
        assert!(status.contains("429"), "beside a WebSocket: {status}");
        drop(ws);
        crate::support::until("the WebSocket's place is free", async || ask(&d, "").await.1.contains("200")).await;
    })
    .await;
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own_places() {
    limited(async {
        let d = Deployment::embedded()
            .env("MAX_CONNECTIONS_PER_ADDRESS", 2)
            .env("TRUSTED_PROXIES", "127.0.0.0/8")
            .start()
            .await;
        let user = d.user().await;
        let connect = async |client: &str| {
            let mut request =
                crate::support::ws::request(&d.gateway(0).ws_url(), crate::support::Way::Header, &user.access);
            request.headers_mut().insert("x-forwarded-for", client.parse().unwrap());
            Ws::handshake(request).await
        };
        let _held = (connect("192.0.2.1").await.unwrap(), connect("192.0.2.1").await.unwrap());
        let refused = connect("192.0.2.1").await.err().expect("the third of one client");
        assert!(refused.to_string().contains("429"), "{refused}");
        connect("192.0.2.2").await.expect("another client's first");
        let mut many = Vec::new();
        for _ in 0..10 {
            let (stream, status) = ask(&d, "X-Forwarded-For: 192.0.2.1\r\n").await;
            assert!(status.contains("200"), "the proxy's own connections: {status}");
            many.push(stream);
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_gives_its_place_back() {
    limited(async {
        let d = Deployment::embedded().env("MAX_CONNECTIONS_PER_ADDRESS", 1).start().await;
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(2048).unwrap();
        let mut stalled = socket.connect(([127, 0, 0, 1], d.gateway(0).port()).into()).await.unwrap();
        let began = Instant::now();
        let request = "GET /redoc/redoc.standalone.js HTTP/1.1\r\nHost: x\r\n\r\n";
        stalled.write_all(request.repeat(20).as_bytes()).await.unwrap();
        let (_, status) = ask(&d, "").await;
        assert!(status.contains("429"), "the only place is taken: {status}");
        crate::support::eventually("the place", Duration::from_secs(60), async || {
            ask(&d, "").await.1.contains("200").then_some(())
        })
        .await;
        println!("G9 a client that read nothing was let go of after {:.1?}", began.elapsed());
    })
    .await;
}
