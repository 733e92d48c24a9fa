//! The limits of the contract's section 5.

use super::raw::Raw;
use super::{ConfigError, parse};
use std::time::Duration;

const DAY: f64 = 86_400.0;

/// The limits of the contract's section 5.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Most characters of a message (Unicode scalar values).
    pub max_message_chars: usize,
    /// Most bytes of a request's body.
    pub max_body_bytes: usize,
    /// Most bytes of a client's WebSocket frame.
    pub max_frame_bytes: usize,
    /// Most subscriptions of a connection.
    pub max_subscriptions: usize,
    /// Most unsent bytes queued for a connection.
    pub max_send_queue_bytes: usize,
    /// Most WebSocket connections of a user on one gateway.
    pub max_connections_per_user: usize,
    /// Most connections of an address (IPv6: its /64) to this process.
    pub max_connections_per_address: usize,
    /// The time between pings.
    pub heartbeat: Duration,
    /// The silence after which a connection is closed.
    pub idle_timeout: Duration,
    /// The longest pause between two requests of a connection.
    pub keep_alive: Duration,
    /// Most members of a group.
    pub max_group_members: i64,
    /// Most members of a chat whose members get `user_status`.
    pub status_max_members: i64,
    /// The time that events are kept for recovery.
    pub event_retention: Duration,
    /// Messages of a user per second.
    pub rate_messages_per_second: u32,
    /// Messages of a user at once, after a rest.
    pub rate_messages_burst: u32,
    /// Other requests of a user per second; public ones of an address.
    pub rate_requests_per_second: u32,
    /// The same at once, after a rest.
    pub rate_requests_burst: u32,
    /// WebSocket commands of a user per second.
    pub rate_commands_per_second: u32,
    /// WebSocket frames of a connection per second, of any kind; `None` with `RATE_LIMITS=off`.
    pub rate_frames_per_second: Option<u32>,
    /// Logins from an address per minute.
    pub rate_logins_per_minute: u32,
    /// Registrations from an address per minute.
    pub rate_registrations_per_minute: u32,
    /// Wrong passwords for an account per hour, from all networks that it does not know.
    pub rate_wrong_passwords_per_hour: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_chars: 4096,
            max_body_bytes: 262_144,
            max_frame_bytes: 65_536,
            max_subscriptions: 1000,
            max_send_queue_bytes: 1_048_576,
            max_connections_per_user: 20,
            max_connections_per_address: 2000,
            heartbeat: Duration::from_secs(25),
            idle_timeout: Duration::from_mins(1),
            keep_alive: Duration::from_secs(75),
            max_group_members: 100_000,
            status_max_members: 1000,
            event_retention: Duration::from_hours(7 * 24),
            rate_messages_per_second: 20,
            rate_messages_burst: 40,
            rate_requests_per_second: 50,
            rate_requests_burst: 200,
            rate_commands_per_second: 60,
            rate_frames_per_second: Some(200),
            rate_logins_per_minute: 10,
            rate_registrations_per_minute: 10,
            rate_wrong_passwords_per_hour: 30,
        }
    }
}

/// The most bytes that a character takes in JSON: two escapes, as in `\ud83d\ude42`.
const BYTES_PER_CHARACTER: usize = 12;
/// The rest of a request or a command around a message's text.
const AROUND_A_TEXT: usize = 512;

/// A text that is allowed must fit into a body and into a frame, whatever its characters.
fn texts_fit(limits: &Limits) -> Result<(), ConfigError> {
    let needed = limits.max_message_chars.saturating_mul(BYTES_PER_CHARACTER).saturating_add(AROUND_A_TEXT);
    for (name, given) in [("MAX_FRAME_BYTES", limits.max_frame_bytes), ("MAX_BODY_BYTES", limits.max_body_bytes)] {
        if given < needed {
            let fault = format!("a text of so many characters may take {needed} bytes, and {name} is {given}");
            let example = format!("MAX_MESSAGE_CHARS={} {name}={needed}", limits.max_message_chars);
            return Err(ConfigError::new("MAX_MESSAGE_CHARS", fault, &example));
        }
    }
    Ok(())
}

pub(super) fn read(raw: &Raw) -> Result<Limits, ConfigError> {
    const MIB: usize = 1024 * 1024;
    let count = |name, high| parse::number(raw, name, 1_usize, high);
    let members = |name| parse::number(raw, name, 1_i64, 100_000_000);
    let rate = |name| parse::number(raw, name, 1_u32, 1_000_000);
    let rates = parse::switch(raw, "RATE_LIMITS")?;
    let limits = Limits {
        max_message_chars: count("MAX_MESSAGE_CHARS", MIB)?,
        max_body_bytes: parse::number(raw, "MAX_BODY_BYTES", 1024, 1024 * MIB)?,
        max_frame_bytes: parse::number(raw, "MAX_FRAME_BYTES", 1024, 64 * MIB)?,
        max_subscriptions: count("MAX_SUBSCRIPTIONS", 1_000_000)?,
        max_send_queue_bytes: parse::number(raw, "MAX_SEND_QUEUE_BYTES", 1024, 1024 * MIB)?,
        max_connections_per_user: count("MAX_CONNECTIONS_PER_USER", 1_000_000)?,
        max_connections_per_address: count("MAX_CONNECTIONS_PER_ADDRESS", 1_000_000)?,
        heartbeat: parse::duration(raw, "HEARTBEAT_SECONDS", 1.0, 0.1, DAY)?,
        idle_timeout: parse::duration(raw, "IDLE_TIMEOUT_SECONDS", 1.0, 0.2, DAY)?,
        keep_alive: parse::duration(raw, "KEEP_ALIVE_SECONDS", 1.0, 1.0, DAY)?,
        max_group_members: members("MAX_GROUP_MEMBERS")?,
        status_max_members: members("STATUS_MAX_MEMBERS")?,
        event_retention: parse::duration(raw, "EVENT_RETENTION_DAYS", DAY, 0.000_001, 36_500.0)?,
        rate_messages_per_second: rate("RATE_MESSAGES_PER_SECOND")?,
        rate_messages_burst: rate("RATE_MESSAGES_BURST")?,
        rate_requests_per_second: rate("RATE_REQUESTS_PER_SECOND")?,
        rate_requests_burst: rate("RATE_REQUESTS_BURST")?,
        rate_commands_per_second: rate("RATE_COMMANDS_PER_SECOND")?,
        rate_frames_per_second: Some(rate("RATE_FRAMES_PER_SECOND")?).filter(|_| rates),
        rate_logins_per_minute: rate("RATE_LOGINS_PER_MINUTE")?,
        rate_registrations_per_minute: rate("RATE_REGISTRATIONS_PER_MINUTE")?,
        rate_wrong_passwords_per_hour: rate("RATE_WRONG_PASSWORDS_PER_HOUR")?,
    };
    if limits.idle_timeout <= limits.heartbeat {
        const OTHER: &str = "HEARTBEAT_SECONDS";
        return Err(ConfigError::of_both("IDLE_TIMEOUT_SECONDS", OTHER, format!("must be longer than {OTHER}")));
    }
    texts_fit(&limits)?;
    Ok(limits)
}
