//! The answers of the scripts, as they come from Redis.

use crate::error::Error;
use crate::id::UserId;
use crate::presence::Transition;
use redis::Value;
use time::OffsetDateTime;

/// The transitions of an answer: user, 1 or 0, since when (ms), when decided (µs), and so on.
pub(super) fn transitions(fields: &[Value]) -> Option<Vec<Transition>> {
    let one = |fields: &[Value]| {
        let [user, online, since, decided] = fields else { return None };
        let (user_id, online) = (UserId(number(user)?), number(online)? == 1);
        Some(Transition { user_id, online, at: at(number(since)?)?, decided_at: micros(number(decided)?)? })
    };
    fields.chunks(4).map(one).collect()
}

/// A transition that was published: `user 1 at decided`.
pub(super) fn published(value: &Value) -> Option<Transition> {
    let Value::BulkString(bytes) = value else { return None };
    let fields: Vec<_> =
        std::str::from_utf8(bytes).ok()?.split(' ').map(|field| Value::BulkString(field.into())).collect();
    transitions(&fields)?.pop()
}

pub(super) fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

pub(super) fn at(millis: i64) -> Option<OffsetDateTime> {
    micros(millis.checked_mul(1_000)?)
}

fn micros(micros: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).ok()
}

pub(super) fn unreadable() -> Error {
    Error::internal("presence: an answer of Redis cannot be read")
}
