//! The identity of this database, and of the history in it that its readers know.

use crate::error::Result;
use async_trait::async_trait;

/// A deployment, as its database knows itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Made with the database; part of every topic and key in Redis, and of every token.
    pub id: String,
    /// Changes where the history of the chats may have gone back.
    pub epoch: String,
}

pub(super) const SIGNED_WITH: &str = "select signed_with from deployment";
pub(super) const SIGN_WITH: &str =
    "update deployment set signed_with = $1 where signed_with is not distinct from $2 returning true";

/// The identity of a deployment. See the store's obligations.
#[async_trait]
pub trait Identity: Send + Sync + 'static {
    /// The deployment. A database that was restored as a copy, or moved to another server, becomes
    /// a deployment of its own here, with a new epoch.
    async fn deployment(&self) -> Result<Deployment>;
    /// Begins a new epoch, unless another node has begun one since `known`. Returns the present
    /// one.
    async fn begin_epoch(&self, known: &str) -> Result<String>;
    /// The name of the key that the deployment's tokens were last signed with.
    async fn signed_with(&self) -> Result<Option<String>>;
    /// Remembers the name of the key that they are signed with from now on, unless another node has
    /// named one since `known`. Returns whether it did.
    async fn sign_with(&self, known: Option<&str>, key: &str) -> Result<bool>;
}
