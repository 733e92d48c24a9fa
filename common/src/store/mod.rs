//! The store: accounts, chats, messages and the log of every chat. The log is the truth; the bus is a hint.
//!
//! # Obligations of a back end
//! - Each method is one transaction. What it says is committed **is on disk** when it returns (guarantee G1).
//! - **Numbers**: an event takes its chat's next `seq` (`update chats set seq = seq + 1 … returning seq`) inside the transaction that
//!   stores it, so that the row's lock makes the order of numbers the order of commits, without a gap (G2).
//! - **Outbox**: the same transaction leaves an outbox entry for what it committed; [`Committed::outbox`] names it. It is removed
//!   by [`Store::outbox_remove`] once published, or found by [`Store::outbox_claim`] when its publisher died.
//! - **Rights are decided inside the transaction that acts**, after the chat's row is locked: who was removed at `seq` n writes nothing with
//!   a `seq` after n. A private chat does not exist (`ChatNotFound`) for anyone but its two users, a deleted chat for nobody.
//! - **No text in the log**: an event names its message, and a replay joins it as it stands now.
//! - A database that is away is `Error::Unavailable` within two seconds, without a restart needed when it is back.
//! - Races are decided by constraints, never by check-then-insert.

mod accounts;
mod change;
mod chats;
#[cfg(test)]
mod contract;
mod cursor;
mod fault;
mod log;
mod members;
mod messages;
pub mod postgres;
mod row;
mod send;
mod sessions;
pub mod sqlite;

pub use self::accounts::{Accounts, Credentials, NewUser, UserRow};
pub use self::chats::{ChatPatch, Chats, NewGroup};
pub use self::log::{CLAIM_LEASE, Committed, Log, LogPage, NoticeBody, OutboxId, UserNotice};
pub use self::members::{Access, Members};
pub use self::messages::{HistoryFrom, Messages, NewMessage, Sent, SentBatch};
pub use self::sessions::{EndedSession, Rotation, Session, Sessions};

use crate::error::Result;
use async_trait::async_trait;

/// Where a page of a list stands and how long it may be.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// An earlier page's `next_cursor`, decoded by the store that made it: `Error::Invalid` on `cursor` otherwise.
    pub cursor: Option<String>,
    /// 1 to 100.
    pub limit: usize,
}

/// A page of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// Persistence; see the module's obligations.
#[async_trait]
pub trait Store: Accounts + Sessions + Chats + Members + Messages + Log {
    /// Whether the database answers, within two seconds.
    async fn ping(&self) -> Result<()>;
    /// How many commits gain by running at once; at least 1.
    fn writers(&self) -> usize;
    /// Open and idle connections of the pool, for the metrics.
    fn pool(&self) -> PoolState;
}

/// How the connection pool stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolState {
    /// In use.
    pub in_use: u32,
    /// Open and idle.
    pub idle: u32,
}
