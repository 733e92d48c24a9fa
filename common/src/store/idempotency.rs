//! Idempotency keys: a request is claimed, runs, and leaves its answer for those who repeat it.

use crate::error::Result;
use crate::id::UserId;
use async_trait::async_trait;
use std::time::Duration;

/// How long a key is kept.
pub const KEY_KEPT: Duration = Duration::from_hours(24);
/// How long a claim holds without an answer. A request must not run longer.
pub const KEY_LEASE: Duration = Duration::from_secs(40);

/// A request under a user's key.
#[derive(Clone, Debug)]
pub struct KeyClaim {
    /// Keys of different users never meet.
    pub user: UserId,
    /// 1 to 64 characters.
    pub key: String,
    /// SHA-256 of the method, the path and the body.
    pub request: [u8; 32],
    /// A random number of this attempt alone.
    pub claim: i64,
}

/// An answer as it is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// The state of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// Claimed by this attempt, which must finish or release it.
    Now,
    /// The first request runs.
    InProgress,
    /// The key belongs to another request.
    Reused,
    /// The first request's answer.
    Answered(KeptAnswer),
}

/// Idempotency keys. See the store's obligations.
#[async_trait]
pub trait Idempotency: Send + Sync + 'static {
    /// Whether nodes of the release before may repeat an answer: they give it as it is kept.
    fn is_shared(&self) -> bool;
    /// Claims a key for [`KEY_LEASE`]. Of many at once, one gets it. Free are keys that nobody
    /// used within [`KEY_KEPT`], and the same request's after a lease that ended without an answer.
    async fn claim_key(&self, claim: &KeyClaim) -> Result<Claimed>;
    /// Keeps the answer, unless another attempt has claimed the key since.
    async fn finish_key(&self, claim: &KeyClaim, answer: &KeptAnswer) -> Result<()>;
    /// Frees the key of an attempt that has no answer, unless another has claimed it since.
    async fn release_key(&self, claim: &KeyClaim) -> Result<()>;
}

/// The table's row of a key that this attempt did not get.
pub(super) fn state(claim: &KeyClaim, request: &[u8], status: Option<i32>, body: Option<Vec<u8>>) -> Claimed {
    if request != claim.request {
        return Claimed::Reused;
    }
    match status.and_then(|status| u16::try_from(status).ok()) {
        Some(status) => Claimed::Answered(KeptAnswer { status, body: body.unwrap_or_default() }),
        None => Claimed::InProgress,
    }
}
