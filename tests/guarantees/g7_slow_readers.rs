//! G7: a slow reader harms nobody, itself included.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use hdrhistogram::Histogram;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::SockRef;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::watch::{Flow, Flowed, assert_consecutive};
use crate::programs::metrics::total;
use crate::support::{Deployment, Node, SOON, User, Value, eventually, json, limited, ws};

const LIVE: usize = 50;
const STALLED: usize = 500;
/// `MAX_SEND_QUEUE_BYTES`
pub const QUEUE: usize = 64 * 1024;
/// Messages a second, of about a kibibyte.
const RATE: u32 = 100;
const MEASURED: Duration = Duration::from_secs(8);

/// Long enough to fill what a network keeps of a socket that is not read, and its queue.
pub const FILLING: Duration = Duration::from_secs(4);

/// How a reader is connected.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// as the loopback interface does it
    Loopback,
    /// with a small receive buffer and an Ethernet's segments: else the kernel takes mebibytes
    Narrow,
}

/// A subscribed socket that reads only when told to, without more work than that takes.
pub struct Reader {
    stream: WebSocketStream<TcpStream>,
}

impl Reader {
    /// Subscribes on the first gateway.
    pub async fn open(d: &Deployment, user: &User, chat_id: i64, link: Link) -> Self {
        Self::open_after(d, user, chat_id, link, None).await
    }

    pub async fn open_after(d: &Deployment, user: &User, chat_id: i64, link: Link, after: Option<i64>) -> Self {
        let gateway = d.gateway(0);
        let socket = TcpSocket::new_v4().unwrap();
        if link == Link::Narrow {
            socket.set_recv_buffer_size(4096).unwrap();
            SockRef::from(&socket).set_tcp_mss(1448).unwrap();
        }
        let open = async {
            let tcp = socket.connect(([127, 0, 0, 1], gateway.port()).into()).await.unwrap();
            let request = ws::request(&gateway.ws_url(), ws::Way::Header, &user.access);
            let (mut stream, _) = tokio_tungstenite::client_async(request, tcp).await.unwrap();
            let subscribe = json!({"type": "subscribe_chat", "chat_id": chat_id, "after_seq": after});
            stream.send(Message::text(subscribe.to_string())).await.unwrap();
            let mut reader = Self { stream };
            while !reader.next().await.expect("open").contains("\"subscribed\"") {}
            reader
        };
        tokio::time::timeout(SOON, open).await.expect("subscribed in time")
    }

    /// The next text; the code of the close in its place.
    pub async fn next(&mut self) -> Result<String, u16> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                Some(Ok(Message::Close(frame))) => return Err(frame.map_or(1005, |frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(1006),
            }
        }
    }

    /// Reads on up to the event of this number; the numbers of all events.
    pub async fn read_up_to(&mut self, head: i64) -> Vec<i64> {
        let mut seqs = Vec::new();
        let all = async {
            while seqs.last().is_none_or(|seq| *seq < head) {
                let frame: Value = serde_json::from_str(&self.next().await.expect("open")).unwrap();
                assert_ne!(frame["type"], "resync", "{frame}");
                seqs.extend(frame["seq"].as_i64());
            }
        };
        assert!(tokio::time::timeout(SOON, all).await.is_ok(), "only up to {:?} of {head}", seqs.last());
        seqs
    }
}

/// A kibibyte that tells when it was sent, microseconds from `epoch`.
fn stamped(epoch: Instant) -> impl Fn(usize) -> String + Send + 'static {
    move |_| format!("@{}@{}", epoch.elapsed().as_micros(), "x".repeat(1000))
}

/// Reads and measures each message from before it was sent, until as many have come as `done`
/// tells at last.
fn measure(mut reader: Reader, epoch: Instant, mut done: watch::Receiver<u64>) -> JoinHandle<(Reader, Histogram<u64>)> {
    tokio::spawn(async move {
        let mut latencies = Histogram::new(3).unwrap();
        while latencies.len() < *done.borrow_and_update() {
            let text = tokio::select! {
                text = reader.next() => text.expect("a live reader stays open"),
                _ = done.changed() => continue,
            };
            let now = u64::try_from(epoch.elapsed().as_micros()).unwrap();
            if let Some(sent) = text.split('@').nth(1) {
                latencies.record(now - sent.parse::<u64>().unwrap()).unwrap();
            }
        }
        (reader, latencies)
    })
}

/// The chat flows for that long and the live readers read: their latencies, and what flowed.
pub async fn flow(
    author: &User,
    chat_id: i64,
    live: Vec<Reader>,
    period: Duration,
) -> (Vec<Reader>, Histogram<u64>, Flowed) {
    let epoch = Instant::now();
    let (done, awaited) = watch::channel(u64::MAX);
    let measuring: Vec<_> = live.into_iter().map(|reader| measure(reader, epoch, awaited.clone())).collect();
    let flow = Flow::start(&author.rest, chat_id, RATE, stamped(epoch));
    tokio::time::sleep(period).await;
    let flowed = flow.stop().await;
    assert!(flowed.refused.is_empty(), "{:?}", flowed.refused);
    done.send(flowed.seqs.len() as u64).unwrap();
    let (mut readers, mut all) = (Vec::new(), Histogram::new(3).unwrap());
    for measured in measuring {
        let measured = tokio::time::timeout(SOON, measured).await.expect("every live reader gets every message");
        let (reader, latencies) = measured.unwrap();
        all.add(latencies).unwrap();
        readers.push(reader);
    }
    (readers, all, flowed)
}

/// Resident memory of the process, bytes.
fn resident(node: &Node) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid().unwrap())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

fn shown(latencies: &Histogram<u64>) -> String {
    let of = |quantile| Duration::from_micros(latencies.value_at_quantile(quantile));
    format!("p50 {:.1?} p99 {:.1?}", of(0.5), of(0.99))
}

fn mebibytes(bytes: usize) -> usize {
    bytes / 1024 / 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_readers_cost_live_ones_nothing_and_catch_up_when_they_read() {
    // the gateway inherits it
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    limited(async {
        let d = Deployment::cluster(1, 1)
            .env("MAX_SEND_QUEUE_BYTES", QUEUE)
            .env("MAX_CONNECTIONS_PER_USER", STALLED)
            .start()
            .await;
        let (author, reading, stalling) = (d.user().await, d.user().await, d.user().await);
        let chat_id = author.group_id(&[&reading, &stalling]).await;
        let live = join_all((0..LIVE).map(|_| Reader::open(&d, &reading, chat_id, Link::Loopback))).await;
        let (live, alone, _) = flow(&author, chat_id, live, MEASURED).await;
        let rss_alone = resident(d.gateway(0));

        let mut stalled = Vec::new();
        for _ in 0..STALLED / 50 {
            stalled.extend(join_all((0..50).map(|_| Reader::open(&d, &stalling, chat_id, Link::Narrow))).await);
        }
        let rss_connected = resident(d.gateway(0));
        let (live, _, filled) = flow(&author, chat_id, live, FILLING).await;
        let delivered = async || total(d.gateways(), "messenger_ws_deliveries_total", &["type=\"new_message\""]).await;
        let before = delivered().await;
        let (_live, beside, flowed) = flow(&author, chat_id, live, MEASURED).await;
        let rss_stalled = resident(d.gateway(0));
        let to_live = (LIVE * flowed.seqs.len()) as f64;
        assert!(delivered().await - before < to_live + STALLED as f64, "the others do not take anything any more");
        let sockets = total(d.gateways(), "messenger_ws_connections", &[]).await;
        assert!(sockets > (LIVE + STALLED) as f64 - 0.5, "nobody was closed: {sockets}");

        println!("G7 {LIVE} live readers at {RATE} messages/s of 1 KiB: alone {}; beside {STALLED} stalled ones {}", shown(&alone), shown(&beside));
        println!(
            "G7 memory of the gateway: {} MiB with the live ones, {} MiB with {STALLED} more connected, {} MiB when those had stalled for {MEASURED:?}",
            mebibytes(rss_alone),
            mebibytes(rss_connected),
            mebibytes(rss_stalled)
        );
        let growth = rss_stalled.saturating_sub(rss_connected);
        assert!(growth < STALLED * QUEUE, "{} MiB more are more than the queues may hold", mebibytes(growth));
        let p99 = |latencies: &Histogram<u64>| latencies.value_at_quantile(0.99);
        assert!(p99(&beside) < p99(&alone) * 4 + 100_000, "live readers felt the stalled ones");

        // those who read again are given everything
        let mut again = stalled.split_off(STALLED - 20);
        let caught_up = Instant::now();
        let read = join_all(again.iter_mut().map(|reader| reader.read_up_to(flowed.head()))).await;
        for seqs in &read {
            assert_eq!(seqs[0], filled.seqs[0], "from where they stalled");
            assert_consecutive(seqs, "a reader that stalled");
        }
        println!("G7 20 stalled readers read again: all {} events each, in order, after {:.1?}", read[0].len(), caught_up.elapsed());
    })
    .await;
}

/// After so long without a byte taken a reader is closed.
const NOTHING_READ: Duration = Duration::from_secs(30);

#[tokio::test]
async fn only_who_takes_nothing_for_thirty_seconds_is_closed() {
    limited(async {
        let d = Deployment::cluster(1, 1).env("MAX_SEND_QUEUE_BYTES", QUEUE).start().await;
        let (author, stalling, trickling) = (d.user().await, d.user().await, d.user().await);
        let chat_id = author.group_id(&[&stalling, &trickling]).await;
        let mut stalled = join_all((0..3).map(|_| Reader::open(&d, &stalling, chat_id, Link::Narrow))).await;
        let mut slow = Reader::open(&d, &trickling, chat_id, Link::Narrow).await;
        let flowing = Instant::now();
        let (_, _, flowed) = flow(&author, chat_id, Vec::new(), FILLING).await;
        // nothing but the trickle moves from here on
        let full = Instant::now();
        let mut trickled = Vec::new();
        let trickle = async {
            loop {
                let frame = slow.next().await.expect("who reads, however slowly, stays");
                let frame: Value = serde_json::from_str(&frame).unwrap();
                // a status that comes late on a busy machine has no number
                trickled.extend(frame["seq"].as_i64());
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        // told of at the moment of the close; how it reaches the readers is seen when they read
        let all_closed = eventually("three closed", NOTHING_READ + Duration::from_secs(8), async || {
            (total(d.gateways(), "messenger_ws_subscriptions", &[]).await < 1.5).then_some(())
        });
        tokio::select! {
            () = all_closed => {}
            () = trickle => {}
        }
        let (since_flow, since_full) = (flowing.elapsed(), full.elapsed());
        assert!(since_flow > NOTHING_READ, "closed after {since_flow:?}");
        let codes = join_all(stalled.iter_mut().map(async |reader| {
            let end = async { loop { if let Err(code) = reader.next().await { return code } } };
            tokio::time::timeout(SOON, end).await.expect("an end")
        }))
        .await;
        // a client that reads on within two seconds of its close is told why
        assert!(codes.contains(&4409) && codes.iter().all(|code| [4409, 1006].contains(code)), "{codes:?}");
        eventually("three disconnects for 4409", SOON, async || {
            let closed = total(d.gateways(), "messenger_ws_disconnects_total", &["code=\"4409\""]).await;
            (closed > 2.5).then_some(())
        })
        .await;
        // the slow one has all that is left at once now, and has had no gap
        let read = slow.read_up_to(flowed.head()).await;
        trickled.extend(read);
        assert_eq!(trickled, flowed.seqs, "a slow reader");
        println!("G7 stalled readers closed with 4409 {since_full:.1?} after the last message; one that read five frames a second lost none of {}", flowed.seqs.len());
    })
    .await;
}

/// Prunes the whole log of a chat, as its retention does.
async fn prune(d: &Deployment, chat_id: i64) {
    let mut database = PgConnection::connect(d.database_url()).await.unwrap();
    let prune = format!(
        "update chats set floor = seq where id = {chat_id};
         delete from events where chat_id = {chat_id}"
    );
    database.execute(AssertSqlSafe(prune)).await.unwrap();
    database.close().await.unwrap();
}

/// The lost events may have been the reader's removal: who goes on is asked of the store (G6).
#[tokio::test]
async fn who_stalled_past_the_log_goes_on_as_a_member_and_is_out_as_none() {
    limited(async {
        let d = Deployment::cluster(1, 1).env("MAX_SEND_QUEUE_BYTES", QUEUE).start().await;
        let (author, staying, removed) = (d.user().await, d.user().await, d.user().await);
        let chat_id = author.group_id(&[&staying, &removed]).await;
        let mut stays = Reader::open(&d, &staying, chat_id, Link::Narrow).await;
        let mut leaves = Reader::open(&d, &removed, chat_id, Link::Narrow).await;
        flow(&author, chat_id, Vec::new(), FILLING).await;
        author.rest.delete(&format!("/chats/{chat_id}/members/{}", removed.id)).await.ok(204);
        // More than a feed keeps: the removal stands in the log alone, and then nowhere.
        let (_, _, flowed) = flow(&author, chat_id, Vec::new(), FILLING / 2).await;
        prune(&d, chat_id).await;

        let told = async {
            let mut seqs = Vec::new();
            loop {
                let frame: Value = serde_json::from_str(&stays.next().await.expect("a member stays")).unwrap();
                if frame["type"] == "resync" {
                    return (seqs, frame);
                }
                seqs.extend(frame["seq"].as_i64());
            }
        };
        let (seqs, resync) = tokio::time::timeout(SOON, told).await.expect("a resync");
        assert_consecutive(&seqs, "what was queued for the member");
        assert_eq!(resync["seq"], flowed.head(), "{resync}");
        assert!(*seqs.last().unwrap() < flowed.head() - 64, "the reader had stalled: {:?}", seqs.last());

        let mut seqs = Vec::new();
        let out = eventually("the removed one's subscription ended", SOON, async || {
            (total(d.gateways(), "messenger_ws_subscriptions", &[]).await < 1.5).then_some(())
        });
        let reading = async {
            loop {
                let frame: Value =
                    serde_json::from_str(&leaves.next().await.expect("a connection outlives its subscription"))
                        .unwrap();
                assert_ne!(frame["type"], "resync", "who is out fetches nothing: {frame}");
                seqs.extend(frame["seq"].as_i64());
            }
        };
        tokio::select! {
            () = out => {}
            () = reading => {}
        }
        assert_consecutive(&seqs, "what was queued for the removed one");
        // From now on all is the member's alone.
        let next = author.say(chat_id, "after all").await;
        let seq = next["seq"].as_i64().unwrap();
        assert_eq!(stays.read_up_to(seq).await, [seq]);
        leaves.stream.send(Message::text(r#"{"type":"ping"}"#)).await.unwrap();
        loop {
            let frame: Value = serde_json::from_str(&leaves.next().await.expect("open")).unwrap();
            assert!(frame["seq"].as_i64().is_none_or(|seq| seq <= flowed.head() - 64), "{frame}");
            if frame["type"] == "pong" {
                break;
            }
        }
    })
    .await;
}
