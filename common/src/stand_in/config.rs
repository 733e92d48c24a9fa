//! Stand-in until the real one lands.
#![allow(missing_docs)]
#[derive(Clone, Debug)]
pub struct Limits {
    pub max_message_chars: usize,
    pub max_group_members: i64,
    pub rate_messages_per_second: u32,
    pub rate_messages_burst: u32,
    pub rate_logins_per_minute: u32,
    pub rate_registrations_per_minute: u32,
}
