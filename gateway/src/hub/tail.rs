//! The tail of the log, read every ten seconds: which chats moved. A publication that was lost on
//! a link that seems well shows here, at the cost of what happened and not of what is followed.
//!
//! Ids are given in the order of sends, and seen in the order of commits. So a look begins at a
//! mark that was taken [`SETTLED`] before the last look: a transaction that had an id by then was
//! over at that look.
//!
//! While the bus is away the tail is read each second, from [`MOST_WRITES_COMMITTED_WITHIN`] before
//! the last look on: a message comes a second late then, and not when the bus is back. A write that
//! takes longer is left to the other looks.

use super::{Delivery, Hub, ToShard, bits};
use messenger_common::error::{Error, Result};
use messenger_common::id::{ChatId, Seq};
use messenger_common::random;
use messenger_common::store::TailMark;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// More than a write may take.
const SETTLED: Duration = Duration::from_secs(3);
/// The time between two looks while the bus is away.
const LOOK_CLOSELY_EVERY: Duration = Duration::from_secs(1);
/// Longer than most writes take.
const MOST_WRITES_COMMITTED_WITHIN: Duration = Duration::from_millis(500);
/// Close looks that failed for so long begin anew: the other looks read what is older.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(30);
/// An event that was committed when the tail was read has come by the bus within this time, if it
/// comes.
const ON_ITS_WAY: Duration = Duration::from_millis(250);

/// A mark, and the time at which it was taken.
pub(super) type Mark = (TailMark, Instant);

impl Hub {
    /// Compares the feeds with the tail; ends with the process.
    pub(crate) async fn follow_the_tail(self: Arc<Self>) {
        let stopping = self.lifecycle.stopping();
        match self.mark().await {
            Ok(mark) => *self.tail_mark.lock() = Some(mark),
            Err(error) => tracing::debug!(%error, "cannot read where the log ends; the first look says it"),
        }
        loop {
            let from = *self.tail_mark.lock();
            let round = async {
                tokio::time::sleep(LOOK_EVERY.saturating_sub(SETTLED)).await;
                let next = self.mark().await?;
                tokio::time::sleep(SETTLED).await;
                if let Some(from) = from {
                    match self.moved(from, SETTLED).await? {
                        Some(moved) => self.reached(moved).await,
                        None => self.send_all(|| ToShard::CompareAll).await,
                    }
                }
                Ok::<_, Error>(next)
            };
            tokio::select! {
                () = stopping.cancelled() => return,
                next = round => match next {
                    Ok(next) => *self.tail_mark.lock() = Some(next),
                    Err(error) => tracing::debug!(%error, "cannot read the tail of the log; the next look reads it"),
                }
            }
        }
    }

    /// Looks closely while the bus is away and for a while after; ends with the process.
    pub(crate) async fn follow_an_outage(self: Arc<Self>) {
        let (stopping, mut up) = (self.lifecycle.stopping(), self.bus.up());
        loop {
            let outage = async {
                if up.wait_for(|up| !up).await.is_err() {
                    // The bus has ended.
                    return std::future::pending().await;
                }
                // All nodes see it go at once, and are not to ask at once each second.
                tokio::time::sleep(random::within(Duration::ZERO..LOOK_CLOSELY_EVERY / 2)).await;
                // Publications were lost before that was noticed, too.
                let mut from = *self.tail_mark.lock();
                while !*self.bus.up().borrow() || self.hearing.is_away(Instant::now()) {
                    if let Err(error) = self.look_closely(&mut from).await {
                        tracing::debug!(%error, "cannot read the tail of the log; the next look reads it");
                        from = from.filter(|(_, taken)| taken.elapsed() < GIVEN_UP_AFTER);
                    }
                    tokio::time::sleep(LOOK_CLOSELY_EVERY.saturating_sub(MOST_WRITES_COMMITTED_WITHIN)).await;
                }
            };
            tokio::select! {
                () = stopping.cancelled() => return,
                () = outage => {}
            }
        }
    }

    async fn look_closely(&self, from: &mut Option<Mark>) -> Result<()> {
        let next = self.mark().await?;
        tokio::time::sleep(MOST_WRITES_COMMITTED_WITHIN).await;
        if let Some(from) = *from {
            // Where too much happened the other looks compare all.
            let moved = self.moved(from, MOST_WRITES_COMMITTED_WITHIN).await?;
            self.reached(moved.unwrap_or_default()).await;
        }
        *from = Some(next);
        Ok(())
    }

    async fn mark(&self) -> Result<Mark> {
        let now = Instant::now();
        Ok((self.ctx.store.tail(None, Duration::ZERO).await?.mark, now))
    }

    /// The chats that moved since a mark, once what is on its way has come.
    async fn moved(&self, (mark, taken): Mark, settled: Duration) -> Result<Option<Vec<(ChatId, Seq)>>> {
        let tail = self.ctx.store.tail(Some(mark), taken.elapsed() + settled).await?;
        tokio::time::sleep(ON_ITS_WAY).await;
        Ok(tail.moved)
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
