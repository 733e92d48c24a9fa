//! The outcome of a load: every acknowledged message looked up in history and at every subscriber,
//! and the silences measured.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use super::reader::{ChatRecord, Record};
use super::writer::{Refused, Written};
use crate::support::Value;

/// After a fault is over, events flow again within this, and what was committed meanwhile has
/// arrived (G3).
pub const AGAIN_WITHIN: Duration = Duration::from_secs(2);

/// A chat at the end of the load.
pub struct Chat {
    pub id: i64,
    pub head: i64,
    pub history: Vec<Value>,
}

/// The counts of one test.
pub struct Tally {
    fault: String,
    pub lasted: Duration,
    pub acknowledged: usize,
    /// tries that were refused or that nobody answered
    pub refused: Vec<Refused>,
    pub unanswered: usize,
    /// how long acknowledged tries took that overlap the fault, sorted
    pub sends: Vec<Duration>,
    pub delivered: usize,
    /// acknowledged messages that history lacks or has changed, and messages in it that nobody sent
    history_faults: Vec<String>,
    lost: usize,
    doubled: usize,
    out_of_order: usize,
    /// events whose message is not the one that history has at this number
    altered: usize,
    resyncs: usize,
    pub connections: usize,
    pub refused_subscriptions: usize,
    /// the longest time without an event at one subscriber: that overlaps the fault; and after it,
    /// its end included
    pub silence: Duration,
    pub silence_after: Duration,
    /// how long after the fault the last event had arrived everywhere that was acknowledged before
    /// its end
    pub caught_up: Duration,
}

impl Tally {
    pub fn of(
        fault: &str,
        (began, over): (Instant, Instant),
        written: Vec<Written>,
        chats: &[Chat],
        records: &[Record],
    ) -> Self {
        let acknowledged: Vec<_> = written.iter().flat_map(|written| &written.acknowledged).collect();
        let overlapping = acknowledged.iter().filter(|message| message.at >= began && message.asked <= over);
        let mut sends: Vec<Duration> = overlapping.map(|message| message.at - message.asked).collect();
        sends.sort_unstable();
        let mut tally = Self {
            fault: fault.to_owned(),
            lasted: over - began,
            acknowledged: acknowledged.len(),
            refused: Vec::new(),
            unanswered: written.iter().map(|written| written.unanswered).sum(),
            sends,
            delivered: 0,
            history_faults: history_faults(&written, chats),
            lost: 0,
            doubled: 0,
            out_of_order: 0,
            altered: 0,
            resyncs: 0,
            connections: 0,
            refused_subscriptions: 0,
            silence: Duration::ZERO,
            silence_after: Duration::ZERO,
            caught_up: Duration::ZERO,
        };
        for record in records {
            tally.resyncs += record.resyncs;
            tally.connections += record.connections;
            tally.refused_subscriptions += record.refused;
            for chat in chats {
                tally.count(chat, &record.chats[&chat.id]);
            }
            tally.listen(record, began, over);
            for message in acknowledged.iter().filter(|message| message.at <= over) {
                let seen = &record.chats[&message.chat_id].seen;
                if let Some(seen) = seen.iter().find(|seen| seen.seq == message.seq) {
                    tally.caught_up = tally.caught_up.max(seen.at.saturating_duration_since(over));
                }
            }
        }
        tally.refused = written.into_iter().flat_map(|written| written.refused).collect();
        tally
    }

    /// Counts what one subscriber saw of one chat against the numbers that there are.
    fn count(&mut self, chat: &Chat, record: &ChatRecord) {
        let ids: BTreeMap<_, _> =
            chat.history.iter().map(|message| (message["seq"].as_i64(), message["id"].as_i64())).collect();
        let mut seen_before = BTreeSet::new();
        for seen in &record.seen {
            let greatest = seen_before.last().copied().unwrap_or(record.from);
            if !seen_before.insert(seen.seq) || seen.seq <= record.from {
                self.doubled += 1;
            } else if seen.seq < greatest {
                self.out_of_order += 1;
            }
            if seen.message_id.is_some() && ids.get(&Some(seen.seq)) != Some(&seen.message_id) {
                self.altered += 1;
            }
        }
        self.delivered += record.seen.len();
        self.lost += (record.from + 1..=chat.head).filter(|seq| !seen_before.contains(seq)).count();
    }

    /// Measures one subscriber's silences over all its chats.
    fn listen(&mut self, record: &Record, began: Instant, over: Instant) {
        let mut times: Vec<Instant> =
            record.chats.values().flat_map(|chat| chat.seen.iter().map(|seen| seen.at)).collect();
        times.sort_unstable();
        for pair in times.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            if to > began && from <= over {
                self.silence = self.silence.max(to - from);
            }
            if to > over {
                self.silence_after = self.silence_after.max(to - from.max(over));
            }
        }
        assert!(
            times.last().is_some_and(|&last| last > over),
            "a subscriber saw nothing after the fault: {}",
            self.fault
        );
    }

    /// Asserts what holds whatever was broken (G1, G2), and that all is well within two seconds of
    /// the fault's end (G3).
    pub fn check(&self) {
        assert!(self.history_faults.is_empty(), "{self}\n{}", self.history_faults.join("\n"));
        let wrong = (self.lost, self.doubled, self.out_of_order, self.altered, self.resyncs);
        assert_eq!(wrong, (0, 0, 0, 0, 0), "lost, doubled, out of order, altered, resync: {self}");
        assert!(self.silence_after < AGAIN_WITHIN, "{self}");
        assert!(self.caught_up < AGAIN_WITHIN, "{self}");
    }

    /// The status and code of the refusals, each once.
    pub fn codes(&self) -> BTreeSet<(u16, &str)> {
        self.refused.iter().map(|refused| (refused.status, refused.code.as_str())).collect()
    }

    /// The slowest of the sends that were acknowledged during the fault.
    pub fn slowest_send(&self) -> Duration {
        self.sends.last().copied().unwrap_or_default()
    }

    fn p99_send(&self) -> Duration {
        self.sends.get((self.sends.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
    }
}

/// Every acknowledged message must be in history once, as it was answered, and nothing else.
fn history_faults(written: &[Written], chats: &[Chat]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut there = BTreeMap::new();
    for message in chats.iter().flat_map(|chat| &chat.history) {
        let key = message["client_message_id"].as_str().unwrap_or_default();
        if there.insert(key, message).is_some() {
            faults.push(format!("twice in history: {message}"));
        }
    }
    for message in written.iter().flat_map(|written| &written.acknowledged) {
        let expected = (message.chat_id, message.id, message.seq, message.text.as_str());
        match there.remove(message.client_message_id.as_str()) {
            None => faults.push(format!("not in history: {expected:?}")),
            Some(found) => {
                let number = |field: &str| found[field].as_i64().unwrap_or_default();
                let found_as =
                    (number("chat_id"), number("id"), number("seq"), found["text"].as_str().unwrap_or_default());
                if found_as != expected {
                    faults.push(format!("acknowledged as {expected:?}, but in history: {found}"));
                }
            }
        }
    }
    faults.extend(there.values().map(|message| format!("in history, but never acknowledged: {message}")));
    faults
}

/// For a printed line.
pub fn ms(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, acknowledged, delivered, unanswered, connections, .. } = self;
        let (refused, lost) = (self.refused.len(), self.lost + self.history_faults.len());
        write!(f, "{fault} ({}): messages acknowledged {acknowledged} ", ms(self.lasted))?;
        write!(f, "(tries refused {refused}, unanswered {unanswered}), ")?;
        write!(f, "events delivered {delivered} over {connections} connections, lost {lost}, ")?;
        write!(f, "doubled {}, out of order {}, ", self.doubled, self.out_of_order)?;
        write!(f, "altered {}, resync {}; longest silence ", self.altered, self.resyncs)?;
        write!(f, "during the fault {}, after it {}; ", ms(self.silence), ms(self.silence_after))?;
        write!(f, "caught up {} after it; sends meanwhile: {}, ", ms(self.caught_up), self.sends.len())?;
        write!(f, "99 % within {}, the slowest {}", ms(self.p99_send()), ms(self.slowest_send()))
    }
}
