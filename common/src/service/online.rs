//! The users who are online: everywhere, and in one chat. Presence knows their ids, the store
//! their names.

use super::input::Unchecked;
use super::{Context, PageQuery, page};
use crate::auth::AuthUser;
use crate::error::{Error, Result};
use crate::id::{ChatId, UserId};
use crate::model::{OnlinePage, OnlineUser};
use crate::presence::Online;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::HashMap;

/// Users that one question to presence names: enough for most batches of chats, few enough not to
/// hold Redis up.
const USERS_PER_QUESTION: usize = 10_000;

/// A page of all who are online.
pub async fn everywhere(ctx: &Context, query: impl Into<Unchecked<PageQuery>>) -> Result<OnlinePage> {
    let page = page(query)?;
    let list = ctx.presence.list(page.cursor.as_deref(), page.limit).await?;
    let count = ctx.presence.count().await?;
    Ok(OnlinePage { items: named(ctx, list.items).await?, next_cursor: list.next_cursor, count })
}

/// A page of a chat's members who are online, by id; members only. `ChatNotFound`, `NotAMember`.
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
    let chats = members_online(ctx, &[chat], i64::MAX).await?;
    let mut online: Vec<_> = chats.into_iter().flat_map(|(_, online)| online).collect();
    online.sort_unstable_by_key(|one| one.user_id);
    let count = online.len() as u64;
    online.retain(|one| after.is_none_or(|after| one.user_id > after));
    let more = online.len() > page.limit;
    online.truncate(page.limit);
    let next_cursor = online.last().filter(|_| more).map(|last| encode(last.user_id));
    Ok(OnlinePage { items: named(ctx, online).await?, next_cursor, count })
}

/// The members of these chats who are online. Chats with more than `most` members are left out,
/// and so are chats that do not exist.
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
