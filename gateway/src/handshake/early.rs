//! A handshake that came whole with the first bytes of its connection, answered before HTTP's
//! layers see it. The answer leaves with `welcome`, in one write of the shard.
//!
//! A handshake that is refused, or that is any different, is given back: the router answers it, by
//! the same functions, and asks nothing a second time.

use super::{check, switching, token};
use crate::inbox::{Accepted, ToShard};
use crate::state::Gateway;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use httparse::Status;
use ipnet::IpNet;
use messenger_common::auth::AuthUser;
use messenger_common::config::Config;
use messenger_common::error::Error;
use messenger_common::http::{ClientIp, Opening, Place, RequestIds, Upgrades, head, request_span, seal};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Instant;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::Instrument;

/// Most headers of a handshake here; a browser sends about fifteen.
const MAX_HEADERS: usize = 48;
const BY_HEADER: &str = "/ws/chat";
const BY_PATH: &str = "/ws/chat/{key}";

/// See the module.
pub(crate) struct Early {
    gateway: Gateway,
    trusted_proxies: Vec<IpNet>,
    ids: RequestIds,
}

/// What is known of a handshake that the router is to refuse.
#[derive(Default)]
pub(super) struct Known {
    /// The user of its token, or why there is none. No refusal was counted.
    pub(super) checked: Option<Result<AuthUser, Error>>,
    /// Whether the user has paid for it.
    pub(super) is_paid: bool,
    /// The refusal of a place, which was counted.
    pub(super) refused: Option<Error>,
}

/// Stands on the request of such a handshake, whose extensions can be cloned and errors cannot.
pub(super) struct Verdict(Mutex<Option<Known>>);

impl Verdict {
    /// Takes it off.
    pub(super) fn take(&self) -> Option<Known> {
        self.0.lock().take()
    }
}

/// A handshake that stands whole in some bytes.
#[derive(Debug)]
struct Handshake {
    request: Request<()>,
    /// The token in the path.
    in_path: Option<String>,
    /// Bytes of the head.
    length: usize,
}

impl Handshake {
    /// Reads a handshake; `None` for all that only the router understands.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        let Ok(Status::Complete(length)) = parsed.parse(bytes) else { return None };
        let (Some("GET"), Some(path), Some(1)) = (parsed.method, parsed.path, parsed.version) else { return None };
        let in_path = match path.strip_prefix(BY_HEADER)? {
            "" => None,
            // Whatever is to be decoded, or has more parts, is the router's.
            rest => Some(rest.strip_prefix('/').filter(|token| is_plain(token))?.to_owned()),
        };
        let mut request = Request::new(());
        *request.version_mut() = Version::HTTP_11;
        *request.uri_mut() = Uri::from_static(BY_HEADER);
        for header in parsed.headers {
            let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
            if [CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT].contains(&name) {
                return None;
            }
            request.headers_mut().append(name, HeaderValue::from_bytes(header.value).ok()?);
        }
        head::check(&mut request).ok()?;
        Some(Self { request, in_path, length })
    }

    fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    fn token(&self) -> Option<&str> {
        self.in_path.as_deref().or_else(|| token(self.headers()))
    }
}

/// Whether these are the characters of a token (RFC 7515, section 7.1).
fn is_plain(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

impl Early {
    /// `None` where each request is traced, or logged with its address.
    pub(crate) fn new(gateway: &Gateway, config: &Config) -> Option<Self> {
        let fits = !gateway.hub.ctx.traces.is_on() && !config.log_client_addresses;
        fits.then(|| Self {
            gateway: gateway.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
            ids: RequestIds::default(),
        })
    }

    /// The user and the place of a handshake that succeeds; of any other what is known by then.
    async fn admit(&self, handshake: &Handshake, opening: &Opening) -> Result<(AuthUser, Arc<Place>), Known> {
        let ctx = &self.gateway.hub.ctx;
        let Some(token) = handshake.token() else { return Err(Known::default()) };
        let auth = match ctx.check_token(token).await {
            Ok(auth) => auth,
            Err(error) => return Err(Known { checked: Some(Err(error)), ..Known::default() }),
        };
        if !ctx.affords_request(&auth).await {
            return Err(Known { checked: Some(Ok(auth)), ..Known::default() });
        }
        let client = ClientIp::of(opening.peer.ip(), handshake.headers(), &self.trusted_proxies);
        match self.gateway.places.of_client(&opening.place, client) {
            Ok(place) => Ok((auth, place)),
            Err(error) => Err(Known { checked: Some(Ok(auth)), is_paid: true, refused: Some(error) }),
        }
    }

    async fn answer(&self, mut opening: Opening) -> Option<Opening> {
        let began = Instant::now();
        let Some(handshake) = Handshake::read(&opening.read) else { return Some(opening) };
        let arrival = self.gateway.hub.arrival();
        let Some(accept) = check(&self.gateway, &handshake.request).ok().map(derive_accept_key) else {
            return Some(opening);
        };
        let Ok(mut headers) = switching(&accept, handshake.headers()) else { return Some(opening) };
        let id = self.ids.of(handshake.headers());
        let route = if handshake.in_path.is_some() { BY_PATH } else { BY_HEADER };
        let span = request_span(&id, &Method::GET, route);
        let admitted = self.admit(&handshake, &opening).instrument(span.clone());
        let (auth, place) = match admitted.await {
            Ok(admitted) => admitted,
            Err(known) => {
                opening.known.insert(Arc::new(Verdict(Mutex::new(Some(known)))));
                return Some(opening);
            }
        };
        seal(&mut headers, &id);
        let Opening { stream, read, .. } = opening;
        let (hub, took) = (&self.gateway.hub, began.elapsed());
        hub.ctx.metrics.http_request(Method::GET.as_str(), route, 101, took);
        span.in_scope(|| tracing::debug!(http.status = 101, http.micros = took.as_micros(), "answered"));
        match stream.into_std() {
            Ok(stream) => {
                let (read_ahead, answer) = (read.slice(handshake.length..), Some(bytes_of(&headers)));
                let accepted = Accepted { stream, read_ahead, answer, place, auth: Ok(auth), trace: None, arrival };
                hub.send(self.gateway.next_shard(), ToShard::Accept(Box::new(accepted))).await;
            }
            Err(error) => tracing::warn!(%error, "cannot hand the connection over to its shard"),
        }
        None
    }
}

impl Upgrades for Early {
    fn take(&self, opening: Opening) -> BoxFuture<'_, Option<Opening>> {
        self.answer(opening).boxed()
    }
}

/// The answer as it goes over the wire.
fn bytes_of(headers: &HeaderMap) -> Bytes {
    let mut answer = BytesMut::with_capacity(512);
    answer.put_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            answer.put_slice(part);
        }
    }
    answer.put_slice(b"\r\n");
    answer.freeze()
}

/// Reads the first bytes of a connection.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let Some(handshake) = Handshake::read(bytes) else { return };
    assert!(bytes[..handshake.length].ends_with(b"\n"), "a head ends with its line");
    let in_path = handshake.in_path.as_deref().is_none_or(is_plain);
    assert!(in_path && handshake.token().is_none_or(|token| token.len() < bytes.len()));
    // It is read by itself, and not before it is there.
    let again = Handshake::read(&bytes[..handshake.length]).expect("its own bytes do");
    assert_eq!((again.length, again.in_path), (handshake.length, handshake.in_path));
    assert!(Handshake::read(&bytes[..handshake.length - 1]).is_none());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Option<Handshake> {
        Handshake::read(head.as_bytes())
    }

    #[test]
    fn a_handshake_is_read_whole_and_what_follows_it_is_left() {
        let head = "GET /ws/chat HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a.b-c_d\r\n\r\n";
        let handshake = Handshake::read(format!("{head}\u{1}").as_bytes()).expect("read");
        assert_eq!((handshake.length, handshake.token()), (head.len(), Some("a.b-c_d")));
        let by_path = read("GET /ws/chat/a.b HTTP/1.1\r\nHost: a\r\n\r\n").expect("read");
        assert_eq!((by_path.in_path.as_deref(), by_path.token()), (Some("a.b"), Some("a.b")));
        let offered = read("GET /ws/chat HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Protocol: bearer, x.y\r\n\r\n");
        assert_eq!(offered.expect("read").token(), Some("x.y"));
    }

    #[test]
    fn whatever_is_not_plain_is_the_routers() {
        let many = "x: y\r\n".repeat(MAX_HEADERS);
        for head in [
            "GET /ws/chat HTTP/1.1\r\nHost: a\r\n".to_owned(),
            "GET /ws/chat HTTP/1.0\r\nHost: a\r\n\r\n".to_owned(),
            "HEAD /ws/chat HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET /ws/chat HTTP/1.1\r\n\r\n".to_owned(),
            "GET /ws/chat HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_owned(),
            "GET /ws/chat HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "GET /ws/chat HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            "GET /ws/chat HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n".to_owned(),
            format!("GET /ws/chat HTTP/1.1\r\nHost: a\r\n{many}\r\n"),
            "GET http://a/ws/chat HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET /ws/chat/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET /ws/chats HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET /ws/chat?a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET /ws/chat/a%2eb HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET /ws/chat/7/online-users HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        ] {
            assert!(read(&head).is_none(), "{head}");
        }
    }
}
