//! The users who are online: everywhere, and in one chat. Presence knows their ids, the store
//! their names.
//!
//! A large chat costs its online members, once a second for all who ask (G9).

use super::input::Unchecked;
use super::{Context, PageQuery, page};
use crate::auth::AuthUser;
use crate::error::{Error, Result};
use crate::id::{ChatId, UserId};
use crate::model::{OnlinePage, OnlineUser};
use crate::presence::Online;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use moka::future::Cache;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Users that one question to presence names: enough for most batches of chats, few enough not to
/// hold Redis up.
const USERS_PER_QUESTION: usize = 10_000;

/// The users of a large chat who are online are read once in this time.
const READ_EVERY: Duration = Duration::from_secs(1);
/// Large chats whose online users are remembered.
const LARGE_CHATS: u64 = 1_000;

/// The ids of the online users, as read a moment ago: everywhere, and in large chats. Questions
/// that come while it is read wait for that answer.
pub struct OnlineReads {
    everywhere: Cache<(), Arc<[Online]>>,
    chats: Cache<ChatId, Arc<[Online]>>,
}

impl Default for OnlineReads {
    fn default() -> Self {
        let everywhere = Cache::builder().max_capacity(1).time_to_live(READ_EVERY).build();
        Self { everywhere, chats: Cache::builder().max_capacity(LARGE_CHATS).time_to_live(READ_EVERY).build() }
    }
}

/// A page of all who are online. `Invalid`, `Unavailable`.
pub async fn everywhere(ctx: &Context, query: impl Into<Unchecked<PageQuery>>) -> Result<OnlinePage> {
    let page = page(query)?;
    let list = ctx.presence.list(page.cursor.as_deref(), page.limit).await?;
    let count = ctx.presence.count().await?;
    Ok(OnlinePage { items: named(ctx, list.items).await?, next_cursor: list.next_cursor, count })
}

/// A page of a chat's members who are online, by id; members only. `ChatNotFound`, `NotAMember`,
/// `Invalid`, `Unavailable`.
pub async fn in_chat(
    ctx: &Context,
    by: &AuthUser,
    chat: ChatId,
    query: impl Into<Unchecked<PageQuery>>,
) -> Result<OnlinePage> {
    let page = page(query)?;
    let after = page.cursor.as_deref().map(decode).transpose()?;
    let access = ctx.store.access(&[(chat, by.user_id)]).await?.pop().flatten().ok_or(Error::ChatNotFound)?;
    access.role.ok_or(Error::NotAMember)?;
    let online = if access.member_count > ctx.limits.status_max_members {
        let reads = ctx.online.chats.try_get_with(chat, in_large_chat(ctx, chat, access.member_count));
        reads.await.map_err(shared)?
    } else {
        of_chat(members_online(ctx, &[chat], i64::MAX).await?)
    };
    let from = after.map_or(0, |after| online.partition_point(|one| one.user_id <= after));
    let items = online[from..].iter().take(page.limit).copied().collect::<Vec<_>>();
    let next_cursor = items.last().filter(|_| from + items.len() < online.len()).map(|last| encode(last.user_id));
    Ok(OnlinePage { items: named(ctx, items).await?, next_cursor, count: online.len() as u64 })
}

/// From those who are online, where they are fewer than the members.
async fn in_large_chat(ctx: &Context, chat: ChatId, members: i64) -> Result<Arc<[Online]>> {
    if ctx.presence.count().await? > members.unsigned_abs() {
        return Ok(of_chat(members_online(ctx, &[chat], i64::MAX).await?));
    }
    let online = ctx.online.everywhere.try_get_with((), all_online(ctx)).await.map_err(shared)?;
    let mut inside = Vec::new();
    for part in online.chunks(USERS_PER_QUESTION) {
        let ids: Vec<_> = part.iter().map(|one| one.user_id).collect();
        let members = ctx.store.members_among(chat, &ids).await?;
        inside.extend(part.iter().filter(|one| members.binary_search(&one.user_id).is_ok()));
    }
    Ok(inside.into())
}

async fn all_online(ctx: &Context) -> Result<Arc<[Online]>> {
    let mut online = Vec::new();
    let mut cursor = None;
    loop {
        let page = ctx.presence.list(cursor.as_deref(), USERS_PER_QUESTION).await?;
        online.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    Ok(by_id(online))
}

fn of_chat(chats: Vec<(ChatId, Vec<Online>)>) -> Arc<[Online]> {
    by_id(chats.into_iter().flat_map(|(_, online)| online).collect())
}

fn by_id(mut online: Vec<Online>) -> Arc<[Online]> {
    online.sort_unstable_by_key(|one| one.user_id);
    online.dedup_by_key(|one| one.user_id);
    online.into()
}

/// The error of a read that several waited for.
pub(super) fn shared(error: Arc<Error>) -> Error {
    match &*error {
        Error::Internal(_) => Error::internal(error),
        _ => Error::unavailable(error),
    }
}

/// The members of these chats who are online. Chats with more than `most` members are left out,
/// and so are chats that do not exist. `Unavailable`.
pub async fn members_online(ctx: &Context, chats: &[ChatId], most: i64) -> Result<Vec<(ChatId, Vec<Online>)>> {
    let members = ctx.store.member_ids(chats, most).await?;
    let all: Vec<UserId> = members.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
    let mut since = Vec::with_capacity(all.len());
    for users in all.chunks(USERS_PER_QUESTION) {
        since.extend(ctx.presence.online(users).await?);
    }
    let mut since = since.into_iter();
    let of_chat = |(chat, ids): (ChatId, Vec<UserId>)| {
        let both = ids.into_iter().zip(since.by_ref());
        (chat, both.filter_map(|(user_id, since)| Some(Online { user_id, since: since? })).collect())
    };
    Ok(members.into_iter().map(of_chat).collect())
}

async fn named(ctx: &Context, online: Vec<Online>) -> Result<Vec<OnlineUser>> {
    let ids: Vec<_> = online.iter().map(|one| one.user_id).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = ctx.store.users(&ids).await?;
    let mut names: HashMap<_, _> = rows.into_iter().map(|row| (row.user.id, row.user.username)).collect();
    let user = |one: Online| {
        let username = names.remove(&one.user_id)?;
        Some(OnlineUser { user_id: one.user_id, username, since: one.since })
    };
    Ok(online.into_iter().filter_map(user).collect())
}

fn encode(last: UserId) -> String {
    URL_SAFE_NO_PAD.encode(last.0.to_be_bytes())
}

fn decode(cursor: &str) -> Result<UserId> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    let id = bytes.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()).map(i64::from_be_bytes);
    id.map(UserId).ok_or_else(|| Error::invalid("cursor", "is not a cursor that this list gave out"))
}

#[cfg(any(test, feature = "fuzz"))]
/// Reads a text as a cursor.
pub(crate) fn fuzz_cursor(text: &str) {
    if let Ok(id) = decode(text) {
        assert_eq!(decode(&encode(id)).ok(), Some(id));
    }
}
