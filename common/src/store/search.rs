//! Search: the messages of a user's chats by their words.
//!
//! Both back ends keep the words that `crate::words` makes of a text, in the transaction that
//! stores the text. A trigger forgets them where the text changes, so a node of an older release
//! never leaves words of an earlier text. Messages without words are given them by
//! [`Search::fill_words`].

use super::cursor::PageRequest;
use crate::error::Result;
use crate::id::{ChatId, MessageId, UserId};
use crate::model::{Message, Page};
use crate::store::messages::MessageRow;
use crate::words::Query;
use async_trait::async_trait;
use sqlx::FromRow;
use std::time::Duration;

/// What is looked for, and where.
#[derive(Clone, Debug)]
pub struct SearchFor {
    /// Not empty.
    pub query: Query,
    /// In this chat only.
    pub chat: Option<ChatId>,
    /// Of this author only.
    pub author: Option<UserId>,
}

/// Search. See the store's obligations.
#[async_trait]
pub trait Search: Send + Sync + 'static {
    /// Messages that are not deleted, of chats that the user is a member of now, the newest first.
    /// Where a question minds no endings there may be some that do not answer it:
    /// [`Query::highlights`] decides. The work of one call is bounded: a page may be shorter than
    /// its limit, even empty, and name a next one.
    async fn search(&self, by: UserId, wanted: &SearchFor, page: &PageRequest) -> Result<Page<Message>>;
    /// Gives words to so many messages without them, the newest first, and says how many it found.
    async fn fill_words(&self, limit: usize) -> Result<usize>;
    /// Returns once messages were written by this store since it returned last. Never on a store
    /// whose index wants no [`Self::merge_words`].
    async fn words_written(&self);
    /// Merges the words of new messages into the index, if they are many or have waited for long.
    /// Says whether some may wait of those that this store wrote, the last of them that long ago.
    /// Any number of nodes may call it: one merges, for all.
    async fn merge_words(&self, written: Duration) -> Result<bool>;
}

/// A message that was found, if any was, and from where the search goes on if it ended early.
#[derive(FromRow)]
pub(super) struct FoundRow {
    below: Option<MessageId>,
    id: Option<MessageId>,
    chat_id: Option<ChatId>,
    #[sqlx(flatten)]
    message: MessageRow,
}

impl FoundRow {
    /// A page of these rows, of which there is one more than `limit` where there are more.
    pub(super) fn page(mut rows: Vec<Self>, limit: usize) -> Page<Message> {
        let more = rows.len() > limit;
        rows.truncate(limit);
        let below = rows.last().and_then(|last| if more { last.id } else { last.below });
        let items = rows.into_iter().filter_map(|row| row.message.into_message(row.chat_id?)).collect();
        Page { items, next_cursor: below.map(super::cursor::of_found) }
    }
}

/// A message that waits for its words.
#[derive(FromRow)]
pub(super) struct Wordless {
    pub(super) id: MessageId,
    pub(super) chat_id: ChatId,
    pub(super) text: String,
}
