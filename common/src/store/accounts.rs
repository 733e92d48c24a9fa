//! Accounts: made, looked up, changed, deactivated.

use super::cursor::PageRequest;
use super::stored_time::Time;
use crate::error::Result;
use crate::id::{SessionId, UserId};
use crate::model::{Page, User};
use async_trait::async_trait;
use sqlx::FromRow;
use std::time::Duration;
use time::OffsetDateTime;

/// A change of what others see of an account. `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct ProfilePatch {
    /// Validated by `service`; `Some(None)` removes it.
    pub display_name: Option<Option<String>>,
    /// Validated by `service`; `Some(None)` removes it.
    pub bio: Option<Option<String>>,
}

/// How long after a registration the same one is answered with its account. An invitation that
/// ended is kept as long.
pub const REGISTRATION_REPEATED_WITHIN: Duration = Duration::from_mins(10);
/// How long an account knows a network after a login or a refresh from it.
pub(super) const NETWORK_KEPT: Duration = Duration::from_hours(90 * 24);
/// A login or a refresh writes again that its network was seen after this time.
pub(super) const NETWORK_SEEN_EVERY: Duration = Duration::from_hours(24);

/// An account to be created.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Validated by `service`.
    pub username: String,
    /// Validated by `service`.
    pub email: String,
    /// A PHC string.
    pub password_hash: String,
}

/// A change of an account. `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct UserPatch {
    /// Validated by `service`.
    pub email: Option<String>,
    /// A PHC string.
    pub password_hash: Option<String>,
    /// What others see.
    pub profile: ProfilePatch,
}

/// The sessions and networks that survive a new password.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// The session that goes on.
    pub session: SessionId,
    /// The network that stays known.
    pub network: i64,
}

/// An account and the hash that a login is checked against.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The account.
    pub user: User,
    /// A PHC string.
    pub password_hash: String,
}

/// An account with what the store keeps of its presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// The account.
    pub user: User,
    /// When the user was last announced offline.
    pub last_seen_at: Option<OffsetDateTime>,
}

/// Accounts. See the store's obligations.
#[async_trait]
pub trait Accounts: Send + Sync + 'static {
    /// `UsernameTaken`, `EmailTaken`: in any spelling.
    async fn create_user(&self, user: NewUser) -> Result<User>;
    /// Finds an account by username, without case, or by e-mail, in any spelling.
    async fn credentials(&self, login: &str) -> Result<Option<Credentials>>;
    /// Finds an account by id.
    async fn credentials_of(&self, user: UserId) -> Result<Option<Credentials>>;
    /// The accounts of these ids, in no order. Unknown ids are left out.
    async fn users(&self, ids: &[UserId]) -> Result<Vec<UserRow>>;
    /// Active users whose username begins so, without case, ordered by username. `%` and `_` are
    /// plain characters.
    async fn search_users(&self, prefix: &str, page: &PageRequest) -> Result<Page<UserRow>>;
    /// Changes an account, all of it or nothing, and answers the sessions that ended. A new hash
    /// ends all sessions and forgets all networks but those of `keep`. `EmailTaken`. `None`: there
    /// is no such user, or `verified` is no longer the account's hash. The statement that changes
    /// the account decides that.
    async fn update_user(
        &self,
        user: UserId,
        verified: &str,
        patch: UserPatch,
        keep: Kept,
    ) -> Result<Option<(User, Vec<SessionId>)>>;
    /// Sets `is_active` to false and ends all sessions. The user is among
    /// [`super::Members::accounts_with_groups_left`] from then on: groups may be left without an
    /// active owner.
    async fn deactivate_user(&self, user: UserId) -> Result<()>;
    /// Whether the account knows that network: it was remembered within ninety days.
    async fn knows_network(&self, user: UserId, network: i64) -> Result<bool>;
    /// The account knows that network from now on. Nothing is written where it was remembered
    /// within a day.
    async fn remember_network(&self, user: UserId, network: i64) -> Result<()>;
    /// Replaces the hash of an account's password by another one of the same password. Nothing
    /// changes where the hash is no longer `verified`.
    async fn renew_hash(&self, user: UserId, verified: &str, renewed: &str) -> Result<()>;
    /// Stores when users were last seen. A time never moves back.
    async fn set_last_seen(&self, seen: &[(UserId, OffsetDateTime)]) -> Result<()>;
}

// The columns of `users` that an [`AccountRow`] reads.
macro_rules! account_columns {
    () => {
        "id, username, email, password_hash, display_name, bio, is_active, created_at, last_seen_at"
    };
}
pub(super) use account_columns;

/// Finds an account by a username or an address, $1 in lower case, or by an address' spelling, $2.
/// A username has no @ and an address has one. Two older accounts may have one address in two
/// spellings: each is found by its own.
pub(super) const CREDENTIALS: &str = concat!(
    "select ",
    account_columns!(),
    " from users where username_lower = $1 or email_lower = $1 or email_spelling = $2
     order by email_lower = $1 desc limit 1"
);

/// A row of `users`.
#[derive(FromRow)]
pub(super) struct AccountRow {
    pub(super) id: UserId,
    pub(super) username: String,
    pub(super) email: String,
    pub(super) password_hash: String,
    pub(super) display_name: Option<String>,
    pub(super) bio: Option<String>,
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
            display_name: row.display_name,
            bio: row.bio,
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

/// Lowers a name or an address, so that both databases compare it alike.
pub(super) fn fold(name: &str) -> String {
    name.to_lowercase()
}
