//! Chats: made, listed, changed, deleted.

use super::{Committed, PageRequest, Rows};
use crate::error::Result;
use crate::id::{ChatId, UserId};
use crate::model::Chat;
use async_trait::async_trait;

/// A group to be made.
#[derive(Clone, Debug)]
pub struct NewGroup {
    /// Its first owner.
    pub owner: UserId,
    /// Checked before.
    pub name: String,
    /// Checked before.
    pub description: Option<String>,
    /// Its first members beside the owner, each once. Unknown or deactivated ones: `Error::Invalid` on `member_ids`.
    pub member_ids: Vec<UserId>,
}

/// What is to change of a group; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct ChatPatch {
    /// A new name.
    pub name: Option<String>,
    /// A new description; `Some(None)` takes it away.
    pub description: Option<Option<String>>,
}

/// Chats. See the store's obligations.
#[async_trait]
pub trait Chats: Send + Sync + 'static {
    /// Makes a group; its sequence begins at 0, everyone in it is told `ChatAdded`.
    async fn create_group(&self, group: NewGroup) -> Result<(Chat, Committed)>;
    /// The private chat of two users and whether it was made now; both are told `ChatAdded` then. `UserNotFound` for an
    /// unknown or deactivated `other`.
    async fn private_chat(&self, user: UserId, other: UserId) -> Result<(Chat, bool, Committed)>;
    /// The user's chats, last active first, with `role`, `last_message`, `unread_count` (counted up to 1,000).
    async fn chats_of(&self, user: UserId, page: &PageRequest) -> Result<Rows<Chat>>;
    /// A chat as that user sees it: a group's members see all of it, others no content; `None`: it does not exist for that user.
    async fn chat(&self, chat: ChatId, viewer: UserId) -> Result<Option<Chat>>;
    /// `ChatNotFound`, `NotAMember`, `NotOwner`, `PrivateChat`.
    async fn update_chat(&self, chat: ChatId, by: UserId, patch: ChatPatch) -> Result<(Chat, Committed)>;
    /// The same errors. Its last event is `ChatDeleted`; every member is told `ChatRemoved`.
    async fn delete_chat(&self, chat: ChatId, by: UserId) -> Result<Committed>;
}
