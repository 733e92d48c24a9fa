//! A subscriber: reads on and on, and where its connection ends goes on from its last number on
//! the next gateway.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use messenger_common::event::EventKind;
use messenger_common::label::Label;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::support::{Value, Way, Ws, json};

/// Before the next gateway is tried, or a refused subscription is asked for again.
const AGAIN: Duration = Duration::from_millis(25);

/// Whether frames of that type bear a number of their chat.
fn is_sequenced(kind: &str) -> bool {
    EventKind::ALL.iter().any(|known| known.is_sequenced() && known.name() == kind)
}

/// An event as it came.
#[derive(Clone, Copy)]
pub struct Seen {
    pub seq: i64,
    /// of its message, where it has one
    pub message_id: Option<i64>,
    pub at: Instant,
}

/// One subscriber's view of one chat.
#[derive(Default)]
pub struct ChatRecord {
    /// the `seq` of the first `subscribed`
    pub from: i64,
    pub seen: Vec<Seen>,
}

/// All that one subscriber saw, over all its connections.
#[derive(Default)]
pub struct Record {
    pub chats: BTreeMap<i64, ChatRecord>,
    pub connections: usize,
    /// `resync` frames, and `subscribed` with `"resync": true`
    pub resyncs: usize,
    /// subscriptions that were refused and asked for again
    pub refused: usize,
}

impl Record {
    /// The last number that came of a chat; `None` before the first `subscribed`.
    pub fn last(&self, chat_id: i64) -> Option<i64> {
        let chat = self.chats.get(&chat_id)?;
        Some(chat.seen.last().map_or(chat.from, |seen| seen.seq))
    }
}

pub struct Reader {
    /// addresses of all gateways, and which one is the first
    pub gateways: Vec<String>,
    pub first: usize,
    pub token: String,
    pub chats: Vec<i64>,
    pub record: Arc<Mutex<Record>>,
}

impl Reader {
    /// Reads until told to stop.
    pub async fn read(self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = self.connect_again_and_again() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    async fn connect_again_and_again(&self) {
        for gateway in self.first.. {
            let base = &self.gateways[gateway % self.gateways.len()];
            match Ws::handshake(crate::support::ws::request(base, Way::Path, &self.token)).await {
                Ok(ws) => self.follow(ws).await,
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    /// Reads one connection to its end.
    async fn follow(&self, mut ws: Ws) {
        self.record.lock().connections += 1;
        while ws.closed.is_none() {
            // the limit only bounds a wait in which nothing comes
            if let Some(frame) = ws.next_within(Duration::from_secs(5)).await {
                self.take(&mut ws, &frame).await;
            }
        }
        let (code, reason) = ws.closed.clone().unwrap_or_default();
        assert!(code < 4500, "closed for good: {code} {reason}");
    }

    async fn take(&self, ws: &mut Ws, frame: &Value) {
        let kind = frame["type"].as_str().unwrap_or_default();
        let chat_id = frame["chat_id"].as_i64();
        match (kind, chat_id) {
            ("welcome", _) => {
                for &chat_id in &self.chats {
                    self.subscribe(ws, chat_id).await;
                }
            }
            ("subscribed", Some(chat_id)) => {
                let mut record = self.record.lock();
                record.resyncs += usize::from(frame["resync"] == true);
                let from = frame["seq"].as_i64().expect("a seq");
                record.chats.entry(chat_id).or_insert_with(|| ChatRecord { from, seen: Vec::new() });
            }
            ("resync", _) => self.record.lock().resyncs += 1,
            ("error", _) => {
                let refused = frame["request_id"].as_str().and_then(|id| id.strip_prefix("chat-")?.parse().ok());
                let chat_id = refused.unwrap_or_else(|| panic!("an error out of nothing: {frame}"));
                self.record.lock().refused += 1;
                tokio::time::sleep(AGAIN).await;
                self.subscribe(ws, chat_id).await;
            }
            (kind, Some(chat_id)) if is_sequenced(kind) => {
                let seq = frame["seq"].as_i64().expect("a sequenced event has a number");
                let seen = Seen { seq, message_id: frame["message"]["id"].as_i64(), at: Instant::now() };
                let mut record = self.record.lock();
                record.chats.get_mut(&chat_id).expect("`subscribed` comes first").seen.push(seen);
            }
            _ => {}
        }
    }

    async fn subscribe(&self, ws: &mut Ws, chat_id: i64) {
        let mut command =
            json!({"type": "subscribe_chat", "chat_id": chat_id, "request_id": format!("chat-{chat_id}")});
        if let Some(last) = self.record.lock().last(chat_id) {
            command["after_seq"] = json!(last);
        }
        ws.send(command).await;
    }
}
