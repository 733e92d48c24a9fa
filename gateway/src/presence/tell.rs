//! Transitions of presence on their way to those who share a chat with the user: queries of the store, then one publication for many.
//!
//! A task of its own, so that a store that is slow or away holds up neither the leases nor anybody's `welcome`. What could not be told is
//! told when the store is back: of each user the newest.

use super::{AT_ONCE, SWEEP};
use messenger_common::error::Result;
use messenger_common::event::{Envelope, StatusChange, micros};
use messenger_common::id::UserId;
use messenger_common::model::Status;
use messenger_common::presence::Transition;
use messenger_common::relay::Publisher;
use messenger_common::store::Store;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::{Notify, watch};

/// Chats named in one publication, about: one user more may bring all of his.
const CHATS_AT_ONCE: usize = 4096;
/// Users whose transition waits at most; beyond it the oldest is dropped.
const WAITING: usize = 100_000;

/// See the module.
pub(crate) struct Teller {
    store: Arc<dyn Store>,
    publisher: Publisher,
    /// Whether the bus carries: what is published while it does not is told to nobody.
    bus_up: watch::Receiver<bool>,
    status_max_members: i64,
    waiting: Mutex<Waiting>,
    came: Notify,
}

#[derive(Default)]
struct Waiting {
    order: VecDeque<UserId>,
    newest: HashMap<UserId, Transition>,
    /// Whether some were taken out and are not told yet.
    in_flight: bool,
}

impl Waiting {
    fn add(&mut self, transition: Transition) {
        let user = transition.user_id;
        match self.newest.get_mut(&user) {
            Some(known) if known.decided_at > transition.decided_at => {}
            Some(known) => *known = transition,
            None => {
                self.newest.insert(user, transition);
                self.order.push_back(user);
            }
        }
        if self.order.len() > WAITING {
            self.next();
        }
    }

    fn next(&mut self) -> Option<Transition> {
        self.newest.remove(&self.order.pop_front()?)
    }

    fn take(&mut self) -> Vec<Transition> {
        let some: Vec<_> = std::iter::from_fn(|| self.next()).take(AT_ONCE).collect();
        self.in_flight = !some.is_empty();
        some
    }
}

impl Teller {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        publisher: Publisher,
        bus_up: watch::Receiver<bool>,
        status_max_members: i64,
    ) -> Self {
        Self { store, publisher, bus_up, status_max_members, waiting: Mutex::default(), came: Notify::new() }
    }

    /// Takes transitions; never waits.
    pub(super) fn tell(&self, transitions: Vec<Transition>) {
        if !transitions.is_empty() {
            let mut waiting = self.waiting.lock();
            for transition in transitions {
                waiting.add(transition);
            }
            self.came.notify_one();
        }
    }

    /// Whether nothing is left to tell.
    pub(super) fn is_idle(&self) -> bool {
        let waiting = self.waiting.lock();
        waiting.order.is_empty() && !waiting.in_flight
    }

    /// Tells what comes; `settled` hears of each pause.
    pub(super) async fn run(&self, settled: &Notify) {
        let mut bus_up = self.bus_up.clone();
        loop {
            if bus_up.wait_for(|up| *up).await.is_err() {
                return;
            }
            let some = self.take();
            if some.is_empty() {
                settled.notify_waiters();
                self.came.notified().await;
            } else if let Err(error) = self.tell_some(&some).await {
                tracing::warn!(%error, users = some.len(), "transitions of presence could not be told; trying again");
                self.put_back(some);
                tokio::time::sleep(SWEEP).await;
            }
        }
    }

    fn take(&self) -> Vec<Transition> {
        self.waiting.lock().take()
    }

    fn put_back(&self, some: Vec<Transition>) {
        let mut waiting = self.waiting.lock();
        for transition in some {
            waiting.add(transition);
        }
    }

    async fn tell_some(&self, transitions: &[Transition]) -> Result<()> {
        let gone: Vec<_> = transitions.iter().filter(|t| !t.online).map(|t| (t.user_id, t.at)).collect();
        if !gone.is_empty() {
            self.store.set_last_seen(&gone).await?;
        }
        let ids: Vec<UserId> = transitions.iter().map(|t| t.user_id).collect();
        let users: HashMap<UserId, _> =
            self.store.users(&ids).await?.into_iter().map(|row| (row.user.id, row)).collect();
        let mut chats: HashMap<UserId, _> =
            self.store.chats_for_status(&ids, self.status_max_members).await?.into_iter().collect();
        let changes = transitions.iter().filter_map(|transition| {
            let row = users.get(&transition.user_id)?;
            Some(StatusChange {
                user_id: transition.user_id,
                username: row.user.username.clone(),
                status: if transition.online { Status::Online } else { Status::Offline },
                last_seen_at: if transition.online { row.last_seen_at } else { Some(transition.at) },
                decided_at_micros: micros(transition.decided_at),
                chats: chats.remove(&transition.user_id).unwrap_or_default(),
            })
        });
        for some in pieces(changes.filter(|change| !change.chats.is_empty())) {
            self.publisher.publish_now(&Envelope::Status(some));
        }
        Ok(())
    }
}

/// Splits changes so that no publication names many more than [`CHATS_AT_ONCE`] chats.
fn pieces(changes: impl Iterator<Item = StatusChange>) -> Vec<Vec<StatusChange>> {
    let (mut pieces, mut piece, mut chats) = (Vec::new(), Vec::new(), 0);
    for change in changes {
        chats += change.chats.len();
        piece.push(change);
        if chats >= CHATS_AT_ONCE {
            pieces.push(std::mem::take(&mut piece));
            chats = 0;
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use messenger_common::id::ChatId;
    use time::OffsetDateTime;

    fn transition(user: i64, decided: i64, online: bool) -> Transition {
        let at = OffsetDateTime::from_unix_timestamp(decided).expect("a time");
        Transition { user_id: UserId(user), online, at, decided_at: at }
    }

    #[test]
    fn of_a_user_the_newest_decision_waits_whenever_it_came() {
        let mut waiting = Waiting::default();
        for (user, decided, online) in [(1, 10, false), (2, 11, true), (1, 12, true), (1, 9, false)] {
            waiting.add(transition(user, decided, online));
        }
        assert_eq!(waiting.take(), [transition(1, 12, true), transition(2, 11, true)]);
        assert!(waiting.in_flight);
        assert_eq!(waiting.take(), []);
        assert!(!waiting.in_flight);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut waiting = Waiting::default();
        let most = i64::try_from(WAITING).expect("small");
        (0..most + 3).for_each(|user| waiting.add(transition(user, 1, true)));
        assert_eq!((waiting.order.len(), waiting.newest.len()), (WAITING, WAITING));
        assert_eq!(waiting.take().len(), AT_ONCE);
    }

    #[test]
    fn a_publication_names_a_bounded_number_of_chats() {
        let change = |chats: usize| StatusChange {
            user_id: UserId(1),
            username: "ann".into(),
            status: Status::Online,
            last_seen_at: None,
            decided_at_micros: 0,
            chats: vec![ChatId(1); chats],
        };
        let sizes =
            |of: &[usize]| -> Vec<usize> { pieces(of.iter().copied().map(change)).iter().map(Vec::len).collect() };
        assert_eq!(sizes(&[]), [] as [usize; 0]);
        assert_eq!(sizes(&[1, 2, 3]), [3]);
        assert_eq!(sizes(&[4000, 95, 1, 9000, 5]), [3, 1, 1]);
    }
}
