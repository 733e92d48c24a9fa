//! A subscription that begins or is behind: where it starts, and how it reaches the feed's head
//! from the ring or the log.

use super::{Event, Feed, HOLD, Handed, Next, Phase, Piece, Push, Reader, Repair};
use crate::protocol::Reply;
use messenger_common::id::Seq;
use messenger_common::metrics::GapCause;

/// The store's answer on a subscription's chat and user, in one snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    /// The head of the log.
    pub head: Seq,
    /// The last number that the log no longer keeps.
    pub floor: Seq,
    /// Where the client left off, if it says so.
    pub after: Option<Seq>,
}

/// How a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// It brings what comes after this.
    pub cursor: Seq,
    /// How many events that are committed already.
    pub recovered: i64,
    /// The log does not reach back to where the client left off.
    pub resync: bool,
}

/// How far a subscription came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is live, has ended, or was not behind; or there is a doubt, and it goes on after that.
    Done,
    /// Its reader's queue is full: go on when it has emptied.
    Full,
    /// The log must be read after this number.
    Read(Seq),
    /// The log cannot give what comes next. The lost events may have removed its user: its rights
    /// must be read anew, for [`Feed::readmit`].
    Lost,
}

impl<C: Reader> Feed<C> {
    /// Begins a pending subscription: it knows its rights and its place. It is behind until
    /// [`Self::catch_up`] finds it is not. [`Self::go_on`] hands on what the first subscription's
    /// head has unlocked.
    pub fn admit(&mut self, key: usize, Admission { head, floor, after }: Admission) -> Option<Begun> {
        self.reached(head);
        let resync = after.is_some_and(|after| after > head || after < floor);
        let cursor = after.filter(|_| !resync).unwrap_or(head);
        let sub = self.subs.get_mut(key)?;
        (sub.cursor, sub.starts_after, sub.admitted_at) = (cursor, cursor, head);
        sub.fall_behind();
        // One that came while its rights were read.
        self.ring.events().chain(self.held.values()).for_each(|event| sub.removal_known(event));
        Some(Begun { cursor, recovered: head.0 - cursor.0, resync })
    }

    /// The repair that is due once a subscription has begun. `confirmations`: how often the channel
    /// had been confirmed before the store was read; what was committed before a later confirmation
    /// may have been published to nobody.
    pub fn repair_after_admission(&mut self, confirmations: u32) -> Option<Repair> {
        if self.confirmations == confirmations {
            self.gap_due(GapCause::HeadCheck, HOLD)
        } else {
            self.head_due(GapCause::LinkRestored)
        }
    }

    /// Moves a subscription on that is behind, from a piece of the log and from the ring. One whose
    /// user was removed ends where the ring does not reach down to it.
    pub fn catch_up(&mut self, key: usize, piece: Option<&Piece>, handed: &mut impl Handed) -> Step {
        loop {
            let Some(sub) = self.subs.get(key).filter(|sub| sub.phase == Phase::Behind) else { return Step::Done };
            if sub.is_lost {
                return Step::Lost;
            }
            if self.doubted > 0 {
                return Step::Done;
            }
            let (cursor, ends) = (sub.cursor, sub.left_at.is_some());
            // The log has the texts of now: who is known to have left has no right to them (G6).
            let next = piece.filter(|_| !ends).map_or(Next::Unknown, |piece| piece.next_after(cursor));
            let given = match next {
                Next::Events(events) => self.give_all(key, events, handed),
                Next::Pruned => return Step::Lost,
                next @ (Next::Hole | Next::Unknown) => {
                    let has_more = self.head.is_some_and(|head| cursor < head);
                    // Events that the store had when the subscription began and the bus has yet to
                    // bring comes from the log.
                    if !has_more && cursor >= sub.admitted_at {
                        self.subs[key].phase = Phase::Live;
                        return Step::Done;
                    }
                    match (self.ring.after(cursor).cloned(), next) {
                        (Some(event), _) => self.give(key, &event, handed),
                        (None, _) if ends => {
                            self.end(key);
                            return Step::Done;
                        }
                        (None, Next::Hole) => return Step::Lost,
                        (None, _) => return Step::Read(cursor),
                    }
                }
            };
            match given {
                Push::Taken => {}
                Push::Full => return Step::Full,
                Push::Gone => return Step::Done,
            }
        }
    }

    /// Goes on from `head` with a subscription to which events are lost: as of there its user is a
    /// member, and the client gets a resync. One that is full gets it later, after another look at
    /// its rights.
    pub fn readmit(&mut self, key: usize, head: Seq) {
        let Some(sub) = self.subs.get_mut(key) else { return };
        let resync = Reply::Resync { chat_id: self.chat, seq: head }.to_frame(None);
        let is_due = sub.phase == Phase::Behind && (sub.is_lost || sub.cursor < head);
        if is_due && sub.push(&resync, head) == Push::Taken {
            sub.admitted_at = head;
            if std::mem::take(&mut sub.is_lost) {
                sub.starts_after = head;
            }
            sub.ends_at = sub.ends_at.filter(|removal| *removal > head);
            sub.left_at = sub.left_at.filter(|left| *left > head);
        }
    }

    fn give_all(&mut self, key: usize, events: &[Event], handed: &mut impl Handed) -> Push {
        let unfit = events.iter().map(|event| self.give(key, event, handed)).find(|given| *given != Push::Taken);
        unfit.unwrap_or(Push::Taken)
    }

    /// Gives a subscription its next event; the event that removes its user, or the chat, is the
    /// last (G6).
    fn give(&mut self, key: usize, event: &Event, handed: &mut impl Handed) -> Push {
        let sub = &mut self.subs[key];
        debug_assert_eq!(event.seq, sub.cursor.next(), "a subscription is given consecutive numbers");
        let pushed = sub.push(&event.frame, event.seq);
        if pushed == Push::Taken {
            handed(event, 1);
            if event.seq > sub.admitted_at && event.removes(sub.reader.user()) {
                self.end(key);
                return Push::Gone;
            }
        }
        pushed
    }
}
