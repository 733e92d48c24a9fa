//! The parsers of bytes from outside, one function each: any bytes are read or refused, within a
//! moment. `fuzz/` drives them by coverage, the tests of this room by mutations of its corpora.

use crate::address;
use crate::auth::{Keys, Tokens};
use crate::clock::Clock;
use crate::config::{self, AllowedOrigins};
use crate::event::Envelope;
use crate::http::extract::{from_json, from_pairs};
use crate::http::{ClientIp, fuzz_head, origin};
use crate::service::accounts::{Register, UpdateMe};
use crate::service::chats::{CreateChat, MarkRead, UpdateChat, UpdateSettings};
use crate::service::messages::{HistoryQuery, SendMessage};
use crate::service::sessions::Login;
use crate::service::{self, PageQuery, Query, Unchecked};
use crate::store;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use time::macros::datetime;

/// Each parser under the name of its corpus.
pub const TARGETS: &[(&str, fn(&[u8]))] = &[
    ("bodies", bodies),
    ("cursors", cursors),
    ("env_file", env_file),
    ("envelopes", envelopes),
    ("heads", heads),
    ("jwk_sets", jwk_sets),
    ("queries", queries),
    ("texts", texts),
    ("tokens", tokens),
    ("variables", variables),
];

/// The body of each kind of request.
pub fn bodies(bytes: &[u8]) {
    drop(from_json::<Unchecked<Register>>(bytes));
    drop(from_json::<Unchecked<Login>>(bytes));
    drop(from_json::<Unchecked<UpdateMe>>(bytes));
    drop(from_json::<Unchecked<CreateChat>>(bytes));
    drop(from_json::<Unchecked<UpdateChat>>(bytes));
    drop(from_json::<Unchecked<UpdateSettings>>(bytes));
    drop(from_json::<Unchecked<MarkRead>>(bytes));
    drop(from_json::<Unchecked<SendMessage>>(bytes));
    drop(from_pairs::<Unchecked<Login>>(bytes));
}

/// The query of an address.
pub fn queries(bytes: &[u8]) {
    drop(from_pairs::<Query<PageQuery>>(bytes));
    drop(from_pairs::<Query<HistoryQuery>>(bytes));
}

/// The cursor of each list.
pub fn cursors(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    store::fuzz_cursors(text);
    service::fuzz_online_cursor(text);
}

/// The texts in which something is looked for: mentions and emoji; names; addresses; passwords.
pub fn texts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    service::fuzz_texts(text);
    let spelled = address::spelling(text);
    assert_eq!(address::spelling(&text.to_lowercase()), spelled, "it is of the lower case");
    if let Some(emoji) = emojis::get(text) {
        assert_eq!(emojis::get(emoji.as_str()), Some(emoji), "one spelling is kept");
    }
}

/// A token, as it comes in a header or an address.
pub fn tokens(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let clock = Clock::from_fn(|| datetime!(2026-01-01 12:00 UTC));
    let keys = Keys::of_secret(b"a secret of thirty-two bytes, at least");
    let tokens = Tokens::new(
        keys,
        "0123456789abcdef0123456789abcdef",
        Duration::from_secs(900),
        Duration::from_secs(86_400),
        clock,
    );
    // No token of this key is in the corpus.
    assert!(tokens.verify_access(text).is_err() && tokens.verify_refresh(text).is_err(), "a forged token");
}

/// A publication of the bus.
pub fn envelopes(bytes: &[u8]) {
    let Ok(envelope) = Envelope::decode(Bytes::copy_from_slice(bytes)) else { return };
    let again = Envelope::decode(envelope.encode()).map(|again| again.encode());
    assert_eq!(again.ok(), Some(envelope.encode()), "what is read is written alike");
}

/// The head of a request: its target and its host; origins and forwarded addresses. One a line.
pub fn heads(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    let mut target = None;
    for line in bytes.split(|byte| *byte == b'\n').take(100) {
        let Some((name, value)) = line.split_first() else { continue };
        let name = match name {
            b'h' => HeaderName::from_static("host"),
            b'o' => HeaderName::from_static("origin"),
            b'f' => HeaderName::from_static("x-forwarded-for"),
            _ => {
                target = Some(value);
                continue;
            }
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let list = ["https://chat.example", "https://*.example.org", "capacitor://localhost"];
    let listed = AllowedOrigins::List(list.map(str::to_owned).into());
    if origin::is_allowed(&headers, &listed) {
        assert!(headers.get_all("origin").iter().count() <= 1, "of two origins none counts");
    }
    let proxy = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let trusted = ["127.0.0.0/8", "2001:db8::/32"].map(|block| block.parse().expect("a block"));
    let seen = ClientIp::of(proxy, &headers, &trusted);
    assert!(!service::network::subject(seen.0).is_empty());
    if let Some(target) = target {
        fuzz_head(target, &headers);
    }
}

/// `.env`.
pub fn env_file(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        config::fuzz_env_file(text);
    }
}

/// A JWK set or a PEM file.
pub fn jwk_sets(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        config::fuzz_keys(text);
    }
}

/// The value of a variable: `NAME=value`, one a line.
pub fn variables(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        config::fuzz_variables(text);
    }
}

#[cfg(test)]
mod tests {
    use messenger_testing::mutate;

    #[test]
    fn any_bytes_are_only_ever_read_or_refused() {
        mutate::drive(super::TARGETS);
    }
}
