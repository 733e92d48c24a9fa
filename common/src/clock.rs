//! Time as an argument: the rules take a [`Clock`], so that a test says what time it is and no
//! rule reads a global.

use std::sync::Arc;
use time::OffsetDateTime;

/// A difference of two machines' clocks that users may notice.
pub const NOTICEABLE: time::Duration = time::Duration::seconds(1);

/// A source of the present time, in UTC.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> OffsetDateTime + Send + Sync>);

impl Clock {
    /// The machine's clock.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads it")]
    pub fn system() -> Self {
        Self(Arc::new(OffsetDateTime::now_utc))
    }

    /// A clock of the caller's making.
    pub fn from_fn(now: impl Fn() -> OffsetDateTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The present time.
    pub fn now(&self) -> OffsetDateTime {
        (self.0)()
    }
}

/// How far another machine's clock is ahead of ours, which was read before and after the question.
pub fn ahead(theirs: OffsetDateTime, asked: OffsetDateTime, answered: OffsetDateTime) -> time::Duration {
    theirs - (asked + (answered - asked) / 2)
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}
