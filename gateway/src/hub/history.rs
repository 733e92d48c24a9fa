//! How a node finds out which history the database has: by its epoch, and by a chat that went back.

use super::Hub;
use messenger_common::backoff::Backoff;
use messenger_common::error::Error;
use messenger_common::id::{ChatId, Seq};
use std::time::Duration;

/// The pauses after a database that does not answer was asked for its epoch.
const EPOCH_RETRY: Backoff = Backoff { first: Duration::from_millis(50), longest: Duration::from_secs(1) };

impl Hub {
    /// Logs that a chat's history went back: one warning a cause, however many chats it concerns.
    pub(crate) fn history_went_back(&self, chat: ChatId, head: Seq) {
        // Another loss of the database's connections may have been another step back.
        if self.is_news(&format!("history {}", self.ctx.store.losses())) {
            tracing::warn!(
                chat.id = %chat, seq = head.0,
                "the database's history went back: commits are lost; subscribers get a resync, in this chat and others"
            );
            let ctx = self.ctx.clone();
            drop(self.spawn("epoch", async move { ctx.history.begin(&*ctx.store).await }));
        } else {
            tracing::debug!(chat.id = %chat, seq = head.0, "the history of a chat went back");
        }
    }

    /// Reads which history the database has, once it answers: the connections to it were lost.
    pub(crate) fn read_the_epoch(&self) {
        let (ctx, stopping) = (self.ctx.clone(), self.lifecycle.stopping());
        drop(self.spawn("epoch", async move {
            let mut pauses = EPOCH_RETRY.start();
            while let Err(Error::Unavailable(_)) = ctx.history.read(&*ctx.store).await
                && !stopping.is_cancelled()
            {
                tokio::time::sleep(pauses.pause()).await;
            }
        }));
    }
}
