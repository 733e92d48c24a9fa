//! The newest events of a feed, for subscriptions that fall behind or come back.

use super::Event;
use messenger_common::id::Seq;
use std::collections::VecDeque;

/// Events kept at most.
const EVENTS_KEPT: usize = 64;
/// Bytes of frames kept at most.
const BYTES_KEPT: usize = 64 * 1024;

/// Consecutive events up to the feed's head.
#[derive(Debug, Default)]
pub(super) struct Ring {
    events: VecDeque<Event>,
    bytes: usize,
    /// When it was last added to, in ticks of the caller.
    tick: u32,
}

impl Ring {
    /// Keeps the event at the head. One that rewrites history makes what is kept untrue: older
    /// events come from the log then.
    pub(super) fn keep(&mut self, event: &Event, tick: u32) {
        if event.kind.rewrites_history() {
            self.clear();
        }
        self.tick = tick;
        self.bytes += event.frame.len();
        self.events.push_back(event.clone());
        while self.events.len() > EVENTS_KEPT || self.bytes > BYTES_KEPT {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.frame.len();
        }
    }

    /// The event after a cursor, if it is kept.
    pub(super) fn after(&self, cursor: Seq) -> Option<&Event> {
        let first = self.events.front()?.seq;
        let at = usize::try_from(cursor.next().0 - first.0).ok()?;
        self.events.get(at)
    }

    /// All that it keeps.
    pub(super) fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter()
    }

    /// Lets go of all where nothing was added for `ticks`.
    pub(super) fn age(&mut self, tick: u32, ticks: u32) {
        if !self.events.is_empty() && tick.wrapping_sub(self.tick) > ticks {
            self.clear();
            self.events.shrink_to_fit();
        }
    }

    pub(super) fn clear(&mut self) {
        self.events.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{event, event_of};
    use super::*;
    use bytes::Bytes;
    use messenger_common::event::EventKind;

    fn filled(numbers: std::ops::RangeInclusive<i64>) -> Ring {
        let mut ring = Ring::default();
        numbers.for_each(|number| ring.keep(&event(number), 0));
        ring
    }

    fn after(ring: &Ring, cursor: i64) -> Option<i64> {
        ring.after(Seq(cursor)).map(|event| event.seq.0)
    }

    #[test]
    fn it_answers_for_its_own_numbers_only() {
        let ring = filled(1..=100);
        let answers = [35, 36, 99, 100].map(|cursor| after(&ring, cursor));
        assert_eq!(answers, [None, Some(37), Some(100), None], "64 are kept: 37 to 100");
    }

    #[test]
    fn its_bytes_are_bounded_too() {
        let mut ring = Ring::default();
        for number in 1..=10 {
            ring.keep(&Event { frame: Bytes::from(vec![0; BYTES_KEPT / 4]), ..event(number) }, 0);
        }
        assert_eq!([after(&ring, 5), after(&ring, 6)], [None, Some(7)]);
        assert!(ring.bytes <= BYTES_KEPT);
    }

    #[test]
    fn an_edit_makes_it_forget_the_text_before_it() {
        let mut ring = filled(1..=2);
        ring.keep(&event_of(3, EventKind::MessageEdited), 0);
        assert_eq!([after(&ring, 1), after(&ring, 2)], [None, Some(3)]);
    }

    #[test]
    fn it_lets_go_by_age() {
        let mut ring = filled(1..=1);
        ring.age(10, 10);
        assert_eq!(after(&ring, 0), Some(1));
        ring.age(11, 10);
        assert_eq!(after(&ring, 0), None);
    }
}
