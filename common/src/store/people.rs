//! The public side of a user, and the users whom one blocked.

use super::accounts::UserRow;
use super::cursor::PageRequest;
use crate::error::Result;
use crate::id::UserId;
use crate::model::{Page, User};
use async_trait::async_trait;

/// A change of what others see of an account. `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct ProfilePatch {
    /// Validated by `service`; `Some(None)` removes it.
    pub display_name: Option<Option<String>>,
    /// Validated by `service`; `Some(None)` removes it.
    pub bio: Option<Option<String>>,
}

/// Profiles and blocks. See the store's obligations.
#[async_trait]
pub trait People: Send + Sync + 'static {
    /// Changes what others see of an active account. `None`: there is no such account.
    async fn set_profile(&self, user: UserId, patch: ProfilePatch) -> Result<Option<User>>;
    /// Blocks a user, or no longer. The same again changes nothing. `UserNotFound`.
    async fn block(&self, user: UserId, blocked: UserId, block: bool) -> Result<()>;
    /// The users that this one blocked, by id.
    async fn blocked(&self, user: UserId, page: &PageRequest) -> Result<Page<UserRow>>;
}
