//! Invitations: into a group, or of the host, for a registration alone.

use super::chats::may_read;
use super::cursor::PageRequest;
use super::log::Committed;
use super::members::role;
use super::stored_time::Time;
use super::{NewUser, cursor};
use crate::error::{Error, Result};
use crate::id::{ChatId, UserId};
use crate::model::{Chat, Invite, InvitePreview, InvitedTo, Page, Role, User};
use async_trait::async_trait;
use sqlx::FromRow;
use std::time::Duration;
use time::OffsetDateTime;

/// An invitation to be made.
#[derive(Clone, Debug)]
pub struct NewInvite {
    /// 128 random bits as text.
    pub code: String,
    /// From now on; `None`: for ever.
    pub expires_in: Option<Duration>,
    /// How many users it lets in; `None`: any number.
    pub max_uses: Option<i64>,
}

/// Invitations. See the store's obligations. An invitation that expired, was used up or revoked,
/// or whose group is gone is `InviteNotFound`. Of two who take the last use at once, one gets it.
#[async_trait]
pub trait Invites: Send + Sync + 'static {
    /// Makes an invitation into a group. `ChatNotFound`, `NotAMember`, `NotOwner`, `PrivateChat`;
    /// `TooManyInvites` where a hundred others let somebody in.
    async fn create_invite(&self, chat: ChatId, by: UserId, invite: NewInvite) -> Result<Invite>;
    /// Makes an invitation of the host.
    async fn create_host_invite(&self, invite: NewInvite) -> Result<Invite>;
    /// A group's invitations that have not expired, the newest first. Takes no lock.
    /// `ChatNotFound`, `NotAMember`, `NotOwner`, `PrivateChat`.
    async fn invites(&self, chat: ChatId, by: UserId, page: &PageRequest) -> Result<Page<Invite>>;
    /// Revokes one: it expires now. The errors of [`Self::create_invite`], `InviteNotFound`.
    async fn revoke_invite(&self, chat: ChatId, by: UserId, code: &str) -> Result<()>;
    /// The group of an invitation. `None`: it lets nobody in.
    async fn invite(&self, code: &str) -> Result<Option<InvitePreview>>;
    /// Lets a user into the group. A member stays one, and no use is counted. `InviteNotFound`,
    /// `GroupFull`.
    async fn accept_invite(&self, code: &str, user: UserId, max_members: i64) -> Result<(Chat, Committed)>;
    /// Makes an account by an invitation. A group's lets it in at once. `UsernameTaken`,
    /// `EmailTaken`, `InviteNotFound`, `GroupFull`.
    async fn register(&self, user: NewUser, code: &str, max_members: i64) -> Result<(User, Committed)>;
}

// The columns of `invites` that an [`InviteRow`] reads.
macro_rules! invite_columns {
    () => {
        "id, code, chat_id, created_by, created_at, expires_at, max_uses, uses"
    };
}
pub(super) use invite_columns;

/// Finds an invitation that lets somebody in at the time $2, with its group.
pub(super) const PREVIEW: &str =
    "select c.id as chat_id, c.name, c.description, c.member_count, u.username, i.expires_at
     from invites i
     left join chats c on c.id = i.chat_id and c.deleted_at is null
     left join users u on u.id = i.created_by
     where i.code = $1 and (i.expires_at is null or i.expires_at > $2) and (i.max_uses is null or i.uses < i.max_uses)
       and (i.chat_id is null or c.id is not null)";

/// Ends the invitation of the chat $2 at the time $3, if it goes on until then.
pub(super) const END: &str = "update invites set expires_at = $3
     where code = $1 and chat_id = $2 and (expires_at is null or expires_at > $3)";

// The chat $1 with the rights of the user $4, and its invitations below the id $2, at most $3,
// that go on at that time.
macro_rules! list_of_invites {
    ($now:literal) => {
        concat!(
            "select c.is_group, c.is_group and c.is_public as is_open, me.role, i.id, i.code, i.created_by, i.created_at,
                    i.expires_at, i.max_uses, i.uses
             from chats c
             left join members me on me.chat_id = c.id and me.user_id = $4
             left join (
                 select id, code, created_by, created_at, expires_at, max_uses, uses from invites
                 where chat_id = $1 and id < $2 and (expires_at is null or expires_at > ",
            $now,
            ") order by id desc limit $3
             ) i on me.role = 1 and c.is_group
             where c.id = $1 and c.deleted_at is null
             order by i.id desc"
        )
    };
}
pub(super) use list_of_invites;

/// A row of `list_of_invites!`: the chat's rights, and perhaps an invitation.
#[derive(FromRow)]
pub(super) struct ListRow {
    is_group: bool,
    is_open: bool,
    role: Option<i16>,
    id: Option<i64>,
    code: Option<String>,
    created_by: Option<UserId>,
    created_at: Option<Time>,
    expires_at: Option<Time>,
    max_uses: Option<i64>,
    uses: Option<i64>,
}

impl ListRow {
    /// A page of these rows, of which there is one more than `limit` where there are more.
    /// `ChatNotFound`, `NotAMember`, `PrivateChat`, `NotOwner`.
    pub(super) fn page(rows: Vec<Self>, chat: ChatId, limit: usize) -> Result<Page<Invite>> {
        let first = rows.first().ok_or(Error::ChatNotFound)?;
        may_read(first.is_open, first.role.is_some())?;
        if !first.is_group {
            return Err(Error::PrivateChat);
        }
        if first.role.map(role) != Some(Role::Owner) {
            return Err(Error::NotOwner);
        }
        let invites = rows.into_iter().filter_map(|row| row.into_invite(chat)).collect();
        Ok(cursor::page(invites, limit, |row: &InviteRow| cursor::of_invite(row.id)))
    }

    fn into_invite(self, chat: ChatId) -> Option<InviteRow> {
        Some(InviteRow {
            id: self.id?,
            code: self.code?,
            chat_id: Some(chat),
            created_by: self.created_by,
            created_at: self.created_at?,
            expires_at: self.expires_at,
            max_uses: self.max_uses,
            uses: self.uses?,
        })
    }
}

/// How many invitations of the chat $1 let somebody in at the time $2, counted up to $3.
pub(super) const COUNT_OPEN: &str = "select count(*) from (
         select 1 from invites
         where chat_id = $1 and (expires_at is null or expires_at > $2) and (max_uses is null or uses < max_uses) limit $3
     ) open";

/// Takes a use of the invitation $1 at the time $2, where one is left.
pub(super) const COUNT_USE: &str = "update invites set uses = uses + 1
     where id = $1 and (expires_at is null or expires_at > $2) and (max_uses is null or uses < max_uses)";

/// A row of `invites`.
#[derive(Clone, Debug, FromRow)]
pub(super) struct InviteRow {
    pub(super) id: i64,
    pub(super) code: String,
    pub(super) chat_id: Option<ChatId>,
    pub(super) created_by: Option<UserId>,
    pub(super) created_at: Time,
    pub(super) expires_at: Option<Time>,
    pub(super) max_uses: Option<i64>,
    pub(super) uses: i64,
}

impl InviteRow {
    /// Of an invitation that is made at that time.
    pub(super) fn new(chat: Option<(ChatId, UserId)>, invite: &NewInvite, at: Time) -> Self {
        Self {
            id: 0,
            code: invite.code.clone(),
            chat_id: chat.map(|(chat, _)| chat),
            created_by: chat.map(|(_, user)| user),
            created_at: at,
            expires_at: invite.expires_in.map(|wait| Time(at.0 + wait)),
            max_uses: invite.max_uses,
            uses: 0,
        }
    }

    /// Whether it has expired by that time.
    pub(super) fn expired(&self, at: OffsetDateTime) -> bool {
        self.expires_at.is_some_and(|end| end.0 <= at)
    }
}

impl From<InviteRow> for Invite {
    fn from(row: InviteRow) -> Self {
        Self {
            code: row.code,
            url: String::new(),
            chat_id: row.chat_id,
            created_by: row.created_by,
            created_at: row.created_at.0,
            expires_at: row.expires_at.map(|at| at.0),
            max_uses: row.max_uses,
            uses: row.uses,
        }
    }
}

/// A row of [`PREVIEW`].
#[derive(FromRow)]
pub(super) struct PreviewRow {
    chat_id: Option<ChatId>,
    name: Option<String>,
    description: Option<String>,
    member_count: Option<i64>,
    username: Option<String>,
    expires_at: Option<Time>,
}

impl From<PreviewRow> for InvitePreview {
    fn from(row: PreviewRow) -> Self {
        let chat = row.chat_id.and(row.name.zip(row.member_count));
        let description = row.description;
        Self {
            chat: chat.map(|(name, member_count)| InvitedTo { name, description, member_count }),
            invited_by: row.username,
            expires_at: row.expires_at.map(|at| at.0),
        }
    }
}
