//! The events of a chat's log, and the envelope in which word of them crosses the bus.
//!
//! A sequenced event is serialised for clients once, where it is made (or once where it is replayed). The envelope puts in
//! front of that JSON the few bytes that a gateway needs to order, fence and count it, so that no gateway parses JSON to deliver.

mod envelope;

pub use envelope::{Effect, Envelope, EnvelopeError, Revocation, RevocationReason, StatusChange};

use crate::id::{ChatId, MessageId, Seq, UserId};
use crate::model::{Chat, Message, Role, Status};
use bytes::Bytes;
use serde::Serialize;
use time::OffsetDateTime;

/// One entry of a chat's log, joined with what it speaks of as that stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// The chat.
    pub chat_id: ChatId,
    /// Its place in the chat's sequence.
    pub seq: Seq,
    /// When it was committed, by the database's clock.
    pub committed_at: OffsetDateTime,
    /// What happened.
    pub body: EventBody,
}

/// What happened; serialised, the client's frame without `chat_id` and `seq`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventBody {
    /// A message was sent.
    NewMessage {
        /// The message; as it stands now in a replay.
        message: Message,
    },
    /// A message's text was changed.
    MessageEdited {
        /// The message; as it stands now in a replay.
        message: Message,
    },
    /// A message was deleted.
    MessageDeleted {
        /// Which.
        message_id: MessageId,
    },
    /// Someone became a member.
    MemberJoined(MemberChange),
    /// Someone left or was removed.
    MemberLeft(MemberChange),
    /// Someone's role changed.
    MemberUpdated(MemberChange),
    /// Name or description changed.
    ChatUpdated {
        /// The chat, without the fields that differ by user.
        chat: Chat,
    },
    /// The chat is gone: the last event of its log.
    ChatDeleted {
        /// The chat, without the fields that differ by user.
        chat: Chat,
    },
}

/// Whose membership changed, and to what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberChange {
    /// The user's id.
    pub user_id: UserId,
    /// The user's name.
    pub username: String,
    /// The role after the change; of who left, the one that they had.
    pub role: Role,
}

/// The kinds of a frame that a gateway delivers; the label of `messenger_ws_deliveries_total` and a byte of the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "each is the client's event of that name")]
pub enum EventKind {
    NewMessage = 1,
    MessageEdited = 2,
    MessageDeleted = 3,
    MemberJoined = 4,
    MemberLeft = 5,
    MemberUpdated = 6,
    ChatUpdated = 7,
    ChatDeleted = 8,
    ChatAdded = 9,
    ChatRemoved = 10,
    UserStatus = 11,
    Typing = 12,
    MessageRead = 13,
}

impl EventKind {
    /// All of them, in the order of their bytes.
    pub const ALL: [Self; 13] = [
        Self::NewMessage,
        Self::MessageEdited,
        Self::MessageDeleted,
        Self::MemberJoined,
        Self::MemberLeft,
        Self::MemberUpdated,
        Self::ChatUpdated,
        Self::ChatDeleted,
        Self::ChatAdded,
        Self::ChatRemoved,
        Self::UserStatus,
        Self::Typing,
        Self::MessageRead,
    ];

    /// The kind of that byte, if there is one.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte).checked_sub(1)?).copied()
    }

    /// The client's `type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::NewMessage => "new_message",
            Self::MessageEdited => "message_edited",
            Self::MessageDeleted => "message_deleted",
            Self::MemberJoined => "member_joined",
            Self::MemberLeft => "member_left",
            Self::MemberUpdated => "member_updated",
            Self::ChatUpdated => "chat_updated",
            Self::ChatDeleted => "chat_deleted",
            Self::ChatAdded => "chat_added",
            Self::ChatRemoved => "chat_removed",
            Self::UserStatus => "user_status",
            Self::Typing => "typing",
            Self::MessageRead => "message_read",
        }
    }
}

impl LogEvent {
    /// The kind.
    pub fn kind(&self) -> EventKind {
        match self.body {
            EventBody::NewMessage { .. } => EventKind::NewMessage,
            EventBody::MessageEdited { .. } => EventKind::MessageEdited,
            EventBody::MessageDeleted { .. } => EventKind::MessageDeleted,
            EventBody::MemberJoined(_) => EventKind::MemberJoined,
            EventBody::MemberLeft(_) => EventKind::MemberLeft,
            EventBody::MemberUpdated(_) => EventKind::MemberUpdated,
            EventBody::ChatUpdated { .. } => EventKind::ChatUpdated,
            EventBody::ChatDeleted { .. } => EventKind::ChatDeleted,
        }
    }

    /// What it does to subscriptions, beside being delivered.
    pub fn effect(&self) -> Effect {
        match &self.body {
            EventBody::MemberJoined(change) => Effect::Joined(change.user_id),
            EventBody::MemberLeft(change) => Effect::Left(change.user_id),
            EventBody::ChatDeleted { .. } => Effect::ChatDeleted,
            _ => Effect::None,
        }
    }

    /// The client's JSON, the same bytes for every subscriber.
    pub fn to_json(&self) -> Bytes {
        #[derive(Serialize)]
        struct Frame<'a> {
            #[serde(flatten)]
            body: &'a EventBody,
            chat_id: ChatId,
            seq: Seq,
        }
        json(&Frame { body: &self.body, chat_id: self.chat_id, seq: self.seq })
    }

    /// The envelope in which the bus carries it to the chat's topic.
    pub fn to_envelope(&self) -> Envelope {
        Envelope::Log {
            chat_id: self.chat_id,
            seq: self.seq,
            kind: self.kind(),
            effect: self.effect(),
            committed_at_micros: micros(self.committed_at),
            json: self.to_json(),
        }
    }
}

/// A frame that is told beside a chat's sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Notice<'a> {
    /// The user came into a chat.
    ChatAdded {
        /// The chat as that user sees it.
        chat: &'a Chat,
    },
    /// The user came out of a chat, or it was deleted.
    ChatRemoved {
        /// Which.
        chat_id: ChatId,
    },
    /// A member came online or went.
    UserStatus {
        /// The user's id.
        user_id: UserId,
        /// The user's name.
        username: &'a str,
        /// Online or offline.
        status: Status,
        /// When the user was last told offline.
        #[serde(with = "time::serde::rfc3339::option")]
        last_seen_at: Option<OffsetDateTime>,
    },
    /// Someone is typing, or has stopped.
    Typing {
        /// Where.
        chat_id: ChatId,
        /// Who.
        user_id: UserId,
        /// The user's name.
        username: &'a str,
        /// Whether still at it.
        is_typing: bool,
    },
    /// Someone has read up to a place.
    MessageRead {
        /// Where.
        chat_id: ChatId,
        /// Who.
        user_id: UserId,
        /// Up to here.
        seq: Seq,
    },
}

impl Notice<'_> {
    /// The client's JSON.
    pub fn to_json(&self) -> Bytes {
        json(self)
    }
}

/// Microseconds since the Unix epoch.
pub fn micros(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}

#[expect(clippy::expect_used, reason = "these types have string keys and no fallible Serialize")]
fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("an event serialises").into()
}
