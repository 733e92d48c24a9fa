//! `ALLOWED_ORIGINS`: what it may list, and what a browser's `Origin` is held against.

use super::raw::Raw;
use super::{ConfigError, parse};

/// The pages that may call from a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// All.
    Any,
    /// These, as browsers write them; `scheme://*.host` stands for every subdomain.
    List(Vec<String>),
}

impl AllowedOrigins {
    /// Whether a page of that origin may.
    pub fn allows(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::List(list) => {
                let origin = canonical(origin);
                list.iter().any(|allowed| matches(allowed, &origin))
            }
        }
    }
}

fn matches(allowed: &str, origin: &str) -> bool {
    match allowed.split_once("://*.") {
        None => allowed == origin,
        Some((scheme, parent)) => origin
            .strip_prefix(scheme)
            .and_then(|rest| rest.strip_prefix("://"))
            .and_then(|authority| authority.strip_suffix(parent))
            .and_then(|subdomain| subdomain.strip_suffix('.'))
            .is_some_and(|subdomain| !subdomain.is_empty()),
    }
}

/// An origin as browsers write it: in lower case, without its scheme's own port (RFC 6454, section
/// 6.2).
pub(crate) fn canonical(origin: &str) -> String {
    let mut origin = origin.to_ascii_lowercase();
    for (scheme, port) in [("https://", ":443"), ("http://", ":80")] {
        if origin.starts_with(scheme) && origin.ends_with(port) {
            origin.truncate(origin.len() - port.len());
        }
    }
    origin
}

/// Comma-separated origins, or `*`. A value that no browser sends is a fault.
pub(super) fn read(raw: &Raw, name: &'static str, debug: bool) -> Result<AllowedOrigins, ConfigError> {
    let Some(value) = raw.get(name)? else {
        return Ok(if debug { AllowedOrigins::Any } else { AllowedOrigins::List(Vec::new()) });
    };
    if value.trim() == "*" {
        return Ok(AllowedOrigins::Any);
    }
    let read =
        |item: &str| one(item).map_err(|fault| ConfigError::of(name, format!("{} {fault}", parse::quoted(item))));
    parse::list(&value).map(read).collect::<Result<_, _>>().map(AllowedOrigins::List)
}

fn one(item: &str) -> Result<String, &'static str> {
    const NO_ORIGIN: &str = "is no origin (scheme://host[:port])";
    let (scheme, authority) = item.split_once("://").ok_or(NO_ORIGIN)?;
    let scheme = scheme.to_ascii_lowercase();
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let named = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !named || authority.is_empty() || authority.contains(['/', '?', '#', '@', '\\']) {
        return Err(NO_ORIGIN);
    }
    if matches!(scheme.as_str(), "ws" | "wss" | "file" | "data") {
        return Err("never matches: a page's origin has another scheme, such as https");
    }
    let (star, host) = match authority.strip_prefix("*.") {
        Some(parent) => ("*.", parent),
        None => ("", authority),
    };
    if host.contains('*') {
        return Err("never matches: `*.` stands before a whole domain only, as in https://*.example.org");
    }
    if !matches!(scheme.as_str(), "http" | "https") {
        let plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte));
        return if plain { Ok(format!("{scheme}://{star}{}", host.to_ascii_lowercase())) } else { Err(NO_ORIGIN) };
    }
    let url = url::Url::parse(&format!("{scheme}://{host}")).map_err(|_| NO_ORIGIN)?;
    let is_domain = matches!(url.host(), Some(url::Host::Domain(_)));
    if !star.is_empty() && !is_domain {
        return Err("never matches: an address has no subdomains");
    }
    // As browsers write it: punycode, no default port.
    let origin = url.origin().ascii_serialization();
    Ok(origin.replacen("://", &format!("://{star}"), 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_of_any_scheme_are_read_as_browsers_write_them() {
        for (given, written) in [
            ("https://Chat.Example.org/", "https://chat.example.org"),
            ("https://example.org:443", "https://example.org"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("https://münchen.example", "https://xn--mnchen-3ya.example"),
            ("http://[0:0:0:0:0:0:0:1]:80", "http://[::1]"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("tauri://localhost", "tauri://localhost"),
            ("ionic://localhost", "ionic://localhost"),
            ("app://.", "app://."),
            ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
            ("https://*.Preview.example.org", "https://*.preview.example.org"),
            ("https://*.example.org:8443", "https://*.example.org:8443"),
        ] {
            assert_eq!(one(given).as_deref(), Ok(written), "{given}");
        }
    }

    #[test]
    fn what_no_browser_sends_is_refused() {
        for given in [
            "example.org",
            "null",
            "*",
            "https://",
            "https://*",
            "https://*.",
            "https://a.*.example.org",
            "https://*example.org",
            "https://*.*.example.org",
            "https://*.127.0.0.1",
            "https://example.org/path",
            "https://example.org?q",
            "https://ann@example.org",
            "wss://example.org",
            "file:///",
            "file://x",
            "https://a b",
            "1app://x",
            "capacitor://a b",
            "https://example.org:99999",
        ] {
            assert!(one(given).is_err(), "{given}");
        }
    }

    #[test]
    fn a_star_stands_for_every_subdomain_and_nothing_else() {
        let allowed = AllowedOrigins::List(vec![one("https://*.example.org").unwrap(), one("app://x").unwrap()]);
        for origin in ["https://a.example.org", "https://a.b.example.org:443", "HTTPS://A.Example.org", "app://X"] {
            assert!(allowed.allows(origin), "{origin}");
        }
        for origin in [
            "https://example.org",
            "https://.example.org",
            "https://evilexample.org",
            "http://a.example.org",
            "https://a.example.org:444",
            "https://a.example.org.evil.com",
            "app://a.x",
            "null",
            "",
        ] {
            assert!(!allowed.allows(origin), "{origin}");
        }
    }
}
