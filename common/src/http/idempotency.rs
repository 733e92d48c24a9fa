//! `Idempotency-Key`: a request that is repeated because its answer was lost gets that answer.
//!
//! The request runs in a task of its own. If its client goes away meanwhile, it still ends, and
//! its answer is kept for the repetition. A request under a key is charged as an ordinary one
//! first; if others are notified of what it does, its handler charges that too.
//!
//! A repetition has the texts and names of now: those of the first answer may be deleted
//! meanwhile. They are kept with it only where nodes of the release before answer from the same
//! table.

use super::problem::PROBLEM_JSON;
use super::reading::{BodyLimit, read_all};
use crate::auth::AuthUser;
use crate::error::{Error, Result};
use crate::id::{ChatId, MessageId};
use crate::lifecycle::Lifecycle;
use crate::service::{Context, chats, messages};
use crate::store::{Claimed, KEY_LEASE, KeptAnswer, KeyClaim};
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
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

/// The thing that an answer shows: its texts are read anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Message,
    Chat,
    /// Without a text that anybody can delete.
    Other,
}

impl Shape {
    fn of(path: &str) -> Self {
        match path {
            "/messages/send" => Self::Message,
            "/chats/create" => Self::Chat,
            _ => Self::Other,
        }
    }

    /// The answer without its texts: what is left of it once they are deleted.
    fn bare(self, body: &[u8]) -> Option<Vec<u8>> {
        let blank = match self {
            Self::Message => json!({"text": "", "is_deleted": true, "reactions": [], "mentions": []}),
            Self::Chat => json!({"name": "", "description": null, "last_message": null}),
            Self::Other => return None,
        };
        let mut answer: Value = serde_json::from_slice(body).ok()?;
        let fields = answer.as_object_mut()?;
        for (name, value) in blank.as_object()? {
            if let Some(field) = fields.get_mut(name) {
                field.clone_from(value);
            }
        }
        serde_json::to_vec(&answer).ok()
    }

    /// The same with its texts of now. `None`: they are deleted, or not for the caller any more.
    async fn filled(self, context: &Context, by: &AuthUser, kept: &[u8]) -> Result<Option<Vec<u8>>> {
        let id = serde_json::from_slice::<Value>(kept).ok().and_then(|kept| kept.get("id")?.as_i64());
        let Some(id) = id else { return Ok(None) };
        let json = match self {
            Self::Message => messages::get(context, by, MessageId(id)).await.map(|found| serde_json::to_vec(&found)),
            Self::Chat => chats::get(context, by, ChatId(id)).await.map(|found| serde_json::to_vec(&found)),
            Self::Other => return Ok(None),
        };
        match json {
            Ok(json) => json.map(Some).map_err(Error::internal),
            Err(error @ (Error::Unavailable(_) | Error::Internal(_))) => Err(error),
            Err(_) => Ok(None),
        }
    }
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
        let (body, taken) = read_all(parts.extensions.get::<BodyLimit>().cloned(), body).await?;
        let digest = Sha256::new()
            .chain_update(parts.method.as_str())
            .chain_update(" ")
            .chain_update(parts.uri.path().trim_end_matches('/'))
            .chain_update("\n")
            .chain_update(&body);
        let shape = Shape::of(parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str));
        let claim = crate::random::bits().cast_signed();
        let claim = KeyClaim { user: by.user_id, key, request: digest.finalize().into(), claim };
        match self.context.store.claim_key(&claim).await? {
            Claimed::Now => {}
            Claimed::InProgress => return Err(Error::InProgress),
            Claimed::Reused => return Err(Error::IdempotencyKeyReused),
            Claimed::Answered(mut answer) => {
                if (200..300).contains(&answer.status) {
                    let filled = shape.filled(&self.context, &by, &answer.body).await?;
                    // The text that was kept may be deleted by now.
                    answer.body = filled.or_else(|| shape.bare(&answer.body)).unwrap_or(answer.body);
                }
                return repeated(answer);
            }
        }
        BodyLimit::has_room(&mut parts.extensions);
        let request = Request::from_parts(parts, Body::from(body));
        let context = self.context.clone();
        let traces = context.traces.clone();
        let run = async move {
            let _taken = taken;
            run(&context, &claim, shape, request, next).await
        };
        let task = traces.carried(run.in_current_span());
        self.lifecycle.spawn_task("keyed request", task).await.map_err(Error::internal)?
    }
}

/// Runs the claimed request and keeps its answer. One that says "later" is not kept.
async fn run(context: &Context, claim: &KeyClaim, shape: Shape, request: Request, next: Next) -> Result<Response> {
    let Ok(response) = tokio::time::timeout(RUNS_AT_MOST, next.run(request)).await else {
        return Err(Error::unavailable("the request took too long"));
    };
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, MAX_ANSWER_BYTES).await.map_err(Error::internal)?;
    let kept = if is_kept(parts.status) {
        // The texts, too, for nodes of the release before; they go with the key.
        let is_whole = context.store.is_shared() || !parts.status.is_success();
        let bare = if is_whole { None } else { shape.bare(&body) };
        let answer = KeptAnswer { status: parts.status.as_u16(), body: bare.unwrap_or_else(|| body.to_vec()) };
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
    fn no_text_is_kept() {
        let bare = |shape: Shape, body: &Value| {
            let kept = shape.bare(body.to_string().as_bytes()).expect("an object");
            serde_json::from_slice::<Value>(&kept).expect("JSON")
        };
        let message = json!({"id": 7, "text": "secret", "is_deleted": false, "mentions": [1], "seq": 2});
        let left = json!({"id": 7, "text": "", "is_deleted": true, "mentions": [], "seq": 2});
        assert_eq!(bare(Shape::of("/messages/send"), &message), left);
        let chat = json!({"id": 7, "name": "secret", "description": "secret", "last_message": {"text": "secret"}});
        let left = json!({"id": 7, "name": "", "description": null, "last_message": null});
        assert_eq!(bare(Shape::of("/chats/create"), &chat), left);
        assert_eq!(Shape::of("/chats/{chat_id}/invites").bare(b"{}"), None);
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
