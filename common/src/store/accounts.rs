//! Accounts: made, looked up, changed, deactivated.

use super::{PageRequest, Rows};
use crate::error::Result;
use crate::id::{SessionId, UserId};
use crate::model::User;
use async_trait::async_trait;
use time::OffsetDateTime;

/// An account to be made.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Checked before.
    pub username: String,
    /// Checked before.
    pub email: String,
    /// A PHC string.
    pub password_hash: String,
}

/// What a login is checked against.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The account.
    pub user: User,
    /// A PHC string.
    pub password_hash: String,
}

/// A public user with what the store keeps of presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// The account.
    pub user: User,
    /// When last told offline.
    pub last_seen_at: Option<OffsetDateTime>,
}

/// Accounts. See the store's obligations.
#[async_trait]
pub trait Accounts: Send + Sync + 'static {
    /// `UsernameTaken`, `EmailTaken`.
    async fn create_user(&self, user: NewUser) -> Result<User>;
    /// By username or e-mail, without case.
    async fn credentials(&self, login: &str) -> Result<Option<Credentials>>;
    /// By id.
    async fn credentials_of(&self, user: UserId) -> Result<Option<Credentials>>;
    /// Those of the ids that exist, in no order.
    async fn users(&self, ids: &[UserId]) -> Result<Vec<UserRow>>;
    /// By prefix of the username without case, ordered by it; active users only. `%` and `_` stand for themselves.
    async fn search_users(&self, prefix: &str, page: &PageRequest) -> Result<Rows<UserRow>>;
    /// Changes e-mail or password hash; a new hash ends all sessions but `keep`. `EmailTaken`. `None`: no such user, or `verified` is no
    /// longer the account's hash, decided by the same statement that changes it.
    async fn update_user(
        &self,
        user: UserId,
        verified: &str,
        email: Option<String>,
        password_hash: Option<String>,
        keep: SessionId,
    ) -> Result<Option<(User, Vec<SessionId>)>>;
    /// Sets `is_active` to false and ends all sessions.
    async fn deactivate_user(&self, user: UserId) -> Result<()>;
    /// Keeps when users were last seen; never moves back.
    async fn set_last_seen(&self, seen: &[(UserId, OffsetDateTime)]) -> Result<()>;
}
