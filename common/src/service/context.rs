//! What the rules work with: the back ends, the keys, the limits.

use super::messages::SendQueue;
use crate::auth::{AuthUser, PasswordFault, Passwords, Revocations, Tokens};
use crate::backends::Backends;
use crate::bus::{Publication, Tasks, Topic};
use crate::clock::Clock;
use crate::config::{Config, Limits};
use crate::error::{Error, Result};
use crate::event::{Envelope, Revocation, RevocationReason};
use crate::lifecycle::Lifecycle;
use crate::metrics::{AuthResult, Metrics, PublishResult};
use crate::presence::Presence;
use crate::rate_limit::{Decision, Limit, RateLimiter};
use crate::relay::Publisher;
use crate::store::Store;
use secrecy::ExposeSecret;
use std::ops::Deref;
use std::sync::Arc;

/// What every rule is given; cloning is one counter.
#[derive(Clone)]
pub struct Context(Arc<Parts>);

/// The parts of a [`Context`].
pub struct Parts {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// Tells what was committed; never waits.
    pub publisher: Publisher,
    /// Who is online.
    pub presence: Arc<dyn Presence>,
    /// Counts against [`Limits`].
    pub limiter: Arc<dyn RateLimiter>,
    /// Whether it is asked at all.
    pub rate_limits: bool,
    /// Issues and verifies tokens.
    pub tokens: Tokens,
    /// Hashes and checks passwords.
    pub passwords: Passwords,
    /// Sessions that have ended before their tokens did.
    pub revocations: Revocations,
    /// Where sends commit together.
    pub sends: SendQueue,
    /// The contract's limits.
    pub limits: Limits,
    /// The time.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Metrics,
}

/// How many passwords are hashed at once: all cores but one, so that a flood of logins leaves the others' requests one.
fn hashing_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1))
}

impl Deref for Context {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Context {
    /// A context of these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// A context over these back ends, with the tasks behind it.
    pub fn start(config: &Config, backends: &Backends, lifecycle: &Lifecycle) -> Result<Self, PasswordFault> {
        let metrics = backends.metrics.clone();
        let tasks = Tasks::from(lifecycle);
        let dropped = metrics.backplane_published(PublishResult::Dropped).clone();
        let publisher = Publisher::start(backends.bus.clone(), backends.store.clone(), &tasks, dropped);
        let revocations = Revocations::new(config.access_token_ttl);
        let reading = revocations.clone().run(backends.store.clone(), backends.bus.up(), lifecycle.stopping());
        lifecycle.spawn("revocations", reading);
        let secret = config.secret_key.expose_secret().as_bytes();
        Ok(Self::new(Parts {
            sends: SendQueue::start(&backends.store, &publisher, &metrics, lifecycle),
            store: backends.store.clone(),
            publisher,
            presence: backends.presence.clone(),
            limiter: backends.limiter.clone(),
            rate_limits: config.rate_limits,
            tokens: Tokens::new(secret, config.access_token_ttl, config.refresh_token_ttl, backends.clock.clone()),
            passwords: Passwords::new(config.argon2_memory_kib, hashing_threads())?,
            revocations,
            limits: config.limits.clone(),
            clock: backends.clock.clone(),
            metrics,
        }))
    }

    /// Who an access token speaks for. `TokenInvalid`, `TokenExpired`, `SessionEnded`.
    pub fn authenticate(&self, token: &str) -> Result<AuthUser> {
        let who = self.tokens.verify_access(token).inspect_err(|error| self.count_refused(error))?;
        match self.revocations.is_revoked(&who) {
            None => Ok(who),
            // Both are `token_invalid` to REST; a gateway tells them apart by its close code.
            Some(RevocationReason::SessionEnded | RevocationReason::AccountDisabled) => {
                self.count_refused(&Error::SessionEnded);
                Err(Error::SessionEnded)
            }
        }
    }

    /// Counts an attempt to log in, to refresh or to come in with a token that came to nothing.
    pub(super) fn count_refused(&self, error: &Error) {
        let result = match error {
            Error::BadCredentials | Error::WrongPassword => AuthResult::BadCredentials,
            Error::AccountDisabled => AuthResult::AccountDisabled,
            Error::TokenInvalid | Error::SessionEnded => AuthResult::TokenInvalid,
            Error::TokenExpired => AuthResult::TokenExpired,
            Error::TokenReused => AuthResult::TokenReused,
            Error::RateLimited { .. } => AuthResult::RateLimited,
            Error::Unavailable(_) | Error::Internal(_) => AuthResult::Failed,
            // A request that does not fit is no attempt.
            _ => return,
        };
        self.metrics.auth_attempts(result).inc();
    }

    /// Counts one of `subject` against a limit of the contract.
    pub(super) async fn limited(&self, limit: Limit, subject: &str) -> Result<()> {
        if !self.rate_limits {
            return Ok(());
        }
        match self.limiter.check(&limit, subject).await {
            Decision::Allowed => Ok(()),
            Decision::Denied { retry_after } => {
                self.metrics.rate_limited(limit.name).inc();
                Err(Error::RateLimited { limit: limit.name, retry_after })
            }
        }
    }

    /// Ends access here at once and tells the other nodes; who misses the word reads it from the store.
    pub(super) fn revoke(&self, revocation: Revocation) {
        self.revocations.apply(revocation);
        let payload = Envelope::Revoked(revocation).encode();
        self.publisher.publish_now(vec![Publication { topic: Topic::Nodes, payload }]);
    }
}
