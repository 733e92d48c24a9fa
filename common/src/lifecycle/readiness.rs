//! The parts that a program depends on, for `/readyz`.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

type Flag = (&'static str, Arc<State>);

#[derive(Default)]
struct State {
    up: AtomicBool,
    cause: Mutex<Option<String>>,
}

/// The parts that the program depends on: `/readyz` is 200 only while every flag is up and nothing
/// drains.
#[derive(Clone)]
pub struct Readiness {
    draining: CancellationToken,
    flags: Arc<Mutex<Vec<Flag>>>,
}

impl Readiness {
    /// No parts yet.
    pub(super) fn new(draining: CancellationToken) -> Self {
        Self { draining, flags: Arc::default() }
    }

    /// Registers a part. Its flag is down until it is set.
    pub fn register(&self, name: &'static str) -> ReadyFlag {
        let flag = Arc::<State>::default();
        self.flags.lock().push((name, flag.clone()));
        ReadyFlag(flag)
    }

    /// Whether a load balancer may send new work.
    pub fn is_ready(&self) -> bool {
        !self.is_draining() && self.flags.lock().iter().all(|(_, state)| state.up.load(Ordering::Relaxed))
    }

    /// Whether the program drains or stops.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Each part, and whether it is up.
    pub fn checks(&self) -> Vec<(&'static str, bool)> {
        self.flags.lock().iter().map(|(name, state)| (*name, state.up.load(Ordering::Relaxed))).collect()
    }

    /// Why parts are down, of those that gave a cause.
    pub fn causes(&self) -> Vec<(&'static str, String)> {
        self.flags.lock().iter().filter_map(|(name, state)| Some((*name, state.cause.lock().clone()?))).collect()
    }
}

/// The flag of one part.
#[derive(Clone)]
pub struct ReadyFlag(Arc<State>);

impl ReadyFlag {
    /// Sets the flag up or down.
    pub fn set(&self, up: bool) {
        self.0.up.store(up, Ordering::Relaxed);
        if up {
            *self.0.cause.lock() = None;
        }
    }

    /// Sets the flag down, with the cause for whoever asks `/readyz`.
    pub fn down(&self, cause: String) {
        self.set(false);
        *self.0.cause.lock() = Some(cause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_every_flag_is_up() {
        let readiness = Readiness::new(CancellationToken::new());
        let database = readiness.register("database");
        let bus = readiness.register("bus");
        assert!(!readiness.is_ready());
        database.set(true);
        assert_eq!(readiness.checks(), [("database", true), ("bus", false)]);
        bus.set(true);
        assert!(readiness.is_ready());
        bus.down("not connected".into());
        assert!(!readiness.is_ready());
        assert_eq!(readiness.causes(), [("bus", "not connected".to_owned())]);
        bus.set(true);
        assert!(readiness.is_ready() && readiness.causes().is_empty());
    }
}
