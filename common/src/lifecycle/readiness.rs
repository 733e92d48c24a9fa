//! The parts that a program depends on, for `/readyz`.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

/// The part that is up once the program has connected its back ends and listens.
pub const STARTED: &str = "started";
/// The part that is up while the database answers.
pub const DATABASE: &str = "database";
/// The part that is up while the bus is connected.
pub const BUS: &str = "bus";

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

    /// Whether the program serves what it is sent: it has started and does not drain, whatever its
    /// back ends do. Before its start it listens on no public port.
    pub fn serves(&self) -> bool {
        !self.is_draining() && self.is_up(STARTED)
    }

    /// Whether the part of that name is up.
    pub fn is_up(&self, part: &str) -> bool {
        self.flags.lock().iter().any(|(name, state)| *name == part && state.up.load(Ordering::Relaxed))
    }

    /// Whether all parts are up and nothing drains.
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
    fn a_started_program_serves_whatever_its_back_ends_do() {
        let draining = CancellationToken::new();
        let readiness = Readiness::new(draining.clone());
        assert!(!readiness.serves());
        let (started, bus) = (readiness.register(STARTED), readiness.register(BUS));
        bus.set(true);
        assert!(!readiness.serves(), "before its start");
        started.set(true);
        bus.down("not connected".into());
        assert!(readiness.serves() && !readiness.is_ready());
        assert!(readiness.is_up(STARTED) && !readiness.is_up(BUS));
        draining.cancel();
        assert!(!readiness.serves());
    }

    #[test]
    fn ready_means_every_flag_is_up() {
        let readiness = Readiness::new(CancellationToken::new());
        let database = readiness.register(DATABASE);
        let bus = readiness.register(BUS);
        assert!(!readiness.is_ready());
        database.set(true);
        assert_eq!(readiness.checks(), [(DATABASE, true), (BUS, false)]);
        bus.set(true);
        assert!(readiness.is_ready());
        bus.down("not connected".into());
        assert!(!readiness.is_ready());
        assert_eq!(readiness.causes(), [(BUS, "not connected".to_owned())]);
        bus.set(true);
        assert!(readiness.is_ready() && readiness.causes().is_empty());
    }
}
