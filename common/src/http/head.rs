//! What a request's head must hold beyond what hyper reads (RFC 9112, section 3). The head names
//! its host once: a proxy before us may have taken another of two for the true one.

use crate::error::Error;
use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};

/// Puts the target into origin form and its authority into `Host`. `BadRequest` and
/// `MethodNotAllowed` for a head that cannot be served.
pub fn check<B>(request: &mut Request<B>) -> Result<(), Error> {
    if request.method() == Method::CONNECT {
        return Err(Error::MethodNotAllowed);
    }
    let hosts = request.headers().get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() >= Version::HTTP_11) {
        return Err(Error::BadRequest("a request bears `Host` once"));
    }
    if !request.headers().get(HOST).is_none_or(|host| host.is_empty() || names_a_host(host.as_bytes())) {
        return Err(Error::BadRequest("`Host` names a host and its port"));
    }
    // Any other would be taken for none, and a proxy that knows it reads another body.
    if !request
        .headers()
        .get_all(TRANSFER_ENCODING)
        .iter()
        .all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return Err(Error::BadRequest("a body is sent as it is, or `chunked`"));
    }
    let target = request.uri();
    let asterisk = request.method() == Method::OPTIONS && target.path() == "*";
    if !asterisk && !target.path().starts_with('/') {
        return Err(Error::BadRequest("the target is a path or an address"));
    }
    if target.authority().is_some() || target.scheme().is_some() {
        to_origin_form(request)?;
    }
    Ok(())
}

/// A server ignores `Host` beside an absolute target (RFC 9112, section 3.2.2).
fn to_origin_form<B>(request: &mut Request<B>) -> Result<(), Error> {
    let target = request.uri();
    let authority = target.authority().map(Authority::as_str).unwrap_or_default();
    let known = matches!(target.scheme_str(), Some("http" | "https"));
    let (Ok(host), true, true) = (HeaderValue::from_str(authority), known, names_a_host(authority.as_bytes())) else {
        return Err(Error::BadRequest("the target is an address of http or https"));
    };
    // The library keeps an empty path as it came; a path of its own begins with a slash.
    let path = match target.query() {
        Some(query) => format!("{}?{query}", target.path()),
        None => target.path().to_owned(),
    };
    let path: PathAndQuery = path.parse().map_err(|_| Error::BadRequest("the target is a path or an address"))?;
    *request.uri_mut() = Uri::from(path);
    request.headers_mut().insert(HOST, host);
    Ok(())
}

fn names_a_host(value: &[u8]) -> bool {
    Authority::try_from(value).is_ok_and(|authority| {
        // Nothing to strip where a user stands before the host.
        let port = authority.as_str().strip_prefix(authority.host());
        !authority.host().is_empty()
            && port.is_some_and(|port| port.is_empty() || port == ":" || authority.port_u16().is_some())
    })
}

/// The answer to a head that cannot be served. What follows on the connection is not read: it may
/// belong to the body of this request.
pub(super) fn refusal(error: Error) -> Response {
    let mut answer = error.into_response();
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// The only value of a header. `None` where it stands there twice or not at all.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(any(test, feature = "fuzz"))]
/// Checks a head of this target and these headers.
pub(crate) fn fuzz(target: &[u8], headers: &HeaderMap) {
    for method in [Method::GET, Method::OPTIONS, Method::CONNECT] {
        let Ok(uri) = Uri::try_from(target) else { return };
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        request.headers_mut().clone_from(headers);
        if check(&mut request).is_ok() {
            let uri = request.uri();
            assert!(uri.authority().is_none() && (uri.path().starts_with('/') || uri.path() == "*"), "{uri}");
            assert_eq!(request.headers().get_all(HOST).iter().count(), 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn checked(method: Method, target: &str, version: Version, hosts: &[&str]) -> Result<(String, String), u16> {
        let mut request = Request::builder().method(method).uri(target).version(version);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let mut request = request.body(Body::empty()).expect("a request");
        check(&mut request).map_err(|error| error.status())?;
        let host = request.headers().get(HOST).map(|host| host.to_str().expect("text")).unwrap_or_default();
        Ok((request.uri().to_string(), host.to_owned()))
    }

    #[test]
    fn a_head_names_its_host_once() {
        let get = |hosts: &[&str]| checked(Method::GET, "/x?y", Version::HTTP_11, hosts);
        for good in ["a", "a.example:8000", "127.0.0.1:80", "[::1]", "[::1]:8000", "a:", ""] {
            assert_eq!(get(&[good]), Ok(("/x?y".to_owned(), good.to_owned())), "{good}");
        }
        for bad in [
            &[][..],
            &["a", "a"],
            &["a", "b"],
            &["a b"],
            &["a/b"],
            &["u@a"],
            &["u@a:80"],
            &["a:x"],
            &["a:99999"],
            &[":80"],
        ] {
            assert_eq!(get(bad), Err(400), "{bad:?}");
        }
        assert!(checked(Method::GET, "/", Version::HTTP_10, &[]).is_ok());
        assert_eq!(checked(Method::GET, "/", Version::HTTP_10, &["a", "b"]), Err(400));
    }

    #[test]
    fn a_body_has_no_coding_but_chunked() {
        for (coding, fits) in [("chunked", true), ("Chunked", true), ("gzip, chunked", false), ("identity", false)] {
            let request = Request::builder().header(HOST, "a").header(TRANSFER_ENCODING, coding);
            let mut request = request.body(Body::empty()).expect("a request");
            assert_eq!(check(&mut request).is_ok(), fits, "{coding}");
        }
    }

    #[test]
    fn a_target_is_a_path_or_an_address() {
        let of = |method, target| checked(method, target, Version::HTTP_11, &["other"]);
        let seen = of(Method::GET, "http://a.example:81/x?y").expect("served");
        assert_eq!(seen, ("/x?y".to_owned(), "a.example:81".to_owned()));
        assert_eq!(of(Method::GET, "https://a").expect("served"), ("/".to_owned(), "a".to_owned()));
        for (target, path) in
            [("http://a#x", "/"), ("http://a?x", "/?x"), ("http://a?x#y", "/?x"), ("http://a/#x", "/")]
        {
            assert_eq!(of(Method::GET, target).expect("served").0, path, "{target}");
        }
        assert_eq!(of(Method::OPTIONS, "*").expect("served").0, "*");
        for bad in ["*", "a.example", "a.example:80", "ftp://a/x", "http://u@a/x", "http://u@a:80/x"] {
            assert_eq!(of(Method::GET, bad), Err(400), "{bad}");
        }
        assert_eq!(of(Method::CONNECT, "a.example:80"), Err(405));
    }
}
