//! The one check of a request's origin: for CORS, and for the WebSocket's handshake, which CORS
//! does not cover.

use crate::config::AllowedOrigins;
use http::HeaderMap;
use http::header::{HOST, ORIGIN};

/// Whether a request comes from no page at all, from the program's own page, or from an allowed
/// origin. Case does not matter (RFC 6454, section 4; RFC 9110, section 4.2.3).
pub fn is_allowed(headers: &HeaderMap, allowed: &AllowedOrigins) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    allowed.allows(origin) || is_own(origin, headers)
}

fn is_own(origin: &str, headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHERS: &[&str] = &["https://www.example", "capacitor://localhost"];

    fn allowed(origin: Option<&[u8]>, host: Option<&str>, allowed: &AllowedOrigins) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(origin) = origin {
            headers.insert(ORIGIN, http::HeaderValue::from_bytes(origin).expect("a header"));
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
