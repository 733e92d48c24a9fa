//! Which pages may call: for CORS, and for the WebSocket's handshake, which CORS does not cover.

use crate::config::AllowedOrigins;
use http::HeaderMap;
use http::header::{HOST, ORIGIN};

/// Whether a request comes from no page at all, from the program's own, or from an allowed one.
pub fn is_allowed(headers: &HeaderMap, allowed: &AllowedOrigins) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if allowed.allows(origin) {
        return true;
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let own = origin.split_once("://").map(|(_, authority)| authority);
    match (own, host) {
        (Some(own), Some(host)) => own.eq_ignore_ascii_case(host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origin: Option<&str>, host: &str, list: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().expect("a header"));
        }
        headers.insert(HOST, host.parse().expect("a header"));
        is_allowed(&headers, &AllowedOrigins::List(list.iter().map(|&s| s.to_owned()).collect()))
    }

    #[test]
    fn own_listed_and_absent_origins_pass_and_no_other() {
        assert!(allowed(None, "chat.example:8000", &[]));
        assert!(allowed(Some("http://chat.example:8000"), "chat.example:8000", &[]));
        assert!(!allowed(Some("http://chat.example"), "chat.example:8000", &[]));
        assert!(allowed(Some("https://www.example"), "chat.example", &["https://www.example"]));
        assert!(!allowed(Some("https://evil.example"), "chat.example", &["https://www.example"]));
        assert!(!allowed(Some("null"), "null", &[]));
    }
}
