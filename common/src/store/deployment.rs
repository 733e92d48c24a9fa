//! What this database is, and whether the history in it is the one that its readers know.

use crate::error::Result;
use async_trait::async_trait;

/// A deployment, as its database knows itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Made with the database; part of every topic and key in Redis.
    pub id: String,
    /// Changes where the history of the chats may have gone back.
    pub epoch: String,
}

/// The identity of a deployment. See the store's obligations.
#[async_trait]
pub trait Identity: Send + Sync + 'static {
    /// The deployment. A database that was restored as a copy, or moved to another server, begins a
    /// new epoch here.
    async fn deployment(&self) -> Result<Deployment>;
    /// Begins a new epoch, unless another node has begun one since `known`. Returns the present
    /// one.
    async fn begin_epoch(&self, known: &str) -> Result<String>;
}
