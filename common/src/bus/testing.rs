//! Tasks of a test's own.

use crate::lifecycle::{ExitReason, Lifecycle};

/// Tasks that end when this is dropped.
pub(crate) struct TestTasks {
    pub(crate) tasks: Lifecycle,
}

impl TestTasks {
    pub(crate) fn new() -> Self {
        Self { tasks: Lifecycle::new() }
    }
}

impl Drop for TestTasks {
    fn drop(&mut self) {
        self.tasks.stop(ExitReason::Done);
    }
}
