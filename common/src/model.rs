//! The shapes that clients see (contract, section 2), and nothing else: serde only.

use crate::id::{ChatId, MessageId, Seq, SessionId, UserId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// The most different emoji under a message.
pub const MAX_REACTIONS: usize = 20;
/// The most invitations of a group that let somebody in.
pub const MAX_INVITES: i64 = 100;
/// The most pins of a chat.
pub const MAX_PINS: i64 = 50;

/// Your account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct User {
    /// The user's id.
    pub id: UserId,
    /// 3 to 32 characters of `[A-Za-z0-9_.-]`, unique in any case.
    pub username: String,
    /// Unique in any case.
    pub email: String,
    /// The name that people see; null: the username.
    pub display_name: Option<String>,
    /// A few words about you.
    pub bio: Option<String>,
    /// False once deactivated.
    pub is_active: bool,
    /// When the account was created.
    #[serde(with = "crate::timestamp")]
    pub created_at: OffsetDateTime,
}

/// The public part of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PublicUser {
    /// The user's id.
    pub id: UserId,
    /// The user's name.
    pub username: String,
    /// The name that people see; null: the username.
    pub display_name: Option<String>,
    /// A few words about the user.
    pub bio: Option<String>,
    /// False once deactivated.
    pub is_active: bool,
    /// When the account was created.
    #[serde(with = "crate::timestamp")]
    pub created_at: OffsetDateTime,
    /// Whether the user has an open connection; null while presence is unavailable.
    pub online: Option<bool>,
    /// When the user last went offline.
    #[serde(with = "crate::timestamp::option")]
    pub last_seen_at: Option<OffsetDateTime>,
}

/// One of your sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SessionInfo {
    /// The session's id.
    pub id: SessionId,
    /// When you logged in.
    #[serde(with = "crate::timestamp")]
    pub created_at: OffsetDateTime,
    /// When you last logged in or refreshed the tokens.
    #[serde(with = "crate::timestamp")]
    pub last_used_at: OffsetDateTime,
    /// The `User-Agent` of the login, its first 256 characters.
    pub user_agent: Option<String>,
    /// Whether this request is the session's.
    pub is_current: bool,
}

/// The other user of a private chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Peer {
    /// The user's id.
    pub id: UserId,
    /// The user's name.
    pub username: String,
}

/// The rights of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May change and delete the group, and manage its members.
    Owner,
    /// May read and write.
    Member,
}

/// A chat as you see it. In an event, the fields that differ by user are null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Chat {
    /// The chat's id.
    pub id: ChatId,
    /// A group's name; in a private chat, the other user's name.
    pub name: String,
    /// A group's description.
    pub description: Option<String>,
    /// False for a private chat.
    pub is_group: bool,
    /// Whether everybody sees the group and may join it. A closed group, like a private chat,
    /// exists for its members only.
    pub is_public: bool,
    /// When the chat was created.
    #[serde(with = "crate::timestamp")]
    pub created_at: OffsetDateTime,
    /// The number of the chat's newest event.
    pub seq: Seq,
    /// Your role; null if you are not a member.
    pub role: Option<Role>,
    /// How many members the chat has.
    pub member_count: i64,
    /// The newest message that is not deleted; for members.
    pub last_message: Option<Message>,
    /// How many messages of others you have not read, up to 1,000; for members.
    pub unread_count: Option<i64>,
    /// How many unread messages mention you, up to 1,000; for members.
    pub mention_count: Option<i64>,
    /// Your own view of the chat; for members.
    pub settings: Option<ChatSettings>,
    /// The other user of a private chat; null for a group.
    pub peer: Option<Peer>,
}

impl Chat {
    /// The chat for a frame that several users get: nothing in it differs by reader.
    #[must_use]
    pub fn for_all(mut self) -> Self {
        self.last_message = self.last_message.map(Message::for_all);
        self
    }
}

/// A member's own view of a chat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ChatSettings {
    /// Until then nothing of the chat notifies you; null: it is not muted.
    #[serde(with = "crate::timestamp::option")]
    pub muted_until: Option<OffsetDateTime>,
    /// Whether you put it away.
    pub archived: bool,
    /// Whether it stands above the others.
    pub pinned: bool,
}

/// A message that a search found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FoundMessage {
    /// The message.
    #[serde(flatten)]
    pub message: Message,
    /// The pieces of `text` that were looked for, `[start, end]` each, `end` not in it. They
    /// count Unicode scalar values, stand in order and do not overlap.
    #[schema(value_type = Vec<Vec<u64>>)]
    pub highlights: Vec<[usize; 2]>,
}

/// An emoji under a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reaction {
    /// One emoji of Unicode's list.
    pub emoji: String,
    /// How many users chose it.
    pub count: i64,
    /// Whether you did; left out of events.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = bool, required = false)]
    pub me: Option<bool>,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Message {
    /// The message's id.
    pub id: MessageId,
    /// The chat that it was sent to.
    pub chat_id: ChatId,
    /// The user who sent it.
    pub author_id: UserId,
    /// The author's name.
    pub author_username: String,
    /// The author's name for people; null: the username.
    pub author_display_name: Option<String>,
    /// The text as it was sent; empty if `is_deleted`.
    pub text: String,
    /// When it was committed.
    #[serde(with = "crate::timestamp")]
    pub created_at: OffsetDateTime,
    /// Whether it was edited.
    pub is_edited: bool,
    /// When it was last edited.
    #[serde(with = "crate::timestamp::option")]
    pub edited_at: Option<OffsetDateTime>,
    /// True only for a deleted message in a replay.
    pub is_deleted: bool,
    /// The number of its `new_message` event.
    pub seq: Seq,
    /// The author's own key: a retry with the same key sends nothing twice.
    pub client_message_id: Option<String>,
    /// The message that it replies to.
    pub reply_to_id: Option<MessageId>,
    /// The emoji under it, the first one first.
    pub reactions: Vec<Reaction>,
    /// The members whom its text mentions by `@username`.
    pub mentions: Vec<UserId>,
}

impl Message {
    /// The message for a frame that several users get: nothing in it differs by reader.
    #[must_use]
    pub fn for_all(mut self) -> Self {
        for reaction in &mut self.reactions {
            reaction.me = None;
        }
        self
    }
}

/// A member of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Member {
    /// The user's id.
    pub user_id: UserId,
    /// The user's name.
    pub username: String,
    /// The user's role.
    pub role: Role,
    /// When the user became a member.
    #[serde(with = "crate::timestamp")]
    pub joined_at: OffsetDateTime,
}

/// An invitation into a group, or the host's to register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Invite {
    /// 128 random bits. Anybody who has it may come in.
    pub code: String,
    /// A link to pass on.
    pub url: String,
    /// The group; null for an invitation to register only.
    pub chat_id: Option<ChatId>,
    /// The user who made it; null for the host's.
    pub created_by: Option<UserId>,
    /// When it was made.
    #[serde(with = "crate::timestamp")]
    pub created_at: OffsetDateTime,
    /// From then on it lets nobody in; null: never.
    #[serde(with = "crate::timestamp::option")]
    pub expires_at: Option<OffsetDateTime>,
    /// How many users it lets in; null: any number.
    pub max_uses: Option<i64>,
    /// How many it has let in.
    pub uses: i64,
}

/// The group that an invitation leads into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct InvitedTo {
    /// The group's name.
    pub name: String,
    /// The group's description.
    pub description: Option<String>,
    /// How many members it has.
    pub member_count: i64,
}

/// The part of an invitation that anybody who has its code may see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct InvitePreview {
    /// The group; null for an invitation to register only.
    pub chat: Option<InvitedTo>,
    /// The name of the user who made it; null for the host's.
    pub invited_by: Option<String>,
    /// From then on it lets nobody in; null: never.
    #[serde(with = "crate::timestamp::option")]
    pub expires_at: Option<OffsetDateTime>,
}

/// A user who is online.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OnlineUser {
    /// The user's id.
    pub user_id: UserId,
    /// The user's name.
    pub username: String,
    /// When the user came online.
    #[serde(with = "crate::timestamp")]
    pub since: OffsetDateTime,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Page<T> {
    /// The page's items.
    pub items: Vec<T>,
    /// Where the next page begins; null on the last.
    pub next_cursor: Option<String>,
}

/// A page of a chat's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct HistoryPage {
    /// Oldest first.
    pub items: Vec<Message>,
    /// Where the next page begins, in the same direction; null at the end.
    pub next_cursor: Option<String>,
    /// The number of the chat's newest event when the page was read.
    pub seq: Seq,
}

/// A page of the users who are online.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OnlinePage {
    /// The page's users.
    pub items: Vec<OnlineUser>,
    /// Where the next page begins; null on the last.
    pub next_cursor: Option<String>,
    /// How many are online in all.
    pub count: u64,
}

/// The tokens of a session.
#[derive(Clone, Serialize, ToSchema)]
pub struct TokenPair {
    /// A JWT for `Authorization: Bearer` and for the WebSocket.
    pub access_token: String,
    /// Always `bearer`.
    pub token_type: &'static str,
    /// For how many seconds the access token is valid.
    pub expires_in: u64,
    /// Works once, at `POST /auth/refresh`.
    pub refresh_token: String,
}

/// Online or offline, in `user_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The user has at least one open connection.
    Online,
    /// The user has had none for the grace period.
    Offline,
}
