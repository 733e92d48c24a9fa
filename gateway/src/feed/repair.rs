//! Repairs: needs of a feed that only a read of the store can meet. The feed says when one is due,
//! its owner reads and brings the answer.
//!
//! Of a kind one read runs at a time. What [`Repair`] asks for counts as under way from then on,
//! so its owner must not drop it.

use super::{Feed, Known, Phase, Reader};
use messenger_common::id::Seq;
use messenger_common::metrics::GapCause;
use std::time::Duration;

/// Publishers race by less than this: an event before its turn waits so long for the one before
/// it, then the log is asked.
pub const HOLD: Duration = Duration::from_millis(20);

/// A read that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a feed waits for the repair that it asked for"]
pub enum Repair {
    /// The log, as long as [`Feed::missing`] says where from; first a pause, in which what is
    /// missing may come by itself.
    Gap(GapCause, Duration),
    /// The log's head, for [`Feed::head_answered`]: an event may have been lost.
    Head(GapCause),
}

/// Whether the log is being asked for a chat's head, and what was known when there was reason to.
/// Events that come between the reason and the answer may be of another history already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum HeadQuery {
    /// It is not.
    #[default]
    Idle,
    /// It is.
    Asked(Known),
    /// It is, and since then there was a reason to ask again: the answer may be older than that.
    AskAgain(Known, Known),
}

impl<C: Reader> Feed<C> {
    /// Whether something after the head is known to be missing here.
    pub fn has_gap(&self) -> bool {
        self.head.is_some_and(|head| self.log_reached > head)
    }

    /// The repair of a gap, if there is one and none is under way.
    pub(super) fn gap_due(&mut self, cause: GapCause, hold: Duration) -> Option<Repair> {
        let due = self.has_gap() && !self.filling && self.doubted == 0;
        self.filling |= due;
        due.then_some(Repair::Gap(cause, hold))
    }

    /// The range that the repair of a gap has to read: after the first number, up to the second.
    /// `None` ends it; where there is a doubt, the answer to that begins it anew.
    pub fn missing(&mut self) -> Option<(Seq, Seq)> {
        let range = self.head.map(|head| (head, self.log_reached));
        let missing = range.filter(|(head, known)| known > head && self.doubted == 0);
        self.filling = missing.is_some();
        missing
    }

    /// Whether a gap is being repaired.
    pub fn is_filling(&self) -> bool {
        self.filling
    }

    /// Whether a repair is under way that closes a gap.
    pub fn is_repairing(&self) -> bool {
        self.filling || self.head_query != HeadQuery::Idle
    }

    /// There is a reason to compare the head with the log's. A query that runs may be answered from
    /// before that reason, so another one follows it.
    pub fn head_due(&mut self, cause: GapCause) -> Option<Repair> {
        let known = self.known();
        let was = self.head_query;
        self.head_query = match was {
            HeadQuery::Idle => HeadQuery::Asked(known),
            HeadQuery::Asked(asked) => HeadQuery::AskAgain(asked, known),
            HeadQuery::AskAgain(..) => was,
        };
        (was == HeadQuery::Idle).then_some(Repair::Head(cause))
    }

    /// The store may have lost commits. Until it answered, nothing is handed on: an event of the
    /// present history does not belong behind one of a lost history. The answer does not speak for
    /// events that are held or come meanwhile, so they come from the log.
    pub fn doubt(&mut self) -> Option<Repair> {
        self.held.clear();
        self.doubted = if self.head_query == HeadQuery::Idle { 1 } else { 2 };
        // The question that follows for an earlier reason is this one's too.
        if let HeadQuery::AskAgain(_, next) = &mut self.head_query {
            next.has_reached(self.log_reached);
        }
        self.head_due(GapCause::HeadCheck)
    }

    /// Goes on with those that were behind meanwhile.
    pub(super) fn end_doubt(&mut self) {
        (self.doubted, self.held_up) = (0, None);
        self.subs.iter().filter(|(_, sub)| sub.phase == Phase::Behind).for_each(|(_, sub)| sub.reader.fell_behind());
    }

    /// Whether it waits for the store's answer, and hands on nothing meanwhile.
    pub fn is_in_doubt(&self) -> bool {
        self.doubted > 0
    }

    /// The knowledge to compare the query's answer with, if a query is under way.
    pub fn asked_about(&self) -> Option<Known> {
        match self.head_query {
            HeadQuery::Idle => None,
            HeadQuery::Asked(known) | HeadQuery::AskAgain(known, _) => Some(known),
        }
    }

    /// The same where a query that runs is young enough.
    pub fn head_due_once(&mut self, cause: GapCause) -> Option<Repair> {
        if self.head_query == HeadQuery::Idle { self.head_due(cause) } else { None }
    }

    /// The log's head, if the chat has one. Says which repair is due, and whether to ask once more.
    /// [`Feed::compare`] comes first.
    pub fn head_answered(&mut self, head: Option<Seq>, cause: GapCause) -> (Option<Repair>, bool) {
        let mut again = false;
        if let HeadQuery::AskAgain(_, next) = std::mem::take(&mut self.head_query) {
            self.head_query = HeadQuery::Asked(next);
            again = true;
        }
        match self.doubted {
            0 => {}
            1 => {
                self.held.clear();
                self.end_doubt();
            }
            more => self.doubted = more - 1,
        }
        let repair = head.and_then(|head| {
            self.reached(head);
            self.gap_due(cause, Duration::ZERO)
        });
        (repair, again)
    }

    /// The bus delivers the channel from here on: what was published before may be lost.
    pub fn on_channel_up(&mut self) -> Option<Repair> {
        self.channel_up = true;
        self.confirmations = self.confirmations.wrapping_add(1);
        // Without a head nothing was read yet that could lack an event.
        self.head.and_then(|_| self.head_due(GapCause::LinkRestored))
    }

    /// Whether the bus delivers the channel.
    pub fn is_channel_up(&self) -> bool {
        self.channel_up
    }

    /// How often the bus has confirmed the channel.
    pub fn confirmations(&self) -> u32 {
        self.confirmations
    }
}
