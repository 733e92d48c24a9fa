//! Login sessions: opened, rotated, ended.

use crate::error::Result;
use crate::id::{SessionId, UserId};
use crate::model::User;
use async_trait::async_trait;
use std::time::Duration;

/// A session as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The session.
    pub id: SessionId,
    /// Whose.
    pub user_id: UserId,
    /// How many refresh tokens were issued before the present one; part of the token.
    pub generation: i64,
}

/// What spending a refresh token came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The session goes on under its next generation.
    Rotated(Session, User),
    /// The token was spent before: the session is ended now.
    Reused(Session),
    /// There is no such session, or it had ended or expired before.
    Ended,
    /// The account is deactivated.
    Disabled,
}

/// A session that has ended, for the nodes that missed the word of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedSession {
    /// The session.
    pub id: SessionId,
    /// Whose.
    pub user_id: UserId,
    /// Whether because the account was deactivated.
    pub disabled: bool,
}

/// Login sessions. See the store's obligations.
#[async_trait]
pub trait Sessions: Send + Sync + 'static {
    /// Opens one of generation 0 for who knew the password of that hash. `AccountDisabled`; `BadCredentials` where the account's hash is
    /// another by now: no session outlives a new password unseen.
    async fn create_session(&self, user: UserId, verified: &str, ttl: Duration) -> Result<Session>;
    /// Spends the refresh token of that generation, atomically: of two at once one is `Rotated`, the other `Reused`.
    async fn rotate_session(&self, session: SessionId, generation: i64, ttl: Duration) -> Result<Rotation>;
    /// Ends one; ended already is no error.
    async fn end_session(&self, session: SessionId) -> Result<()>;
    /// Those that ended within this long, by the database's clock.
    async fn sessions_ended_within(&self, period: Duration) -> Result<Vec<EndedSession>>;
}
