//! The WebSocket's vocabulary (contract, section 3): close codes, and the frames that answer one
//! connection.
//!
//! Events of chats are not here: they are made where they are committed
//! ([`messenger_common::event`]) and pass through as bytes.

use crate::frame;
use bytes::Bytes;
use messenger_common::error::{Error, FieldError};
use messenger_common::id::{ChatId, Seq, UserId};
use messenger_common::model::Message;
pub(crate) use messenger_common::wire::CloseCode;
use serde::Serialize;
use std::ops::RangeInclusive;
use std::time::Duration;
use time::OffsetDateTime;

/// The delay until a released client may come back, milliseconds.
pub(crate) const RECONNECT_AFTER_MS: RangeInclusive<u64> = 100..=3000;
/// A released user's presence lasts this much longer: the latest return, and a second for the
/// handshake.
pub(crate) const EXTRA_GRACE: Duration = Duration::from_millis(*RECONNECT_AFTER_MS.end() + 1000);

impl From<frame::Violation> for CloseCode {
    fn from(violation: frame::Violation) -> Self {
        match violation {
            frame::Violation::Protocol(_) => Self::Protocol,
            frame::Violation::Binary => Self::Binary,
            frame::Violation::NotUtf8 => Self::NotUtf8,
            frame::Violation::TooBig => Self::TooBig,
        }
    }
}

/// The answers to one connection.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Reply<'a> {
    /// First frame of every connection.
    Welcome {
        user_id: UserId,
        connection_id: &'a str,
        #[serde(with = "messenger_common::timestamp")]
        expires_at: OffsetDateTime,
        heartbeat_seconds: u64,
    },
    /// A subscription began at `seq`; `recovered` events before it follow.
    Subscribed {
        chat_id: ChatId,
        seq: Seq,
        epoch: &'a str,
        recovered: i64,
        online_user_ids: Option<&'a [UserId]>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        resync: bool,
    },
    /// No event of the chat comes after it.
    Unsubscribed { chat_id: ChatId },
    /// The message was stored.
    MessageSent { message: &'a Message },
    /// The connection goes on under the new token.
    Authenticated {
        #[serde(with = "messenger_common::timestamp")]
        expires_at: OffsetDateTime,
    },
    /// Up to here the caller has read.
    MessageRead { chat_id: ChatId, user_id: UserId, seq: Seq },
    /// Still here.
    Pong,
    /// Events were lost beyond recovery: fetch by REST.
    Resync { chat_id: ChatId, seq: Seq },
    /// A command failed; the connection stays open.
    Error {
        /// Of a command about several chats.
        #[serde(skip_serializing_if = "Option::is_none")]
        chat_id: Option<ChatId>,
        code: &'static str,
        detail: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        errors: Option<&'a [FieldError]>,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
}

impl Reply<'_> {
    /// The frame, with the command's `request_id` where it had one.
    pub(crate) fn to_frame(&self, request_id: Option<&str>) -> Bytes {
        #[derive(Serialize)]
        struct Answer<'a> {
            #[serde(flatten)]
            reply: &'a Reply<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            request_id: Option<&'a str>,
        }
        // These types have string keys and no fallible Serialize.
        let json = serde_json::to_vec(&Answer { reply: self, request_id }).unwrap_or_default();
        frame::text(&json)
    }
}

/// The frame of a fault; it shows nothing of the inside.
pub(crate) fn error_frame(error: &Error, request_id: Option<&str>, chat_id: Option<ChatId>) -> Bytes {
    let retry_after_ms = match error {
        // Rounded up: at the end of the wait the next one is served.
        Error::RateLimited { retry_after, .. } => u64::try_from(retry_after.as_micros().div_ceil(1000)).ok(),
        _ => None,
    };
    let errors = match error {
        Error::Invalid(errors) => Some(errors.as_slice()),
        _ => None,
    };
    Reply::Error { chat_id, code: error.code(), detail: error.detail(), errors, retry_after_ms }.to_frame(request_id)
}
