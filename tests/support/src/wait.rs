//! Waiting: for blocking work without holding up the rest, and for what comes by itself, up to a
//! deadline.

use std::time::Duration;

use tokio::sync::RwLock;

/// How long a test waits for what should come at once, on a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(20);

/// How long one test may take in all, private deployments included.
pub const TEST_LIMIT: Duration = Duration::from_mins(3);

/// Runs blocking work of the harness (starting a process and waiting until it is ready) off the
/// test's own thread, so that what else the test has under way goes on.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Held by every test: shared with others, or by one that must be alone.
static MACHINE: RwLock<()> = RwLock::const_new(());

/// Awaits `test` and panics when it takes longer than [`TEST_LIMIT`].
pub async fn limited<T>(test: impl Future<Output = T>) -> T {
    let _beside_others = MACHINE.read().await;
    in_time(test).await
}

/// The same for a test that asserts how long something takes: it begins when those that run have
/// ended, and none begins before it has ended. The others' share of the machine would be measured
/// with it.
pub async fn limited_alone<T>(test: impl Future<Output = T>) -> T {
    let _alone = MACHINE.write().await;
    in_time(test).await
}

async fn in_time<T>(test: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(TEST_LIMIT, test).await else {
        panic!("the test took longer than {TEST_LIMIT:?}");
    };
    value
}

/// Awaits `work` and panics with `what` when it takes longer than [`SOON`].
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(SOON, work).await;
    done.unwrap_or_else(|_| panic!("{what}: not within {SOON:?}"))
}

/// Asks `is_so` again and again until it is; panics with `what` after [`SOON`].
pub async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    eventually(what, SOON, async || is_so().await.then_some(())).await;
}

/// Asks `probe` again and again until it gives a value; panics with `what` after `limit`.
pub async fn eventually<T>(what: &str, limit: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + limit;
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The same for blocking callers.
pub fn eventually_blocking<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Result<T, String> {
    let deadline = std::time::Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return Ok(value);
        }
        if std::time::Instant::now() >= deadline {
            return Err(format!("{what}: not within {limit:?}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
