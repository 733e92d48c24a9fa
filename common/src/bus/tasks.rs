//! How a back end starts its long-lived tasks: through whoever tracks them, never by itself.

use crate::lifecycle::Lifecycle;
use futures_util::future::BoxFuture;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

type Spawn = dyn Fn(&'static str, BoxFuture<'static, ()>) + Send + Sync;

/// Starts named, tracked tasks and says when they are to end.
#[derive(Clone)]
pub struct Tasks {
    spawn: Arc<Spawn>,
    stopping: CancellationToken,
}

impl Tasks {
    /// Tasks that `spawn` starts and that end when `stopping` is cancelled.
    pub fn new(
        spawn: impl Fn(&'static str, BoxFuture<'static, ()>) + Send + Sync + 'static,
        stopping: CancellationToken,
    ) -> Self {
        Self { spawn: Arc::new(spawn), stopping }
    }

    /// Starts a task that runs until [`Self::stopping`]; it is dropped there, so it need not watch the token itself.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.stopping.clone();
        (self.spawn)(
            name,
            Box::pin(async move {
                stopping.run_until_cancelled(task).await;
            }),
        );
    }

    /// Cancelled when everything must end.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }
}

impl From<&Lifecycle> for Tasks {
    fn from(lifecycle: &Lifecycle) -> Self {
        let tracked = lifecycle.clone();
        Self::new(move |name, task| tracked.spawn(name, task), lifecycle.stopping())
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tasks")
    }
}
