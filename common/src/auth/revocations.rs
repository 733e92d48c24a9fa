//! The sessions that ended while their access tokens are still valid (guarantee G6).
//!
//! An access token names its own end, so each node keeps only the few sessions that ended sooner.
//! It learns of them over the bus, and reads them from the store at a beat, in case a publication
//! was lost. It forgets an entry once every token of that session has expired.

use super::AuthUser;
use crate::dispatch::RevocationSink;
use crate::error::Result;
use crate::event::{Revocation, RevocationReason};
use crate::id::{SessionId, UserId};
use crate::lifecycle::Lifecycle;
use crate::once::OncePerCause;
use crate::store::Store;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::Instant;

/// The beat of the store's reads while the bus is up: a revocation is there within a second even
/// if its publication was lost. The read is a short range of an index.
const SLOW_BEAT: Duration = Duration::from_millis(750);
/// The beat while the bus is down, or after the store did not answer.
const FAST_BEAT: Duration = Duration::from_millis(500);
/// Each read reaches this far back beyond the last answer, so that it does not miss a transaction
/// that committed late: a write of a session is bounded below two seconds.
const OVERLAP: Duration = Duration::from_secs(3);
/// Changes that a slow receiver may lag behind. A receiver that lags more must check everything it
/// holds.
const CHANGES: usize = 4096;

/// The ended sessions and disabled accounts whose tokens have not expired yet.
#[derive(Clone)]
pub struct Revocations {
    inner: Arc<Inner>,
}

struct Inner {
    sessions: DashMap<SessionId, Ended>,
    users: DashMap<UserId, Ended>,
    changes: broadcast::Sender<Revocation>,
    /// A publication may have been lost: read the store at once.
    missed: Notify,
    /// The next read of the store reaches back over the whole life of a token.
    is_forgotten: AtomicBool,
    /// The life of an access token, and some more for clocks that differ.
    keep: Duration,
}

#[derive(Clone, Copy)]
struct Ended {
    reason: RevocationReason,
    at: Instant,
}

impl Revocations {
    /// Nothing is revoked yet. `access_ttl` is the life of an access token.
    pub fn new(access_ttl: Duration) -> Self {
        let (changes, _) = broadcast::channel(CHANGES);
        let keep = access_ttl + Duration::from_mins(1);
        Self {
            inner: Arc::new(Inner {
                sessions: DashMap::new(),
                users: DashMap::new(),
                changes,
                missed: Notify::new(),
                is_forgotten: AtomicBool::new(false),
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

    /// Registers a revocation. If it is new, answers true and sends it to the receivers of
    /// [`Self::changes`]. A revocation without a session ends all sessions of the user, for good.
    pub fn apply(&self, revocation: Revocation) -> bool {
        let ended = Ended { reason: revocation.reason, at: Instant::now() };
        let news = match revocation.session_id {
            Some(session) => insert(&self.inner.sessions, session, ended),
            None => insert(&self.inner.users, revocation.user_id, ended),
        };
        if news {
            // No receiver is no fault: an api has no sockets.
            drop(self.inner.changes.send(revocation));
        }
        news
    }

    /// Forgets all, because the database may be in another history: the same numbers may be other
    /// people's there. A caller reads the store until the next beat has read what ended in it.
    pub fn forget_all(&self) {
        self.inner.sessions.clear();
        self.inner.users.clear();
        self.inner.is_forgotten.store(true, Ordering::Relaxed);
        self.inner.missed.notify_one();
    }

    /// The account is active again: its sessions from now on count.
    pub fn lift(&self, user: UserId) {
        self.inner.users.remove(&user);
    }

    /// The revocations from now on. A receiver that lagged checks all that it holds with
    /// [`Self::reason`].
    pub fn changes(&self) -> broadcast::Receiver<Revocation> {
        self.inner.changes.subscribe()
    }

    /// Reads from the store the sessions that ended within `period`.
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

    /// Reads from the store the ended sessions whose access tokens may still be valid, then starts
    /// the beat of further reads. After an outage of the store the next read reaches back to the
    /// last answer.
    pub async fn start(&self, store: Arc<dyn Store>, bus_up: watch::Receiver<bool>, lifecycle: &Lifecycle) {
        let mut beat = Beat { store, answered: None, logged: OncePerCause::default() };
        let asked = Instant::now();
        beat.read(self, asked).await;
        lifecycle.spawn("revocations", self.clone().run(beat, asked, bus_up));
    }

    async fn run(self, mut beat: Beat, mut asked: Instant, mut bus_up: watch::Receiver<bool>) {
        loop {
            let calm = *bus_up.borrow_and_update() && beat.answered == Some(asked);
            tokio::select! {
                () = tokio::time::sleep_until(asked + if calm { SLOW_BEAT } else { FAST_BEAT }) => {}
                // The link went or came back: publications in between may be lost.
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
    /// The time of the last read that was answered.
    answered: Option<Instant>,
    logged: OncePerCause,
}

impl Beat {
    async fn read(&mut self, revocations: &Revocations, asked: Instant) {
        let keep = revocations.inner.keep;
        if revocations.inner.is_forgotten.swap(false, Ordering::Relaxed) {
            self.answered = None;
        }
        let period = self.answered.map_or(keep, |at| at.elapsed() + OVERLAP).min(keep);
        match revocations.read(self.store.as_ref(), period).await {
            Ok(()) => self.answered = Some(asked),
            Err(error) => {
                let cause = error.cause();
                if self.logged.is_news(&cause, asked.into_std()) {
                    tracing::warn!(error = cause, "cannot read the ended sessions; retrying");
                }
            }
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
        assert!(!revocations.apply(ended), "applied once");
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
