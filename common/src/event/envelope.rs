//! The envelope's wire form: one tag byte, fixed big-endian fields, then the client's JSON to the
//! end.
//!
//! Every node of a cluster reads it, so during a rolling deploy two releases do. A new shape gets
//! a new tag, and an old tag never changes its fields. A receiver logs and drops an unknown tag:
//! the log is the truth. An event of an unknown kind passes through with its byte and the newer
//! node's own JSON.

use super::EventKind;
use crate::id::{ChatId, Seq, SessionId, UserId};
use crate::model::Status;
use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};
use serde::{Deserialize, Serialize};

/// An event's effect on the subscriptions of its chat, beside being delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// This user is a member from here on.
    Joined(UserId),
    /// This user's subscriptions end with this event (guarantee G6).
    Left(UserId),
    /// All subscriptions end with this event.
    ChatDeleted,
}

/// Why access ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RevocationReason {
    /// Logout, a new password, a spent refresh token used again: close code 4502.
    SessionEnded = 1,
    /// The account was deactivated: close code 4503.
    AccountDisabled = 2,
}

/// Access that has ended: published to every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The user.
    pub user_id: UserId,
    /// Which session; all of the user's when `None`.
    pub session_id: Option<SessionId>,
    /// Why.
    pub reason: RevocationReason,
}

/// A user came online or went offline, and the chats that are notified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusChange {
    /// The user.
    pub user_id: UserId,
    /// The user's name.
    pub username: String,
    /// Which.
    pub status: Status,
    /// When `offline` was last published of the user.
    #[serde(with = "crate::timestamp::option")]
    pub last_seen_at: Option<time::OffsetDateTime>,
    /// When presence decided that, microseconds since the Unix epoch: an older change that comes
    /// after a newer is none.
    #[serde(default)]
    pub decided_at_micros: i64,
    /// The user's chats that are small enough to be notified.
    pub chats: Vec<ChatId>,
}

/// A place in a trace (W3C Trace Context): the span under which what follows belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span.
    pub span_id: [u8; 8],
    /// Whether the trace is recorded.
    pub is_sampled: bool,
}

/// A sequenced event and the trace that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traced {
    /// The chat.
    pub chat_id: ChatId,
    /// The event's place in the sequence.
    pub seq: Seq,
    /// The span that delivers it to the bus.
    pub context: TraceContext,
}

/// A publication on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// A sequenced event, on the chat's topic.
    Log {
        /// The chat.
        chat_id: ChatId,
        /// Its place in the sequence.
        seq: Seq,
        /// Its kind.
        kind: EventKind,
        /// Its effect on subscriptions.
        effect: Effect,
        /// Commit time, microseconds since the Unix epoch, by the database's clock.
        committed_at_micros: i64,
        /// The client's frame.
        json: Bytes,
    },
    /// Typing or read state, on the chat's topic; not sequenced, may be lost.
    Ephemeral {
        /// The chat.
        chat_id: ChatId,
        /// The user who caused it; typing is not sent to its own user.
        user_id: UserId,
        /// `Typing` or `MessageRead`.
        kind: EventKind,
        /// The client's frame.
        json: Bytes,
    },
    /// A frame for every connection of a user, on the user's topic. `chat_id` and `seq` are those
    /// of the event that caused it: a gateway sends each pair to a connection once, though the
    /// relay may publish it again.
    Notice {
        /// To whom.
        user_id: UserId,
        /// Because of which chat.
        chat_id: ChatId,
        /// And which of its events.
        seq: Seq,
        /// `NewMessage` (of a private chat), `ChatAdded` or `ChatRemoved`.
        kind: EventKind,
        /// The client's frame.
        json: Bytes,
    },
    /// Access ended, on the topic of all nodes.
    Revoked(Revocation),
    /// Presence transitions, on the topic of all nodes.
    Status(Vec<StatusChange>),
    /// A node's question to itself whether the bus still carries anything.
    Probe(u64),
    /// A chat's log has reached a number, on the chat's topic: compare, and read what is missing.
    /// Published in place of an event that the publisher itself cannot read.
    LogGrew {
        /// The chat.
        chat_id: ChatId,
        /// How far its log has come at least.
        seq: Seq,
    },
    /// The trace of an event that follows on the same topic; only of a sampled one.
    Traced {
        /// Of a notice: the user who gets it, on whose topic it is.
        user_id: Option<UserId>,
        /// The event.
        traced: Traced,
    },
}

/// Bytes that are no envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Shorter than its fields.
    #[error("the envelope ends early")]
    Short,
    /// A tag or a reason of another release.
    #[error("the envelope has the unknown tag or reason {0}")]
    Unknown(u8),
    /// The presence batch is no JSON of ours.
    #[error("the envelope's content cannot be read")]
    Content,
}

const LOG: u8 = 1;
const EPHEMERAL: u8 = 2;
const NOTICE: u8 = 3;
const REVOKED: u8 = 4;
const STATUS: u8 = 5;
const PROBE: u8 = 6;
const LOG_GREW: u8 = 7;
const TRACED: u8 = 8;

impl Envelope {
    /// The wire form.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64 + self.json_len());
        match self {
            Self::Log { chat_id, seq, kind, effect, committed_at_micros, json } => {
                out.put_u8(LOG);
                out.put_u8(kind.byte());
                out.put_i64(chat_id.0);
                out.put_i64(seq.0);
                out.put_i64(*committed_at_micros);
                let (tag, user) = match effect {
                    Effect::None => (0, 0),
                    Effect::Joined(user) => (1, user.0),
                    Effect::Left(user) => (2, user.0),
                    Effect::ChatDeleted => (3, 0),
                };
                out.put_u8(tag);
                out.put_i64(user);
                out.put_slice(json);
            }
            Self::Ephemeral { chat_id, user_id, kind, json } => {
                out.put_u8(EPHEMERAL);
                out.put_u8(kind.byte());
                out.put_i64(chat_id.0);
                out.put_i64(user_id.0);
                out.put_slice(json);
            }
            Self::Notice { user_id, chat_id, seq, kind, json } => {
                out.put_u8(NOTICE);
                out.put_u8(kind.byte());
                out.put_i64(user_id.0);
                out.put_i64(chat_id.0);
                out.put_i64(seq.0);
                out.put_slice(json);
            }
            Self::Revoked(revocation) => {
                out.put_u8(REVOKED);
                out.put_u8(revocation.reason as u8);
                out.put_i64(revocation.user_id.0);
                out.put_i64(revocation.session_id.map_or(0, |id| id.0));
            }
            Self::Status(changes) => {
                out.put_u8(STATUS);
                // A vector of plain structs always serialises.
                out.put_slice(&serde_json::to_vec(changes).unwrap_or_default());
            }
            Self::Probe(nonce) => {
                out.put_u8(PROBE);
                out.put_u64(*nonce);
            }
            Self::LogGrew { chat_id, seq } => {
                out.put_u8(LOG_GREW);
                out.put_i64(chat_id.0);
                out.put_i64(seq.0);
            }
            Self::Traced { user_id, traced } => {
                out.put_u8(TRACED);
                out.put_i64(user_id.map_or(0, |id| id.0));
                out.put_i64(traced.chat_id.0);
                out.put_i64(traced.seq.0);
                out.put_slice(&traced.context.trace_id);
                out.put_slice(&traced.context.span_id);
            }
        }
        out.freeze()
    }

    /// Whether this is the wire form of a [`Revocation`]; reads nothing else of it.
    pub fn is_revocation(bytes: &[u8]) -> bool {
        bytes.first() == Some(&REVOKED)
    }

    /// Reads the wire form; the JSON stays a slice of `bytes`, uncopied.
    pub fn decode(mut bytes: Bytes) -> Result<Self, EnvelopeError> {
        let short = |_| EnvelopeError::Short;
        match bytes.try_get_u8().map_err(short)? {
            LOG => {
                let kind = kind(&mut bytes)?;
                let chat_id = ChatId(bytes.try_get_i64().map_err(short)?);
                let seq = Seq(bytes.try_get_i64().map_err(short)?);
                let committed_at_micros = bytes.try_get_i64().map_err(short)?;
                let tag = bytes.try_get_u8().map_err(short)?;
                let user = UserId(bytes.try_get_i64().map_err(short)?);
                let effect = match tag {
                    1 => Effect::Joined(user),
                    2 => Effect::Left(user),
                    3 => Effect::ChatDeleted,
                    // 0, or one of a newer release. That release ends subscriptions with an effect
                    // of today's, so that the event can be delivered here without doing any more.
                    _ => Effect::None,
                };
                Ok(Self::Log { chat_id, seq, kind, effect, committed_at_micros, json: bytes })
            }
            EPHEMERAL => Ok(Self::Ephemeral {
                kind: kind(&mut bytes)?,
                chat_id: ChatId(bytes.try_get_i64().map_err(short)?),
                user_id: UserId(bytes.try_get_i64().map_err(short)?),
                json: bytes,
            }),
            NOTICE => Ok(Self::Notice {
                kind: kind(&mut bytes)?,
                user_id: UserId(bytes.try_get_i64().map_err(short)?),
                chat_id: ChatId(bytes.try_get_i64().map_err(short)?),
                seq: Seq(bytes.try_get_i64().map_err(short)?),
                json: bytes,
            }),
            REVOKED => {
                let reason = match bytes.try_get_u8().map_err(short)? {
                    1 => RevocationReason::SessionEnded,
                    2 => RevocationReason::AccountDisabled,
                    other => return Err(EnvelopeError::Unknown(other)),
                };
                let user_id = UserId(bytes.try_get_i64().map_err(short)?);
                let session = bytes.try_get_i64().map_err(short)?;
                let session_id = (session != 0).then_some(SessionId(session));
                Ok(Self::Revoked(Revocation { user_id, session_id, reason }))
            }
            STATUS => serde_json::from_slice(&bytes).map(Self::Status).map_err(|_| EnvelopeError::Content),
            PROBE => Ok(Self::Probe(bytes.try_get_u64().map_err(short)?)),
            LOG_GREW => Ok(Self::LogGrew {
                chat_id: ChatId(bytes.try_get_i64().map_err(short)?),
                seq: Seq(bytes.try_get_i64().map_err(short)?),
            }),
            TRACED => traced(&mut bytes).map_err(short),
            other => Err(EnvelopeError::Unknown(other)),
        }
    }

    fn json_len(&self) -> usize {
        match self {
            Self::Log { json, .. } | Self::Ephemeral { json, .. } | Self::Notice { json, .. } => json.len(),
            _ => 0,
        }
    }
}

fn traced(bytes: &mut Bytes) -> Result<Envelope, TryGetError> {
    let user = bytes.try_get_i64()?;
    let (chat_id, seq) = (ChatId(bytes.try_get_i64()?), Seq(bytes.try_get_i64()?));
    let mut context = TraceContext { trace_id: [0; 16], span_id: [0; 8], is_sampled: true };
    bytes.try_copy_to_slice(&mut context.trace_id)?;
    bytes.try_copy_to_slice(&mut context.span_id)?;
    let user_id = (user != 0).then_some(UserId(user));
    Ok(Envelope::Traced { user_id, traced: Traced { chat_id, seq, context } })
}

fn kind(bytes: &mut Bytes) -> Result<EventKind, EnvelopeError> {
    bytes.try_get_u8().map(EventKind::from_byte).map_err(|_| EnvelopeError::Short)
}

#[cfg(test)]
mod tests;
