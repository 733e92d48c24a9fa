//! Many sockets through a load balancer, whose clients come back as the contract says: after the
//! delay that the close named, or else after a random back-off.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::ws::request;
use crate::support::{User, Value, Way, Ws, eventually, json};

/// The bounds of the clients' random back-off.
const FIRST_BACK_OFF: Duration = Duration::from_millis(500);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

/// The record of one client.
#[derive(Default)]
pub(super) struct Seen {
    pub is_connected: bool,
    pub connections: usize,
    /// handshakes that were refused
    pub refused: Vec<String>,
    /// of each connection: how much later than the told (or chosen) moment it stood
    pub late: Vec<Duration>,
    /// the number that its first subscription began at: it goes on from there until an event comes
    pub from: Option<i64>,
    /// numbers of the chat's events
    pub seqs: Vec<i64>,
    /// frames that should not have come
    pub faults: Vec<String>,
}

impl Seen {
    /// The last number that it knows of.
    fn last(&self) -> Option<i64> {
        self.seqs.last().copied().or(self.from)
    }
}

/// All the clients.
pub(super) struct Clients {
    seen: Vec<Arc<Mutex<Seen>>>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Clients {
    /// Opens `count` sockets to `url`, those of each user in turn, each of which follows the chat.
    pub(super) async fn open(url: &str, users: &[User], count: usize, chat_id: i64) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut clients = Self { seen: Vec::new(), stop, tasks: Vec::new() };
        for number in 0..count {
            let seen = Arc::<Mutex<Seen>>::default();
            let client = Client {
                url: url.to_owned(),
                token: users[number % users.len()].access.clone(),
                chat_id,
                random: RandomState::new(),
                seen: Arc::clone(&seen),
            };
            let mut stopped = stopped.clone();
            clients.tasks.push(tokio::spawn(async move {
                tokio::select! {
                    () = client.come_back_again_and_again() => {}
                    _ = stopped.wait_for(|stop| *stop) => {}
                }
            }));
            clients.seen.push(seen);
        }
        clients.all_connected(Duration::from_secs(15)).await;
        clients
    }

    /// How many sockets stand.
    pub(super) fn connected(&self) -> usize {
        self.seen.iter().filter(|seen| seen.lock().is_connected).count()
    }

    /// Waits until all sockets stand.
    pub(super) async fn all_connected(&self, limit: Duration) {
        let began = Instant::now();
        while self.connected() < self.seen.len() {
            let refused: Vec<String> =
                self.seen.iter().filter_map(|seen| seen.lock().refused.last().cloned()).collect();
            assert!(
                began.elapsed() < limit,
                "{} of {} sockets stand after {limit:?}; {} were refused, the last: {:?}",
                self.connected(),
                self.seen.len(),
                self.seen.iter().map(|seen| seen.lock().refused.len()).sum::<usize>(),
                refused.last()
            );
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Waits until all have the chat's event of this number.
    pub(super) async fn all_reached(&self, seq: i64, limit: Duration) {
        eventually(&format!("event {seq} with all clients"), limit, async || {
            self.seen.iter().all(|seen| seen.lock().last() >= Some(seq)).then_some(())
        })
        .await;
    }

    pub(super) async fn stop(self) -> Vec<Seen> {
        self.stop.send(true).ok();
        for task in self.tasks {
            task.await.unwrap();
        }
        self.seen.iter().map(|seen| std::mem::take(&mut *seen.lock())).collect()
    }
}

struct Client {
    url: String,
    token: String,
    chat_id: i64,
    random: RandomState,
    seen: Arc<Mutex<Seen>>,
}

impl Client {
    async fn come_back_again_and_again(&self) {
        let mut due = Instant::now();
        let mut attempt = 0;
        loop {
            match Ws::handshake(request(&self.url, Way::Header, &self.token)).await {
                Ok(ws) => {
                    attempt = 0;
                    let delay = self.follow(ws, due).await.unwrap_or_else(|| self.back_off(0));
                    tokio::time::sleep(delay).await;
                    due = Instant::now();
                }
                Err(error) => {
                    self.seen.lock().refused.push(format!("{error:?}"));
                    attempt += 1;
                    tokio::time::sleep(self.back_off(attempt)).await;
                }
            }
        }
    }

    /// Reads one connection to its end; the delay that its close named.
    async fn follow(&self, mut ws: Ws, due: Instant) -> Option<Duration> {
        let last = {
            let mut seen = self.seen.lock();
            seen.late.push(due.elapsed());
            seen.connections += 1;
            seen.is_connected = true;
            seen.last()
        };
        ws.send(json!({"type": "subscribe_chat", "chat_id": self.chat_id, "after_seq": last})).await;
        while ws.closed.is_none() {
            // The limit only bounds a wait in which nothing comes.
            if let Some(frame) = ws.next_within(Duration::from_secs(5)).await {
                self.note(&frame);
            }
        }
        self.seen.lock().is_connected = false;
        let (code, reason) = ws.closed.clone()?;
        let told = serde_json::from_str::<Value>(&reason).ok()?["reconnect_after_ms"].as_u64()?;
        (code == 1012).then(|| Duration::from_millis(told))
    }

    fn note(&self, frame: &Value) {
        let mut seen = self.seen.lock();
        match frame["type"].as_str().unwrap_or_default() {
            "new_message" if frame["chat_id"] == self.chat_id => seen.seqs.extend(frame["seq"].as_i64()),
            "subscribed" if frame["resync"] == true => seen.faults.push(frame.to_string()),
            "subscribed" => seen.from = seen.from.or(frame["seq"].as_i64()),
            "user_status" if frame["status"] == "offline" => seen.faults.push(frame.to_string()),
            "welcome" | "user_status" => {}
            _ => seen.faults.push(frame.to_string()),
        }
    }

    /// Random over its whole range, so that clients that were thrown out together do not come back
    /// together.
    fn back_off(&self, attempt: u32) -> Duration {
        let range = LONGEST_BACK_OFF.min(FIRST_BACK_OFF * 2_u32.pow(attempt.min(10)));
        let drawn = self.random.hash_one((Instant::now(), attempt)) % 1000;
        range.mul_f64(drawn as f64 / 1000.0)
    }
}
