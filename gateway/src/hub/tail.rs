//! The tail of the log, read every ten seconds: which chats moved. A publication that was lost on
//! a link that seems well shows here, at the cost of what happened and not of what is followed.
//!
//! Ids are given in the order of sends, and seen in the order of commits. So a look begins at a
//! mark that was taken [`SETTLED`] before the last look: a transaction that had an id by then was
//! over at that look.

use super::{Delivery, Hub, ToShard, bits};
use messenger_common::error::Result;
use messenger_common::id::{ChatId, Seq};
use messenger_common::store::TailMark;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// More than a write may take.
const SETTLED: Duration = Duration::from_secs(3);
/// What was committed when the tail was read has come by the bus within this time, if it comes.
const ON_ITS_WAY: Duration = Duration::from_millis(250);

/// A mark, and the time at which it was taken.
type Mark = (TailMark, Instant);

impl Hub {
    /// Compares the feeds with the tail; ends with the process.
    pub(crate) async fn follow_the_tail(self: Arc<Self>) {
        let (stopping, mut from) = (self.lifecycle.stopping(), None);
        loop {
            let round = async {
                tokio::time::sleep(LOOK_EVERY.saturating_sub(SETTLED)).await;
                let next = self.mark().await?;
                tokio::time::sleep(SETTLED).await;
                if let Some(from) = from {
                    self.look(from).await?;
                }
                Ok::<_, messenger_common::error::Error>(next)
            };
            tokio::select! {
                () = stopping.cancelled() => return,
                next = round => match next {
                    Ok(next) => from = Some(next),
                    Err(error) => tracing::debug!(%error, "cannot read the tail of the log; the next look reads it"),
                }
            }
        }
    }

    async fn mark(&self) -> Result<Mark> {
        let now = Instant::now();
        Ok((self.ctx.store.tail(None, Duration::ZERO).await?.mark, now))
    }

    async fn look(&self, (mark, taken): Mark) -> Result<()> {
        let tail = self.ctx.store.tail(Some(mark), taken.elapsed() + SETTLED).await?;
        tokio::time::sleep(ON_ITS_WAY).await;
        match tail.moved {
            Some(moved) => self.reached(moved).await,
            None => self.send_all(|| ToShard::CompareAll).await,
        }
        Ok(())
    }

    /// Chats' logs have these numbers.
    async fn reached(&self, moved: Vec<(ChatId, Seq)>) {
        let mut batches: Vec<Vec<Delivery>> = vec![Vec::new(); self.shards.len()];
        {
            let interest = self.interest.lock();
            for (chat, seq) in moved {
                let shards = interest.get(&chat).map_or(0, |wanted| wanted.shards);
                for shard in bits(shards) {
                    batches[shard].push(Delivery::Reached(chat, seq));
                }
            }
        }
        for (shard, batch) in batches.into_iter().enumerate() {
            if !batch.is_empty() {
                self.send(shard, ToShard::Deliver(batch)).await;
            }
        }
    }
}
