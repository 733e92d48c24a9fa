//! The body of a request, which its handler may leave unread.
//!
//! A connection whose request has bytes left is not fit for the next one. hyper closes it then,
//! and the client, or a proxy before us, finds its next request lost. So the edge reads the rest;
//! where that is too much or too slow, the answer says that the connection ends (RFC 9112,
//! section 9.6).

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// The most that is read of a body that no handler reads.
const BODY_REST_BYTES: usize = 4 * 1024 * 1024;
/// The longest time for a rest.
const REST_WITHIN: Duration = Duration::from_secs(2);

/// A body that its handler reads and the edge ends.
#[derive(Clone)]
pub(super) struct Unread(Arc<Mutex<Inner>>);

struct Inner {
    body: Body,
    begun: bool,
    ended: bool,
    /// The client sends nothing before it is asked to (RFC 9110, section 10.1.1).
    waits: bool,
}

impl Unread {
    /// Takes the body's place in a request. `None` for a request without one.
    pub(super) fn of(request: &mut Request) -> Option<Self> {
        if request.body().is_end_stream() {
            return None;
        }
        let waits = request.headers().contains_key(EXPECT);
        let body = std::mem::take(request.body_mut());
        let unread = Self(Arc::new(Mutex::new(Inner { body, begun: false, ended: false, waits })));
        *request.body_mut() = Body::new(unread.clone());
        request.extensions_mut().insert(unread.clone());
        Some(unread)
    }

    /// Whether the client still has to send some of it.
    pub(super) fn is_due(&self) -> bool {
        !self.0.lock().ended
    }

    /// Whether the handler has asked for more than the client has sent so far.
    pub(super) fn is_awaited(&self) -> bool {
        let inner = self.0.lock();
        inner.begun && !inner.ended
    }

    /// Reads what the handler left, or says in the answer that the connection ends.
    pub(super) async fn end(self, response: &mut Response) {
        let ended = match response.status() {
            StatusCode::REQUEST_TIMEOUT => !self.is_due(),
            _ => self.rest().await,
        };
        if !ended {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    async fn rest(&self) -> bool {
        let body = {
            let mut inner = self.0.lock();
            if inner.ended {
                return true;
            }
            if inner.waits && !inner.begun {
                return false;
            }
            std::mem::take(&mut inner.body)
        };
        tokio::time::timeout(REST_WITHIN, discard(body)).await.unwrap_or(false)
    }
}

/// Whether it came to the body's end.
async fn discard(mut body: Body) -> bool {
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > BODY_REST_BYTES {
            return false;
        }
    }
    true
}

impl HttpBody for Unread {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut inner = self.0.lock();
        inner.begun = true;
        let frame = ready!(Pin::new(&mut inner.body).poll_frame(cx));
        inner.ended = frame.is_none() || inner.body.is_end_stream();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().body.size_hint()
    }
}
