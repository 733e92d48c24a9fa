//! G8: a rolling restart loses nothing, and nobody is told of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use parking_lot::Mutex;
use reqwest::Method;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Error;

use super::watch::{Flow, Watch, assert_consecutive};
use crate::support::proxy::Mode;
use crate::support::ws::request;
use crate::support::{
    Answer, Deployment, Node, Postgres, Proxy, SOON, User, Value, Way, Ws, eventually, json, limited,
};

const DRAIN: Duration = Duration::from_secs(3);
const IN_USE: &str = "messenger_db_pool_connections{state=\"in_use\"}";

/// The record of a client that follows a chat through restarts.
#[derive(Default)]
struct Followed {
    /// numbers of the chat's events
    seqs: Vec<i64>,
    /// closes: when, on which gateway, and the delay that was asked for
    closes: Vec<(Instant, usize, Duration)>,
    /// who was told offline
    offline: Vec<i64>,
    /// what should not have come
    faults: Vec<String>,
}

/// A client that does as the contract says: told to come back later it does, elsewhere, and goes
/// on after the last number it had.
struct Follower {
    followed: Arc<Mutex<Followed>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Follower {
    fn start(urls: Vec<String>, gateway: usize, token: String, chat_id: i64) -> Self {
        let followed = Arc::new(Mutex::new(Followed::default()));
        let (stop, mut stopped) = watch::channel(false);
        let seen = Arc::clone(&followed);
        let task = tokio::spawn(async move {
            tokio::select! {
                () = follow(&urls, gateway, &token, chat_id, &seen) => {}
                _ = stopped.wait_for(|stop| *stop) => {}
            }
        });
        Self { followed, stop, task }
    }

    async fn reached(&self, seq: i64) {
        eventually(&format!("event {seq} with a follower"), SOON, async || {
            (self.followed.lock().seqs.last() >= Some(&seq)).then_some(())
        })
        .await;
    }

    async fn stop(self) -> Followed {
        self.stop.send(true).ok();
        self.task.await.unwrap();
        std::mem::take(&mut *self.followed.lock())
    }
}

async fn follow(urls: &[String], first: usize, token: &str, chat_id: i64, followed: &Mutex<Followed>) {
    for gateway in (0..urls.len()).cycle().skip(first) {
        // a node that drains or is away refuses; the load balancer would try the next
        let Ok(mut ws) = Ws::handshake(request(&urls[gateway], Way::Header, token)).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let last = followed.lock().seqs.last().copied();
        ws.send(json!({"type": "subscribe_chat", "chat_id": chat_id, "after_seq": last})).await;
        while ws.closed.is_none() {
            if let Some(frame) = ws.next_within(Duration::from_secs(1)).await {
                note(&frame, chat_id, &mut followed.lock());
            }
        }
        let (code, reason) = ws.closed.clone().expect("closed");
        let delay = serde_json::from_str::<Value>(&reason).ok().and_then(|told| told["reconnect_after_ms"].as_u64());
        let Some(delay) = delay.filter(|_| code == 1012).map(Duration::from_millis) else {
            followed.lock().faults.push(format!("closed with {code} {reason}"));
            continue;
        };
        followed.lock().closes.push((Instant::now(), gateway, delay));
        tokio::time::sleep(delay).await;
    }
}

fn note(frame: &Value, chat_id: i64, followed: &mut Followed) {
    match frame["type"].as_str().unwrap() {
        "user_status" if frame["status"] == "offline" => followed.offline.push(frame["user_id"].as_i64().unwrap()),
        "subscribed" if frame["resync"] == true => followed.faults.push(frame.to_string()),
        "resync" | "error" => followed.faults.push(frame.to_string()),
        "welcome" | "subscribed" | "user_status" => {}
        _ if frame["chat_id"] == chat_id => followed.seqs.extend(frame["seq"].as_i64()),
        _ => followed.faults.push(frame.to_string()),
    }
}

/// While it drains a node is not ready and takes nobody in; says what it did instead.
async fn takes_nobody_in(node: &Arc<Node>, token: &str) -> Option<String> {
    let probed = Arc::clone(node);
    eventually("not ready", Duration::from_secs(1), async || {
        let node = Arc::clone(&probed);
        let answers = crate::support::blocking(move || ["/readyz", "/servez"].map(|page| node.probe(page))).await;
        (answers == [Some(503); 2]).then_some(())
    })
    .await;
    Ws::handshake(request(&node.ws_url(), Way::Header, token)).await.ok().map(|_| "it took a connection".to_owned())
}

#[tokio::test]
async fn gateways_restarted_one_by_one_lose_nothing_and_nobody_is_told_offline() {
    limited(async {
        let builder = Deployment::cluster(2, 3).env("DRAIN_SECONDS", DRAIN.as_secs()).env("PRESENCE_GRACE_SECONDS", 1);
        let d = builder.start().await;
        let users: Vec<User> = join_all((0..24).map(|_| d.user())).await;
        let author = d.user().await;
        let chat_id = author.group_id(&users.iter().collect::<Vec<_>>()).await;
        let urls: Vec<String> = d.gateways().iter().map(|node| node.ws_url()).collect();
        let follow = |(n, user): (usize, &User)| Follower::start(urls.clone(), n % 3, user.access.clone(), chat_id);
        let followers: Vec<Follower> = users.iter().enumerate().map(follow).collect();
        let flow = Flow::start(&author.rest, chat_id, 50, |n| format!("message {n}"));
        for follower in &followers {
            follower.reached(5).await;
        }

        let mut drains = Vec::new();
        for node in d.gateways() {
            let began = Instant::now();
            node.sigterm();
            assert_eq!(takes_nobody_in(node, &author.access).await, None);
            let exit = node.wait_exit(DRAIN + Duration::from_secs(5)).await;
            assert_eq!(exit.code(), Some(0), "{exit}");
            drains.push((began, began.elapsed()));
            node.restart().await;
        }
        // the grace of who was released is over for all: whoever had not come back would have been
        // told offline
        let (last, _) = drains[2];
        let sentinel = users[0].second_session().await;
        eventually("the last to come back", SOON, async || {
            let answer = sentinel.rest.on(0).get("/ws/online-users").await;
            (answer.status == 200 && answer.json["count"] == users.len()).then_some(())
        })
        .await;
        tokio::time::sleep_until((last + DRAIN + Duration::from_secs(6)).into()).await;
        let flowed = flow.stop().await;
        assert!(flowed.refused.is_empty(), "{:?}", flowed.refused);
        let mut all_closes = Vec::new();
        for follower in followers {
            follower.reached(flowed.head()).await;
            let followed = follower.stop().await;
            assert_eq!((followed.faults, followed.offline), (Vec::<String>::new(), Vec::new()));
            assert_consecutive(&followed.seqs, "a follower");
            all_closes.extend(followed.closes);
        }
        for (gateway, (began, took)) in drains.into_iter().enumerate() {
            let of_it = all_closes.iter().filter(|(at, on, _)| *on == gateway && *at > began);
            let mut closes: Vec<Duration> = of_it.map(|(at, ..)| *at - began).collect();
            closes.sort_unstable();
            let (first, last) = (closes[0], closes[closes.len() - 1]);
            println!("G8 drain of gateway {gateway}, {DRAIN:?}: exit 0 after {took:.1?}; {} sockets closed {first:.2?} to {last:.2?} after SIGTERM", closes.len());
            assert!(last <= DRAIN + Duration::from_millis(500), "the last was closed after {last:?}");
            assert!(last - first > DRAIN / 2, "all at once: {closes:?}");
        }
        let delays: BTreeSet<Duration> = all_closes.iter().map(|(_, _, delay)| *delay).collect();
        println!(
            "G8 rolling restart of 3 gateways: {} messages to {} followers, none lost, doubled or out of order, nobody told offline; {} reconnects, told to wait {:.2?} to {:.2?}",
            flowed.seqs.len(),
            users.len(),
            all_closes.len(),
            delays.first().unwrap(),
            delays.last().unwrap()
        );
    })
    .await;
}

/// Reads again and again; a connection that broke is no answer, and another api is asked.
async fn keep_reading(user: &User, chat_id: i64, stop: &watch::Receiver<bool>) -> (usize, Vec<String>) {
    let (mut answered, mut refused) = (0, Vec::new());
    while !*stop.borrow() {
        let path = format!("/messages/chat/{chat_id}?limit=20");
        match Answer::try_of(user.rest.request(Method::GET, &path)).await {
            Ok(answer) if answer.status == 200 => answered += 1,
            Ok(answer) => refused.push(format!("{} {}", answer.status, answer.body)),
            Err(error) if error.is_timeout() => refused.push(format!("{error:?}")),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (answered, refused)
}

#[tokio::test]
async fn apis_restarted_one_by_one_answer_all_that_they_took() {
    limited(async {
        let d = Deployment::cluster(2, 1).env("DRAIN_SECONDS", 1).start().await;
        let (author, reader) = (d.user().await, d.user().await);
        let chat_id = author.group_id(&[&reader]).await;
        let follower = Watch::subscribed(reader.connect_to(0).await, chat_id).await;
        let flow = Flow::start(&author.rest, chat_id, 100, |n| format!("message {n}"));
        let (stop, stopped) = watch::channel(false);
        let restarts = async {
            for _ in 0..2 {
                for node in d.apis() {
                    node.sigterm();
                    let exit = node.wait_exit(Duration::from_secs(6)).await;
                    assert_eq!(exit.code(), Some(0), "{exit}");
                    node.restart().await;
                }
            }
            stop.send(true).unwrap();
        };
        let (reads, ()) = tokio::join!(
            join_all((0..4).map(|_| keep_reading(&reader, chat_id, &stopped))),
            restarts
        );
        let flowed = flow.stop().await;
        assert!(flowed.refused.is_empty(), "{:?}", flowed.refused);
        let (answered, refused) = reads.into_iter().fold((0, Vec::new()), |(count, mut all), (answered, refused)| {
            all.extend(refused);
            (count + answered, all)
        });
        assert!(refused.is_empty(), "{refused:?}");
        follower
            .expect("the last message", SOON, |seen| seen.seq_in(chat_id) == Some(flowed.head()))
            .await;
        let seqs = follower.seqs(chat_id);
        assert_eq!(seqs, flowed.seqs, "each message once, in order");
        println!(
            "G8 apis restarted 4 times: {} messages sent with {} attempts repeated for want of a connection, {answered} reads, no other answer than 200 and 201",
            flowed.seqs.len(),
            flowed.retried
        );
    })
    .await;
}

#[tokio::test]
async fn a_second_sigterm_and_the_deadline_end_it_hard_with_codes_of_their_own() {
    limited(async {
        let builder = Deployment::cluster(1, 1).env("DRAIN_SECONDS", 30).node_env("api-0", "DRAIN_SECONDS", 1);
        let d = builder.start().await;
        let user = d.user().await;
        let sockets = join_all((0..8).map(|_| user.connect_to(0))).await;

        // a gateway in the middle of a long drain, told again
        let gateway = d.gateway(0);
        gateway.sigterm();
        let watches: Vec<Watch> = sockets.into_iter().map(Watch::start).collect();
        eventually("the first close", SOON, async || watches.iter().any(Watch::is_closed).then_some(())).await;
        gateway.sigterm();
        let told = Instant::now();
        let exit = gateway.wait_exit(SOON).await;
        let hard = told.elapsed();
        assert_eq!(exit.code(), Some(130), "{exit}");
        assert!(hard < Duration::from_secs(2), "hard is at once, not after {hard:?}");

        // an api with a request that never comes to its end
        let api = d.api(0);
        let mut request = TcpStream::connect(("127.0.0.1", api.port())).await.unwrap();
        let head = "POST /auth/login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
        request.write_all(head.as_bytes()).await.unwrap();
        user.rest.get("/auth/me").await.ok(200);
        api.sigterm();
        let told = Instant::now();
        let exit = api.wait_exit(Duration::from_secs(20)).await;
        let late = told.elapsed();
        assert_eq!(exit.code(), Some(3), "{exit}");
        assert!(late > Duration::from_secs(5), "it was given its time, not {late:?}");
        println!("G8 a second SIGTERM: exit 130 after {hard:.1?}; a request that does not end, DRAIN_SECONDS 1: exit 3 after {late:.1?}");
    })
    .await;
}

/// The session of each handshake is asked for when the drain of a node without connections begins.
#[tokio::test]
async fn handshakes_that_a_drain_overtakes_are_answered() {
    limited(async {
        let postgres = Postgres::private().await;
        let proxy = Proxy::to(&format!("127.0.0.1:{}", postgres.port()));
        let database = postgres.new_database().await;
        let url = database.replace(&format!(":{}/", postgres.port()), &format!(":{}/", proxy.port()));
        let d = Deployment::cluster(1, 1).postgres(&postgres).env("DATABASE_URL", url).start().await;
        let (user, node) = (d.user().await, d.gateway(0));
        proxy.set(Mode::Stall);
        let token = user.access.clone();
        let handshakes = join_all((0..10).map(|_| Ws::handshake(request(&node.ws_url(), Way::Header, &token))));
        let drain = async {
            eventually("the handshakes' query", SOON, async || {
                let page = reqwest::get(format!("{}/metrics", node.admin_url())).await.ok()?.text().await.ok()?;
                let used = page.lines().find_map(|line| line.strip_prefix(IN_USE)?.trim().parse::<u32>().ok());
                (used > Some(0)).then_some(())
            })
            .await;
            let mark = node.log().mark();
            node.sigterm();
            eventually("the drain", SOON, async || {
                node.log().since(mark).iter().any(|line| line.contains("draining")).then_some(())
            })
            .await;
            proxy.set(Mode::Forward);
        };
        let (answered, ()) = tokio::join!(handshakes, drain);
        for answer in answered {
            match answer.map_err(|error| *error) {
                Ok(mut socket) => {
                    let (code, reason) = socket.expect_close(SOON).await;
                    assert_eq!(code, 1012, "{reason}");
                }
                // One that comes when the drain has begun, or whose query took too long.
                Err(Error::Http(answer)) => assert_eq!(answer.status(), 503),
                Err(error) => panic!("{error}"),
            }
        }
        let exit = node.wait_exit(SOON).await;
        assert_eq!(exit.code(), Some(0), "{exit}");
    })
    .await;
}
