//! What only some connections need.

use super::{Conn, aside, echo, handover, newest, streak, throttle};
use messenger_common::event::TraceContext;

/// State that only some connections need, made when they do.
#[derive(Debug, Default)]
pub(super) struct Extras {
    pub(super) aside: aside::Aside,
    pub(super) newest: newest::Newest,
    pub(super) handover: handover::Handover,
    pub(super) typing: throttle::TypingThrottle,
    pub(super) reads: echo::ReadEchoes,
    pub(super) rate: streak::RateStreak,
    pub(super) trace: Option<TraceContext>,
}

impl Conn {
    pub(super) fn with_extras<T>(&self, work: impl FnOnce(&mut Extras) -> T) -> T {
        work(self.extras.borrow_mut().get_or_insert_default())
    }
}
