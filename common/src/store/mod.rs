//! The store: accounts, chats, messages and the log of every chat. The log is the truth; the bus is a hint.
//!
//! # Obligations of a back end
//! - Each method is one transaction. What it says is committed **is on disk** when it returns (guarantee G1).
//! - **Numbers**: an event takes its chat's next `seq` (`update chats set seq = seq + 1 … returning seq`) inside the transaction that
//!   stores it, so that the row's lock makes the order of numbers the order of commits, without a gap (G2).
//! - **Outbox**: the same transaction leaves an outbox entry for what it committed; [`Committed::outbox`] names it. It is removed
//!   by [`Store::outbox_remove`] once published, or found by [`Store::outbox_claim`] when its publisher died.
//! - **Rights are decided inside the transaction that acts**, after the chat's row is locked: who was removed at `seq` n writes nothing with
//!   a `seq` after n. A private chat does not exist (`ChatNotFound`) for anyone but its two users, a deleted chat for nobody.
//! - **No text in the log**: an event names its message, and a replay joins it as it stands now.
//! - A database that is away is `Error::Unavailable` within two seconds, without a restart needed when it is back.
//! - Races are decided by constraints, never by check-then-insert.

mod change;
#[cfg(test)]
mod contract;
mod cursor;
mod fault;
pub mod postgres;
mod row;
mod send;
pub mod sqlite;

use crate::error::Result;
use crate::event::LogEvent;
use crate::id::{ChatId, MessageId, Seq, SessionId, UserId};
use crate::model::{Chat, HistoryPage, Member, Message, Role, User};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// How long a claimed entry of the outbox is held for its relay.
pub const CLAIM_LEASE: Duration = Duration::from_millis(1500);

/// An entry of the outbox: what one transaction committed and nobody may have published yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutboxId(pub i64);

/// What a transaction committed and must now be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The events, in the order of their numbers within each chat.
    pub events: Vec<LogEvent>,
    /// What is told to users beside it.
    pub notices: Vec<UserNotice>,
    /// The outbox entry to be removed once all that is published; `None` when nothing was committed.
    pub outbox: Option<OutboxId>,
}

/// A frame for every connection of a user; see [`crate::event::Envelope::Notice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserNotice {
    /// To whom.
    pub user_id: UserId,
    /// Because of which chat.
    pub chat_id: ChatId,
    /// And the number of which of its events (the head at the time, for a chat just made).
    pub seq: Seq,
    /// What is told.
    pub body: NoticeBody,
}

/// What a user is told beside a chat's sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeBody {
    /// The user came into the chat, here as that user sees it: one value for all who see the same.
    ChatAdded(Arc<Chat>),
    /// The user came out of it, or it was deleted.
    ChatRemoved,
    /// A message of a private chat, the same frame as its event.
    NewMessage(Box<Message>),
}

/// An account to be made.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Checked before.
    pub username: String,
    /// Checked before.
    pub email: String,
    /// A PHC string.
    pub password_hash: String,
}

/// What a login is checked against.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The account.
    pub user: User,
    /// A PHC string.
    pub password_hash: String,
}

/// A session as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The session.
    pub id: SessionId,
    /// Whose.
    pub user_id: UserId,
    /// How many refresh tokens were issued before the present one; part of the token.
    pub generation: i64,
}

/// What spending a refresh token came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The session goes on under its next generation.
    Rotated(Session, User),
    /// The token was spent before: the session is ended now.
    Reused(Session),
    /// There is no such session, or it had ended or expired before.
    Ended,
    /// The account is deactivated.
    Disabled,
}

/// A session that has ended, for the nodes that missed the word of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedSession {
    /// The session.
    pub id: SessionId,
    /// Whose.
    pub user_id: UserId,
    /// Whether because the account was deactivated.
    pub disabled: bool,
}

/// A public user with what the store keeps of presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// The account.
    pub user: User,
    /// When last told offline.
    pub last_seen_at: Option<OffsetDateTime>,
}

/// A group to be made.
#[derive(Clone, Debug)]
pub struct NewGroup {
    /// Its first owner.
    pub owner: UserId,
    /// Checked before.
    pub name: String,
    /// Checked before.
    pub description: Option<String>,
    /// Its first members beside the owner, each once. Unknown or deactivated ones: `Error::Invalid` on `member_ids`.
    pub member_ids: Vec<UserId>,
}

/// What is to change of a group; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct ChatPatch {
    /// A new name.
    pub name: Option<String>,
    /// A new description; `Some(None)` takes it away.
    pub description: Option<Option<String>>,
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// Where.
    pub chat_id: ChatId,
    /// By whom.
    pub author_id: UserId,
    /// The author's name (names never change).
    pub author_username: String,
    /// Checked before.
    pub text: String,
    /// Unique for the author in the chat, for ever.
    pub client_message_id: Option<String>,
    /// A message of the same chat; else `Error::Invalid` on `reply_to_id`.
    pub reply_to_id: Option<MessageId>,
}

/// What became of a send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The message: the first one, where it was a retry.
    pub message: Message,
    /// False for a retry: nothing was committed.
    pub created: bool,
}

/// What a batch of sends came to.
#[derive(Debug)]
pub struct SentBatch {
    /// In the order given; one that failed harmed no other. `NotAMember`, `ChatNotFound`, `ClientMessageIdReused`, `Invalid`.
    pub results: Vec<Result<Sent>>,
    /// What is to be told of those that were created (private chats: with the notices to both users).
    pub committed: Committed,
}

/// Where a page of a list stands and how long it may be.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// An earlier page's `next_cursor`, decoded by the store that made it: `Error::Invalid` on `cursor` otherwise.
    pub cursor: Option<String>,
    /// 1 to 100.
    pub limit: usize,
}

/// A page of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// Which page of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryFrom {
    /// The newest.
    Newest,
    /// Older than this message of the chat.
    Before(MessageId),
    /// Newer than this message of the chat.
    After(MessageId),
    /// Where an earlier page left off.
    Cursor(String),
}

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

/// A piece of a chat's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// Consecutive from the number asked after; fewer than asked only at the head.
    pub events: Vec<LogEvent>,
    /// The head in the same snapshot.
    pub head: Seq,
    /// The last number that the log no longer keeps. Greater than the number asked after: there is a gap that nothing can fill.
    pub floor: Seq,
}

/// Persistence; see the module's obligations.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Whether the database answers, within two seconds.
    async fn ping(&self) -> Result<()>;

    // Accounts

    /// `UsernameTaken`, `EmailTaken`.
    async fn create_user(&self, user: NewUser) -> Result<User>;
    /// By username or e-mail, without case.
    async fn credentials(&self, login: &str) -> Result<Option<Credentials>>;
    /// By id.
    async fn credentials_of(&self, user: UserId) -> Result<Option<Credentials>>;
    /// Those of the ids that exist, in no order.
    async fn users(&self, ids: &[UserId]) -> Result<Vec<UserRow>>;
    /// By prefix of the username without case, ordered by it; active users only. `%` and `_` stand for themselves.
    async fn search_users(&self, prefix: &str, page: &PageRequest) -> Result<Rows<UserRow>>;
    /// Changes e-mail or password hash; a new hash ends all sessions but `keep`. `EmailTaken`. `None`: no such user, or `verified` is no
    /// longer the account's hash, decided by the same statement that changes it.
    async fn update_user(
        &self,
        user: UserId,
        verified: &str,
        email: Option<String>,
        password_hash: Option<String>,
        keep: SessionId,
    ) -> Result<Option<(User, Vec<SessionId>)>>;
    /// Sets `is_active` to false and ends all sessions.
    async fn deactivate_user(&self, user: UserId) -> Result<()>;
    /// Keeps when users were last seen; never moves back.
    async fn set_last_seen(&self, seen: &[(UserId, OffsetDateTime)]) -> Result<()>;

    // Sessions

    /// Opens one of generation 0 for who knew the password of that hash. `AccountDisabled`; `BadCredentials` where the account's hash is
    /// another by now: no session outlives a new password unseen.
    async fn create_session(&self, user: UserId, verified: &str, ttl: Duration) -> Result<Session>;
    /// Spends the refresh token of that generation, atomically: of two at once one is `Rotated`, the other `Reused`.
    async fn rotate_session(&self, session: SessionId, generation: i64, ttl: Duration) -> Result<Rotation>;
    /// Ends one; ended already is no error.
    async fn end_session(&self, session: SessionId) -> Result<()>;
    /// Those that ended within this long, by the database's clock.
    async fn sessions_ended_within(&self, period: Duration) -> Result<Vec<EndedSession>>;

    // Chats

    /// Makes a group; its sequence begins at 0, everyone in it is told `ChatAdded`.
    async fn create_group(&self, group: NewGroup) -> Result<(Chat, Committed)>;
    /// The private chat of two users and whether it was made now; both are told `ChatAdded` then. `UserNotFound` for an
    /// unknown or deactivated `other`.
    async fn private_chat(&self, user: UserId, other: UserId) -> Result<(Chat, bool, Committed)>;
    /// The user's chats, last active first, with `role`, `last_message`, `unread_count` (counted up to 1,000).
    async fn chats_of(&self, user: UserId, page: &PageRequest) -> Result<Rows<Chat>>;
    /// A chat as that user sees it: a group's members see all of it, others no content; `None`: it does not exist for that user.
    async fn chat(&self, chat: ChatId, viewer: UserId) -> Result<Option<Chat>>;
    /// `ChatNotFound`, `NotAMember`, `NotOwner`, `PrivateChat`.
    async fn update_chat(&self, chat: ChatId, by: UserId, patch: ChatPatch) -> Result<(Chat, Committed)>;
    /// The same errors. Its last event is `ChatDeleted`; every member is told `ChatRemoved`.
    async fn delete_chat(&self, chat: ChatId, by: UserId) -> Result<Committed>;
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

    // Messages

    /// Sends a batch in one transaction, one round trip; each as its own rights allow. Two entries of one batch never share author,
    /// chat and `client_message_id` (the caller sees to that). Moves the author's read mark to what was sent.
    async fn send(&self, batch: Vec<NewMessage>) -> Result<SentBatch>;
    /// Without deleted ones. `ChatNotFound`, `NotAMember`; a message that is not in the chat: `Invalid` on `before` / `after`.
    async fn history(&self, chat: ChatId, by: UserId, from: HistoryFrom, limit: usize) -> Result<HistoryPage>;
    /// `MessageNotFound` (also for who may not see the chat, and deleted ones), `NotAuthor`, `NotAMember` (an author who left).
    /// The same text again changes nothing and commits nothing.
    async fn edit(&self, message: MessageId, by: UserId, text: String) -> Result<(Message, Committed)>;
    /// The author, or an owner of the group; else `NotAuthor`. The text is erased.
    async fn delete(&self, message: MessageId, by: UserId) -> Result<Committed>;

    // The log and its outbox

    /// The log after a number, up to `limit` events. `None`: no such chat (deleted ones are still read).
    async fn log_after(&self, chat: ChatId, after: Seq, limit: usize) -> Result<Option<LogPage>>;
    /// The heads of these chats; of deleted ones too.
    async fn heads(&self, chats: &[ChatId]) -> Result<Vec<(ChatId, Seq)>>;
    /// Removes what was published.
    async fn outbox_remove(&self, ids: &[OutboxId]) -> Result<()>;
    /// Takes up to `limit` entries older than `age` (database's clock), that no other relay holds, and rebuilds what they must tell. They stay in the
    /// outbox, leased to the caller for [`CLAIM_LEASE`], until removed: a relay that dies loses nothing.
    async fn outbox_claim(&self, age: Duration, limit: usize) -> Result<Vec<Committed>>;
    /// How many entries there are, counted up to 10,000.
    async fn outbox_pending(&self) -> Result<i64>;
    /// Removes up to `limit` log entries older than the retention, oldest first, raising the chats' floors, and erases as many texts of deleted
    /// chats; says how many, 0 when there is nothing left to do. Blocks no writer.
    async fn prune(&self, older_than: Duration, limit: usize) -> Result<usize>;
    /// How many commits gain by running at once; at least 1.
    fn writers(&self) -> usize;
    /// Open and idle connections of the pool, for the metrics.
    fn pool(&self) -> PoolState;
}

/// How the connection pool stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolState {
    /// In use.
    pub in_use: u32,
    /// Open and idle.
    pub idle: u32,
}
