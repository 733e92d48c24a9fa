//! `Idempotency-Key`: a request that is repeated because its answer was lost gets that answer.
//!
//! The request runs in a task of its own. If its client goes away meanwhile, it still ends, and
//! its answer is kept for the repetition. A request under a key is charged as an ordinary one
//! first; if others are notified of what it does, its handler charges that too.

use super::extract::{BodyLimit, read_all};
use super::problem::PROBLEM_JSON;
use crate::auth::AuthUser;
use crate::error::{Error, Result};
use crate::lifecycle::Lifecycle;
use crate::service::Context;
use crate::store::{Claimed, KEY_LEASE, KeptAnswer, KeyClaim};
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use sha2::{Digest, Sha256};
use std::time::Duration;
use tracing::Instrument;

/// The header.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// The most characters of a key.
pub const MAX_KEY_CHARS: usize = 64;
/// A request under a key ends before its claim does, so that two never run side by side.
const RUNS_AT_MOST: Duration = KEY_LEASE.saturating_sub(Duration::from_secs(8));
/// The largest answer that is kept.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// The paths whose `POST` takes a key, and the parts that this needs.
#[derive(Clone)]
pub struct Keyed {
    /// The rules' context.
    pub context: Context,
    /// Starts the requests' tasks.
    pub lifecycle: Lifecycle,
    /// As the router has them.
    pub paths: &'static [&'static str],
}

/// The layer. Requests without a key pass.
pub async fn once(State(keyed): State<Keyed>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let concerned =
        request.method() == Method::POST && request.headers().contains_key(HEADER) && keyed.paths.contains(&path);
    if !concerned {
        return next.run(request).await;
    }
    keyed.answer(request, next).await.unwrap_or_else(Error::into_response)
}

impl Keyed {
    async fn answer(self, request: Request, next: Next) -> Result<Response> {
        let (mut parts, body) = request.into_parts();
        // Before the key is claimed: a repetition costs what any request costs.
        let by = AuthUser::from_request_parts(&mut parts, &self.context).await?;
        let key = key(&parts.headers)?;
        let body = read_all(parts.extensions.get::<BodyLimit>().copied(), body).await?;
        let digest = Sha256::new()
            .chain_update(parts.method.as_str())
            .chain_update(" ")
            .chain_update(parts.uri.path().trim_end_matches('/'))
            .chain_update("\n")
            .chain_update(&body);
        let claim = crate::random::bits().cast_signed();
        let claim = KeyClaim { user: by.user_id, key, request: digest.finalize().into(), claim };
        match self.context.store.claim_key(&claim).await? {
            Claimed::Now => {}
            Claimed::InProgress => return Err(Error::InProgress),
            Claimed::Reused => return Err(Error::IdempotencyKeyReused),
            Claimed::Answered(answer) => return repeated(answer),
        }
        let request = Request::from_parts(parts, Body::from(body));
        let context = self.context.clone();
        let task = async move { run(&context, &claim, request, next).await }.in_current_span();
        self.lifecycle.spawn_task("keyed request", task).await.map_err(Error::internal)?
    }
}

/// Runs the claimed request and keeps its answer. One that says "later" is not kept.
async fn run(context: &Context, claim: &KeyClaim, request: Request, next: Next) -> Result<Response> {
    let Ok(response) = tokio::time::timeout(RUNS_AT_MOST, next.run(request)).await else {
        return Err(Error::unavailable("the request took too long"));
    };
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, MAX_ANSWER_BYTES).await.map_err(Error::internal)?;
    let kept = if is_kept(parts.status) {
        let answer = KeptAnswer { status: parts.status.as_u16(), body: body.to_vec() };
        context.store.finish_key(claim, &answer).await
    } else {
        context.store.release_key(claim).await
    };
    if let Err(error) = kept {
        // The lease ends the claim.
        tracing::warn!(%error, "the answer under an idempotency key is not kept");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn is_kept(status: StatusCode) -> bool {
    !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS && status != StatusCode::UNAUTHORIZED
}

fn repeated(answer: KeptAnswer) -> Result<Response> {
    let status = StatusCode::from_u16(answer.status).map_err(Error::internal)?;
    let media_type = if status.is_success() { "application/json" } else { PROBLEM_JSON };
    Ok((status, [(CONTENT_TYPE, HeaderValue::from_static(media_type))], answer.body).into_response())
}

/// The key, with or without the quotes of a structured field.
fn key(headers: &HeaderMap) -> Result<String> {
    let mut given = headers.get_all(HEADER).iter();
    let (first, second) = (given.next(), given.next());
    let text = first.and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
    let text = text.map(|text| text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text));
    match text {
        Some(key) if second.is_none() && (1..=MAX_KEY_CHARS).contains(&key.chars().count()) => Ok(key.to_owned()),
        _ => Err(Error::invalid(IDEMPOTENCY_KEY, format!("must be one key of 1 to {MAX_KEY_CHARS} characters"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Option<String> {
        let values = values.iter().map(|value| (HEADER, HeaderValue::from_bytes(value.as_bytes()).expect("a value")));
        key(&values.collect()).ok()
    }

    #[test]
    fn a_key_has_1_to_64_characters_and_stands_once() {
        for (given, kept) in [("a", "a"), ("\"a b\"", "a b"), ("\"", "\""), ("ä", "ä")] {
            assert_eq!(read(&[given]).as_deref(), Some(kept));
        }
        let longest = "ö".repeat(64);
        assert_eq!(read(&[&longest]), Some(longest.clone()));
        assert_eq!(read(&[&format!("\"{longest}\"")]), Some(longest.clone()));
        for wrong in ["", "\"\"", &format!("{longest}x")] {
            assert_eq!(read(&[wrong]), None, "{wrong}");
        }
        assert_eq!(read(&["a", "a"]), None);
    }

    #[test]
    fn an_answer_that_says_later_is_not_kept() {
        for (status, kept) in
            [(201, true), (200, true), (403, true), (422, true), (429, false), (500, false), (503, false)]
        {
            assert_eq!(is_kept(StatusCode::from_u16(status).expect("a status")), kept, "{status}");
        }
    }
}
