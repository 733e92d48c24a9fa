//! Merges the words of new messages into the index of words, beside the sends.
//!
//! The index keeps new entries in a list of pending ones. Every search reads the whole list, and
//! merging costs less for each message the more are merged at once. Left alone, the send that
//! finds the list full merges it inside its own transaction.

use super::PostgresStore;
use crate::error::{Error, Result};
use crate::store::fault::{Fault, code};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::timeout;

/// Messages whose words wait until they are merged. Measured, µs of Postgres a message to merge
/// 500, 1,000, 2,000, 4,000 and 8,000 at once: 48, 25, 19, 15 and 12. A question to the index that
/// names many chats and ids reads what waits in 4 µs a message.
const MOST: i64 = 4_000;
/// Words of this node's that wait until they are merged: about a megabyte of the 8 that the list of
/// pending ones may have, and about what [`MOST`] messages of ordinary length have.
const MOST_WORDS: usize = 32_768;
/// The longest time between two merges, in seconds, while messages are written.
const LONGEST_UNMERGED_SECS: f64 = 5.0;
/// The bounds of a merge, which takes longer than a statement of a request may. A lock on the index
/// is that of a rebuild. A merge that is lost with the server is made again.
const SETTINGS: &str =
    "set local statement_timeout = 30000; set local lock_timeout = 1000; set local synchronous_commit = off";
/// A server that is gone answers nothing at all.
const TIMEOUT: Duration = Duration::from_secs(35);

impl PostgresStore {
    /// So many words were written, which wait to be merged.
    pub(super) fn wrote_words(&self, words: usize) {
        self.unmerged.fetch_add(words, Relaxed);
        self.written.notify_one();
    }

    /// Merges what waits, if it is due. Leaves the connections that sends may need.
    pub(super) async fn merge(&self, written: Duration) -> Result<bool> {
        let words = self.unmerged.load(Relaxed);
        let most = if words < MOST_WORDS { MOST } else { 0 };
        let merged = async {
            let Some(mut lease) = self.pool.begin_aside().await? else { return Ok(Some(true)) };
            let connection = lease.connection();
            let waits = async {
                connection.raw(SETTINGS).await?;
                sqlx::query_scalar::<_, Option<bool>>(
                    "select messenger_merge_words_v1($1, make_interval(secs => $2), make_interval(secs => $3))",
                )
                .bind(most)
                .bind(LONGEST_UNMERGED_SECS)
                .bind(written.as_secs_f64())
                .fetch_one(connection)
                .await
            };
            let waits = waits.await.map_err(|error| match code(&error).as_deref() {
                // It may never end in time, and nothing else shows that.
                Some("57014") => Error::internal(format!("merging took too long: {error}")).into(),
                _ => Fault::Sql(error),
            });
            lease.end_transaction(waits).await
        };
        match timeout(TIMEOUT, merged).await {
            Ok(merged) => {
                let none = || Error::internal("the role of DATABASE_URL does not own the index messages_found");
                let waits = merged?.ok_or_else(none)?;
                if !waits {
                    self.unmerged.fetch_sub(words, Relaxed);
                }
                Ok(waits)
            }
            Err(_) => Err(Error::unavailable("the database did not merge the words of messages in time")),
        }
    }
}
