//! Reads that many wait for: thousands of clients that come back at once must not become thousands
//! of queries.
//!
//! A [`Batcher`] asks many questions in one query. [`LogReads`] lets all who want the same piece
//! of a chat's log wait for one read, and reads pieces of many logs together.

mod log;
mod pieces;
mod rosters;

use log::LogReads;
use messenger_common::batcher::Batcher;
use messenger_common::id::{ChatId, Seq, UserId};
use messenger_common::lifecycle::Lifecycle;
use messenger_common::service::Context;
use messenger_common::store::{Access, LogHead};
pub(crate) use rosters::Roster;
use rosters::Rosters;
use std::sync::Arc;

/// Questions of one query at most.
const ACCESS_PER_QUERY: usize = 512;
const HEADS_PER_QUERY: usize = 1000;

/// The reads of a node's shards.
pub(crate) struct Reads {
    /// A user's rights in a chat, with the chat's head in the same snapshot.
    pub(crate) access: Batcher<(ChatId, UserId), Option<Access>>,
    /// The head of a chat's log, and the commit of its entry of that number.
    pub(crate) heads: Batcher<(ChatId, Seq), Option<LogHead>>,
    /// The members of a small chat who are online.
    pub(crate) rosters: Rosters,
    /// Pieces of chats' logs.
    pub(crate) log: LogReads,
}

impl Reads {
    /// Starts the tasks that read.
    pub(crate) fn start(ctx: &Context, lifecycle: &Lifecycle) -> Self {
        let store = Arc::clone(&ctx.store);
        let access = Batcher::start(lifecycle, "access checks", ACCESS_PER_QUERY, move |pairs| {
            let store = Arc::clone(&store);
            async move { store.access(&pairs).await }
        });
        let store = Arc::clone(&ctx.store);
        let heads = Batcher::start(lifecycle, "head checks", HEADS_PER_QUERY, move |asked: Vec<_>| {
            let store = Arc::clone(&store);
            async move { store.heads(&asked).await }
        });
        let rosters = Rosters::start(ctx, lifecycle);
        Self { access, heads, rosters, log: LogReads::new(Arc::clone(&ctx.store), lifecycle.clone()) }
    }
}
