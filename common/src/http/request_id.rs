//! The id of a request: on its answer, and on each line of the log about it.

use http::{HeaderMap, HeaderName};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request's id: the caller's own if it is sane, else one of ours. On every answer and in every
/// line of the log.
#[derive(Clone, Debug)]
pub struct RequestId(pub Arc<str>);

/// Ids that differ between processes by their random start and within one by a counter.
#[derive(Debug)]
pub struct RequestIds {
    start: u64,
    count: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> Self {
        Self { start: crate::random::bits(), count: AtomicU64::new(0) }
    }
}

impl RequestIds {
    /// The id that the caller gave its request, or the next.
    pub fn of(&self, headers: &HeaderMap) -> RequestId {
        let given = headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| is_sane(id));
        if let Some(id) = given {
            return RequestId(id.into());
        }
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        RequestId(format!("{:016x}-{count:x}", self.start).into())
    }
}

fn is_sane(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
