//! Members: who is in a chat, as what, and how far they have read.

use super::{Committed, PageRequest, Rows};
use crate::error::Result;
use crate::id::{ChatId, Seq, UserId};
use crate::model::{Chat, Member, Role};
use async_trait::async_trait;

/// What a user may do in a chat, and where its log stands: read in one snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The chat.
    pub chat_id: ChatId,
    /// Private or group.
    pub is_group: bool,
    /// The user's role; `None` for a group's non-member.
    pub role: Option<Role>,
    /// The log's head.
    pub head: Seq,
    /// The last number that the log no longer keeps (0: it reaches back to the first).
    pub floor: Seq,
    /// How many members.
    pub member_count: i64,
}

/// Members. See the store's obligations.
#[async_trait]
pub trait Members: Send + Sync + 'static {
    /// `ChatNotFound`, `PrivateChat` never (a private chat of others does not exist; one's own: a member already), `GroupFull`.
    async fn join(&self, chat: ChatId, user: UserId, max_members: i64) -> Result<(Chat, Committed)>;
    /// `ChatNotFound`, `NotAMember`, `PrivateChat`. The last owner's role passes to the longest-standing active member (`MemberUpdated`, after
    /// the `MemberLeft`); the last member's leaving deletes the group.
    async fn leave(&self, chat: ChatId, user: UserId) -> Result<Committed>;
    /// Members by user id. `ChatNotFound`, `NotAMember`.
    async fn members(&self, chat: ChatId, by: UserId, page: &PageRequest) -> Result<Rows<Member>>;
    /// `NotOwner` and the rest; unknown ids: `Invalid` on `user_ids`; who is a member already is passed over. Answers those asked for.
    async fn add_members(&self, chat: ChatId, by: UserId, ids: &[UserId], max: i64)
    -> Result<(Vec<Member>, Committed)>;
    /// `MemberNotFound`, `NotOwner`, `PrivateChat`; the last owner cannot step down: `Invalid` on `role`.
    async fn set_role(&self, chat: ChatId, by: UserId, user: UserId, role: Role) -> Result<(Member, Committed)>;
    /// `MemberNotFound`, `NotOwner`, `PrivateChat`. Oneself: as leaving.
    async fn remove_member(&self, chat: ChatId, by: UserId, user: UserId) -> Result<Committed>;
    /// Moves the read mark forward, at most to the head, and says where it stands. `ChatNotFound`, `NotAMember`.
    async fn mark_read(&self, chat: ChatId, user: UserId, seq: Seq) -> Result<Seq>;
    /// For each pair, in the order asked: `None` where the chat does not exist for the user.
    async fn access(&self, pairs: &[(ChatId, UserId)]) -> Result<Vec<Option<Access>>>;
    /// The ids of all members of each of these chats that has at most `max` of them.
    async fn member_ids(&self, chats: &[ChatId], max: i64) -> Result<Vec<(ChatId, Vec<UserId>)>>;
    /// Of these users, who is a member of the chat: the slow beat's check.
    async fn still_members(&self, chat: ChatId, users: &[UserId]) -> Result<Vec<UserId>>;
    /// For each user, those of their chats that have at most `max` members.
    async fn chats_for_status(&self, users: &[UserId], max: i64) -> Result<Vec<(UserId, Vec<ChatId>)>>;
}
