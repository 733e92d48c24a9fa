//! Retention: events that are older than `EVENT_RETENTION_DAYS` leave the log, a few at a time.
//!
//! Imports `store`. Any number of processes may prune one log.

use crate::store::Store;
use std::sync::Arc;
use std::time::Duration;

/// Entries of the log that are removed in one transaction: it must not hold up the writes beside
/// it.
const ENTRIES: usize = 1_000;
/// The pause between two transactions while there is more to remove.
const PAUSE: Duration = Duration::from_millis(200);
/// The pause once nothing is left to remove, or after a failure.
const EVERY: Duration = Duration::from_mins(1);

/// Removes what is older than `retention`, for as long as the process lives.
pub async fn run(store: Arc<dyn Store>, retention: Duration) {
    loop {
        let pause = match store.prune(retention, ENTRIES).await {
            Ok(pruned) if pruned > 0 => {
                tracing::debug!(log.entries = pruned, "pruned the log");
                PAUSE
            }
            Ok(_) => EVERY,
            Err(error) => {
                tracing::debug!(%error, "the log could not be pruned");
                EVERY
            }
        };
        tokio::time::sleep(pause).await;
    }
}
