//! Transitions of presence on their way to those who share a chat with the user: queries of the
//! store, then one publication for many. They are acknowledged once the bus took them; until then
//! they stay pending, and another node publishes them should this one die.
//!
//! A task of its own, so that a store that is slow or away delays neither the leases nor anybody's
//! `welcome`. Transitions that could not be announced are announced when the store is back: of
//! each user the newest. A user in ten thousand chats costs what a thousand others do: those who
//! are in few are announced first ([`super::waiting`]).

use super::waiting::{Due, FEW_CHATS, Waiting};
use super::{Load, SWEEP, USERS_PER_CALL};
use messenger_common::bus::{Bus, Publication};
use messenger_common::error::{Error, Result};
use messenger_common::event::{Envelope, StatusChange, micros};
use messenger_common::id::UserId;
use messenger_common::model::Status;
use messenger_common::once::OncePerCause;
use messenger_common::presence::{Presence, Transition};
use messenger_common::store::{ForStatus, Store};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Transitions are gathered for so long for each gateway that hears of them, or up to
/// [`USERS_PER_CALL`]: a crowd that arrives costs a few queries and publications, not some a user.
/// All gateways hear of all: one publication of many users costs Redis less than one for each of
/// their chats (`docs/SCALE.md`).
const GATHER: Duration = Duration::from_millis(20);
const LONGEST_GATHER: Duration = Duration::from_millis(500);
/// Chats named in one publication, about: the last user may bring all of theirs.
const CHATS_PER_PUBLICATION: usize = 4096;
/// Chats of one question to the store, about: Postgres reads them in 40 ms.
const CHATS_PER_QUESTION: usize = 20_000;
/// A user's chats are counted up to this number. One who is in as many is asked for alone.
const MOST_COUNTED: usize = 1_000;

/// Those that could not be announced, and why.
type Failed = (Vec<Due>, Error);

/// See the module.
pub(crate) struct Announcer {
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    presence: Arc<dyn Presence>,
    status_max_members: i64,
    waiting: Mutex<Waiting>,
    added: Notify,
}

impl Announcer {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        presence: Arc<dyn Presence>,
        status_max_members: i64,
    ) -> Self {
        Self { store, bus, presence, status_max_members, waiting: Mutex::default(), added: Notify::new() }
    }

    /// Takes transitions; never waits.
    pub(super) fn announce(&self, transitions: Vec<Transition>) {
        if !transitions.is_empty() {
            let mut waiting = self.waiting.lock();
            for transition in transitions {
                waiting.add(transition.into());
            }
            self.added.notify_one();
        }
    }

    /// Whether nothing is left to announce.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.lock().is_idle()
    }

    /// How many transitions wait to be announced.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Announces what comes; notifies `settled` at each pause.
    pub(super) async fn run(&self, settled: &Notify, load: &Load) {
        // A publication while the bus is down reaches nobody.
        let mut bus_up = self.bus.up();
        let (mut most, logged) = (USERS_PER_CALL, OncePerCause::default());
        let mut dear = false;
        loop {
            if bus_up.wait_for(|up| *up).await.is_err() {
                return;
            }
            // In turn, so that neither waits for all of the others.
            dear = !dear;
            let some = if dear { self.waiting.lock().take_dear(CHATS_PER_QUESTION) } else { self.take(most) };
            if some.is_empty() {
                if self.waiting() > 0 {
                    continue;
                }
                settled.notify_waiters();
                self.added.notified().await;
                self.gather(most, load.gateways()).await;
                continue;
            }
            let announced = if dear { self.announce_dear(some).await } else { self.announce_cheap(some).await };
            if let Err((some, error)) = announced {
                let (users, cause) = (some.len(), error.cause());
                if logged.is_news(&cause, Instant::now()) {
                    tracing::warn!(error = cause, users, "cannot announce transitions of presence; retrying");
                } else {
                    tracing::debug!(error = cause, users, "cannot announce transitions of presence; retrying");
                }
                // The fault may be one user's: the others must not share it for ever.
                most = (users / 2).max(1);
                let pause = users == 1 || matches!(error, Error::Unavailable(_));
                self.put_back(some);
                if pause {
                    tokio::time::sleep(SWEEP).await;
                }
            } else {
                most = (most * 2).min(USERS_PER_CALL);
                if self.waiting.lock().is_cheap() {
                    self.gather(most, load.gateways()).await;
                }
            }
        }
    }

    async fn gather(&self, most: usize, gateways: u32) {
        let enough = async {
            while self.waiting() < most {
                self.added.notified().await;
            }
        };
        // What came by then is announced.
        tokio::time::timeout(gathering(gateways), enough).await.unwrap_or(());
    }

    fn take(&self, most: usize) -> Vec<Due> {
        self.waiting.lock().take(most)
    }

    fn put_back(&self, some: Vec<Due>) {
        let mut waiting = self.waiting.lock();
        for due in some {
            waiting.add(due);
        }
    }

    /// Announces those of users in few chats; the others wait for their turn.
    async fn announce_cheap(&self, some: Vec<Due>) -> Result<(), Failed> {
        match self.read_cheap(&some).await {
            Ok((read, weights)) => {
                let weight = |due: &Due| weights.get(&due.transition.user_id).copied().unwrap_or_default();
                let weighed = some.into_iter().map(|due| (due, weight(&due)));
                let cheap = self.waiting.lock().sort(weighed);
                if cheap.is_empty() {
                    return Ok(());
                }
                self.publish(&cheap, read).await.map_err(|error| (cheap, error))
            }
            Err(error) => Err((some, error)),
        }
    }

    /// The users in few chats, with these; the weight of each of the others.
    async fn read_cheap(&self, due: &[Due]) -> Result<(Vec<ForStatus>, HashMap<UserId, usize>)> {
        let ids: Vec<UserId> = due.iter().map(|due| due.transition.user_id).collect();
        let read = self.store.for_status(&ids, self.status_max_members, FEW_CHATS).await?;
        let many: Vec<UserId> = read.iter().filter(|one| one.chats.is_none()).map(|one| one.user_id).collect();
        let weights = if many.is_empty() { Vec::new() } else { self.weights(&many).await? };
        // One who left chats since then waits behind the others once.
        let weights = weights.into_iter().map(|weight| weight.max(FEW_CHATS + 1));
        Ok((read, many.into_iter().zip(weights).collect()))
    }

    async fn announce_dear(&self, some: Vec<Due>) -> Result<(), Failed> {
        let ids: Vec<UserId> = some.iter().map(|due| due.transition.user_id).collect();
        match self.store.for_status(&ids, self.status_max_members, usize::MAX).await {
            Ok(read) => self.publish(&some, read).await.map_err(|error| (some, error)),
            Err(error) => Err((some, error)),
        }
    }

    async fn publish(&self, due: &[Due], read: Vec<ForStatus>) -> Result<()> {
        let seen: Vec<_> = due.iter().filter_map(|due| Some((due.transition.user_id, due.seen?))).collect();
        if !seen.is_empty() {
            self.store.set_last_seen(&seen).await?;
        }
        let transitions: Vec<Transition> = due.iter().map(|due| due.transition).collect();
        let pieces = pieces(changes_of(due, read).into_iter());
        let publications: Vec<_> = pieces.into_iter().map(|some| Publication::from(&Envelope::Status(some))).collect();
        if !publications.is_empty() {
            self.bus.publish(&publications).await?;
        }
        if let Err(error) = self.presence.acknowledge(&transitions).await {
            // They are published again: receivers drop doubles.
            tracing::debug!(%error, "cannot acknowledge transitions of presence");
        }
        Ok(())
    }

    /// How many chats each user counts for.
    async fn weights(&self, users: &[UserId]) -> Result<Vec<usize>> {
        let counted = self.store.count_chats(users, MOST_COUNTED).await?;
        Ok(counted.into_iter().map(|count| if count < MOST_COUNTED { count } else { CHATS_PER_QUESTION }).collect())
    }

    /// These transitions with the chats whose subscribers are notified; without those of users who
    /// have none.
    pub(super) async fn changes(&self, transitions: &[Transition]) -> Result<Vec<StatusChange>> {
        let ids: Vec<UserId> = transitions.iter().map(|transition| transition.user_id).collect();
        let (mut changes, mut begun, mut chats) = (Vec::new(), 0, 0);
        for (at, weight) in self.weights(&ids).await?.into_iter().enumerate() {
            chats += weight;
            if chats >= CHATS_PER_QUESTION || at + 1 == transitions.len() {
                let some: Vec<Due> = transitions[begun..=at].iter().map(|transition| Due::from(*transition)).collect();
                let read = self.store.for_status(&ids[begun..=at], self.status_max_members, usize::MAX).await?;
                changes.append(&mut changes_of(&some, read));
                (begun, chats) = (at + 1, 0);
            }
        }
        Ok(changes)
    }
}

/// The changes that these transitions are to their users' chats. There is none where the user is
/// gone, or in no chat that hears of it. An end that was stored since the user was read counts.
fn changes_of(due: &[Due], read: Vec<ForStatus>) -> Vec<StatusChange> {
    let mut read: HashMap<UserId, _> = read.into_iter().map(|one| (one.user_id, one)).collect();
    let changes = due.iter().filter_map(|Due { transition, seen }| {
        let ForStatus { user_id, username, last_seen_at, chats } = read.remove(&transition.user_id)?;
        Some(StatusChange {
            user_id,
            username,
            status: if transition.online { Status::Online } else { Status::Offline },
            last_seen_at: if transition.online { last_seen_at.max(*seen) } else { Some(transition.at) },
            decided_at_micros: micros(transition.decided_at),
            chats: chats.filter(|chats| !chats.is_empty())?,
        })
    });
    changes.collect()
}

/// How long transitions are gathered that so many gateways hear of.
fn gathering(gateways: u32) -> Duration {
    GATHER.saturating_mul(gateways).min(LONGEST_GATHER)
}

/// Splits changes so that no publication names many more than [`CHATS_PER_PUBLICATION`] chats.
fn pieces(changes: impl Iterator<Item = StatusChange>) -> Vec<Vec<StatusChange>> {
    let (mut pieces, mut piece, mut chats) = (Vec::new(), Vec::new(), 0);
    for change in changes {
        chats += change.chats.len();
        piece.push(change);
        if chats >= CHATS_PER_PUBLICATION {
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

    #[test]
    fn the_more_hear_of_a_transition_the_longer_it_is_gathered_up_to_half_a_second() {
        let millis = [1, 2, 25, 26, u32::MAX].map(|gateways| gathering(gateways).as_millis());
        assert_eq!(millis, [20, 40, 500, 500, 500]);
    }

    /// The end that waited behind the return was stored after the user was read.
    #[test]
    fn who_is_back_was_last_seen_when_the_last_connection_ended() {
        let at = |second| OffsetDateTime::from_unix_timestamp(second).expect("a time");
        let last_seen = |online, read: Option<i64>, seen: Option<i64>| {
            let transition = Transition { user_id: UserId(1), online, at: at(9), decided_at: at(9) };
            let due = Due { transition, seen: seen.map(at) };
            let read = ForStatus {
                user_id: UserId(1),
                username: "ann".into(),
                last_seen_at: read.map(at),
                chats: Some(vec![ChatId(1)]),
            };
            let changes = changes_of(&[due], vec![read]);
            changes.first().and_then(|change| change.last_seen_at).map(OffsetDateTime::unix_timestamp)
        };
        assert_eq!(last_seen(true, Some(3), Some(7)), Some(7));
        assert_eq!(last_seen(true, None, Some(7)), Some(7));
        assert_eq!(last_seen(true, Some(8), Some(7)), Some(8), "another node stored a later one");
        assert_eq!(last_seen(true, Some(3), None), Some(3));
        assert_eq!(last_seen(false, Some(3), Some(9)), Some(9));
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
