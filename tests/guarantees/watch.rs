//! The background tasks of several of these tests: read a socket and keep what came when, and
//! send messages at a rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::Method;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::support::{Answer, Rest, SOON, User, Value, Ws, json};

/// A frame, and when it was read.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    pub frame: Value,
}

impl Seen {
    pub fn is(&self, kind: &str) -> bool {
        self.frame["type"] == kind
    }

    /// The number of a sequenced event of this chat.
    pub fn seq_in(&self, chat_id: i64) -> Option<i64> {
        let unnumbered = ["subscribed", "resync", "message_read"].iter().any(|kind| self.is(kind));
        (self.frame["chat_id"] == chat_id && !unnumbered).then(|| self.frame["seq"].as_i64())?
    }
}

/// How a connection ended, and when.
#[derive(Clone, Debug)]
pub struct Closed {
    pub at: Instant,
    pub code: u16,
}

#[derive(Default)]
struct Log {
    frames: Vec<Seen>,
    closed: Option<Closed>,
}

/// A socket that is read all the time.
pub struct Watch {
    log: Arc<Mutex<Log>>,
    grown: Arc<Notify>,
    commands: mpsc::UnboundedSender<Value>,
    task: JoinHandle<()>,
}

impl Watch {
    pub fn start(mut ws: Ws) -> Self {
        let (commands, mut to_send) = mpsc::unbounded_channel::<Value>();
        let (log, grown) = (Arc::new(Mutex::new(Log::default())), Arc::new(Notify::new()));
        let (kept, told) = (Arc::clone(&log), Arc::clone(&grown));
        let task = tokio::spawn(async move {
            while ws.closed.is_none() {
                tokio::select! {
                    frame = ws.next_within(Duration::from_secs(1)) => if let Some(frame) = frame {
                        kept.lock().frames.push(Seen { at: Instant::now(), frame });
                    },
                    Some(command) = to_send.recv() => ws.send(command).await,
                }
                if let Some((code, _)) = &ws.closed {
                    kept.lock().closed = Some(Closed { at: Instant::now(), code: *code });
                }
                told.notify_waiters();
            }
        });
        Self { log, grown, commands, task }
    }

    /// Subscribes, then reads on in the background.
    pub async fn subscribed(mut ws: Ws, chat_id: i64) -> Self {
        ws.subscribe(chat_id).await;
        Self::start(ws)
    }

    /// Sends a command; its answer is one of the frames.
    pub fn send(&self, command: Value) {
        self.commands.send(command).ok();
    }

    /// All frames so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.log.lock().frames.clone()
    }

    pub fn is_closed(&self) -> bool {
        self.log.lock().closed.is_some()
    }

    async fn wait<T>(&self, what: &str, limit: Duration, look: impl Fn(&Log) -> Option<T>) -> T {
        let found = async {
            loop {
                let grown = self.grown.notified();
                if let Some(found) = look(&self.log.lock()) {
                    return found;
                }
                grown.await;
            }
        };
        if let Ok(found) = tokio::time::timeout(limit, found).await {
            return found;
        }
        let log = self.log.lock();
        let last: Vec<String> = log.frames.iter().rev().take(10).map(|seen| seen.frame.to_string()).collect();
        panic!("{what}: not within {limit:?} (closed: {:?}); the last frames:\n  {}", log.closed, last.join("\n  "))
    }

    /// The first frame that `wanted` accepts, of those read so far too.
    pub async fn expect(&self, what: &str, limit: Duration, wanted: impl Fn(&Seen) -> bool) -> Seen {
        self.wait(what, limit, |log| log.frames.iter().find(|seen| wanted(seen)).cloned()).await
    }

    /// The part of the frames so far that `find` is after, as soon as it is there.
    pub async fn until<T>(&self, what: &str, limit: Duration, find: impl Fn(&[Seen]) -> Option<T>) -> T {
        self.wait(what, limit, |log| find(&log.frames)).await
    }

    pub async fn expect_close(&self, limit: Duration) -> Closed {
        self.wait("a close", limit, |log| log.closed.clone()).await
    }

    /// The statuses of a user so far, in order: `online`, `offline`.
    pub fn statuses(&self, user: &User) -> Vec<String> {
        statuses(&self.log.lock().frames, user.id)
    }

    /// Waits until a user's status has been told.
    pub async fn expect_status(&self, user: &User, status: &str, limit: Duration) -> Seen {
        let what = format!("user_status {status} of {}", user.username);
        let id = user.id;
        let of = |seen: &Seen| seen.is("user_status") && seen.frame["user_id"] == id && seen.frame["status"] == status;
        self.expect(&what, limit, of).await
    }

    /// The numbers of the chat's events so far.
    pub fn seqs(&self, chat_id: i64) -> Vec<i64> {
        self.log.lock().frames.iter().filter_map(|seen| seen.seq_in(chat_id)).collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The statuses of a user in these frames, in order.
pub fn statuses(frames: &[Seen], user_id: i64) -> Vec<String> {
    let of_user = frames.iter().filter(|seen| seen.is("user_status") && seen.frame["user_id"] == user_id);
    of_user.map(|seen| seen.frame["status"].as_str().unwrap().to_owned()).collect()
}

/// Asserts that these are consecutive numbers.
#[track_caller]
pub fn assert_consecutive(seqs: &[i64], whose: &str) {
    for pair in seqs.windows(2) {
        assert_eq!(pair[1], pair[0] + 1, "{whose}: a gap, a double or disorder");
    }
}

/// The outcome of a flow.
#[derive(Default)]
pub struct Flowed {
    /// number of each message stored
    pub seqs: Vec<i64>,
    /// attempts repeated because no connection stood or it broke
    pub retried: usize,
    /// answers other than 200 and 201
    pub refused: Vec<String>,
}

/// Sends messages to a chat at an even pace until told to stop. An attempt that found nobody is
/// repeated under the same `client_message_id`; whatever is answered is not.
pub struct Flow {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Flowed>,
}

impl Flow {
    /// Sends under way at once, at most.
    const AT_ONCE: usize = 64;

    pub fn start(rest: &Rest, chat_id: i64, a_second: u32, text: impl Fn(usize) -> String + Send + 'static) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let flow = NEXT.fetch_add(1, Ordering::Relaxed);
        let (stop, mut stopped) = oneshot::channel();
        let rest = rest.clone();
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / a_second);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            let (mut flowed, mut sends) = (Flowed::default(), JoinSet::new());
            for n in 0.. {
                tokio::select! {
                    biased;
                    _ = &mut stopped => break,
                    _ = ticks.tick() => {}
                }
                let body =
                    json!({"chat_id": chat_id, "text": text(n), "client_message_id": format!("flow-{flow}-{n}")});
                sends.spawn(send(rest.clone(), body));
                while sends.len() >= Self::AT_ONCE {
                    flowed.add(sends.join_next().await.unwrap().unwrap());
                }
            }
            while let Some(sent) = sends.join_next().await {
                flowed.add(sent.unwrap());
            }
            flowed.seqs.sort_unstable();
            flowed
        });
        Self { stop, task }
    }

    /// Stops and waits until all that was begun is answered.
    pub async fn stop(self) -> Flowed {
        self.stop.send(()).ok();
        self.task.await.unwrap()
    }
}

impl Flowed {
    fn add(&mut self, (outcome, retried): (Result<i64, String>, usize)) {
        self.retried += retried;
        match outcome {
            Ok(seq) => self.seqs.push(seq),
            Err(refusal) => self.refused.push(refusal),
        }
    }

    pub fn head(&self) -> i64 {
        *self.seqs.last().expect("a message was sent")
    }
}

async fn send(rest: Rest, body: Value) -> (Result<i64, String>, usize) {
    let (began, mut retried) = (Instant::now(), 0);
    loop {
        match Answer::try_of(rest.request(Method::POST, "/messages/send").json(&body)).await {
            Ok(answer) if matches!(answer.status, 200 | 201) => {
                return (Ok(answer.json["seq"].as_i64().unwrap()), retried);
            }
            Ok(answer) => return (Err(format!("{} {}", answer.status, answer.body)), retried),
            Err(error) if error.is_timeout() || began.elapsed() > SOON => return (Err(format!("{error:?}")), retried),
            Err(_) => retried += 1,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
