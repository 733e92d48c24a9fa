//! The store: accounts, chats, messages and the log of every chat. The log is the truth; the bus
//! is a hint.
//!
//! Each noun has a file with its trait and its shapes. `postgres` and `sqlite` implement those
//! traits with their statements. `changes` has the rules of every change of a chat, written once
//! over the statements of both.
//!
//! # Obligations of a back end
//! - Each method is one transaction. Its result is committed **and on disk** (guarantee G1).
//! - **Numbers**: an event takes its chat's next `seq` inside the transaction that stores it,
//!   under the lock of the chat's row. So the order of numbers is the order of commits, without a
//!   gap (G2).
//! - **Outbox**: the same transaction leaves an outbox entry for what it committed;
//!   [`Committed::outbox`] names it. [`Log::outbox_remove`] removes it once published.
//!   [`Log::outbox_claim`] finds it when its publisher died.
//! - **Rights are decided inside the transaction that acts**, after the chat's row is locked. So a
//!   user who was removed at `seq` n writes nothing with a `seq` after n. A private chat does not
//!   exist (`ChatNotFound`) for anyone but its two users, a deleted chat for nobody.
//! - **No text in the log**: an event names its message, and a replay joins it as it stands now.
//! - A database that is away is `Error::Unavailable` within two seconds. When it is back, no
//!   restart is needed.
//! - Constraints decide races, never a check before an insert.

mod accounts;
mod addresses;
mod changes;
mod chats;
#[cfg(test)]
mod contract;
mod cursor;
mod deployment;
mod entry;
mod fault;
mod host;
mod idempotency;
mod invites;
mod kinds;
mod log;
mod marks;
mod members;
mod messages;
mod notices;
mod outbox;
mod people;
pub mod postgres;
mod schema;
mod search;
mod send;
mod sessions;
pub mod sqlite;
mod stored_time;

pub use self::accounts::{
    Accounts, Credentials, Kept, NewUser, ProfilePatch, REGISTRATION_REPEATED_WITHIN, UserPatch, UserRow,
};
pub use self::addresses::{Addresses, Spelled};
pub use self::chats::{ChatPatch, Chats, NewGroup};
pub use self::cursor::PageRequest;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use self::cursor::fuzz as fuzz_cursors;
pub use self::deployment::{Deployment, Identity};
pub(crate) use self::host::ERASED_ADDRESS;
pub use self::host::{Erased, Host};
pub use self::idempotency::{Claimed, Idempotency, KEY_KEPT, KEY_LEASE, KeptAnswer, KeyClaim};
pub use self::invites::{Invites, NewInvite};
pub use self::log::{
    CLAIM_LEASE, Committed, Log, LogAfter, LogHead, LogPage, NoticeBody, OutboxId, Tail, TailMark, UserNotice,
};
pub use self::marks::Marks;
pub use self::members::{Access, ForStatus, Members, ReadMark, SettingsPatch};
pub use self::messages::{HistoryFrom, Mention, Messages, NewMessage, Sent, SentBatch};
pub use self::notices::{Notices, NoticesFrom, NoticesPage, PastNotice};
pub use self::people::People;
pub use self::schema::SchemaState;
pub use self::search::{Search, SearchFor};
pub use self::sessions::{EndedSession, Holder, MOST_SESSIONS, OpenSession, Rotation, Session, SessionKey, Sessions};

use crate::error::Result;
use async_trait::async_trait;

/// Everything that a back end does; see the module's obligations.
#[async_trait]
pub trait Store:
    Identity
    + Accounts
    + Addresses
    + Host
    + People
    + Sessions
    + Chats
    + Members
    + Messages
    + Marks
    + Search
    + Log
    + Notices
    + Idempotency
    + Invites
{
    /// Whether the database answers, within two seconds.
    async fn ping(&self) -> Result<()>;
    /// How many commits at once still gain throughput; at least 1.
    fn writers(&self) -> usize;
    /// The process drains: nothing new comes, and [`Self::close`] follows.
    fn drains(&self) {}
    /// The end of the process: leaves the data whole by itself. Nothing can be read or written
    /// afterwards.
    async fn close(&self) {}
    /// How many reads of logs may run at once, so that they never take the connections of sends; at
    /// least 1.
    fn log_readers(&self) -> usize;
    /// Open and idle connections of the pool, for the metrics.
    fn pool(&self) -> PoolState;
    /// Looks at the replica that answers reads, if there is one: whether it does from now on.
    async fn look_at_replica(&self) -> Option<ReplicaState> {
        None
    }
    /// Rises when connections were lost: the database may have failed over since, to a server that
    /// lacks the last commits.
    fn losses(&self) -> u64;
}

/// The state of the replica that answers reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaState {
    /// Bytes of the log that it has not replayed yet, after having been waited for.
    pub behind: i64,
    /// Why it is passed over.
    pub fault: Option<String>,
}

/// The state of the connection pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolState {
    /// Connections in use, those too that are being opened.
    pub in_use: u32,
    /// Connections open and idle.
    pub idle: u32,
    /// Connections that may be open at once.
    pub size: u32,
}
