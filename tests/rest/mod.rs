//! The REST contract, by its wire form, on both forms of the messenger.

mod accounts;
mod addresses;
mod blocks;
mod chat_list;
mod chats;
mod history;
mod idempotency;
mod invites;
mod limits;
mod marks;
mod members;
mod messages;
mod pages;
mod passwords;
mod people;
mod pins;
mod prices;
mod problems;
mod profiles;
mod search;
mod sessions;
mod settings;

use std::time::{Duration, Instant};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::support::{Rest, Value};

/// Asserts a time of the contract: RFC 3339, in UTC, and within the last hour.
#[track_caller]
pub fn assert_time(value: &Value) -> OffsetDateTime {
    let text = value.as_str().unwrap_or_else(|| panic!("no time: {value}"));
    let time = OffsetDateTime::parse(text, &Rfc3339).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert!(time.offset().is_utc(), "{text}");
    // Always six digits of a second's fraction: some clients can read no other number.
    assert!(text.len() == "2026-11-26T13:28:13.473770Z".len() && text.ends_with('Z'), "{text}");
    let age = OffsetDateTime::now_utc() - time;
    assert!(age.whole_seconds().abs() < 3600, "{text}");
    time
}

/// Asserts that the access token of `rest` stops working on every node, within the contract's
/// second; a deactivated user may be told so.
pub async fn ends_within_a_second(rest: &Rest) {
    let start = Instant::now();
    for node in 0..2 {
        loop {
            let answer = rest.on(node).get("/auth/me").await;
            if answer.status == 401 || answer.json["code"] == "account_disabled" {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(1), "still {}", answer.status);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
