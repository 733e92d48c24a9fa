//! The layers around every request, the same in all three programs: request id, metrics, log span,
//! limits, CORS, problems.
//!
//! No raw path reaches a log or a label: `/ws/chat/{token}` would carry a token.

use super::body::Unread;
use super::client_ip::{ClientIp, Peer};
use super::head;
use super::origin;
use super::payer::Payer;
use super::places::Place;
use super::problem::{Cause, Problem, Refused, normalise};
use super::reading::{BodyLimit, Room};
use super::request_id::{RequestId, RequestIds, X_REQUEST_ID};
use crate::config::{AllowedOrigins, Config};
use crate::error::{Error, chain};
use crate::metrics::Metrics;
use crate::once::OncePerCause;
use crate::service::{Audit, SecurityEvent};
use crate::traces::{Part, Span, Traces};
use axum::Router;
use axum::body::HttpBody;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use ipnet::IpNet;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tower::ServiceExt;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use tracing::Instrument;
use tracing::field::Empty;

/// No request takes longer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const NO_PAGE: &str = "default-src 'none'; frame-ancestors 'none'";
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What an address pays for a request that no rule sees: of no route, of no method, a browser's
/// question beforehand. `RateLimited`.
pub type Toll = Arc<dyn Fn(IpAddr) -> BoxFuture<'static, Result<(), Error>> + Send + Sync>;

struct Edge {
    metrics: Metrics,
    toll: Toll,
    body_limit: usize,
    room: Room,
    timeout: Duration,
    trusted_proxies: Vec<IpNet>,
    ids: RequestIds,
    logged: OncePerCause,
    audit: Audit,
    log_client_addresses: bool,
    traces: Traces,
}

/// A router with all layers of this module. A path with its trailing slash is the path without it.
/// The router must have no fallback of its own.
pub fn layers(router: Router, config: &Config, metrics: &Metrics, traces: &Traces, toll: Toll) -> Router {
    layers_with(router, config, metrics, traces, toll, REQUEST_TIMEOUT)
}

fn layers_with(
    router: Router,
    config: &Config,
    metrics: &Metrics,
    traces: &Traces,
    toll: Toll,
    timeout: Duration,
) -> Router {
    let edge = Arc::new(Edge {
        toll,
        metrics: metrics.clone(),
        body_limit: config.limits.max_body_bytes,
        room: Room::new(metrics.clone()),
        timeout,
        trusted_proxies: config.trusted_proxies.clone(),
        ids: RequestIds::default(),
        logged: OncePerCause::default(),
        audit: Audit::default(),
        log_client_addresses: config.log_client_addresses,
        traces: traces.clone(),
    });
    let router = router
        .fallback(async || Error::NotFound)
        .layer(DefaultBodyLimit::max(config.limits.max_body_bytes))
        // Within CORS: a page may read these refusals too.
        .layer(from_fn_with_state(edge.clone(), answer))
        .layer(cors(&config.allowed_origins))
        .layer(from_fn_with_state(edge, through));
    with_and_without_slash(router)
}

/// Tries a path as it came, then with its trailing slash taken off or put on.
fn with_and_without_slash(router: Router) -> Router {
    let other = router.clone();
    router.fallback_service(tower::service_fn(move |mut request: Request| {
        if let Some(uri) = toggle_slash(request.uri()) {
            *request.uri_mut() = uri;
        }
        other.clone().oneshot(request)
    }))
}

fn toggle_slash(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let toggled = match path.strip_suffix('/') {
        Some(rest) => rest.to_owned(),
        None => format!("{path}/"),
    };
    // One slash more or less, not two.
    if !toggled.starts_with('/') || path.ends_with("//") {
        return None;
    }
    let path_and_query = match uri.query() {
        Some(query) => format!("{toggled}?{query}"),
        None => toggled,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_and_query.parse().ok()?);
    Uri::from_parts(parts).ok()
}

fn cors(allowed: &AllowedOrigins) -> CorsLayer {
    let origins = match allowed {
        AllowedOrigins::Any => AllowOrigin::mirror_request(),
        AllowedOrigins::List(_) => {
            let allowed = allowed.clone();
            let refusals = origin::Refusals::default();
            AllowOrigin::predicate(move |_, request| {
                let is_allowed = origin::is_allowed(&request.headers, &allowed);
                if !is_allowed {
                    refusals.note(&request.headers);
                }
                is_allowed
            })
        }
    };
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        // Any: front ends add headers of their own (traces, anti-forgery, cache), and none of them
        // opens anything here. Nor do credentials: there are no cookies.
        .allow_headers(AllowHeaders::mirror_request())
        .allow_credentials(true)
        .expose_headers([X_REQUEST_ID, RETRY_AFTER, ALLOW])
        .max_age(Duration::from_mins(10))
}

/// The span of the log in which a request is served.
pub fn request_span(id: &RequestId, method: &Method, route: &str) -> tracing::Span {
    tracing::info_span!(
        "http",
        request.id = %id.0,
        http.method = %method,
        http.route = route,
        client.address = Empty,
        user.id = Empty,
        session.id = Empty,
        trace.id = Empty,
    )
}

/// The layer around every request.
async fn through(State(edge): State<Arc<Edge>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = edge.ids.of(request.headers());
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("unmatched", MatchedPath::as_str);
    let span = request_span(&id, &method, route);
    if let Some(peer) = request.extensions().get::<Peer>().copied() {
        let client = ClientIp::of(peer.0.ip(), request.headers(), &edge.trusted_proxies);
        if edge.log_client_addresses {
            span.record("client.address", tracing::field::display(client.0));
        }
        request.extensions_mut().insert(client);
    }
    let client = ClientIp::on(request.extensions());
    request.extensions_mut().insert(BodyLimit::new(edge.body_limit, &edge.room, client));
    request.extensions_mut().insert(id.clone());
    let socket = request.extensions().get::<Arc<Place>>().cloned();
    let carried = socket.as_ref().map_or(Ok(()), |socket| socket.carries(client));
    let body = Unread::of(&mut request);

    let mut traced = begin(&edge.traces, &method, route, &id, &request);
    let from = client.0;
    let unserved = match (carried, head::check(&mut request)) {
        (Err(error), _) => Some(head::refusal(error)),
        (_, Err(error)) => Some(head::refusal((edge.toll)(from).await.err().unwrap_or(error))),
        // CORS answers it.
        (_, Ok(())) if method == Method::OPTIONS => (edge.toll)(from).await.err().map(IntoResponse::into_response),
        (_, Ok(())) => None,
    };
    let mut answered = match (unserved, &traced) {
        (Some(unserved), _) => unserved,
        (None, None) => next.run(request).instrument(span.clone()).await,
        (None, Some(traced)) => {
            span.record("trace.id", traced.trace_id());
            // In a box: the future of a request that is not traced stays as small as it was.
            Box::pin(traced.scope(next.run(request).instrument(span.clone()))).await
        }
    };
    let took = started.elapsed();
    if let Some(body) = body {
        body.end(&mut answered).await;
    }
    let _in_span = span.enter();
    let mut response = normalise(reveal(&edge, answered, &id));
    seal(response.headers_mut(), &id);
    let status = response.status().as_u16();
    edge.metrics.http_request(known_method(&method), route, status, took);
    if let Some(traced) = &mut traced {
        traced.set("http.response.status_code", i64::from(status));
        if status >= 500 {
            traced.failed(if status == 503 { "unavailable" } else { "internal" });
        }
    }
    tracing::debug!(http.status = status, http.micros = took.as_micros(), "answered");
    if let Some(socket) = socket {
        socket.answered();
    }
    response
}

/// Puts on every answer its request's id, and what a browser may do with it.
pub fn seal(headers: &mut HeaderMap, id: &RequestId) {
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        headers.insert(X_REQUEST_ID, value);
    }
    headers.entry(X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    headers.entry(REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
    // An answer is no page: nothing in it runs or is framed.
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(NO_PAGE));
    // A page of another origin reads it by CORS or not at all.
    headers.entry(RESOURCE_POLICY).or_insert(HeaderValue::from_static("same-origin"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// The span of a request, under the one that its caller names, where the trace is sampled.
fn begin(traces: &Traces, method: &Method, route: &str, id: &RequestId, request: &Request) -> Option<Span> {
    if !traces.is_on() {
        return None;
    }
    let method = known_method(method);
    let mut span = traces.begin(Part::Served, format!("{method} {route}"), traces.asked(request.headers()))?;
    span.set("http.request.method", method);
    span.set("http.route", route.to_owned());
    span.set("messenger.request.id", id.0.to_string());
    Some(span)
}

/// The handler's answer, or that of the edge, which has its price.
async fn answer(State(edge): State<Arc<Edge>>, mut request: Request, next: Next) -> Response {
    let is_matched = request.extensions().get::<MatchedPath>().is_some();
    let (from, payer) = (ClientIp::on(request.extensions()).0, Payer::of(&mut request));
    let response = handle(&edge, request, next).await;
    payer.pay(response.body().size_hint().lower()).await;
    let status = response.status().as_u16();
    if is_matched && !matches!(status, 405 | 408 | 413) {
        return response;
    }
    match (edge.toll)(from).await {
        // It has waited long enough to be told so.
        Err(error) if status != 408 => error.into_response(),
        _ => response,
    }
}

/// The handler's answer, or what stands for it: too large, too slow, panicked.
async fn handle(edge: &Edge, request: Request, next: Next) -> Response {
    let length =
        request.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    if length.is_some_and(|length| length > edge.body_limit as u64) {
        return Error::TooLarge(edge.body_limit).into_response();
    }
    let body = request.extensions().get::<Unread>().cloned();
    let handled = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(edge.timeout, handled).await {
        Ok(Ok(response)) => response,
        // The panic hook has logged the message and the place.
        Ok(Err(_)) => Error::internal("a handler panicked").into_response(),
        // Its body did not come: the client's fault, and no alarm of ours.
        Err(_) if body.is_some_and(|body| body.is_awaited()) => Error::RequestTimeout.into_response(),
        Err(_) => Error::unavailable("the request took too long").into_response(),
    }
}

/// Logs an internal fault once, and a back end that is away once a cause and minute. If it is
/// ours, the answer names the request's id, which leads to the line of the log.
fn reveal(edge: &Edge, mut response: Response, id: &RequestId) -> Response {
    if let Some(Refused(code)) = response.extensions_mut().remove::<Refused>() {
        edge.audit.note_code(SecurityEvent::Refused, None, None, Some(code));
    }
    let Some(Cause(error)) = response.extensions_mut().remove::<Cause>() else { return response };
    let source = error.inside().map(|source| chain(&**source)).unwrap_or_default();
    if matches!(*error, Error::Unavailable(_)) {
        // A flood of requests is not a flood of lines.
        if edge.logged.is_news(&source, Instant::now()) {
            tracing::warn!(error = source, "unavailable");
        } else {
            tracing::debug!(error = source, "unavailable");
        }
        return response;
    }
    tracing::error!(error = source, "an internal fault");
    let detail = format!("something went wrong on the server; request {}", id.0);
    let mut answer = Problem { detail, ..Problem::of(&error) }.into_response();
    std::mem::swap(answer.extensions_mut(), response.extensions_mut());
    answer
}

/// A method as a label: HTTP lets a client make up any.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests;
