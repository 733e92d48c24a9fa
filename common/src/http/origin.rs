//! The one check of a request's origin: for CORS, and for the WebSocket's handshake, which CORS
//! does not cover.

use super::head;
use crate::config::{AllowedOrigins, canonical_origin};
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;
use std::collections::HashSet;

/// Whether a request comes from no page at all, from the program's own page, or from an allowed
/// origin. Case does not matter (RFC 6454, section 4; RFC 9110, section 4.2.3).
pub fn is_allowed(headers: &HeaderMap, allowed: &AllowedOrigins) -> bool {
    if !headers.contains_key(ORIGIN) {
        return true;
    }
    // Of two a proxy may have read the other one.
    let Some(Ok(origin)) = head::only(headers, &ORIGIN).map(HeaderValue::to_str) else { return false };
    allowed.allows(origin) || is_own(origin, headers)
}

/// The origins that were refused: each is named in the log once, because its page shows nothing
/// but a lost connection. The first hundred only: anybody can make them up.
#[derive(Default)]
pub struct Refusals(Mutex<HashSet<String>>);

impl Refusals {
    /// Names the origin of a request that was refused.
    pub fn note(&self, headers: &HeaderMap) {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (origin, host) = (text(ORIGIN), text(HOST));
        let mut named = self.0.lock();
        if named.len() < NAMED_AT_MOST && origin.len() <= LONGEST_NAMED && named.insert(origin.to_owned()) {
            tracing::warn!(
                http.origin = origin,
                http.host = host,
                "a page of an origin that is not allowed was refused: list it in ALLOWED_ORIGINS, or let the proxy \
                 pass Host on unchanged"
            );
        }
    }
}

const NAMED_AT_MOST: usize = 100;
const LONGEST_NAMED: usize = 300;

fn is_own(origin: &str, headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    // No page of this program has another scheme.
    let own = |scheme: &&str| scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let scheme = origin.split_once("://").map(|(scheme, _)| scheme).filter(own);
    // The same origin with and without its scheme's own port: a proxy may add it to `Host`.
    scheme
        .zip(host)
        .is_some_and(|(scheme, host)| canonical_origin(&format!("{scheme}://{host}")) == canonical_origin(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHERS: &[&str] = &["https://www.example", "capacitor://localhost"];

    fn allowed(origin: Option<&[u8]>, host: Option<&str>, allowed: &AllowedOrigins) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_bytes(origin).expect("a header"));
        }
        if let Some(host) = host {
            headers.insert(HOST, host.parse().expect("a header"));
        }
        is_allowed(&headers, allowed)
    }

    fn listed(origin: &str, host: &str) -> bool {
        let list = AllowedOrigins::List(OTHERS.iter().map(|&other| other.to_owned()).collect());
        allowed(Some(origin.as_bytes()), Some(host), &list)
    }

    #[test]
    fn no_page_at_all_may_connect() {
        let none = AllowedOrigins::List(Vec::new());
        assert!(allowed(None, Some("chat.example"), &none));
        assert!(allowed(None, None, &none));
    }

    #[test]
    fn the_programs_own_page_may_connect_in_any_case() {
        for origin in ["http://chat.example:8000", "https://chat.example:8000", "HTTP://Chat.Example:8000"] {
            assert!(listed(origin, "chat.example:8000"), "{origin}");
        }
        assert!(listed("http://chat.example:8000", "CHAT.example:8000"));
        for other in ["http://chat.example", "http://chat.example:8001", "http://evil.chat.example:8000", "null"] {
            assert!(!listed(other, "chat.example:8000"), "{other}");
        }
        assert!(!listed("null", "null"));
        assert!(!listed("ftp://chat.example:8000", "chat.example:8000"));
        for (origin, host) in [
            ("https://chat.example", "chat.example:443"),
            ("http://chat.example", "Chat.example:80"),
            ("https://chat.example:443", "chat.example"),
        ] {
            assert!(listed(origin, host), "{origin} at {host}");
        }
        assert!(!listed("https://chat.example", "chat.example:80"));
        assert!(!listed("http://chat.example", "chat.example:443"));
    }

    #[test]
    fn of_two_origins_none_counts() {
        let mut headers = HeaderMap::new();
        for origin in ["https://www.example", "https://evil.example"] {
            headers.append(ORIGIN, HeaderValue::from_static(origin));
        }
        let list = AllowedOrigins::List(OTHERS.iter().map(|&other| other.to_owned()).collect());
        assert!(!is_allowed(&headers, &list));
    }

    #[test]
    fn a_listed_origin_may_connect_in_any_case_and_no_other() {
        for origin in ["https://www.example", "HTTPS://WWW.Example", "capacitor://localhost"] {
            assert!(listed(origin, "chat.example"), "{origin}");
        }
        for other in ["https://evil.example", "http://www.example", "https://www.example:444", "www.example", ""] {
            assert!(!listed(other, "chat.example"), "{other}");
        }
    }

    #[test]
    fn an_origin_that_is_no_text_or_has_no_host_to_compare_is_refused() {
        let none = AllowedOrigins::List(Vec::new());
        assert!(!allowed(Some(b"http://\xff"), Some("chat.example"), &none));
        assert!(!allowed(Some(b"http://chat.example"), None, &none));
        assert!(allowed(Some(b"https://any.example"), None, &AllowedOrigins::Any));
    }
}
