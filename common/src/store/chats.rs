//! Chats: made, listed, changed, deleted.

use super::cursor::PageRequest;
use super::log::Committed;
use super::members::role;
use super::messages::MessageRow;
use super::stored_time::Time;

use crate::error::{Error, Result};
use crate::id::{ChatId, Seq, UserId};
use crate::model::{Chat, ChatSettings, Page, Peer};
use async_trait::async_trait;
use sqlx::FromRow;

/// A group to be created.
#[derive(Clone, Debug)]
pub struct NewGroup {
    /// Its first owner.
    pub owner: UserId,
    /// Validated by `service`.
    pub name: String,
    /// Validated by `service`.
    pub description: Option<String>,
    /// Whether everybody sees it and may join it.
    pub is_public: bool,
    /// Its first members beside the owner, each once. `Error::Invalid` on `member_ids` where one is
    /// unknown or deactivated.
    pub member_ids: Vec<UserId>,
}

/// A change of a group. `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct ChatPatch {
    /// A new name.
    pub name: Option<String>,
    /// A new description; `Some(None)` removes it.
    pub description: Option<Option<String>>,
}

// How many messages of others, and how many mentions, a member of a chat `c` has not read: `$read`
// is the alias whose `read_seq` counts. Both stop at 1,000. `y.seq + 0 > 0` is what the index of
// undeleted messages of Postgres asks for, as for the newest message.
macro_rules! unread_messages {
    ($viewer:literal, $read:literal) => {
        concat!(
            "select count(*) as count from (
                 select 1 from messages y
                 where y.chat_id = c.id and y.seq > ",
            $read,
            ".read_seq and y.author_id <> ",
            $viewer,
            " and y.deleted_at is null and y.seq + 0 > 0
                 limit 1000
             ) counted"
        )
    };
}
pub(super) use unread_messages;

macro_rules! unread_mentions {
    ($viewer:literal, $read:literal) => {
        concat!(
            "select count(*) as count from (
                 select 1 from mentions n
                 where n.user_id = ",
            $viewer,
            " and n.chat_id = c.id and n.seq > ",
            $read,
            ".read_seq limit 1000
             ) counted"
        )
    };
}
pub(super) use unread_mentions;

/// Chats. See the store's obligations.
#[async_trait]
pub trait Chats: Send + Sync + 'static {
    /// Creates a group. Its sequence begins at 0, and every member gets the notice `ChatAdded`.
    /// `Blocked`: one of its members to be blocked the owner.
    async fn create_group(&self, group: NewGroup) -> Result<(Chat, Committed)>;
    /// The private chat of two users, and whether it was created now. Then both get the notice
    /// `ChatAdded`. `UserNotFound` where `other` is unknown or deactivated, `Blocked` where `other`
    /// blocked the user and there is no such chat yet.
    async fn private_chat(&self, user: UserId, other: UserId) -> Result<(Chat, bool, Committed)>;
    /// The user's chats, last active first. `unread_count` stops at 1,000.
    async fn chats_of(&self, user: UserId, page: &PageRequest) -> Result<Page<Chat>>;
    /// For each user, in the order asked, in how many chats they are, deleted ones too, counted up
    /// to `most`.
    async fn count_chats(&self, users: &[UserId], most: usize) -> Result<Vec<usize>>;
    /// A chat as that user sees it. Only members see its content. `None`: it does not exist for
    /// that user.
    async fn chat(&self, chat: ChatId, viewer: UserId) -> Result<Option<Chat>>;
    /// Changes name or description. `ChatNotFound`, `NotAMember`, `NotOwner`, `PrivateChat`.
    async fn update_chat(&self, chat: ChatId, by: UserId, patch: ChatPatch) -> Result<(Chat, Committed)>;
    /// Deletes a group. Its last event is `ChatDeleted`, and every member gets the notice
    /// `ChatRemoved`. `ChatNotFound`, `NotAMember`, `NotOwner`, `PrivateChat`.
    async fn delete_chat(&self, chat: ChatId, by: UserId) -> Result<Committed>;
}

/// Decides who may read a chat's content. `ChatNotFound` (also for closed groups and for other
/// people's private chats), `NotAMember`.
pub(super) fn may_read(is_open: bool, is_member: bool) -> Result<()> {
    match (is_member, is_open) {
        (true, _) => Ok(()),
        (false, true) => Err(Error::NotAMember),
        (false, false) => Err(Error::ChatNotFound),
    }
}

/// A chat to be inserted.
pub(super) enum NewChat<'a> {
    /// A group.
    Group(&'a NewGroup),
    /// The private chat of two users, the lower id first.
    Private(UserId, UserId),
}

impl NewChat<'_> {
    pub(super) fn is_group(&self) -> bool {
        matches!(self, Self::Group(_))
    }

    pub(super) fn is_public(&self) -> bool {
        matches!(self, Self::Group(group) if group.is_public)
    }

    /// Empty for a private chat.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Group(group) => &group.name,
            Self::Private(..) => "",
        }
    }

    pub(super) fn description(&self) -> Option<&str> {
        match self {
            Self::Group(group) => group.description.as_deref(),
            Self::Private(..) => None,
        }
    }

    /// The users of a private chat.
    pub(super) fn pair(&self) -> (Option<UserId>, Option<UserId>) {
        match self {
            Self::Group(_) => (None, None),
            Self::Private(low, high) => (Some(*low), Some(*high)),
        }
    }
}

/// Finds the private chat of two users, the lower id first.
pub(super) const PRIVATE_CHAT_OF: &str =
    "select id from chats where pair_low = $1 and pair_high = $2 and pair_low is not null";

/// A row of `chats`.
#[derive(Clone, Debug, FromRow)]
pub(super) struct ChatRow {
    pub(super) id: ChatId,
    pub(super) is_group: bool,
    pub(super) is_public: bool,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) created_at: Time,
    pub(super) seq: Seq,
    pub(super) member_count: i64,
    pub(super) is_deleted: bool,
}

impl ChatRow {
    /// Whether it exists for users who are not in it.
    pub(super) fn is_open(&self) -> bool {
        self.is_group && self.is_public
    }

    /// The chat as an event shows it to everyone, with the number of that event.
    pub(super) fn to_shared(&self) -> Chat {
        Chat {
            id: self.id,
            name: self.name.clone(),
            description: self.description.clone(),
            is_group: self.is_group,
            is_public: self.is_open(),
            created_at: self.created_at.0,
            seq: self.seq,
            role: None,
            member_count: self.member_count,
            last_message: None,
            unread_count: None,
            mention_count: None,
            settings: None,
            peer: None,
        }
    }
}

/// A chat as one user sees it.
#[derive(FromRow)]
pub(super) struct ViewRow {
    pub(super) viewer_id: UserId,
    pub(super) id: ChatId,
    pub(super) is_group: bool,
    pub(super) is_public: bool,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) created_at: Time,
    pub(super) active_at: Time,
    pub(super) seq: Seq,
    pub(super) member_count: i64,
    pub(super) role: Option<i16>,
    pub(super) peer_id: Option<UserId>,
    pub(super) peer_username: Option<String>,
    pub(super) unread_count: Option<i64>,
    pub(super) mention_count: Option<i64>,
    pub(super) muted_until: Option<Time>,
    pub(super) archived: Option<bool>,
    pub(super) pinned: Option<bool>,
    #[sqlx(flatten)]
    pub(super) last: MessageRow,
}

impl From<ViewRow> for Chat {
    fn from(row: ViewRow) -> Self {
        let peer =
            row.peer_id.zip(row.peer_username).map(|(id, username)| Peer { id, username }).filter(|_| !row.is_group);
        Self {
            id: row.id,
            name: peer.as_ref().map_or(row.name, |peer| peer.username.clone()),
            description: row.description,
            is_group: row.is_group,
            is_public: row.is_group && row.is_public,
            created_at: row.created_at.0,
            seq: row.seq,
            role: row.role.map(role),
            member_count: row.member_count,
            last_message: row.last.into_message(row.id),
            unread_count: row.unread_count,
            mention_count: row.mention_count,
            settings: row.archived.zip(row.pinned).map(|(archived, pinned)| ChatSettings {
                muted_until: row.muted_until.map(|until| until.0),
                archived,
                pinned,
            }),
            peer,
        }
    }
}
