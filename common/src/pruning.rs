//! Upkeep of the store, a few rows at a time. Events that are older than `EVENT_RETENTION_DAYS`
//! leave the log. Texts of deleted chats are erased. Sessions, idempotency keys, invitations and
//! networks whose time is over are removed. Messages of an older release get the words by which
//! search finds them, and addresses of one the spelling by which they are compared. Words of new
//! messages are merged into the index.
//!
//! Imports `store`. Any number of processes may do so at once.

use crate::error::Error;
use crate::id::UserId;
use crate::store::{Spelled, Store};
use futures_util::FutureExt;
use prometheus::IntCounter;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The most rows of each kind that one round removes: it must not hold up the writes beside it.
const ROWS_PER_KIND: usize = 1_000;
/// The pause between two rounds while there is more to remove.
const PRUNE_PAUSE: Duration = Duration::from_millis(200);
/// The pause once nothing is left to remove, or after a failure.
const PRUNE_EVERY: Duration = Duration::from_mins(1);

/// Removes old events, texts of deleted chats, and sessions, idempotency keys, invitations and
/// networks whose time is over, for as long as the process lives.
pub async fn run(store: Arc<dyn Store>, retention: Duration) {
    loop {
        let pause = match store.prune(retention, ROWS_PER_KIND).await {
            Ok(pruned) if pruned > 0 => {
                tracing::debug!(rows = pruned, "pruned");
                PRUNE_PAUSE
            }
            Ok(_) => PRUNE_EVERY,
            Err(error) => {
                tracing::debug!(%error, "the log could not be pruned");
                PRUNE_EVERY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Messages that get their words in one transaction.
const FILLED: usize = 200;
/// The pause between two of them.
const FILL_PAUSE: Duration = Duration::from_millis(100);
/// The pause while no message lacks its words. A node of an older release may store some still.
const FILL_EVERY: Duration = Duration::from_secs(10);

/// Gives messages of an older release the words by which search finds them, the newest first, for
/// as long as the process lives.
pub async fn fill_words(store: Arc<dyn Store>) {
    let mut filled = 0;
    loop {
        let pause = match store.fill_words(FILLED).await {
            Ok(0) => {
                if filled > 0 {
                    tracing::info!(messages = filled, "messages of an older release can be searched");
                }
                filled = 0;
                FILL_EVERY
            }
            Ok(found) => {
                filled += found;
                FILL_PAUSE
            }
            Err(error) => {
                tracing::debug!(%error, "messages could not be made searchable");
                FILL_EVERY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Accounts whose addresses get their spelling in one statement.
const SPELLED: usize = 500;

/// Gives addresses that an older release stored the spelling by which they are compared, those of
/// the oldest accounts first, for as long as the process lives.
pub async fn spell_addresses(store: Arc<dyn Store>) {
    let mut said = false;
    let (mut after, mut apart) = (UserId(0), 0);
    loop {
        let pause = match store.spell_addresses(after, SPELLED).await {
            Ok(Spelled { last: Some(last), apart: more }) => {
                apart += more;
                after = last;
                FILL_PAUSE
            }
            Ok(Spelled { last: None, .. }) => {
                if apart > 0 && !std::mem::replace(&mut said, true) {
                    tracing::warn!(
                        accounts = apart,
                        "older accounts have the addresses of some accounts in another spelling; each logs in by its own"
                    );
                }
                (after, apart) = (UserId(0), 0);
                FILL_EVERY
            }
            Err(error) => {
                tracing::debug!(%error, "addresses could not be given their spelling");
                FILL_EVERY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// The pause between two looks at the words that wait.
const MERGE_LOOK: Duration = Duration::from_millis(250);
/// The pause while the database is away, or busy with the index, and where it refuses.
const MERGE_AWAY: Duration = Duration::from_secs(2);
const MERGE_REFUSED: Duration = Duration::from_secs(10);

/// Merges the words of new messages into the index by which search finds them, for as long as the
/// process lives. Asks nothing while nothing is written. Counts the merges that failed.
pub async fn merge_words(store: Arc<dyn Store>, failures: IntCounter) {
    let mut failed = false;
    loop {
        store.words_written().await;
        let (mut written, mut pause) = (Instant::now(), MERGE_LOOK);
        loop {
            tokio::time::sleep(pause).await;
            pause = MERGE_LOOK;
            if store.words_written().now_or_never().is_some() {
                written = Instant::now();
            }
            match store.merge_words(written.elapsed()).await {
                Ok(waits) => {
                    // Not now is no proof that it can be done: another node may have the turn.
                    if waits {
                        continue;
                    }
                    if std::mem::take(&mut failed) {
                        tracing::info!("words of new messages are merged into the index again");
                    }
                    break;
                }
                // One that is away is the watch of the database's to report.
                Err(Error::Unavailable(_)) => {
                    failures.inc();
                    pause = MERGE_AWAY;
                }
                Err(error) => {
                    failures.inc();
                    pause = MERGE_REFUSED;
                    if !failed {
                        failed = true;
                        tracing::warn!(
                            error = error.cause(),
                            "words of new messages cannot be merged into the index beside the sends: sends do it, and \
                             searches read more of them"
                        );
                    }
                }
            }
        }
    }
}
