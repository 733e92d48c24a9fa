//! Which history of the chats this is: its epoch, as this process knows it (G2).
//!
//! The database keeps the epoch. It changes where the history may have gone back: with a restored
//! copy, with a promoted standby, by hand after a restored backup, and where a node saw that
//! commits were lost.

use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::store::{Deployment, Store};
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The pauses after a new epoch could not be begun.
const EPOCH_RETRY: Backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(5) };

/// The deployment and the epoch of its history. Clones share them.
#[derive(Clone, Debug)]
pub struct History(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: String,
    epoch: RwLock<Arc<str>>,
    changes: AtomicU64,
}

impl History {
    /// Starts from the database's answer at start.
    pub fn new(deployment: Deployment) -> Self {
        let Deployment { id, epoch } = deployment;
        Self(Arc::new(Inner { id, epoch: RwLock::new(epoch.into()), changes: AtomicU64::new(0) }))
    }

    /// The deployment's id.
    pub fn deployment(&self) -> &str {
        &self.0.id
    }

    /// The present epoch.
    pub fn epoch(&self) -> Arc<str> {
        Arc::clone(&self.0.epoch.read())
    }

    /// Rises with each new epoch: what was learned before may no longer be so.
    pub fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Relaxed)
    }

    /// Reads the epoch. `Internal` where the database is another deployment's by now: this process
    /// must not go on.
    pub async fn read(&self, store: &dyn Store) -> Result<()> {
        let Deployment { id, epoch } = store.deployment().await?;
        if id != self.0.id {
            return Err(Error::internal("the database behind DATABASE_URL is another one than at start"));
        }
        self.learn(epoch);
        Ok(())
    }

    /// Begins a new epoch, because commits are lost. Of many nodes one begins it. Retries until the
    /// database answers: clients would else keep numbers of the lost history.
    pub async fn begin(&self, store: &dyn Store) {
        let known = self.epoch();
        let mut pauses = EPOCH_RETRY.start();
        loop {
            match store.begin_epoch(&known).await {
                Ok(epoch) => return self.learn(epoch),
                Err(error) => {
                    tracing::warn!(error = error.cause(), "cannot begin a new epoch of the history; retrying");
                }
            }
            tokio::time::sleep(pauses.pause()).await;
        }
    }

    fn learn(&self, epoch: String) {
        let mut known = self.0.epoch.write();
        if **known != *epoch {
            *known = epoch.into();
            self.0.changes.fetch_add(1, Ordering::Relaxed);
            tracing::warn!("the history of the chats has a new epoch: clients of the old one get a resync");
        }
    }
}
