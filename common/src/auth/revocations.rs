//! Which sessions have ended while their access tokens still hold (guarantee G6).
//!
//! An access token says by itself until when it holds, so each node keeps the few sessions that ended sooner: told over the bus,
//! and read from the store at a beat, should the word have been lost. An entry is forgotten once every token that it could
//! speak of has run out.

use super::AuthUser;
use crate::dispatch::RevocationSink;
use crate::error::Result;
use crate::event::{Revocation, RevocationReason};
use crate::id::{SessionId, UserId};
use crate::lifecycle::Lifecycle;
use crate::store::Store;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::Instant;

/// How often the store is asked while the bus carries: word is there within a second even where it was lost. A short range of an index.
const SLOW_BEAT: Duration = Duration::from_millis(750);
/// And while it does not, or the store did not answer.
const FAST_BEAT: Duration = Duration::from_millis(500);
/// Each question reaches this far back beyond the last answer, so that a transaction that committed late is not missed.
const OVERLAP: Duration = Duration::from_secs(10);
/// How many changes a slow receiver may lag behind; one that lags more must check everything it holds.
const CHANGES: usize = 4096;

/// The ended sessions and disabled accounts whose tokens have not run out yet.
#[derive(Clone)]
pub struct Revocations {
    inner: Arc<Inner>,
}

struct Inner {
    sessions: DashMap<SessionId, Ended>,
    users: DashMap<UserId, Ended>,
    changes: broadcast::Sender<Revocation>,
    /// Word may have been lost: the store is read at once.
    missed: Notify,
    /// For how long an access token holds, and some more for clocks that differ.
    keep: Duration,
}

#[derive(Clone, Copy)]
struct Ended {
    reason: RevocationReason,
    at: Instant,
}

impl Revocations {
    /// Nothing revoked yet. `access_ttl` is how long an access token holds.
    pub fn new(access_ttl: Duration) -> Self {
        let (changes, _) = broadcast::channel(CHANGES);
        let keep = access_ttl + Duration::from_mins(1);
        Self {
            inner: Arc::new(Inner {
                sessions: DashMap::new(),
                users: DashMap::new(),
                changes,
                missed: Notify::new(),
                keep,
            }),
        }
    }

    /// Whether the token's session has ended or its account was disabled, and which.
    pub fn is_revoked(&self, who: &AuthUser) -> Option<RevocationReason> {
        self.reason(who.user_id, who.session_id)
    }

    /// The same of a session known by its ids.
    pub fn reason(&self, user: UserId, session: SessionId) -> Option<RevocationReason> {
        if let Some(ended) = self.inner.users.get(&user) {
            return Some(ended.reason);
        }
        self.inner.sessions.get(&session).map(|ended| ended.reason)
    }

    /// Takes note; true, and told to the receivers of [`Self::changes`], when it is news. A revocation without a session ends
    /// all sessions that the user has, for good.
    pub fn apply(&self, revocation: Revocation) -> bool {
        let ended = Ended { reason: revocation.reason, at: Instant::now() };
        let news = match revocation.session_id {
            Some(session) => insert(&self.inner.sessions, session, ended),
            None => insert(&self.inner.users, revocation.user_id, ended),
        };
        if news {
            // Nobody listening is no fault: an api has no sockets.
            drop(self.inner.changes.send(revocation));
        }
        news
    }

    /// What is revoked from now on. A receiver that lagged checks all that it holds with [`Self::reason`].
    pub fn changes(&self) -> broadcast::Receiver<Revocation> {
        self.inner.changes.subscribe()
    }

    /// Reads from the store what has ended within `period`.
    pub async fn read(&self, store: &dyn Store, period: Duration) -> Result<()> {
        for ended in store.sessions_ended_within(period).await? {
            self.apply(if ended.disabled {
                Revocation { user_id: ended.user_id, session_id: None, reason: RevocationReason::AccountDisabled }
            } else {
                Revocation {
                    user_id: ended.user_id,
                    session_id: Some(ended.id),
                    reason: RevocationReason::SessionEnded,
                }
            });
        }
        Ok(())
    }

    /// Reads from the store what has ended while any access token of it may still hold, then starts the beat at which the store is
    /// read again. While the store is away the next question reaches back to the last answer.
    pub async fn start(&self, store: Arc<dyn Store>, bus_up: watch::Receiver<bool>, lifecycle: &Lifecycle) {
        let mut beat = Beat { store, answered: None };
        let asked = Instant::now();
        beat.read(self, asked).await;
        lifecycle.spawn("revocations", self.clone().run(beat, asked, bus_up));
    }

    async fn run(self, mut beat: Beat, mut asked: Instant, mut bus_up: watch::Receiver<bool>) {
        loop {
            let calm = *bus_up.borrow_and_update() && beat.answered == Some(asked);
            tokio::select! {
                () = tokio::time::sleep_until(asked + if calm { SLOW_BEAT } else { FAST_BEAT }) => {}
                // The link went or came back: what was told meanwhile may be lost.
                Ok(()) = bus_up.changed() => {}
                () = self.inner.missed.notified() => {}
            }
            asked = Instant::now();
            beat.read(&self, asked).await;
            self.forget();
        }
    }

    fn forget(&self) {
        let keep = self.inner.keep;
        self.inner.sessions.retain(|_, ended| ended.at.elapsed() < keep);
        self.inner.users.retain(|_, ended| ended.at.elapsed() < keep);
    }
}

impl RevocationSink for Revocations {
    fn revoked(&self, revocation: Revocation) {
        self.apply(revocation);
    }

    fn missed(&self) {
        self.inner.missed.notify_one();
    }
}

/// The beat at which the store is read.
struct Beat {
    store: Arc<dyn Store>,
    /// When the last question was asked that was answered.
    answered: Option<Instant>,
}

impl Beat {
    async fn read(&mut self, revocations: &Revocations, asked: Instant) {
        let keep = revocations.inner.keep;
        let period = self.answered.map_or(keep, |at| at.elapsed() + OVERLAP).min(keep);
        match revocations.read(self.store.as_ref(), period).await {
            Ok(()) => self.answered = Some(asked),
            Err(error) => tracing::warn!(%error, "ended sessions could not be read; asking again"),
        }
    }
}

fn insert<K: Eq + std::hash::Hash>(map: &DashMap<K, Ended>, key: K, ended: Ended) -> bool {
    match map.entry(key) {
        Entry::Occupied(_) => false,
        Entry::Vacant(place) => {
            place.insert(ended);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::OffsetDateTime;

    fn who(user: i64, session: i64) -> AuthUser {
        AuthUser {
            user_id: UserId(user),
            username: "ann".into(),
            session_id: SessionId(session),
            expires_at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    fn of(user: i64, session: Option<i64>, reason: RevocationReason) -> Revocation {
        Revocation { user_id: UserId(user), session_id: session.map(SessionId), reason }
    }

    #[tokio::test]
    async fn an_ended_session_harms_no_other() {
        let revocations = Revocations::new(Duration::from_secs(900));
        let mut changes = revocations.changes();
        let ended = of(1, Some(10), RevocationReason::SessionEnded);
        assert!(revocations.apply(ended));
        assert!(!revocations.apply(ended), "told once");
        assert_eq!(revocations.is_revoked(&who(1, 10)), Some(RevocationReason::SessionEnded));
        assert_eq!(revocations.is_revoked(&who(1, 11)), None);
        assert_eq!(changes.recv().await.unwrap(), ended);
        assert!(changes.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_disabled_account_has_no_session_left() {
        let revocations = Revocations::new(Duration::from_secs(900));
        revocations.apply(of(1, Some(10), RevocationReason::SessionEnded));
        revocations.apply(of(1, None, RevocationReason::AccountDisabled));
        for session in [10, 11] {
            assert_eq!(revocations.is_revoked(&who(1, session)), Some(RevocationReason::AccountDisabled));
        }
        assert_eq!(revocations.is_revoked(&who(2, 12)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_forgotten_when_no_token_can_hold_any_more() {
        let revocations = Revocations::new(Duration::from_secs(900));
        revocations.apply(of(1, Some(10), RevocationReason::SessionEnded));
        tokio::time::advance(Duration::from_secs(901)).await;
        revocations.forget();
        assert!(revocations.is_revoked(&who(1, 10)).is_some());
        tokio::time::advance(Duration::from_secs(60)).await;
        revocations.forget();
        assert!(revocations.is_revoked(&who(1, 10)).is_none());
    }
}
