//! Whether the session that a token names is there, in this database, and its user's (G6).
//!
//! A signature says only that somebody under this key issued the token: before a reset, a restored
//! backup or a failover the same numbers stood for other people. So a node reads the session when
//! it first meets it, and again after a while.

use crate::batcher::Batcher;
use crate::error::{Error, Result};
use crate::event::RevocationReason;
use crate::id::{SessionId, UserId};
use crate::lifecycle::Lifecycle;
use crate::store::{Holder, Session, SessionKey, Store};
use dashmap::DashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How long a session that was read is believed. Less than the least time that a revocation is
/// remembered.
const BELIEVED: Duration = Duration::from_mins(1);
/// Sessions of one query at most: those of a herd, or of a device with many connections, cost a
/// few queries.
const SESSIONS_PER_QUERY: usize = 512;
/// The longest time for a read, the wait for others' included: the contract gives two seconds from
/// a request to its 503.
const READ_WITHIN: Duration = Duration::from_millis(1750);
/// Sessions that are remembered before the old ones are looked for; later, as often as their
/// number has doubled: a crowd that arrives must not look at all of itself each time.
const SWEEP_AT: usize = 10_000;

/// The sessions that were read lately.
#[derive(Clone)]
pub struct Holders(Arc<Inner>);

struct Inner {
    known: DashMap<SessionId, Known>,
    rows: Batcher<SessionId, Option<Holder>>,
    /// The state of the database, as far as it was heard of.
    state: AtomicU64,
    /// How many there were after the last look for old ones.
    swept: AtomicUsize,
}

#[derive(Clone, Copy)]
struct Known {
    user_id: UserId,
    key: SessionKey,
    read: Read,
}

/// When something was read of the database, and in which of its states.
#[derive(Clone, Copy)]
pub struct Read {
    at: Instant,
    state: u64,
}

impl Holders {
    /// Nobody is known yet. Starts the task that reads.
    pub fn start(store: &Arc<dyn Store>, lifecycle: &Lifecycle) -> Self {
        let store = Arc::clone(store);
        let rows = Batcher::start(lifecycle, "sessions", SESSIONS_PER_QUERY, move |sessions: Vec<_>| {
            let store = Arc::clone(&store);
            async move { store.sessions(&sessions).await }
        });
        let (state, swept) = (AtomicU64::default(), AtomicUsize::default());
        Self(Arc::new(Inner { known: DashMap::new(), rows, state, swept }))
    }

    /// A read that begins now. What it finds is of this time and state, whatever happens meanwhile.
    pub fn begin(&self) -> Read {
        Read { at: Instant::now(), state: self.0.state.load(Ordering::Relaxed) }
    }

    fn is_believed(&self, read: Read) -> bool {
        read.at.elapsed() < BELIEVED && read.state == self.0.state.load(Ordering::Relaxed)
    }

    /// Remembers a session that was read or opened.
    pub fn remember(&self, session: &Session, read: Read) {
        if self.0.known.len() >= SWEEP_AT.max(2 * self.0.swept.load(Ordering::Relaxed)) {
            self.0.known.retain(|_, known| self.is_believed(known.read));
            self.0.swept.store(self.0.known.len(), Ordering::Relaxed);
        }
        let Session { id, user_id, key, .. } = *session;
        self.0.known.insert(id, Known { user_id, key, read });
    }

    /// The database is in that state: where it was in another one, nobody is believed any more.
    /// Says whether it was.
    pub fn as_of(&self, state: u64) -> bool {
        let is_another = self.0.state.swap(state, Ordering::Relaxed) != state;
        if is_another {
            self.0.known.clear();
        }
        is_another
    }

    /// The next check of that session reads it.
    pub fn forget(&self, session: SessionId) {
        self.0.known.remove(&session);
    }

    /// The next check of any session of that user reads it. Looks at all that are known.
    pub fn forget_user(&self, user: UserId) {
        self.0.known.retain(|_, known| known.user_id != user);
    }

    /// The answer for a session that was read lately.
    fn known(&self, session: &Session) -> Option<Result<()>> {
        let known = self.0.known.get(&session.id).filter(|known| self.is_believed(known.read))?;
        let fits = known.user_id == session.user_id && known.key == session.key;
        Some(if fits { Ok(()) } else { Err(Error::TokenInvalid) })
    }

    /// Checks that a token's session is this one in the store. `TokenInvalid`, `SessionEnded`;
    /// `Unavailable` where it must be read and the store is away.
    pub async fn check(&self, session: &Session) -> Result<()> {
        if let Some(known) = self.known(session) {
            return known;
        }
        let read = self.read(session);
        tokio::time::timeout(READ_WITHIN, read).await.map_err(Error::unavailable)?
    }

    async fn read(&self, session: &Session) -> Result<()> {
        let read = self.begin();
        let holder = self.0.rows.get(session.id).await?.ok_or(Error::TokenInvalid)?;
        if holder.user_id != session.user_id || holder.key_hash != Some(session.key.hash()) {
            return Err(Error::TokenInvalid);
        }
        if holder.ended {
            let disabled = RevocationReason::AccountDisabled;
            let reason = if holder.disabled { disabled } else { RevocationReason::SessionEnded };
            return Err(Error::SessionEnded(reason));
        }
        self.remember(session, read);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::NewUser;
    use crate::store::postgres::PostgresStore;
    use messenger_testing::postgres;
    use sqlx::Connection;

    /// The read began before the failover: what it found may be of the history that was lost.
    #[tokio::test]
    async fn a_read_over_a_failover_is_believed_no_longer() {
        let url = postgres::shared_without_fsync().await.new_database().await;
        let store = PostgresStore::connect(&url.clone().into(), 4).unwrap();
        store.migrate().await.unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let user = NewUser { username: "ann".into(), email: "ann@example.org".into(), password_hash: "hash".into() };
        let user = store.create_user(user).await.unwrap();
        let key = SessionKey::new([7; 16]);
        let session = store.create_session(user.id, "hash", key, Duration::from_mins(9), None).await.unwrap();
        let lifecycle = Lifecycle::new();
        let holders = Holders::start(&store, &lifecycle);

        let mut other = sqlx::PgConnection::connect(&url).await.unwrap();
        sqlx::raw_sql("begin; lock table sessions in access exclusive mode").execute(&mut other).await.unwrap();
        let read = tokio::spawn({
            let holders = holders.clone();
            async move { holders.check(&session).await }
        });
        let mut watch = sqlx::PgConnection::connect(&url).await.unwrap();
        let waits = "select count(*) from pg_locks where not granted and relation = 'sessions'::regclass";
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut watch).await.unwrap() == 0 {
            ticks.tick().await;
        }
        assert!(holders.as_of(1));
        sqlx::raw_sql("commit").execute(&mut other).await.unwrap();
        read.await.unwrap().unwrap();
        sqlx::raw_sql("delete from sessions").execute(&mut other).await.unwrap();
        assert!(matches!(holders.check(&session).await, Err(Error::TokenInvalid)));
    }
}
