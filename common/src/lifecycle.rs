//! The life of a process: every task is started here, tracked, named, and ended in order
//! (guarantee G8).
//!
//! Stages: running → draining (not ready, nothing new is taken, running work finishes) → stopping
//! (everything ends). A long-lived task that ends before its time stops the process with a
//! failure: a half-dead server is worse than one that is restarted.
//!
//! Two doors: [`Lifecycle::spawn`] starts a task for the life of the process,
//! [`Lifecycle::spawn_task`] starts work that a drain waits for. [`Lifecycle::spawn_to_end`] is
//! the first door for the few tasks that finish what they hold.

mod readiness;
mod signals;

pub use readiness::{BUS, DATABASE, Readiness, ReadyFlag, STARTED};
pub use signals::Signals;

use parking_lot::Mutex;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The time of a drain beyond `DRAIN_SECONDS`, and the time that tasks have to end once stopping.
const MARGIN: Duration = Duration::from_secs(5);

/// Why the process stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// A signal asked for it, and the drain went well: exit code 0.
    Done,
    /// A long-lived task ended or panicked before its time: exit code 1.
    TaskDied(&'static str),
    /// A part failed that the program cannot run without: exit code 1.
    Failed(&'static str),
    /// Draining or stopping took too long: exit code 3.
    Deadline,
    /// A second signal came: exit code 130, at once.
    SecondSignal,
}

impl ExitReason {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::TaskDied(_) | Self::Failed(_) => 1,
            Self::Deadline => 3,
            Self::SecondSignal => 130,
        }
    }
}

/// Starts tasks and says when they end. Clones stand for the same process.
#[derive(Clone)]
pub struct Lifecycle {
    inner: Arc<Inner>,
}

struct Inner {
    draining: CancellationToken,
    stopping: CancellationToken,
    /// Short work: a drain waits for it.
    work: TaskTracker,
    /// Long-lived tasks: they end once stopping.
    tasks: TaskTracker,
    /// The first reason counts.
    reason: Mutex<Option<ExitReason>>,
    drain: Duration,
    margin: Duration,
    readiness: Readiness,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl Lifecycle {
    /// A process with the contract's `DRAIN_SECONDS`.
    pub fn new() -> Self {
        Self::with_drain(Duration::from_secs(10))
    }

    /// A process whose drain takes that long.
    pub fn with_drain(drain: Duration) -> Self {
        Self::with_margin(drain, MARGIN)
    }

    fn with_margin(drain: Duration, margin: Duration) -> Self {
        let draining = CancellationToken::new();
        Self {
            inner: Arc::new(Inner {
                readiness: Readiness::new(draining.clone()),
                draining,
                stopping: CancellationToken::new(),
                work: TaskTracker::new(),
                tasks: TaskTracker::new(),
                reason: Mutex::new(None),
                drain,
                margin,
            }),
        }
    }

    /// Starts a long-lived task. It is dropped once [`Self::stopping`], so it need not watch that
    /// token itself. If it ends before the drain begins, or panics, the process stops with a
    /// failure.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.stopping();
        self.spawn_to_end(name, async move {
            stopping.run_until_cancelled(task).await;
        });
    }

    /// As [`Self::spawn`], but the task is not dropped: it watches [`Self::stopping`], finishes
    /// what it holds and returns. The end of the process waits for it.
    #[allow(clippy::disallowed_methods, reason = "the one place that starts tasks")]
    pub fn spawn_to_end(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let this = self.clone();
        self.inner.tasks.spawn(async move {
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            if ended.is_err() {
                tracing::error!(task.name = name, "a task panicked: the process stops");
                this.stop(ExitReason::TaskDied(name));
            } else if !this.inner.draining.is_cancelled() && !this.inner.stopping.is_cancelled() {
                tracing::error!(task.name = name, "a task ended before its time: the process stops");
                this.stop(ExitReason::TaskDied(name));
            }
        });
    }

    /// Starts work that ends by itself. A drain waits for it. A panic in it is logged, stops
    /// nothing else, and reaches the handle.
    #[allow(clippy::disallowed_methods, reason = "the one place that starts tasks")]
    pub fn spawn_task<T: Send + 'static>(
        &self,
        name: &'static str,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.inner.work.spawn(async move {
            match AssertUnwindSafe(future).catch_unwind().await {
                Ok(value) => value,
                Err(panic) => {
                    tracing::error!(task.name = name, "a task panicked");
                    std::panic::resume_unwind(panic)
                }
            }
        })
    }

    /// A drain waits until this is dropped: for a long-lived task that has something to finish when
    /// the drain begins.
    pub fn hold_drain(&self) -> TaskTrackerToken {
        self.inner.work.token()
    }

    /// Cancelled when the process may take nothing new.
    pub fn draining(&self) -> CancellationToken {
        self.inner.draining.clone()
    }

    /// Cancelled when everything must end.
    pub fn stopping(&self) -> CancellationToken {
        self.inner.stopping.clone()
    }

    /// The parts that the program depends on, for `/readyz`.
    pub fn readiness(&self) -> &Readiness {
        &self.inner.readiness
    }

    /// Begins the orderly end.
    pub fn begin_drain(&self) {
        self.inner.draining.cancel();
    }

    /// Ends everything. The first reason decides the exit code.
    pub fn stop(&self, reason: ExitReason) {
        self.inner.reason.lock().get_or_insert(reason);
        self.inner.draining.cancel();
        self.inner.stopping.cancel();
    }

    /// Waits for a signal, then begins the drain. A second one stops the process at once. Returns
    /// once stopping.
    pub async fn wait_signals(&self, mut signals: Signals) {
        loop {
            tokio::select! {
                () = signals.next() => {}
                () = self.inner.stopping.cancelled() => return,
            }
            if self.inner.draining.is_cancelled() {
                tracing::warn!("a second signal: stopping at once");
                self.stop(ExitReason::SecondSignal);
            } else {
                tracing::info!("draining");
                self.begin_drain();
            }
        }
    }

    /// Waits for the drain to begin and sees the process to its end. The drain (`drained`, and
    /// running work) has `DRAIN_SECONDS` and five more; then the tasks have five to stop. The exit
    /// code says whether all went well.
    pub async fn run_until_done(self, drained: impl Future<Output = ()>) -> ExitCode {
        ExitCode::from(self.finish(drained).await.code())
    }

    async fn finish(self, drained: impl Future<Output = ()>) -> ExitReason {
        let inner = &self.inner;
        inner.draining.cancelled().await;
        let orderly = async {
            drained.await;
            inner.work.close();
            inner.work.wait().await;
        };
        tokio::select! {
            ended = tokio::time::timeout(inner.drain + inner.margin, orderly) => {
                self.stop(if ended.is_ok() { ExitReason::Done } else { ExitReason::Deadline });
            }
            () = inner.stopping.cancelled() => {}
        }
        let first = *inner.reason.lock();
        if first == Some(ExitReason::SecondSignal) {
            return ExitReason::SecondSignal;
        }
        inner.tasks.close();
        inner.work.close();
        let all = async {
            inner.tasks.wait().await;
            inner.work.wait().await;
        };
        let ended = tokio::time::timeout(inner.margin, all).await.is_ok();
        let reason = match *inner.reason.lock() {
            Some(ExitReason::Done) | None if !ended => ExitReason::Deadline,
            Some(reason) => reason,
            None => ExitReason::Done,
        };
        tracing::info!(?reason, "stopped");
        reason
    }
}

#[cfg(test)]
mod tests;
