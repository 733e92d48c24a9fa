//! Accounts: made, looked up, changed, deactivated.

use super::PageRequest;
use super::stored_time::Time;
use crate::error::Result;
use crate::id::{SessionId, UserId};
use crate::model::{Page, User};
use async_trait::async_trait;
use sqlx::FromRow;
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

/// What is to change of an account; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct UserPatch {
    /// Validated by `service`.
    pub email: Option<String>,
    /// A PHC string.
    pub password_hash: Option<String>,
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
    async fn search_users(&self, prefix: &str, page: &PageRequest) -> Result<Page<UserRow>>;
    /// Changes e-mail or password hash; a new hash ends all sessions but `keep`. `EmailTaken`. `None`: no such user, or `verified` is no
    /// longer the account's hash, decided by the same statement that changes it.
    async fn update_user(
        &self,
        user: UserId,
        verified: &str,
        patch: UserPatch,
        keep: SessionId,
    ) -> Result<Option<(User, Vec<SessionId>)>>;
    /// Sets `is_active` to false and ends all sessions.
    async fn deactivate_user(&self, user: UserId) -> Result<()>;
    /// Keeps when users were last seen; never moves back.
    async fn set_last_seen(&self, seen: &[(UserId, OffsetDateTime)]) -> Result<()>;
}

// The columns of `users` that an [`AccountRow`] reads.
macro_rules! account_columns {
    () => {
        "id, username, email, password_hash, is_active, created_at, last_seen_at"
    };
}
pub(super) use account_columns;

/// A row of `users`.
#[derive(FromRow)]
pub(super) struct AccountRow {
    pub(super) id: UserId,
    pub(super) username: String,
    pub(super) email: String,
    pub(super) password_hash: String,
    pub(super) is_active: bool,
    pub(super) created_at: Time,
    pub(super) last_seen_at: Option<Time>,
}

impl From<AccountRow> for User {
    fn from(row: AccountRow) -> Self {
        Self {
            id: row.id,
            username: row.username,
            email: row.email,
            is_active: row.is_active,
            created_at: row.created_at.0,
        }
    }
}

impl From<AccountRow> for UserRow {
    fn from(row: AccountRow) -> Self {
        Self { last_seen_at: row.last_seen_at.map(|at| at.0), user: row.into() }
    }
}

impl From<AccountRow> for Credentials {
    fn from(mut row: AccountRow) -> Self {
        Self { password_hash: std::mem::take(&mut row.password_hash), user: row.into() }
    }
}

/// Lowers as both databases compare names and addresses.
pub(super) fn fold(name: &str) -> String {
    name.to_lowercase()
}
