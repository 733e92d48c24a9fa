//! The events of a chat's log, and the envelope in which word of them crosses the bus.
//!
//! A sequenced event is serialised for clients once, where it is made (or once where it is
//! replayed). The envelope puts in front of that JSON the few bytes that a gateway needs to order,
//! fence and count it, so that no gateway parses JSON to deliver.

mod envelope;
mod kind;

pub use envelope::{Effect, Envelope, EnvelopeError, Revocation, RevocationReason, StatusChange, TraceContext, Traced};
pub use kind::EventKind;

use crate::id::{ChatId, MessageId, Seq, UserId};
use crate::model::{Chat, ChatSettings, Message, Role, Status};
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
    /// The event itself.
    pub body: EventBody,
}

/// The event itself; serialised, the client's frame without `chat_id` and `seq`.
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
    /// A user chose an emoji for a message.
    ReactionAdded(ReactionChange),
    /// A user took an emoji back.
    ReactionRemoved(ReactionChange),
    /// A message was pinned.
    MessagePinned(PinChange),
    /// A message is no longer pinned.
    MessageUnpinned(PinChange),
    /// An event that this release cannot read: it stands for the event's number, so that the
    /// sequence has no hole. Clients skip it and count its `seq`.
    Unknown {
        /// The byte that the log has for it.
        #[serde(skip)]
        kind: u8,
    },
}

/// A changed reaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReactionChange {
    /// The message.
    pub message_id: MessageId,
    /// The user whose reaction it is.
    pub user_id: UserId,
    /// The emoji.
    pub emoji: String,
    /// How many users have chosen it by now.
    pub count: i64,
}

/// A changed pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PinChange {
    /// The message.
    pub message_id: MessageId,
    /// The user who changed it.
    pub user_id: UserId,
}

/// A changed membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberChange {
    /// The user's id.
    pub user_id: UserId,
    /// The user's name.
    pub username: String,
    /// The role after the change; of who left, the one that they had.
    pub role: Role,
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
            EventBody::ReactionAdded(_) => EventKind::ReactionAdded,
            EventBody::ReactionRemoved(_) => EventKind::ReactionRemoved,
            EventBody::MessagePinned(_) => EventKind::MessagePinned,
            EventBody::MessageUnpinned(_) => EventKind::MessageUnpinned,
            // Also for a byte that is known but whose row cannot be read: it is no such event.
            EventBody::Unknown { kind } => EventKind::Unknown(kind),
        }
    }

    /// Its effect on subscriptions, beside being delivered.
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
    ///
    /// A stand-in is not published. Gateways deliver a number once, so a stand-in that came first
    /// would displace the event itself, which a gateway of the newer release can deliver. They are
    /// notified that the log has grown instead: each reads it, and delivers what it can read of
    /// it. So the chat moves on within milliseconds on every node, and nobody gets less than the
    /// node knows.
    pub fn to_envelope(&self) -> Envelope {
        if matches!(self.body, EventBody::Unknown { .. }) {
            return Envelope::LogGrew { chat_id: self.chat_id, seq: self.seq };
        }
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

/// A frame that is sent beside a chat's sequence.
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
        /// When `offline` was last published of the user.
        #[serde(with = "crate::timestamp::option")]
        last_seen_at: Option<OffsetDateTime>,
    },
    /// Someone is typing, or has stopped.
    Typing {
        /// Where.
        chat_id: ChatId,
        /// The user.
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
        /// The user.
        user_id: UserId,
        /// Up to here.
        seq: Seq,
    },
    /// A message mentions the user.
    Mentioned {
        /// Where.
        chat_id: ChatId,
        /// The event that mentions.
        seq: Seq,
        /// The message.
        message: &'a Message,
    },
    /// The user changed their own view of a chat.
    ChatSettings {
        /// Which.
        chat_id: ChatId,
        /// The view.
        settings: &'a ChatSettings,
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
