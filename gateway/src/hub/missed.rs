//! The statuses that this node was not notified of: while its link to the bus was away, or because
//! publications came faster than they were taken. Presence remembers what was published; the node
//! reads that again and delivers it to the shards, which drop what they had.

use super::Hub;
use crate::presence::{SWEEP, USERS_PER_CALL};
use messenger_common::dispatch::{EventSink, SinkEvent};
use messenger_common::error::Result;
use messenger_common::event::{Envelope, StatusChange};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A link that went silent is noticed within this time. A shard remembers for longer what it
/// delivered, and forgets nothing while the link is known to be down.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

impl Hub {
    /// Reads what was missed, each time that the topic of all nodes is subscribed anew; ends with
    /// the process.
    pub(crate) async fn read_what_was_missed(self: Arc<Self>) {
        let stopping = self.lifecycle.stopping();
        let (mut up, mut down_since) = (self.bus.up(), None);
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                changed = up.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if !*up.borrow_and_update() {
                        down_since.get_or_insert_with(Instant::now);
                    }
                }
                () = self.missed.notified() => {
                    let within = NOTICED_WITHIN + down_since.map_or(Duration::ZERO, |since: Instant| since.elapsed());
                    match self.deliver_published(within).await {
                        Ok(()) => down_since = (!*up.borrow()).then(Instant::now),
                        Err(error) => {
                            tracing::debug!(%error, "cannot read the statuses that were missed; retrying");
                            down_since.get_or_insert_with(Instant::now);
                            tokio::time::sleep(SWEEP).await;
                            self.missed.notify_one();
                        }
                    }
                }
            }
        }
    }

    async fn deliver_published(&self, within: Duration) -> Result<()> {
        let published = self.presence.published(within).await?;
        for some in published.chunks(USERS_PER_CALL) {
            let mut changes = self.presence.changes(some).await?;
            changes.retain(|change| self.follows_any(change));
            if !changes.is_empty() {
                self.handle(vec![SinkEvent::Envelope(Envelope::Status(changes))]).await;
            }
        }
        Ok(())
    }

    fn follows_any(&self, change: &StatusChange) -> bool {
        let interest = self.interest.lock();
        change.chats.iter().any(|chat| interest.contains_key(chat))
    }
}
