//! The end of a subscription whose user left (G6). In the code: `gateway::feed`, `removal_known`
//! and what follows from it.

use super::scenario::Protocol;
use super::state::{Breach, Seq, Stage, State};

impl Protocol {
    /// A leaving is known to the feed, in its turn or before it.
    pub(super) fn leaving_known(&self, s: &mut State, g: usize, seq: Seq) {
        for c in 0..s.clients.len() {
            let is_here = s.clients[c].gateway == Some(g) && s.db.is_leave(c, seq);
            let subscription = &mut s.clients[c].subscription;
            let begun = matches!(subscription.stage, Stage::Live | Stage::Behind | Stage::CatchUp { .. });
            if is_here && begun && seq > subscription.admitted {
                subscription.left_at = subscription.left_at.max(Some(seq));
            }
        }
    }

    pub(super) fn end(&self, s: &mut State, c: usize) {
        let granted = s.clients[c].subscription.granted;
        if !s.db.leaves_between(c, granted, s.db.head + 1) {
            s.breaks(Breach::UnjustEnd);
        }
        let subscription = &mut s.clients[c].subscription;
        (subscription.stage, subscription.left_at) = (Stage::Ended, None);
    }
}
