//! The handshake (RFC 6455, section 4.2): the three ways in, and the way of a connection from the
//! HTTP server to its shard.
//!
//! A token is read from the path, the `Authorization` header or the subprotocols. With a bad one
//! the handshake succeeds, and a close code follows: a browser can read that.

mod early;

pub(crate) use early::Early;
use early::Verdict;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use early::fuzz;

use crate::inbox::{Accepted, ToShard};
use crate::protocol::CloseCode;
use crate::state::Gateway;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, HeaderName, UPGRADE};
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use hyper_util::rt::TokioIo;
use messenger_common::error::Error;
use messenger_common::http::caller::bearer;
use messenger_common::http::{ClientIp, Place, Socket, origin, unbound_sending};
use std::sync::Arc;
use std::time::Duration;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const SEC_WEBSOCKET_KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const SEC_WEBSOCKET_VERSION: HeaderName = HeaderName::from_static("sec-websocket-version");
const SEC_WEBSOCKET_PROTOCOL: HeaderName = HeaderName::from_static("sec-websocket-protocol");
const SEC_WEBSOCKET_ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");
/// The subprotocol that a token stands behind.
const BEARER: &str = "bearer";
/// The response is written and the connection handed over within this.
const UPGRADE_WITHIN: Duration = Duration::from_secs(10);

/// `GET /ws/chat/{token}`.
pub(crate) async fn by_path(
    State(gateway): State<Gateway>,
    token: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Error> {
    // A path that is no text holds no token either.
    upgrade(&gateway, request, token.ok().map(|Path(token)| token).as_deref()).await
}

/// `GET /ws/chat`, the token in a header.
pub(crate) async fn by_header(State(gateway): State<Gateway>, request: Request) -> Result<Response, Error> {
    let token = token(request.headers()).map(str::to_owned);
    upgrade(&gateway, request, token.as_deref()).await
}

/// The token in the headers: `Authorization: Bearer <token>`, or `Sec-WebSocket-Protocol: bearer,
/// <token>`.
fn token(headers: &HeaderMap) -> Option<&str> {
    let in_header = bearer(headers).ok();
    in_header.or_else(|| subprotocols(headers).skip_while(|name| *name != BEARER).nth(1))
}

fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    offered.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim)
}

fn has_word(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name);
    let mut words = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    words.any(|value| value.trim().eq_ignore_ascii_case(word))
}

/// The client's nonce: one, of 16 bytes in base64 (RFC 6455, section 4.2.1).
fn key(headers: &HeaderMap) -> Result<&[u8], Error> {
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err(Error::invalid("Sec-WebSocket-Key", "must stand there once"));
    };
    match STANDARD.decode(key) {
        Ok(nonce) if nonce.len() == 16 => Ok(key.as_bytes()),
        _ => Err(Error::invalid("Sec-WebSocket-Key", "must be 16 bytes in base64")),
    }
}

/// The client's key, where a handshake can be answered with an upgrade.
fn check<'a, B>(gateway: &Gateway, request: &'a http::Request<B>) -> Result<&'a [u8], Error> {
    let headers = request.headers();
    if request.version() < Version::HTTP_11 {
        return Err(Error::UpgradeRequired);
    }
    if !has_word(headers, &CONNECTION, "upgrade") || !has_word(headers, &UPGRADE, "websocket") {
        return Err(Error::UpgradeRequired);
    }
    let mut versions = headers.get_all(SEC_WEBSOCKET_VERSION).iter();
    if versions.next().is_none_or(|version| version != "13") || versions.next().is_some() {
        return Err(Error::UpgradeRequired);
    }
    let key = key(headers)?;
    if !origin::is_allowed(headers, &gateway.origins) {
        return Err(Error::OriginNotAllowed);
    }
    if gateway.hub.lifecycle.draining().is_cancelled() {
        return Err(Error::unavailable("draining"));
    }
    Ok(key)
}

async fn upgrade(gateway: &Gateway, mut request: Request, token: Option<&str>) -> Result<Response, Error> {
    let (headers, from) = (request.headers(), ClientIp::on(request.extensions()).0);
    // Before it is asked whether the node drains.
    let arrival = gateway.hub.arrival();
    let accept = match check(gateway, &request) {
        Ok(key) => derive_accept_key(key),
        // No fault of the client's, who pays nothing for it.
        Err(error) if error.status() >= 500 => return Err(error),
        Err(error) => {
            gateway.hub.ctx.charge_address(from).await?;
            return Err(error);
        }
    };
    let switching = switching(&accept, headers)?;
    // The verdict from before the router holds.
    let known = request.extensions().get::<Arc<Verdict>>().cloned();
    let known = known.and_then(|known| known.take()).unwrap_or_default();
    let checked = match (known.checked, token) {
        (Some(checked), _) => checked.inspect_err(|error| gateway.hub.ctx.note_refused(error)),
        (None, Some(token)) => gateway.hub.ctx.authenticate(token).await,
        (None, None) => Err(Error::TokenInvalid),
    };
    let checked = match checked {
        // No fault of the client's, who pays nothing for it.
        Err(error) if error.status() >= 500 => return Err(error),
        checked => checked,
    };
    match &checked {
        Ok(_) if known.is_paid => {}
        Ok(by) => gateway.hub.ctx.charge_request(by).await?,
        Err(_) => gateway.hub.ctx.charge_address(from).await?,
    }
    let auth = match checked {
        Ok(auth) => Ok(auth),
        Err(Error::TokenExpired) => Err(CloseCode::TokenExpired),
        Err(Error::SessionEnded(reason)) => Err(CloseCode::from(reason)),
        Err(_) => Err(CloseCode::TokenInvalid),
    };
    if let Some(refused) = known.refused {
        return Err(refused);
    }
    let socket = request.extensions().get::<Arc<Place>>().ok_or_else(|| Error::internal("a socket without a place"))?;
    let place = gateway.places.of_client(socket, ClientIp::on(request.extensions()))?;
    let traces = &gateway.hub.ctx.traces;
    let trace = traces.asked(request.headers()).map(|asked| traces.current().unwrap_or(asked));
    let upgraded = hyper::upgrade::on(&mut request);
    let hub = gateway.hub.clone();
    let shard = gateway.next_shard();
    // Its end is logged; nobody waits for it.
    drop(gateway.hub.lifecycle.spawn_task("upgrade", async move {
        let upgraded = match tokio::time::timeout(UPGRADE_WITHIN, upgraded).await {
            Ok(Ok(upgraded)) => upgraded,
            Ok(Err(error)) => return tracing::debug!(%error, "a handshake was not finished"),
            Err(_) => return tracing::debug!("a handshake took too long"),
        };
        let Ok(parts) = upgraded.downcast::<TokioIo<Socket>>() else {
            return tracing::error!("upgraded connection has an unexpected type");
        };
        let stream = parts.io.into_inner().into_stream();
        unbound_sending(&stream);
        match stream.into_std() {
            Ok(stream) => {
                let accepted =
                    Accepted { stream, read_ahead: parts.read_buf, answer: None, place, auth, trace, arrival };
                hub.send(shard, ToShard::Accept(Box::new(accepted))).await;
            }
            Err(error) => tracing::warn!(%error, "cannot hand the connection over to its shard"),
        }
    }));
    Ok((StatusCode::SWITCHING_PROTOCOLS, switching).into_response())
}

/// The headers of the answer to a handshake.
fn switching(accept: &str, asked: &HeaderMap) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(accept).map_err(Error::internal)?);
    // A browser that offers subprotocols fails a handshake that takes none of them, and does not
    // see the close code then.
    if subprotocols(asked).any(|name| name == BEARER) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(BEARER));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests;
