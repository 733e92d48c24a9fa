//! Live events: each goes once and in order to all who have had everything before it.

use super::{Event, Feed, HOLD, Next, Offer, Phase, Piece, Push, Reader, Repair, Sub};
use messenger_common::id::Seq;
use messenger_common::metrics::GapCause;

/// The effect of a piece of the log on a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing: it was read too early.
    None,
    /// The head moved on.
    Moved,
    /// The head moved on, past events that the log cannot give.
    Jumped,
}

/// Takes each event that is handed on, and how many readers took it at once.
pub trait Handed: FnMut(&Event, u64) {}
impl<F: FnMut(&Event, u64)> Handed for F {}

impl<C: Reader> Feed<C> {
    /// An event from the bus. `tick` is the caller's time, for [`Feed::age`].
    pub fn on_event(&mut self, event: &Event, tick: u32, handed: &mut impl Handed) -> Option<Repair> {
        self.removal_known(event);
        match self.offer(event) {
            Offer::Next => {
                self.hand_on(event, tick, handed);
                self.go_on(tick, handed);
            }
            // Its number is taken by another event: one of both is of a lost history.
            Offer::Had if self.contradicts(event) => return self.doubt(),
            Offer::Had => {}
            Offer::Held => {
                if self.doubted > 0 {
                    self.held_up.get_or_insert(tick);
                }
            }
        }
        self.gap_due(GapCause::Jump, HOLD)
    }

    /// Hands on what is held and whose turn has come.
    pub fn go_on(&mut self, tick: u32, handed: &mut impl Handed) {
        while let Some(event) = self.next_held() {
            self.hand_on(&event, tick, handed);
        }
    }

    /// A piece of the log, read because of a gap.
    pub fn on_piece(&mut self, piece: &Piece, tick: u32, handed: &mut impl Handed) -> Progress {
        let Some(before) = self.head.filter(|_| self.doubted == 0) else { return Progress::Moved };
        let (mut head, mut jumped) = (before, false);
        loop {
            match piece.next_after(head) {
                Next::Events(events) => {
                    for event in events {
                        self.removal_known(event);
                    }
                    for event in events {
                        if self.offer(event) == Offer::Next {
                            self.hand_on(event, tick, handed);
                        }
                    }
                }
                Next::Pruned | Next::Hole => {
                    jumped = true;
                    self.jump(piece.head());
                }
                Next::Unknown => break,
            }
            // Held events may fill what the log cannot give.
            self.go_on(tick, handed);
            head = self.head.unwrap_or(head);
        }
        self.log_reached = self.log_reached.max(piece.head());
        match (jumped, head > before) {
            (true, _) => Progress::Jumped,
            (false, true) => Progress::Moved,
            (false, false) => Progress::None,
        }
    }

    /// The log cannot be read where something is missing: goes on behind that.
    pub fn jump_the_gap(&mut self) -> Progress {
        let Some((after, known)) = self.missing() else { return Progress::Moved };
        // Events that are held need no log.
        let held = self.held.keys().map(|held| Seq(held.0 - 1)).find(|before| *before > after);
        self.jump(held.unwrap_or(known));
        Progress::Jumped
    }

    /// The log cannot give what is missing: goes on from its `head`. Each subscription finds out by
    /// its own cursor whether anything is lost to it, because one may be ahead of the feed; and
    /// only a new look at its rights lets it go on.
    fn jump(&mut self, head: Seq) {
        self.head = Some(head);
        self.head_committed_at = None;
        self.ring.clear();
        for (_, sub) in self.subs.iter_mut().filter(|(_, sub)| sub.is_due(head)) {
            sub.fall_behind();
        }
    }

    /// Delivers the event at the head to all who have had everything before it.
    fn hand_on(&mut self, event: &Event, tick: u32, handed: &mut impl Handed) {
        self.ring.keep(event, tick);
        let mut delivered = 0;
        for (_, sub) in self.subs.iter_mut().filter(|(_, sub)| sub.is_due(event.seq)) {
            delivered += u64::from(sub.push(&event.frame, event.seq) == Push::Taken);
        }
        handed(event, delivered);
        if event.is_removal() {
            self.fence(event);
        }
    }

    /// The fence (G6): live subscriptions of the removed end with the event that removed them. One
    /// that is behind ends when it comes to that event, or before it, where the ring does not reach
    /// down to it; one that is pending finds it when it begins.
    fn fence(&mut self, event: &Event) {
        let over = |sub: &Sub<C>| {
            sub.phase == Phase::Live
                && sub.cursor == event.seq
                && sub.admitted_at < event.seq
                && event.removes(sub.reader.user())
        };
        let over: Vec<usize> = self.subs.iter().filter(|(_, sub)| over(sub)).map(|(key, _)| key).collect();
        for key in over {
            self.end(key);
        }
    }

    /// A removal is known, in its turn or before it.
    fn removal_known(&mut self, event: &Event) {
        if event.is_removal() {
            self.subs.iter_mut().for_each(|(_, sub)| sub.removal_known(event));
        }
    }
}
