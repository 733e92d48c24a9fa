//! Members: who is in a chat, as what, and how far they have read.

use super::cursor::PageRequest;
use super::log::Committed;
use super::stored_time::Time;
use crate::error::Result;
use crate::event::MemberChange;
use crate::id::{ChatId, Seq, UserId};
use crate::model::{Chat, Member, Page, Role};
use async_trait::async_trait;
use sqlx::FromRow;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// A user's rights in a chat and the state of its log, read in one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The chat.
    pub chat_id: ChatId,
    /// False for a private chat.
    pub is_group: bool,
    /// The user's role; `None` for a group's non-member.
    pub role: Option<Role>,
    /// The log's head.
    pub head: Seq,
    /// The last number that the log no longer keeps. 0: it reaches back to the first.
    pub floor: Seq,
    /// How many members the chat has.
    pub member_count: i64,
    /// The epoch of the history that these numbers are of.
    pub epoch: Arc<str>,
}

/// A user who comes or goes, and the chats that hear of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForStatus {
    /// The user.
    pub user_id: UserId,
    /// The user's name.
    pub username: String,
    /// When the user was last online, before now.
    pub last_seen_at: Option<OffsetDateTime>,
    /// By id; `None`: the user is in more chats than were asked for.
    pub chats: Option<Vec<ChatId>>,
}

/// A member's read mark after it was to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadMark {
    /// Where it stands.
    pub seq: Seq,
    /// Whether it moved.
    pub moved: bool,
    /// How many members the chat has.
    pub member_count: i64,
    /// Whether the other user of a private chat blocked the reader.
    pub is_blocked: bool,
}

/// A change of a member's own view. `None` leaves a field as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct SettingsPatch {
    /// A new end of the silence; `Some(None)` ends it.
    pub muted_until: Option<Option<OffsetDateTime>>,
    /// Whether the chat is put away.
    pub archived: Option<bool>,
    /// Whether it stands above the others.
    pub pinned: Option<bool>,
}

/// Members. See the store's obligations.
#[async_trait]
pub trait Members: Send + Sync + 'static {
    /// Joins a group. `ChatNotFound` (also for closed groups and for other people's private
    /// chats), `GroupFull`. Joining
    /// a chat that the user is in changes nothing.
    async fn join(&self, chat: ChatId, user: UserId, max_members: i64) -> Result<(Chat, Committed)>;
    /// Leaves a group. `ChatNotFound`, `NotAMember`, `PrivateChat`. The last active owner's role
    /// passes to the longest-standing active member: `MemberUpdated` follows `MemberLeft`. When the
    /// last active member leaves, the group is deleted.
    async fn leave(&self, chat: ChatId, user: UserId) -> Result<Committed>;
    /// Passes the role of an only owner on, for a user who was deactivated: `MemberUpdated` of the
    /// heir, then of the former owner. A group without another active member is deleted. Where
    /// another active owner is there, or the user is no member or active again, nothing changes.
    async fn pass_on(&self, chat: ChatId, user: UserId) -> Result<Committed>;
    /// The groups of a deactivated user in which nobody is an active owner, at most `limit`.
    async fn left_without_owner(&self, user: UserId, limit: usize) -> Result<Vec<ChatId>>;
    /// Users who were deactivated at least `longer_than` ago and may still have groups to be passed
    /// on, at most `limit`.
    async fn accounts_with_groups_left(&self, longer_than: Duration, limit: usize) -> Result<Vec<UserId>>;
    /// Records that all groups of a user were passed on, who was deactivated at least `longer_than`
    /// ago.
    async fn all_groups_passed_on(&self, user: UserId, longer_than: Duration) -> Result<()>;
    /// Members by user id. `ChatNotFound`, `NotAMember`.
    async fn members(&self, chat: ChatId, by: UserId, page: &PageRequest) -> Result<Page<Member>>;
    /// Adds members and answers all of those asked for, also those who were members before.
    /// `ChatNotFound`, `NotAMember`, `NotOwner`, `PrivateChat`, `GroupFull`, `Blocked` where one of
    /// them blocked the caller. `Invalid` on
    /// `user_ids` where an id is unknown.
    async fn add_members(&self, chat: ChatId, by: UserId, ids: &[UserId], max: i64)
    -> Result<(Vec<Member>, Committed)>;
    /// Changes a member's role. `ChatNotFound`, `NotAMember`, `NotOwner`, `PrivateChat`,
    /// `MemberNotFound`. `Invalid` on `role` where the group would have no active owner left, or
    /// where an owner's account is deactivated.
    async fn set_role(&self, chat: ChatId, by: UserId, user: UserId, role: Role) -> Result<(Member, Committed)>;
    /// Removes a member. `ChatNotFound`, `NotAMember`, `NotOwner`, `PrivateChat`, `MemberNotFound`.
    /// To remove oneself is to leave.
    async fn remove_member(&self, chat: ChatId, by: UserId, user: UserId) -> Result<Committed>;
    /// Moves the read mark forward, at most to the head. `ChatNotFound`, `NotAMember`.
    async fn mark_read(&self, chat: ChatId, user: UserId, seq: Seq) -> Result<ReadMark>;
    /// Changes a member's own view of the chat. `None`: the user is no member. `ChatNotFound`.
    async fn set_settings(&self, chat: ChatId, user: UserId, patch: SettingsPatch) -> Result<Option<Committed>>;
    /// One entry for each pair, in the order asked. `None`: the chat does not exist for the user.
    async fn access(&self, pairs: &[(ChatId, UserId)]) -> Result<Vec<Option<Access>>>;
    /// The members of each of these chats. A chat with more than `max` of them is left out.
    async fn member_ids(&self, chats: &[ChatId], max: i64) -> Result<Vec<(ChatId, Vec<UserId>)>>;
    /// Those of these users who are members of the chat, by id.
    async fn members_among(&self, chat: ChatId, users: &[UserId]) -> Result<Vec<UserId>>;
    /// The users of these whom there is, in any order, with those of their chats that have at most
    /// `max` members. A user in more than `most` has none here.
    async fn for_status(&self, users: &[UserId], max: i64, most: usize) -> Result<Vec<ForStatus>>;
}

// The groups of the deactivated user $1 in which nobody is an active owner, at most $2.
macro_rules! left_without_owner {
    () => {
        "select m.chat_id from members m join users u on u.id = m.user_id join chats c on c.id = m.chat_id
         where m.user_id = $1 and not u.is_active and c.is_group and c.deleted_at is null and not exists (
             select 1 from members o join users a on a.id = o.user_id
             where o.chat_id = m.chat_id and o.role = 1 and a.is_active
         )
         order by m.chat_id limit $2"
    };
}
pub(super) use left_without_owner;

pub(super) fn role_number(role: Role) -> i16 {
    match role {
        Role::Owner => 1,
        Role::Member => 2,
    }
}

pub(super) fn role(number: i16) -> Role {
    if number == 1 { Role::Owner } else { Role::Member }
}

/// A row of a member list: the chat, whether the caller is a member, and perhaps a member.
#[derive(FromRow)]
pub(super) struct MemberListRow {
    /// Whether the chat exists for users who are not in it.
    pub(super) is_open: bool,
    pub(super) is_member: bool,
    pub(super) user_id: Option<UserId>,
    pub(super) username: Option<String>,
    pub(super) role: Option<i16>,
    pub(super) joined_at: Option<Time>,
}

impl MemberListRow {
    pub(super) fn into_member(self) -> Option<Member> {
        Some(Member {
            user_id: self.user_id?,
            username: self.username?,
            role: role(self.role?),
            joined_at: self.joined_at?.0,
        })
    }
}

/// A row of `members` with the user's name.
#[derive(Clone, FromRow)]
pub(super) struct MemberRow {
    pub(super) user_id: UserId,
    pub(super) username: String,
    pub(super) role: i16,
    pub(super) joined_at: Time,
}

impl From<MemberRow> for Member {
    fn from(row: MemberRow) -> Self {
        Self { user_id: row.user_id, username: row.username, role: role(row.role), joined_at: row.joined_at.0 }
    }
}

impl From<&Member> for MemberChange {
    fn from(member: &Member) -> Self {
        Self { user_id: member.user_id, username: member.username.clone(), role: member.role }
    }
}
