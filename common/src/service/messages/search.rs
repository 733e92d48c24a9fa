//! Search over the caller's chats.

use crate::auth::AuthUser;
use crate::error::{Error, Result};
use crate::id::{ChatId, UserId};
use crate::model::{FoundMessage, Message, Page};
use crate::service::{Context, Fields, FromFields, PageQuery, Unchecked};
use crate::store::SearchFor;
use crate::words::{Query, Refused};
use moka::future::Cache;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// The most pages of the store's that one answer reads. More are needed only where most of what
/// the store finds has another ending. A page that is not full has cost the store all that it
/// spends on one.
const READS: usize = 5;

/// A search costs what so many requests cost: it reads long texts, and compares their words.
const REQUESTS_PER_SEARCH: usize = 5;

/// How long a search waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(1);

/// Users whose turns are remembered.
const USERS: u64 = 10_000;

/// The searches that run: a quarter of the store's connections at most, so that sends always find
/// one (two, where it has four), and half of them of one user, so that slow ones of one user leave
/// some to the others. Further ones wait for a moment.
pub struct Searches {
    turns: Arc<Semaphore>,
    of_user: usize,
    /// Forgotten a minute after a user's last search, which none outlasts. Where more than
    /// [`USERS`] search at once, some are bound by the turns of all alone.
    users: Cache<UserId, Arc<Semaphore>>,
}

/// A search's turn.
struct Turn {
    _of_user: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Searches {
    /// None runs yet. `connections` are the store's.
    pub fn of(connections: u32) -> Self {
        let users = Cache::builder().max_capacity(USERS).time_to_idle(TURN_WITHIN * 60).build();
        let turns = (connections / 4).max(2).min(connections / 2).max(1) as usize;
        Self { turns: Arc::new(Semaphore::new(turns)), of_user: (turns / 2).max(1), users }
    }

    /// `RateLimited` where others of that user go on; `Unavailable`.
    async fn turn(&self, user: UserId) -> Result<Turn> {
        let until = Instant::now() + TURN_WITHIN;
        let own = self.users.get_with(user, async { Arc::new(Semaphore::new(self.of_user)) }).await;
        let busy = |_| Error::RateLimited { limit: "requests", retry_after: TURN_WITHIN };
        let of_user = timeout_at(until, own.acquire_owned()).await.map_err(busy)?.map_err(Error::internal)?;
        let of_all = timeout_at(until, Arc::clone(&self.turns).acquire_owned()).await;
        let of_all = of_all.map_err(Error::unavailable)?.map_err(Error::internal)?;
        Ok(Turn { _of_user: of_user, _of_all: of_all })
    }
}

/// The question of a search.
#[derive(Clone, Debug, Default)]
pub struct SearchQuery {
    /// Words and phrases.
    pub q: String,
    /// In this chat only.
    pub chat_id: Option<ChatId>,
    /// Of this author only.
    pub author_id: Option<UserId>,
    /// Which page.
    pub page: PageQuery,
}

impl FromFields for SearchQuery {
    fn read(fields: &mut Fields) -> Self {
        Self {
            q: fields.required("q"),
            chat_id: fields.optional("chat_id"),
            author_id: fields.optional("author_id"),
            page: PageQuery::read(fields),
        }
    }
}

/// The messages of the caller's chats that have all the words, the newest first. `Invalid`,
/// `ChatNotFound`, `NotAMember`, `RateLimited`, `Unavailable`.
pub async fn search(
    ctx: &Context,
    by: &AuthUser,
    query: impl Into<Unchecked<SearchQuery>>,
) -> Result<Page<FoundMessage>> {
    let (query, mut faults) = query.into().split();
    let read = Query::read(&query.q, ctx.search_language);
    match read {
        Err(Refused::Blank) => faults.add("q", "must not be blank"),
        Err(Refused::TooLong) => faults.add("q", "must have at most 256 characters"),
        Err(Refused::TooMany) => faults.add("q", "must have at most 32 words and phrases"),
        Ok(_) => {}
    }
    let mut page = query.page.check(&mut faults);
    faults.none()?;
    ctx.charge_further_requests(by, REQUESTS_PER_SEARCH - 1).await?;
    if let Some(chat) = query.chat_id {
        let access = ctx.store.access(&[(chat, by.user_id)]).await?.into_iter().next().flatten();
        if access.ok_or(Error::ChatNotFound)?.role.is_none() {
            return Err(Error::NotAMember);
        }
    }
    let mut items = Vec::new();
    let Some(read) = read.ok().filter(|query| !query.is_empty()) else {
        return Ok(Page { items, next_cursor: None });
    };
    let limit = page.limit;
    let wanted = SearchFor { query: read, chat: query.chat_id, author: query.author_id };
    let turn = ctx.searches.turn(by.user_id).await;
    if let Err(Error::RateLimited { limit, .. }) = &turn {
        ctx.metrics.rate_limited(limit).inc();
    }
    let _turn = turn?;
    for _ in 0..READS {
        page.limit = limit - items.len();
        let found = ctx.store.search(by.user_id, &wanted, &page).await?;
        let is_full = found.items.len() >= page.limit;
        items.extend(shown(wanted.query.clone(), found.items).await?);
        page.cursor = found.next_cursor;
        if page.cursor.is_none() || !is_full || items.len() >= limit {
            break;
        }
    }
    Ok(Page { items, next_cursor: page.cursor })
}

/// Those that answer the question, off the threads that answer requests: to compare the words of a
/// hundred long texts takes a while.
async fn shown(query: Query, messages: Vec<Message>) -> Result<Vec<FoundMessage>> {
    let compare = move || {
        let found = messages.into_iter().filter_map(|message| {
            let highlights = query.highlights(&message.text)?;
            Some(FoundMessage { message, highlights })
        });
        found.collect()
    };
    tokio::task::spawn_blocking(compare).await.map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn slow_searches_of_one_user_leave_the_others_their_turns() {
        // SQLite's, and a small pool of Postgres'.
        let searches = Searches::of(5);
        let slow = searches.turn(UserId(1)).await.unwrap();
        let next = searches.turn(UserId(1)).await;
        assert!(matches!(next, Err(Error::RateLimited { retry_after: TURN_WITHIN, .. })));
        let other = searches.turn(UserId(2)).await.unwrap();
        assert!(matches!(searches.turn(UserId(3)).await, Err(Error::Unavailable(_))), "two at once");
        drop(slow);
        searches.turn(UserId(1)).await.unwrap();
        drop(other);
    }
}
