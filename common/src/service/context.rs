//! The parts that the rules work with: the back ends, the keys, the limits.

use super::audit::{Audit, SecurityEvent};
use super::chats::ChatCounts;
use super::faults::Faults;
use super::messages::{Searches, SendQueue};
use super::{network, online::OnlineReads};
use crate::auth::{AuthUser, Holders, Passwords, Revocations, Tokens};
use crate::clock::Clock;
use crate::config::{Limits, Registration};
use crate::error::{Error, Result};
use crate::event::{Revocation, RevocationReason};
use crate::history::History;
use crate::id::{ChatId, UserId};
use crate::metrics::{AuthResult, Metrics};
use crate::presence::Presence;
use crate::rate_limit::{Decision, Limit, RateLimiter};
use crate::relay::Publisher;
use crate::store::{Session, Store};
use crate::traces::Traces;
use crate::words::Language;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// The most groups that are remembered as such.
pub const KNOWN_GROUPS: u64 = 100_000;
/// The rate of pages and their files, in rates of other public requests: one visit fetches dozens,
/// and a whole office has one address.
const PAGE_RATES: u32 = 10;
/// Newcomers to a group who cost their host one message.
const PEOPLE_PER_MESSAGE: usize = 50;

/// The argument of every rule. A clone costs one counter.
#[derive(Clone)]
pub struct Context(Arc<Parts>);

/// The parts of a [`Context`].
pub struct Parts {
    /// The data.
    pub store: Arc<dyn Store>,
    /// Which history of the chats this is.
    pub history: History,
    /// Publishes commits; never waits.
    pub publisher: Publisher,
    /// The users who are online.
    pub presence: Arc<dyn Presence>,
    /// The online users, as read a moment ago.
    pub online: OnlineReads,
    /// The searches that run.
    pub searches: Searches,
    /// How many chats users have, as counted a moment ago.
    pub chat_counts: ChatCounts,
    /// Counts against [`Limits`].
    pub limiter: Arc<dyn RateLimiter>,
    /// The same in this process alone, for what costs less than a question to Redis.
    pub local_limiter: Arc<dyn RateLimiter>,
    /// Issues and verifies tokens.
    pub tokens: Tokens,
    /// Hashes and checks passwords.
    pub passwords: Passwords,
    /// The sessions that were read lately.
    pub holders: Holders,
    /// The sessions that ended before their tokens.
    pub revocations: Revocations,
    /// Chats that were found to be groups: they stay what they are.
    pub groups: moka::future::Cache<ChatId, ()>,
    /// Commits sends together.
    pub sends: SendQueue,
    /// Whether anybody may register.
    pub registration: Registration,
    /// The language whose endings a search does not mind.
    pub search_language: Language,
    /// The contract's limits.
    pub limits: Limits,
    /// The time.
    pub clock: Clock,
    /// Writes the security events.
    pub audit: Audit,
    /// The metrics.
    pub metrics: Metrics,
    /// Makes spans.
    pub traces: Traces,
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

    /// The user that an access token speaks for. `TokenInvalid`, `TokenExpired`, `SessionEnded`:
    /// REST answers `token_invalid` for it, a gateway closes with a code for each reason.
    pub async fn authenticate(&self, token: &str) -> Result<AuthUser> {
        self.check_token(token).await.inspect_err(|error| self.note_refused(error))
    }

    /// Counts a refusal of [`Self::check_token`].
    pub fn note_refused(&self, error: &Error) {
        self.count_refused(error);
        if matches!(error, Error::TokenInvalid) {
            self.audit.note(SecurityEvent::TokenRefused, None, None);
        }
    }

    /// The same, but nothing counts a refusal: see [`Self::note_refused`].
    pub async fn check_token(&self, token: &str) -> Result<AuthUser> {
        let claims = self.tokens.verify_access(token)?;
        let AuthUser { session_id: id, user_id, .. } = claims.user;
        // After a failover or in another history the same numbers may be other people's.
        if self.holders.as_of(self.history.changes() + self.store.losses()) {
            self.revocations.forget_all();
        }
        let session = Session { id, user_id, key: claims.key, generation: 0 };
        match self.revocations.is_revoked(&claims.user) {
            // Unless an operator activated the account again and this session is a later one.
            Some(RevocationReason::AccountDisabled) => {
                self.holders.forget(id);
                self.holders.check(&session).await?;
                // Its sessions of before ended with it: the store says so of each.
                self.holders.forget_user(user_id);
                self.revocations.lift(user_id);
            }
            Some(reason) => return Err(Error::SessionEnded(reason)),
            None => self.holders.check(&session).await?,
        }
        Ok(claims.user)
    }

    /// Counts a refused attempt to log in, to refresh or to authenticate with a token.
    pub(super) fn count_refused(&self, error: &Error) {
        let result = match error {
            Error::BadCredentials | Error::WrongPassword => AuthResult::BadCredentials,
            Error::AccountDisabled => AuthResult::AccountDisabled,
            Error::TokenInvalid | Error::SessionEnded(_) => AuthResult::TokenInvalid,
            Error::TokenExpired => AuthResult::TokenExpired,
            Error::TokenReused => AuthResult::TokenReused,
            Error::RateLimited { .. } => AuthResult::RateLimited,
            Error::Unavailable(_) | Error::Internal(_) => AuthResult::Failed,
            // A request that does not fit is no attempt.
            _ => return,
        };
        self.metrics.auth_attempts(result).inc();
    }

    /// Counts a request of `subject` against a limit. `RateLimited` when it is over.
    pub async fn limited(&self, limit: Limit, subject: &str) -> Result<()> {
        self.limited_by(&*self.limiter, limit, subject).await
    }

    async fn limited_by(&self, limiter: &dyn RateLimiter, limit: Limit, subject: &str) -> Result<()> {
        self.decided(limit, limiter.check(&limit, subject).await)
    }

    fn decided(&self, limit: Limit, decision: Decision) -> Result<()> {
        match decision {
            Decision::Allowed => Ok(()),
            Decision::Denied { retry_after } => {
                self.metrics.rate_limited(limit.name).inc();
                Err(Error::RateLimited { limit: limit.name, retry_after })
            }
        }
    }

    /// Counts a public request of an address against a limit, and against eight times as much for
    /// all of its IPv6 /48. `RateLimited`.
    pub(super) async fn limited_at(&self, limit: Limit, from: IpAddr) -> Result<()> {
        self.limited_at_by(&*self.limiter, limit, from).await
    }

    async fn limited_at_by(&self, limiter: &dyn RateLimiter, limit: Limit, from: IpAddr) -> Result<()> {
        self.limited_by(limiter, limit, &network::subject(from)).await?;
        let IpAddr::V6(site) = network::site(from) else { return Ok(()) };
        self.limited_by(limiter, limit.wider(network::SITE_SHARES), &format!("{site}/48")).await
    }

    /// Counts what others are notified of: a message, or a change that costs as much.
    /// `RateLimited`.
    pub async fn charge_message(&self, by: &AuthUser) -> Result<()> {
        self.limited(self.messages(), &by.user_id.to_string()).await
    }

    /// Counts further messages for one that was counted. `RateLimited`.
    pub(super) async fn charge_further(&self, by: &AuthUser, messages: usize) -> Result<()> {
        self.limited_further(self.messages(), by, messages).await
    }

    /// Counts so many more for one of a user's that was counted: all of them, or none, and then
    /// that one no more either. So the time until the next attempt is right for the whole. They are
    /// half a burst at most, so that after a rest it is always served.
    async fn limited_further(&self, limit: Limit, by: &AuthUser, count: usize) -> Result<()> {
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(limit.burst / 2);
        if count == 0 {
            return Ok(());
        }
        self.decided(limit, self.limiter.exchange(&limit, &by.user_id.to_string(), count + 1).await)
    }

    /// Counts, beside the change itself, the people whom it notifies: a message more for each
    /// fifty. `RateLimited`.
    pub(super) async fn charge_people(&self, by: &AuthUser, people: usize) -> Result<()> {
        self.charge_further(by, people / PEOPLE_PER_MESSAGE).await
    }

    fn messages(&self) -> Limit {
        let (rate, burst) = (self.limits.rate_messages_per_second, self.limits.rate_messages_burst);
        Limit { name: "messages", rate, period: Duration::from_secs(1), burst }
    }

    /// Counts any other request of a user. `RateLimited`.
    pub async fn charge_request(&self, by: &AuthUser) -> Result<()> {
        self.limited(self.requests(), &by.user_id.to_string()).await
    }

    /// The same, but a refusal leaves no trace: whoever gets one asks again.
    pub async fn affords_request(&self, by: &AuthUser) -> bool {
        matches!(self.limiter.check(&self.requests(), &by.user_id.to_string()).await, Decision::Allowed)
    }

    /// Counts further requests for one that was counted. `RateLimited`.
    pub(super) async fn charge_further_requests(&self, by: &AuthUser, requests: usize) -> Result<()> {
        self.limited_further(self.requests(), by, requests).await
    }

    /// Counts further requests of a user for one that was served.
    pub async fn owe_requests(&self, user: UserId, requests: u32) {
        self.limiter.owe(&self.requests(), &user.to_string(), requests).await;
    }

    /// Counts a public request of an address. `RateLimited`.
    pub async fn charge_address(&self, from: IpAddr) -> Result<()> {
        self.limited_at(self.requests(), from).await
    }

    /// `Invalid` with the faults of a public request: then it costs what any other of its address
    /// costs. `RateLimited`.
    pub(super) async fn sound(&self, from: IpAddr, faults: Faults) -> Result<()> {
        let sound = faults.none();
        if sound.is_err() {
            self.charge_address(from).await?;
        }
        sound
    }

    /// Counts a page, a document or a file of theirs, which an address gets from this process.
    /// `RateLimited`.
    pub async fn charge_page(&self, from: IpAddr) -> Result<()> {
        self.limited_at_by(&*self.local_limiter, self.requests().wider(PAGE_RATES), from).await
    }

    fn requests(&self) -> Limit {
        let (rate, burst) = (self.limits.rate_requests_per_second, self.limits.rate_requests_burst);
        Limit { name: "requests", rate, period: Duration::from_secs(1), burst }
    }

    /// Ends access here at once and publishes it to the other nodes. A node that misses it reads it
    /// from the store.
    pub(super) fn revoke(&self, revocation: Revocation) {
        self.revocations.apply(revocation);
        self.publisher.publish_ended(revocation);
    }
}
