//! The shapes that clients see (contract, section 2), and nothing else: serde only.

use crate::id::{ChatId, MessageId, Seq, UserId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// An account as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct User {
    /// The user's id.
    pub id: UserId,
    /// Unique without case; 3 to 32 of `[A-Za-z0-9_.-]`.
    pub username: String,
    /// Unique without case.
    pub email: String,
    /// False once deactivated.
    pub is_active: bool,
    /// When the account was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// What everyone may know of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PublicUser {
    /// The user's id.
    pub id: UserId,
    /// The user's name.
    pub username: String,
    /// False once deactivated.
    pub is_active: bool,
    /// When the account was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Whether a connection of the user lives anywhere; null while presence cannot be asked.
    pub online: Option<bool>,
    /// When the user was last told offline.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_seen_at: Option<OffsetDateTime>,
}

/// The other user of a private chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Peer {
    /// The user's id.
    pub id: UserId,
    /// The user's name.
    pub username: String,
}

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May change and delete the group and administer its members.
    Owner,
    /// May read and write.
    Member,
}

/// A chat as one user sees it; in an event told to all, the fields that differ by user are null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Chat {
    /// The chat's id.
    pub id: ChatId,
    /// A group's name; of a private chat, the other's username.
    pub name: String,
    /// A group's description.
    pub description: Option<String>,
    /// False for a private chat.
    pub is_group: bool,
    /// When the chat was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// The head of the chat's sequence.
    pub seq: Seq,
    /// The caller's role; null for who is not a member.
    pub role: Option<Role>,
    /// How many members there are.
    pub member_count: i64,
    /// The newest message that is not deleted; members only.
    pub last_message: Option<Message>,
    /// Others' messages after what the caller has read, not deleted, counted up to 1,000; members only.
    pub unread_count: Option<i64>,
    /// The other user of a private chat, else null.
    pub peer: Option<Peer>,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Message {
    /// The message's id.
    pub id: MessageId,
    /// The chat it stands in.
    pub chat_id: ChatId,
    /// Who sent it.
    pub author_id: UserId,
    /// The author's name.
    pub author_username: String,
    /// As sent; empty where `is_deleted`.
    pub text: String,
    /// When it was committed.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Whether it was changed.
    pub is_edited: bool,
    /// When it was last changed.
    #[serde(with = "time::serde::rfc3339::option")]
    pub edited_at: Option<OffsetDateTime>,
    /// True only where a deleted message stands in a replay.
    pub is_deleted: bool,
    /// The number of the event that made it.
    pub seq: Seq,
    /// The author's own key, by which a retry is recognised.
    pub client_message_id: Option<String>,
    /// The message it answers.
    pub reply_to_id: Option<MessageId>,
}

/// Someone's place in a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Member {
    /// The user's id.
    pub user_id: UserId,
    /// The user's name.
    pub username: String,
    /// The user's role.
    pub role: Role,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub joined_at: OffsetDateTime,
}

/// Someone who is online.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OnlineUser {
    /// The user's id.
    pub user_id: UserId,
    /// The user's name.
    pub username: String,
    /// When the user came online.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Page<T> {
    /// The page's rows.
    pub items: Vec<T>,
    /// Where the next page begins; null on the last.
    pub next_cursor: Option<String>,
}

/// A page of a chat's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct HistoryPage {
    /// Oldest first.
    pub items: Vec<Message>,
    /// Goes on in the same direction; null at the end.
    pub next_cursor: Option<String>,
    /// The chat's head when the page was read.
    pub seq: Seq,
}

/// A page of those who are online.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OnlinePage {
    /// The page's users.
    pub items: Vec<OnlineUser>,
    /// Where the next page begins; null on the last.
    pub next_cursor: Option<String>,
    /// How many are online in all.
    pub count: u64,
}

/// What a login answers.
#[derive(Clone, Serialize, ToSchema)]
pub struct TokenPair {
    /// A JWT for `Authorization: Bearer` and for the WebSocket.
    pub access_token: String,
    /// Always `bearer`.
    pub token_type: &'static str,
    /// Seconds for which the access token holds.
    pub expires_in: u64,
    /// Spent by one use at `POST /auth/refresh`.
    pub refresh_token: String,
}

/// Online or offline, as `user_status` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// At least one connection lives.
    Online,
    /// None has lived for the grace period.
    Offline,
}
