//! Messages: counted, committed in batches, published; what could not be published, a relay
//! publishes. By the rules of the queue of sends and of `common/src/relay`.

use super::batches::Batches;
use super::costs::{CHECK, CLAIMED, FLUSH, MILLISECOND, QUERY, SECOND, WAY, commit};
use super::happening::Happening;
use super::redis::Redis;
use super::server::Work;
use super::world::World;
use messenger_common::rate_limit::Limit;
use messenger_common::rate_limit::leases::Leases;
use std::time::Duration;

/// Sends of one transaction, and transactions at once.
const MAX_BATCH: usize = 256;
const AT_ONCE: usize = 4;
/// A limit is counted alone where Redis takes longer.
const PATIENCE: u64 = 100 * MILLISECOND;
/// A publication without an answer for so long has failed, for its sender.
const PUBLISH_TIMEOUT: u64 = SECOND;
/// A relay's pause, the least age of what it takes, the pause after the bus came back, and what it
/// takes at once.
const RELAY_EVERY: u64 = 400 * MILLISECOND;
const RELAY_AGE: u64 = SECOND;
const SETTLE: u64 = 700 * MILLISECOND;
const ENTRIES_PER_CLAIM: usize = 500;

/// The limits of the contract.
const PERIOD: Duration = Duration::from_secs(1);
const COMMANDS: Limit = Limit { name: "commands", rate: 60, period: PERIOD, burst: 60 };
const MESSAGES: Limit = Limit { name: "messages", rate: 20, period: PERIOD, burst: 40 };

/// A process that commits what clients send: an api.
pub struct Sender {
    queue: Batches<u32>,
    leases: Leases,
    /// When its link to Redis is there again.
    pub link_from: u64,
    /// It publishes nothing before a probe came back.
    suspects_until: u64,
}

/// A commit that is not published yet.
pub struct Entry {
    committed: u64,
    chat: u32,
    seq: i64,
}

impl Sender {
    pub fn new() -> Self {
        Self { queue: Batches::new(MAX_BATCH, AT_ONCE), leases: Leases::new(), link_from: 0, suspects_until: 0 }
    }
}

/// Counts one against a limit, by the leases of the process that is asked. Returns when it goes on.
fn counted(leases: &Leases, redis: &mut Redis, now: u64, limit: &Limit, subject: usize) -> u64 {
    let (at, name) = (Duration::from_nanos(now), subject.to_string());
    if redis.is_away || leases.spend(limit, &name, at).is_ok() {
        return now;
    }
    leases.grant(limit, &name, at, 1);
    (redis.serve(now, subject, Work::Limits, CHECK) + 2 * WAY).min(now + PATIENCE)
}

impl World {
    /// A client sends a command that costs its limit and nothing else.
    pub fn send_command(&mut self) {
        let client = self.random.below(self.clients.len());
        if self.clients[client].open {
            let gateway = &self.gateways[self.clients[client].gateway as usize];
            counted(&gateway.leases, &mut self.redis, self.now, &COMMANDS, client);
        }
    }

    /// A client sends a message into one of its chats, through any api.
    pub fn send_message(&mut self) {
        let client = self.random.below(self.clients.len());
        let (slot, sender) = (self.random.below(super::clients::FOLLOWS), self.random.below(self.senders.len()));
        if self.clients[client].open {
            let chat = self.clients[client].slots[slot].chat;
            let leases = &self.senders[sender].leases;
            let counted = counted(leases, &mut self.redis, self.now, &MESSAGES, client);
            self.calendar.plan(counted + WAY, Happening::Send(sender as u32, chat));
        }
    }

    pub fn queue_send(&mut self, sender: u32, chat: u32) {
        self.senders[sender as usize].queue.add(chat);
        self.commit_some(sender);
    }

    pub fn commit_some(&mut self, sender: u32) {
        let queue = &mut self.senders[sender as usize].queue;
        let Some(batch) = queue.begin(self.now) else { return };
        let done = self.postgres.serve(self.now, Work::Messages, commit(batch.len())) + FLUSH + 2 * WAY;
        if let Some(again) = queue.look_again(done) {
            self.calendar.plan(again, Happening::MoreSends(sender));
        }
        self.calendar.plan(done, Happening::Committed(sender, batch));
    }

    pub fn committed(&mut self, sender: u32, chats: &[u32]) {
        self.senders[sender as usize].queue.ended();
        for chat in chats.iter().copied() {
            let seq = self.logs.commit(chat, self.now);
            self.phase().messages += 1;
            for gateway in &self.followers[chat as usize] {
                self.gateways[*gateway as usize].moved.push_back((self.now, chat));
            }
            self.publish(sender, Work::Messages, Entry { committed: self.now, chat, seq });
        }
        self.commit_some(sender);
    }

    /// Publishes, or leaves it in the outbox. Returns when Redis has done it.
    fn publish(&mut self, sender: u32, work: Work, entry: Entry) -> u64 {
        let by = &mut self.senders[sender as usize];
        if self.redis.is_away || self.now < by.link_from.max(by.suspects_until) {
            self.outbox.push_back(entry);
            return self.now;
        }
        let (done, links) = self.redis.publish(self.now, work, entry.chat, &self.gateways);
        if !links.is_empty() {
            self.calendar.plan(done + WAY, Happening::Published(links, entry.chat, entry.seq));
        }
        if done - self.now > PUBLISH_TIMEOUT {
            by.suspects_until = done;
            self.outbox.push_back(entry);
        }
        done
    }

    /// An event comes to gateways: to those whose link is still the same.
    pub fn published(&mut self, links: &[(u32, u32)], chat: u32, seq: i64) {
        let event = self.logs.event(chat, seq);
        for (gateway, session) in links {
            if self.gateways[*gateway as usize].link.session == *session {
                let due = self.with_feed(*gateway, chat, |feed, tick| feed.on_event(&event, tick, &mut |_, _| {}));
                self.start_repair(*gateway, chat, due.flatten());
            }
        }
    }

    /// An api looks for what was not published, and publishes it.
    pub fn relay(&mut self, sender: u32) {
        let mut again = self.now + RELAY_EVERY;
        if !self.redis.is_away && self.now >= self.senders[sender as usize].link_from + SETTLE {
            let is_old = |entry: &Entry| self.now - entry.committed >= RELAY_AGE;
            let count = self.outbox.iter().take(ENTRIES_PER_CLAIM).take_while(|entry| is_old(entry)).count();
            let claimed: Vec<Entry> = self.outbox.drain(..count).collect();
            self.postgres.serve(self.now, Work::Relay, QUERY + CLAIMED * count as u64);
            let done = claimed.into_iter().map(|entry| self.publish(sender, Work::Relay, entry)).max();
            again = done.map_or(again, |done| done.max(self.now) + 2 * WAY);
        }
        self.calendar.plan(again, Happening::Relay(sender));
    }
}
