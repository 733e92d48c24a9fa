//! A load while something breaks: [`WRITERS`] that send until they are acknowledged and
//! [`READERS`] that read all chats on both gateways. The outcome of every message is counted in
//! the end by [`Tally`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::reader::{Reader, Record};
use super::tally::{Chat, Tally};
use super::writer::{Writer, Written};
use crate::support::{Deployment, User, Value, eventually};

pub const CHATS: usize = 3;
pub const WRITERS: usize = 4;
pub const READERS: usize = 6;
/// In everything a test waits for, once nothing is broken any more.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running load.
pub struct Load {
    /// a member of all chats
    user: User,
    chats: Vec<i64>,
    stop_writing: watch::Sender<bool>,
    stop_reading: watch::Sender<bool>,
    writers: Vec<JoinHandle<Written>>,
    readers: Vec<JoinHandle<()>>,
    records: Vec<Arc<Mutex<Record>>>,
    acknowledged: Arc<AtomicUsize>,
    fault: Option<(Instant, Instant)>,
}

impl Load {
    /// Starts the subscribers, then the writers, and returns when all are well under way.
    pub async fn start(d: &Deployment) -> Self {
        let mut users = Vec::new();
        for _ in 0..WRITERS {
            users.push(d.user_named("load").await);
        }
        let members: Vec<&User> = users[1..].iter().collect();
        let mut chats = Vec::new();
        for _ in 0..CHATS {
            chats.push(users[0].group_id(&members).await);
        }

        let (stop_reading, reading) = watch::channel(false);
        let gateways: Vec<String> = d.gateways().iter().map(|node| node.ws_url()).collect();
        let (mut readers, mut records) = (Vec::new(), Vec::new());
        for number in 0..READERS {
            let record = Arc::<Mutex<Record>>::default();
            let reader = Reader {
                gateways: gateways.clone(),
                first: number,
                token: users[number % WRITERS].access.clone(),
                chats: chats.clone(),
                record: Arc::clone(&record),
            };
            readers.push(tokio::spawn(reader.read(reading.clone())));
            records.push(record);
        }
        eventually("all subscribed", PATIENCE, async || {
            records.iter().all(|record| record.lock().chats.len() == CHATS).then_some(())
        })
        .await;

        let (stop_writing, writing) = watch::channel(false);
        let acknowledged = Arc::<AtomicUsize>::default();
        let mut writers = Vec::new();
        for (number, user) in users.iter().enumerate() {
            let apis = (0..d.apis().len()).map(|api| user.rest.on(api)).collect();
            let writer = Writer { number, apis, chats: chats.clone() };
            let (stop, count) = (writing.clone(), Arc::clone(&acknowledged));
            writers.push(tokio::spawn(async move { writer.write(stop, &count).await }));
        }
        let user = users.swap_remove(0);
        let fault = None;
        let load = Self { user, chats, stop_writing, stop_reading, writers, readers, records, acknowledged, fault };
        load.go_on(100).await;
        load
    }

    /// Goes on until so many more messages are acknowledged.
    pub async fn go_on(&self, messages: usize) {
        let enough = self.acknowledged() + messages;
        eventually(&format!("{messages} more messages acknowledged"), PATIENCE, async || {
            let failed =
                self.writers.iter().any(JoinHandle::is_finished) || self.readers.iter().any(JoinHandle::is_finished);
            assert!(!failed, "a writer or a reader has ended");
            (self.acknowledged() >= enough).then_some(())
        })
        .await;
    }

    /// How many messages are acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Something is about to be broken.
    pub fn fault_begins(&mut self) {
        let now = Instant::now();
        self.fault = Some((now, now));
    }

    /// It is whole again, or, where a process was killed, what remains is whole.
    pub fn fault_is_over(&mut self) {
        self.fault.as_mut().expect("a fault that began").1 = Instant::now();
    }

    /// Goes on for some 200 messages, ends the load, waits until every subscriber has reached every
    /// chat's head, and counts.
    pub async fn finish(self, fault: &str) -> Tally {
        self.go_on(200).await;
        self.stop_writing.send_replace(true);
        let mut written = Vec::new();
        for writer in self.writers {
            written.push(writer.await.expect("a writer ends well"));
        }
        let mut chats = Vec::new();
        for &id in &self.chats {
            let head = self.user.chat(id).await["seq"].as_i64().expect("a head");
            chats.push(Chat { id, head, history: whole_history(&self.user, id).await });
        }
        let behind = || {
            self.records.iter().any(|record| {
                let record = record.lock();
                chats.iter().any(|chat| record.last(chat.id).is_none_or(|last| last < chat.head))
            })
        };
        let deadline = Instant::now() + PATIENCE;
        while behind() && Instant::now() < deadline {
            // who stays behind is counted as lost
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        self.stop_reading.send_replace(true);
        for reader in self.readers {
            reader.await.expect("a reader ends well");
        }
        let records: Vec<_> = self.records.iter().map(|record| std::mem::take(&mut *record.lock())).collect();
        let window = self.fault.expect("a fault that began");
        let tally = Tally::of(fault, window, written, &chats, &records);
        println!("{tally}");
        tally
    }
}

/// All messages of a chat, newest page first.
async fn whole_history(user: &User, chat_id: i64) -> Vec<Value> {
    let path = format!("/messages/chat/{chat_id}?limit=100");
    let mut messages = Vec::new();
    let mut cursor = None;
    loop {
        let page = match &cursor {
            None => user.rest.get(&path).await.ok(200),
            Some(cursor) => user.rest.get(&format!("{path}&cursor={cursor}")).await.ok(200),
        };
        messages.extend(page["items"].as_array().expect("items").iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return messages,
        }
    }
}
