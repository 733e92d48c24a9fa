//! A history that went back: after a restored backup, or a standby that lacked the last commits,
//! numbers are given anew. The feed may then know of events that no longer are (G2).
//!
//! Two signs prove it, each in an answer that is younger than its question. The log's head is
//! below a number that the log had reached; or the entry at the feed's head was committed at
//! another time.

use super::{Event, Feed, Phase, Reader};
use messenger_common::id::Seq;

/// The knowledge of a feed at the moment of a question to the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The feed's head, or 0.
    pub head: Seq,
    head_committed_at: Option<i64>,
    log_reached: Seq,
    histories: u32,
}

impl Known {
    /// The log has reached that number too.
    pub(super) fn has_reached(&mut self, seq: Seq) {
        self.log_reached = self.log_reached.max(seq);
    }
}

impl<C: Reader> Feed<C> {
    /// The knowledge to compare the store's next answer with: take it before you ask.
    pub fn known(&self) -> Known {
        Known {
            head: self.head.unwrap_or(Seq(0)),
            head_committed_at: self.head_committed_at,
            log_reached: self.log_reached,
            histories: self.histories,
        }
    }

    /// Compares what was known with the store's answer: its head, and the commit of the entry at
    /// the head that was known, where it was read. If the history went back, the feed goes on from
    /// the new head, and each of its subscriptions reads its rights anew and gets a resync. Says
    /// whether it did.
    pub fn compare(&mut self, known: Known, head: Seq, committed_at: Option<i64>) -> bool {
        // Another answer was first.
        if known.histories != self.histories {
            return false;
        }
        let differs = |at| committed_at.is_some_and(|entry| entry != at);
        if head < known.log_reached || known.head_committed_at.is_some_and(differs) {
            self.history_went_back(head);
            return true;
        }
        if self.head == Some(known.head) && self.head_committed_at.is_none() {
            self.head_committed_at = committed_at;
        }
        false
    }

    /// The present history does not have the chat: it was made by commits that are lost. Says
    /// whether that is news.
    pub fn chat_is_lost(&mut self, known: Known) -> bool {
        let is_news = known.histories == self.histories;
        if is_news {
            self.history_went_back(Seq(0));
        }
        is_news
    }

    /// Nothing that was known is certain: goes on from the head of the present history.
    pub fn history_went_back(&mut self, head: Seq) {
        self.histories = self.histories.wrapping_add(1);
        (self.head, self.head_committed_at, self.log_reached) = (Some(head), None, head);
        self.ring.clear();
        self.held.clear();
        for (_, sub) in self.subs.iter_mut().filter(|(_, sub)| sub.phase != Phase::Pending) {
            sub.is_lost = true;
            // That removal may be one of those that no longer are.
            (sub.ends_at, sub.left_at) = (None, None);
            sub.fall_behind();
        }
    }

    /// Whether an event whose number the feed has passed cannot be of the same history.
    pub(super) fn contradicts(&self, event: &Event) -> bool {
        let kept = self.ring.after(Seq(event.seq.0 - 1)).filter(|kept| kept.seq == event.seq);
        let at_head = self.head_committed_at.filter(|_| self.head == Some(event.seq));
        let same = kept.map(|kept| kept.committed_at_micros).or(at_head);
        match same {
            Some(same) => same != event.committed_at_micros,
            None => self.head_committed_at.is_some_and(|at_head| event.committed_at_micros > at_head),
        }
    }

    /// The users of the subscriptions here.
    pub fn users(&self) -> impl Iterator<Item = messenger_common::id::UserId> {
        self.subs.iter().map(|(_, sub)| sub.reader.user())
    }
}
