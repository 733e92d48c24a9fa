//! The host's own work on accounts.

use super::accounts::UserRow;
use super::cursor::PageRequest;
use crate::error::Result;
use crate::id::UserId;
use crate::model::Page;
use async_trait::async_trait;

/// What only the host does. See the store's obligations.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// Accounts whose username begins so, deactivated ones too, ordered as
    /// [`super::Accounts::search_users`] does.
    async fn all_users(&self, prefix: &str, page: &PageRequest) -> Result<Page<UserRow>>;
    /// Sets `is_active` to true. An active account stays as it is.
    async fn activate_user(&self, user: UserId) -> Result<()>;
    /// Erases what a deactivated account says of a person: name, address, password, profile and
    /// networks. Nothing changes where the account is active.
    async fn erase_user(&self, user: UserId, left: Erased) -> Result<()>;
}

/// What is left of an erased account.
#[derive(Clone, Debug)]
pub struct Erased {
    /// The account gets the first name, or the second if somebody has the first or its address.
    pub names: [String; 2],
    /// A PHC string, of a password that nobody knows.
    pub password_hash: String,
}

/// The end of an erased account's address, which nobody else may take.
pub(crate) const ERASED_ADDRESS: &str = "@deleted.invalid";
