//! Chats: groups, and the one private chat of any two users.

use super::input::{Fields, FromFields, Unchecked};
use super::online::shared;
use super::{Context, PageQuery, on_field, page};
use crate::auth::AuthUser;
use crate::error::{Error, Result};
use crate::event::{Envelope, EventKind, Notice};
use crate::id::{ChatId, Seq, UserId};
use crate::model::{Chat, Page};
use crate::store::{ChatPatch, NewGroup, ReadMark, SettingsPatch};
use moka::future::Cache;
use std::time::Duration;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// Chats that are sorted at the price of one request.
const CHATS_PER_REQUEST: usize = 1_000;
/// A user's chats are counted up to this number, once in this time.
const CHATS_COUNTED: usize = 200_000;
const COUNTED_EVERY: Duration = Duration::from_mins(1);
/// Users whose count is remembered.
const COUNTED_USERS: u64 = 100_000;

/// A new chat.
#[derive(Clone, Debug, ToSchema)]
pub struct CreateChat {
    /// Of a group; a private chat is called by the other's name.
    #[schema(min_length = 1, max_length = 128, example = "Gardeners")]
    pub name: Option<String>,
    /// Of a group.
    #[schema(max_length = 1024)]
    pub description: Option<String>,
    /// False for a private chat.
    #[schema(default = true)]
    pub is_group: bool,
    /// Of a group: whether everybody sees it and may join it. A closed one exists for its members
    /// only and is entered by an invitation, or by being added.
    #[schema(default = true)]
    pub is_public: bool,
    /// A group's first members beside its maker; the other user of a private chat.
    #[schema(default = json!([]), max_items = 1000)]
    pub member_ids: Vec<UserId>,
}

impl FromFields for CreateChat {
    fn read(fields: &mut Fields) -> Self {
        Self {
            name: fields.optional("name"),
            description: fields.optional("description"),
            is_group: fields.or("is_group", true),
            is_public: fields.or("is_public", true),
            member_ids: fields.or("member_ids", Vec::new()),
        }
    }
}

/// A change of a group.
#[derive(Clone, Debug, Default, ToSchema)]
pub struct UpdateChat {
    /// A new name.
    #[schema(min_length = 1, max_length = 128, example = "Gardeners")]
    pub name: Option<String>,
    /// A new description; null takes it away.
    #[schema(value_type = Option<String>, max_length = 1024)]
    pub description: Option<Option<String>>,
}

impl FromFields for UpdateChat {
    fn read(fields: &mut Fields) -> Self {
        Self { name: fields.optional("name"), description: fields.change("description") }
    }
}

/// The caller's read mark.
#[derive(Clone, Copy, Debug, ToSchema)]
pub struct MarkRead {
    /// Up to this number of the chat's sequence.
    #[schema(value_type = i64, minimum = 0)]
    pub seq: Seq,
}

impl FromFields for MarkRead {
    fn read(fields: &mut Fields) -> Self {
        Self { seq: fields.required("seq") }
    }
}

/// A change of the caller's own view of a chat.
#[derive(Clone, Copy, Debug, Default, ToSchema)]
pub struct UpdateSettings {
    /// Until then nothing of the chat notifies you; null: from now on it does.
    #[schema(value_type = Option<String>, format = "date-time")]
    pub muted_until: Option<Option<OffsetDateTime>>,
    /// Put it away.
    pub archived: Option<bool>,
    /// Keep it above the others.
    #[schema(example = true)]
    pub pinned: Option<bool>,
}

impl FromFields for UpdateSettings {
    fn read(fields: &mut Fields) -> Self {
        Self {
            muted_until: fields.change::<Option<OffsetDateTime>>("muted_until").map(Option::flatten),
            archived: fields.optional("archived"),
            pinned: fields.optional("pinned"),
        }
    }
}

/// Changes the caller's own view of a chat; their connections hear of it. `ChatNotFound`,
/// `NotAMember`, `Invalid`.
pub async fn update_settings(
    ctx: &Context,
    by: &AuthUser,
    id: ChatId,
    body: impl Into<Unchecked<UpdateSettings>>,
) -> Result<Chat> {
    let (body, faults) = body.into().split();
    faults.none()?;
    let patch = SettingsPatch { muted_until: body.muted_until, archived: body.archived, pinned: body.pinned };
    let set = ctx.store.set_settings(id, by.user_id, patch).await?;
    let is_member = set.is_some();
    ctx.publisher.publish(set.unwrap_or_default());
    let chat = get(ctx, by, id).await?;
    if is_member { Ok(chat) } else { Err(Error::NotAMember) }
}

/// Makes a chat and says whether it is new: a private chat that exists is answered as it is.
/// `Invalid`, `GroupFull`, `Blocked`, `RateLimited`.
pub async fn create(ctx: &Context, by: &AuthUser, body: impl Into<Unchecked<CreateChat>>) -> Result<(Chat, bool)> {
    let (mut body, mut faults) = body.into().split();
    faults.users("member_ids", &body.member_ids);
    body.member_ids.sort_unstable();
    body.member_ids.dedup();
    if body.member_ids.contains(&by.user_id) {
        faults.add("member_ids", "must not name yourself");
    }
    if body.is_group {
        match &body.name {
            Some(name) => faults.name("name", name),
            None => faults.add("name", "is required"),
        }
        if let Some(description) = &body.description {
            faults.description("description", description);
        }
    } else if body.member_ids.len() != 1 {
        faults.add("member_ids", "must name exactly one other user for a private chat");
    }
    faults.none()?;
    if body.is_group { create_group(ctx, by, body).await } else { create_private(ctx, by, body.member_ids[0]).await }
}

async fn create_group(ctx: &Context, by: &AuthUser, body: CreateChat) -> Result<(Chat, bool)> {
    let members = i64::try_from(body.member_ids.len()).unwrap_or(i64::MAX);
    if members >= ctx.limits.max_group_members {
        return Err(Error::GroupFull);
    }
    ctx.charge_people(by, body.member_ids.len()).await?;
    let group = NewGroup {
        owner: by.user_id,
        name: body.name.unwrap_or_default(),
        description: body.description,
        is_public: body.is_public,
        member_ids: body.member_ids,
    };
    let (chat, committed) = ctx.store.create_group(group).await?;
    ctx.publisher.publish(committed);
    Ok((chat, true))
}

async fn create_private(ctx: &Context, by: &AuthUser, other: UserId) -> Result<(Chat, bool)> {
    let made = ctx.store.private_chat(by.user_id, other).await;
    let (chat, created, committed) = made.map_err(|e| on_field(e, "member_ids", "names a user who does not exist"))?;
    ctx.publisher.publish(committed);
    Ok((chat, created))
}

/// How many chats users have, as counted a moment ago.
pub struct ChatCounts(Cache<UserId, usize>);

impl Default for ChatCounts {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(COUNTED_USERS).time_to_live(COUNTED_EVERY).build())
    }
}

/// The caller's chats, last active first. All of them are sorted for one page, so a page of a
/// thousand chats costs a request more. `Invalid`, `RateLimited`.
pub async fn list(ctx: &Context, by: &AuthUser, query: impl Into<Unchecked<PageQuery>>) -> Result<Page<Chat>> {
    let page = page(query)?;
    let count = async { Ok(ctx.store.count_chats(&[by.user_id], CHATS_COUNTED).await?.pop().unwrap_or_default()) };
    let counted = ctx.chat_counts.0.try_get_with(by.user_id, count).await.map_err(shared)?;
    ctx.charge_further_requests(by, counted / CHATS_PER_REQUEST).await?;
    ctx.store.chats_of(by.user_id, &page).await
}

/// A chat as the caller sees it. `ChatNotFound`, also for others' private chats and for closed
/// groups.
pub async fn get(ctx: &Context, by: &AuthUser, chat: ChatId) -> Result<Chat> {
    ctx.store.chat(chat, by.user_id).await?.ok_or(Error::ChatNotFound)
}

/// Changes a group. `ChatNotFound`, `NotAMember`, `NotOwner`, `PrivateChat`, `Invalid`.
pub async fn update(
    ctx: &Context,
    by: &AuthUser,
    chat: ChatId,
    body: impl Into<Unchecked<UpdateChat>>,
) -> Result<Chat> {
    let (body, mut faults) = body.into().split();
    if let Some(name) = &body.name {
        faults.name("name", name);
    }
    if let Some(Some(description)) = &body.description {
        faults.description("description", description);
    }
    faults.none()?;
    let patch = ChatPatch { name: body.name, description: body.description };
    let (chat, committed) = ctx.store.update_chat(chat, by.user_id, patch).await?;
    ctx.publisher.publish(committed);
    Ok(chat)
}

/// Deletes a group with all that is in it. The errors of [`update`].
pub async fn delete(ctx: &Context, by: &AuthUser, chat: ChatId) -> Result<()> {
    ctx.publisher.publish(ctx.store.delete_chat(chat, by.user_id).await?);
    Ok(())
}

/// Joins a group. Joining twice is no error. `ChatNotFound`, `GroupFull`.
pub async fn join(ctx: &Context, by: &AuthUser, chat: ChatId) -> Result<Chat> {
    let (chat, committed) = ctx.store.join(chat, by.user_id, ctx.limits.max_group_members).await?;
    ctx.publisher.publish(committed);
    Ok(chat)
}

/// Leaves a group. `ChatNotFound`, `NotAMember`, `PrivateChat`.
pub async fn leave(ctx: &Context, by: &AuthUser, chat: ChatId) -> Result<()> {
    ctx.publisher.publish(ctx.store.leave(chat, by.user_id).await?);
    Ok(())
}

/// As [`mark_read`], of a request's body. Its errors, and `Invalid`.
pub async fn mark_read_to(
    ctx: &Context,
    by: &AuthUser,
    chat: ChatId,
    body: impl Into<Unchecked<MarkRead>>,
) -> Result<ReadMark> {
    let (body, faults) = body.into().split();
    faults.none()?;
    mark_read(ctx, by, chat, body.seq).await
}

/// Moves the caller's read mark. It is published if it moved: above `STATUS_MAX_MEMBERS`, and in a
/// private chat whose other user blocked the caller, to the caller's own connections only.
/// `ChatNotFound`, `NotAMember`.
pub async fn mark_read(ctx: &Context, by: &AuthUser, chat: ChatId, seq: Seq) -> Result<ReadMark> {
    let mark = ctx.store.mark_read(chat, by.user_id, seq).await?;
    if mark.moved {
        let read = Notice::MessageRead { chat_id: chat, user_id: by.user_id, seq: mark.seq };
        if mark.member_count <= ctx.limits.status_max_members && !mark.is_blocked {
            publish_beside(ctx, chat, by.user_id, EventKind::MessageRead, &read);
        } else {
            // One message to n readers would be n² frames. A block lets nothing through.
            let (user_id, kind, json) = (by.user_id, EventKind::MessageRead, read.to_json());
            ctx.publisher.publish_now(&Envelope::Notice { user_id, chat_id: chat, seq: mark.seq, kind, json });
        }
    }
    Ok(mark)
}

/// Publishes to the chat's subscribers that the caller is typing, or has stopped. It is stored
/// nowhere and may be lost. The gateway has checked that the caller is subscribed. In a private
/// chat whose other user blocked the caller nothing is published. `Unavailable`.
pub async fn typing(ctx: &Context, by: &AuthUser, chat: ChatId, is_typing: bool) -> Result<()> {
    match ctx.store.blocked_in(chat, by.user_id).await? {
        Some(true) => return Ok(()),
        Some(false) => {}
        None => ctx.groups.insert(chat, ()).await,
    }
    publish_typing(ctx, by, chat, is_typing);
    Ok(())
}

/// The same where nothing need be asked for it: the chat is known to be a group. False: ask.
pub fn typing_in_group(ctx: &Context, by: &AuthUser, chat: ChatId, is_typing: bool) -> bool {
    let known = ctx.groups.contains_key(&chat);
    if known {
        publish_typing(ctx, by, chat, is_typing);
    }
    known
}

fn publish_typing(ctx: &Context, by: &AuthUser, chat: ChatId, is_typing: bool) {
    let typing = Notice::Typing { chat_id: chat, user_id: by.user_id, username: &by.username, is_typing };
    publish_beside(ctx, chat, by.user_id, EventKind::Typing, &typing);
}

/// Publishes to a chat's subscribers what has no place in its sequence.
fn publish_beside(ctx: &Context, chat_id: ChatId, user_id: UserId, kind: EventKind, notice: &Notice<'_>) {
    ctx.publisher.publish_now(&Envelope::Ephemeral { chat_id, user_id, kind, json: notice.to_json() });
}
