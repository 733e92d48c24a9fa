//! The answers of the scripts, as they come from Redis.

use crate::error::Error;
use crate::id::UserId;
use crate::presence::Transition;
use redis::Value;
use time::OffsetDateTime;

pub(super) fn came_online(now: OffsetDateTime, users: &[Value]) -> Option<Vec<Transition>> {
    let online = |user| Some(Transition { user_id: UserId(number(user)?), online: true, at: now, decided_at: now });
    users.iter().map(online).collect()
}

pub(super) fn went_offline(now: OffsetDateTime, pairs: &[Value]) -> Option<Vec<Transition>> {
    let offline = |pair: &[Value]| {
        let (user_id, at) = (UserId(number(&pair[0])?), at(number(&pair[1])?)?);
        Some(Transition { user_id, online: false, at, decided_at: now })
    };
    pairs.chunks_exact(2).map(offline).collect()
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

pub(super) fn micros(micros: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).ok()
}

pub(super) fn unreadable() -> Error {
    Error::internal("presence: an answer of Redis cannot be read")
}
