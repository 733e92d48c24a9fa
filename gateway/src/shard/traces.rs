//! The traces of events: each comes from the bus before its event, and its span ends once the
//! frames were written.

use super::Shard;
use crate::inbox::TracedArrival;
use messenger_common::id::{ChatId, Seq, UserId};
use messenger_common::traces::Part;
use std::collections::VecDeque;

/// Traces whose events have not come yet; beyond it the oldest is dropped. One whose event was
/// delivered before, or by a read of the log, never finds it.
const EXPECTED: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Expected {
    expected: VecDeque<TracedArrival>,
    /// Those whose events were handed to so many connections.
    handed: Vec<(TracedArrival, u64)>,
}

impl Expected {
    /// The event of this trace follows.
    pub(super) fn expect(&mut self, arrival: TracedArrival) {
        if self.expected.len() == EXPECTED {
            self.expected.pop_front();
        }
        self.expected.push_back(arrival);
    }

    /// An event, or the notice of that user, was handed to so many connections.
    pub(super) fn handed(&mut self, user: Option<UserId>, chat: ChatId, seq: Seq, readers: u64) {
        if self.expected.is_empty() || readers == 0 {
            return;
        }
        let is_it = |arrival: &TracedArrival| {
            arrival.user_id == user && (arrival.traced.chat_id, arrival.traced.seq) == (chat, seq)
        };
        if let Some(arrival) = self.expected.iter().position(is_it).and_then(|at| self.expected.remove(at)) {
            self.handed.push((arrival, readers));
        }
    }
}

impl Shard {
    /// Ends the spans of what was handed on: its frames are written by now, but for those behind a
    /// slow reader and those of a large fan-out's later slices.
    pub(crate) fn end_traces(&self) {
        let mut traces = self.traces.borrow_mut();
        for (TracedArrival { user_id, traced, at }, readers) in traces.handed.drain(..) {
            let context = Some(traced.context);
            let Some(mut span) = self.hub.ctx.traces.begin_at(Part::Delivered, "deliver", context, Some(at)) else {
                continue;
            };
            span.of_event(traced.chat_id, traced.seq);
            span.set("messenger.connections", i64::try_from(readers).unwrap_or(i64::MAX));
            span.set("messenger.notice", user_id.is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use messenger_common::event::{TraceContext, Traced};
    use std::time::SystemTime;

    fn arrival(user: Option<i64>, seq: i64) -> TracedArrival {
        let context = TraceContext { trace_id: [1; 16], span_id: [2; 8], is_sampled: true };
        let traced = Traced { chat_id: ChatId(1), seq: Seq(seq), context };
        TracedArrival { user_id: user.map(UserId), traced, at: SystemTime::UNIX_EPOCH }
    }

    fn handed(expected: &mut Expected, user: Option<i64>, seq: i64, readers: u64) -> usize {
        expected.handed(user.map(UserId), ChatId(1), Seq(seq), readers);
        expected.handed.len()
    }

    #[test]
    fn a_trace_meets_its_own_event_once() {
        let mut expected = Expected::default();
        expected.expect(arrival(None, 5));
        expected.expect(arrival(Some(7), 5));
        let met = [(None, 4, 1), (None, 5, 0), (None, 5, 3), (None, 5, 3), (Some(8), 5, 1), (Some(7), 5, 1)];
        let counts = met.map(|(user, seq, readers)| handed(&mut expected, user, seq, readers));
        assert_eq!(counts, [0, 0, 1, 1, 1, 2]);
        assert!(expected.expected.is_empty());
    }

    #[test]
    fn traces_whose_events_do_not_come_are_bounded() {
        let mut expected = Expected::default();
        (0..1000).for_each(|seq| expected.expect(arrival(None, seq)));
        assert_eq!(expected.expected.len(), EXPECTED);
        assert_eq!(handed(&mut expected, None, 999, 1), 1);
    }
}
