//! The public side of a user, and the users whom one blocked.

use super::accounts::{ProfilePatch, UserRow};
use super::cursor::PageRequest;
use crate::error::Result;
use crate::id::{ChatId, UserId};
use crate::model::{Page, User};
use async_trait::async_trait;

/// Whether one user of the private chat $1 blocked the other one, $2.
pub(super) const BLOCKED_IN: &str = "select exists (
         select 1 from blocks b where b.blocked_id = $2
         and b.user_id = case when c.pair_low = $2 then c.pair_high else c.pair_low end
     )
     from chats c where c.id = $1 and c.pair_low is not null";

/// Profiles and blocks. See the store's obligations.
#[async_trait]
pub trait People: Send + Sync + 'static {
    /// Changes what others see of an active account. `None`: there is no such account.
    async fn set_profile(&self, user: UserId, patch: ProfilePatch) -> Result<Option<User>>;
    /// Blocks a user, or no longer. The same again changes nothing. `UserNotFound`.
    async fn block(&self, user: UserId, blocked: UserId, block: bool) -> Result<()>;
    /// Whether the other user of a private chat blocked this one. `None`: it is no private chat.
    async fn blocked_in(&self, chat: ChatId, user: UserId) -> Result<Option<bool>>;
    /// The users that this one blocked, by id.
    async fn blocked(&self, user: UserId, page: &PageRequest) -> Result<Page<UserRow>>;
}
