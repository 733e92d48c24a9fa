//! The trace of a client that names one in its handshake: its commands belong to it.

use super::Conn;
use messenger_common::event::TraceContext;

impl Conn {
    /// Its commands belong to this trace.
    pub(crate) fn belongs_to(&self, trace: Option<TraceContext>) {
        if trace.is_some() {
            self.with_extras(|extras| extras.trace = trace);
        }
    }

    /// The trace that its commands belong to.
    pub(crate) fn trace(&self) -> Option<TraceContext> {
        self.extras.borrow().as_ref().and_then(|extras| extras.trace)
    }
}
