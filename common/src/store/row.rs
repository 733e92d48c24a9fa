//! Rows as both back ends read them, and the model's shapes made of them. The databases differ only in how they keep a time.

use super::{Credentials, Session, UserRow};
use crate::event::{EventBody, EventKind, LogEvent, MemberChange, micros};
use crate::id::{ChatId, MessageId, Seq, SessionId, UserId};
use crate::model::{Chat, Member, Message, Peer, Role, User};
use sqlx::FromRow;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgTypeInfo, PgValueRef, Postgres};
use sqlx::sqlite::{Sqlite, SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Encode, Type};
use time::OffsetDateTime;

/// A stored time: `timestamptz` in Postgres, microseconds since the Unix epoch in SQLite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time(pub(super) OffsetDateTime);

impl Time {
    pub(super) fn from_micros(micros: i64) -> Option<Self> {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).ok().map(Self)
    }
}

impl Type<Postgres> for Time {
    fn type_info() -> PgTypeInfo {
        <OffsetDateTime as Type<Postgres>>::type_info()
    }
}

impl<'r> Decode<'r, Postgres> for Time {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        <OffsetDateTime as Decode<Postgres>>::decode(value).map(Self)
    }
}

impl Type<Sqlite> for Time {
    fn type_info() -> SqliteTypeInfo {
        <i64 as Type<Sqlite>>::type_info()
    }

    fn compatible(ty: &SqliteTypeInfo) -> bool {
        <i64 as Type<Sqlite>>::compatible(ty)
    }
}

impl<'r> Decode<'r, Sqlite> for Time {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        let micros = <i64 as Decode<Sqlite>>::decode(value)?;
        Self::from_micros(micros).ok_or_else(|| "a stored time is out of range".into())
    }
}

impl Encode<'_, Sqlite> for Time {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        <i64 as Encode<Sqlite>>::encode(micros(self.0), buffer)
    }
}

/// Lowers as both databases compare names and addresses.
pub(super) fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// A 64-bit FNV-1a digest: tells a retry of a text from another text, and is no copy of it.
pub(super) fn digest(text: &str) -> i64 {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash.cast_signed()
}

pub(super) fn role_number(role: Role) -> i16 {
    match role {
        Role::Owner => 1,
        Role::Member => 2,
    }
}

pub(super) fn role(number: i16) -> Role {
    if number == 1 { Role::Owner } else { Role::Member }
}

/// A row of `users`.
#[derive(FromRow)]
pub(super) struct AccountRow {
    pub(super) id: UserId,
    pub(super) username: String,
    pub(super) email: String,
    pub(super) password_hash: String,
    pub(super) is_active: bool,
    pub(super) created_at: Time,
    pub(super) last_seen_at: Option<Time>,
}

impl From<AccountRow> for User {
    fn from(row: AccountRow) -> Self {
        Self {
            id: row.id,
            username: row.username,
            email: row.email,
            is_active: row.is_active,
            created_at: row.created_at.0,
        }
    }
}

impl From<AccountRow> for UserRow {
    fn from(row: AccountRow) -> Self {
        Self { last_seen_at: row.last_seen_at.map(|at| at.0), user: row.into() }
    }
}

impl From<AccountRow> for Credentials {
    fn from(mut row: AccountRow) -> Self {
        Self { password_hash: std::mem::take(&mut row.password_hash), user: row.into() }
    }
}

/// A session that is being rotated, read under its lock.
#[derive(FromRow)]
pub(super) struct SessionRow {
    pub(super) id: SessionId,
    pub(super) user_id: UserId,
    pub(super) generation: i64,
    /// Neither ended nor expired.
    pub(super) live: bool,
}

impl SessionRow {
    pub(super) fn session(&self, generation: i64) -> Session {
        Session { id: self.id, user_id: self.user_id, generation }
    }
}

/// A row of `chats`.
#[derive(Clone, Debug, FromRow)]
pub(super) struct ChatRow {
    pub(super) id: ChatId,
    pub(super) is_group: bool,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) created_at: Time,
    pub(super) seq: Seq,
    pub(super) member_count: i64,
    pub(super) is_deleted: bool,
}

impl ChatRow {
    /// The chat as an event tells it to everyone, with the number of that event.
    pub(super) fn to_shared(&self) -> Chat {
        Chat {
            id: self.id,
            name: self.name.clone(),
            description: self.description.clone(),
            is_group: self.is_group,
            created_at: self.created_at.0,
            seq: self.seq,
            role: None,
            member_count: self.member_count,
            last_message: None,
            unread_count: None,
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
    #[sqlx(flatten)]
    pub(super) last: JoinedMessage,
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
            created_at: row.created_at.0,
            seq: row.seq,
            role: row.role.map(role),
            member_count: row.member_count,
            last_message: row.last.into_message(row.id),
            unread_count: row.unread_count,
            peer,
        }
    }
}

/// A message's columns where an outer join may have found none.
#[derive(FromRow)]
pub(super) struct JoinedMessage {
    m_id: Option<MessageId>,
    m_author_id: Option<UserId>,
    m_author_username: Option<String>,
    m_text: Option<String>,
    m_created_at: Option<Time>,
    m_edited_at: Option<Time>,
    m_is_deleted: Option<bool>,
    m_seq: Option<Seq>,
    m_client_message_id: Option<String>,
    m_reply_to_id: Option<MessageId>,
}

impl JoinedMessage {
    pub(super) fn into_message(self, chat_id: ChatId) -> Option<Message> {
        let is_deleted = self.m_is_deleted.unwrap_or(false);
        Some(Message {
            id: self.m_id?,
            chat_id,
            author_id: self.m_author_id?,
            author_username: self.m_author_username?,
            text: if is_deleted { String::new() } else { self.m_text? },
            created_at: self.m_created_at?.0,
            is_edited: self.m_edited_at.is_some(),
            edited_at: self.m_edited_at.map(|at| at.0),
            is_deleted,
            seq: self.m_seq?,
            client_message_id: self.m_client_message_id,
            reply_to_id: self.m_reply_to_id,
        })
    }
}

/// A message that is not deleted.
#[derive(FromRow)]
pub(super) struct MessageRow {
    pub(super) id: MessageId,
    pub(super) chat_id: ChatId,
    pub(super) author_id: UserId,
    pub(super) author_username: String,
    pub(super) text: String,
    pub(super) created_at: Time,
    pub(super) edited_at: Option<Time>,
    pub(super) seq: Seq,
    pub(super) client_message_id: Option<String>,
    pub(super) reply_to_id: Option<MessageId>,
}

impl From<MessageRow> for Message {
    fn from(row: MessageRow) -> Self {
        Self {
            id: row.id,
            chat_id: row.chat_id,
            author_id: row.author_id,
            author_username: row.author_username,
            text: row.text,
            created_at: row.created_at.0,
            is_edited: row.edited_at.is_some(),
            edited_at: row.edited_at.map(|at| at.0),
            is_deleted: false,
            seq: row.seq,
            client_message_id: row.client_message_id,
            reply_to_id: row.reply_to_id,
        }
    }
}

/// A history page's row: the chat and the caller's place in it, and perhaps a message.
#[derive(FromRow)]
pub(super) struct HistoryRow {
    pub(super) is_group: bool,
    pub(super) head: Seq,
    pub(super) is_member: bool,
    /// The number of the message that the page was asked from.
    pub(super) from_seq: Option<Seq>,
    #[sqlx(flatten)]
    pub(super) message: JoinedMessage,
}

/// A member list's row: the chat and the caller's place in it, and perhaps a member.
#[derive(FromRow)]
pub(super) struct MemberListRow {
    pub(super) is_group: bool,
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

impl MemberRow {
    pub(super) fn change(&self) -> MemberChange {
        MemberChange { user_id: self.user_id, username: self.username.clone(), role: role(self.role) }
    }
}

impl From<MemberRow> for Member {
    fn from(row: MemberRow) -> Self {
        Self { user_id: row.user_id, username: row.username, role: role(row.role), joined_at: row.joined_at.0 }
    }
}

/// One entry of the log, joined with what it speaks of as that stands now.
#[derive(FromRow)]
pub(super) struct LogRow {
    pub(super) chat_id: ChatId,
    pub(super) head: Seq,
    pub(super) floor: Seq,
    seq: Option<Seq>,
    kind: Option<i16>,
    committed_at: Option<Time>,
    message_id: Option<MessageId>,
    user_id: Option<UserId>,
    username: Option<String>,
    role: Option<i16>,
    chat_name: Option<String>,
    chat_description: Option<String>,
    chat_is_group: Option<bool>,
    chat_created_at: Option<Time>,
    chat_member_count: Option<i64>,
    #[sqlx(flatten)]
    message: JoinedMessage,
}

impl LogRow {
    /// `None` where the outer join found no event. An entry that this release cannot read is told as [`EventBody::Unknown`]: a
    /// number that were left out would stop the chat for good on every gateway that reads it.
    pub(super) fn into_event(self) -> Option<LogEvent> {
        let (chat_id, seq, number, committed_at) = (self.chat_id, self.seq?, self.kind?, self.committed_at?.0);
        let byte = u8::try_from(number).unwrap_or(u8::MAX);
        let kind = EventKind::from_byte(byte);
        let body = self.into_body(kind, seq).unwrap_or_else(|| {
            if EventKind::KNOWN.contains(&kind) {
                tracing::error!(chat.id = %chat_id, %seq, event.kind = number, "an entry of the log lacks its columns");
            }
            EventBody::Unknown { kind: byte }
        });
        Some(LogEvent { chat_id, seq, committed_at, body })
    }

    /// `None` for a kind that the log of this release does not have, and where a column that the kind needs is missing.
    fn into_body(self, kind: EventKind, seq: Seq) -> Option<EventBody> {
        Some(match kind {
            EventKind::NewMessage => EventBody::NewMessage { message: self.message.into_message(self.chat_id)? },
            EventKind::MessageEdited => EventBody::MessageEdited { message: self.message.into_message(self.chat_id)? },
            EventKind::MessageDeleted => EventBody::MessageDeleted { message_id: self.message_id? },
            EventKind::MemberJoined => EventBody::MemberJoined(self.into_member_change()?),
            EventKind::MemberLeft => EventBody::MemberLeft(self.into_member_change()?),
            EventKind::MemberUpdated => EventBody::MemberUpdated(self.into_member_change()?),
            EventKind::ChatUpdated => EventBody::ChatUpdated { chat: self.into_chat(seq)? },
            EventKind::ChatDeleted => EventBody::ChatDeleted { chat: self.into_chat(seq)? },
            EventKind::ChatAdded
            | EventKind::ChatRemoved
            | EventKind::UserStatus
            | EventKind::Typing
            | EventKind::MessageRead
            | EventKind::Unknown(_) => return None,
        })
    }

    fn into_member_change(self) -> Option<MemberChange> {
        Some(MemberChange { user_id: self.user_id?, username: self.username?, role: role(self.role?) })
    }

    fn into_chat(self, seq: Seq) -> Option<Chat> {
        Some(Chat {
            id: self.chat_id,
            name: self.chat_name?,
            description: self.chat_description,
            is_group: self.chat_is_group?,
            created_at: self.chat_created_at?.0,
            seq,
            role: None,
            member_count: self.chat_member_count?,
            last_message: None,
            unread_count: None,
            peer: None,
        })
    }
}
