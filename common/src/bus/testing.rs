//! Tasks of a test's own.

use super::Tasks;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tasks that end when this is dropped.
pub(crate) struct TestTasks {
    pub(crate) tasks: Tasks,
    stopping: CancellationToken,
}

impl TestTasks {
    pub(crate) fn new() -> Self {
        let (tracker, stopping) = (TaskTracker::new(), CancellationToken::new());
        let tasks = Tasks::new(move |_, task| drop(tracker.spawn(task)), stopping.clone());
        Self { tasks, stopping }
    }
}

impl Drop for TestTasks {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}
