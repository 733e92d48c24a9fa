//! Login sessions: opened, rotated, ended.

use crate::error::Result;
use crate::id::{SessionId, UserId};
use crate::model::User;
use async_trait::async_trait;
use sqlx::FromRow;
use std::time::Duration;

/// A session as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The session.
    pub id: SessionId,
    /// Its user.
    pub user_id: UserId,
    /// How many refresh tokens were issued before the present one; part of the token.
    pub generation: i64,
}

/// The outcome of spending a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The session goes on under its next generation.
    Rotated(Session, User),
    /// The token was spent before. The session is ended now.
    Reused(Session),
    /// There is no such session, or it has ended or expired.
    Ended,
    /// The account is deactivated.
    Disabled,
}

/// A session that has ended, for nodes that missed its revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedSession {
    /// The session.
    pub id: SessionId,
    /// Its user.
    pub user_id: UserId,
    /// Whether because the account was deactivated.
    pub disabled: bool,
}

/// Login sessions. See the store's obligations.
#[async_trait]
pub trait Sessions: Send + Sync + 'static {
    /// Opens a session of generation 0, for a user whose password fitted the hash `verified`.
    /// `AccountDisabled`. `BadCredentials` where the account has another hash by now: no session
    /// outlives a change of password.
    async fn create_session(&self, user: UserId, verified: &str, ttl: Duration) -> Result<Session>;
    /// Spends the refresh token of that generation. Of two calls at once one is `Rotated`, the
    /// other `Reused`.
    async fn rotate_session(&self, session: SessionId, generation: i64, ttl: Duration) -> Result<Rotation>;
    /// Ends a session. To end it again is no error.
    async fn end_session(&self, session: SessionId) -> Result<()>;
    /// The sessions that ended within this period, by the database's clock.
    async fn sessions_ended_within(&self, period: Duration) -> Result<Vec<EndedSession>>;
}

/// A session that is being rotated, read under its lock.
#[derive(FromRow)]
pub(super) struct SessionRow {
    pub(super) id: SessionId,
    pub(super) user_id: UserId,
    pub(super) generation: i64,
    /// Neither ended nor expired.
    pub(super) live: bool,
}

impl SessionRow {
    pub(super) fn session(&self, generation: i64) -> Session {
        Session { id: self.id, user_id: self.user_id, generation }
    }
}
