//! The users whose presence here changed since it was last registered, in the order in which they
//! changed. There are as many at most as connections begin and end meanwhile.

use messenger_common::id::UserId;
use std::collections::{HashMap, VecDeque};
use tokio::sync::oneshot;

/// A change of a user's presence on this node.
#[derive(Default)]
pub(super) struct Change {
    /// Connections that wait for the registration.
    pub(super) waiting: Vec<oneshot::Sender<()>>,
    /// Whether a client of the user was told to come back.
    pub(super) released: bool,
}

/// See the module.
#[derive(Default)]
pub(super) struct Changes {
    all: HashMap<UserId, Change>,
    /// Users whose turn comes.
    queue: VecDeque<UserId>,
    /// Users whose registration failed; they wait for [`Self::retry`].
    failed: Vec<UserId>,
}

impl Changes {
    /// The change of a user; a new one waits behind all others.
    pub(super) fn entry(&mut self, user: UserId) -> &mut Change {
        self.all.entry(user).or_insert_with(|| {
            self.queue.push_back(user);
            Change::default()
        })
    }

    /// Takes the first ones whose turn has come.
    pub(super) fn take(&mut self, most: usize) -> Vec<(UserId, Change)> {
        let some = self.queue.len().min(most);
        self.queue.drain(..some).filter_map(|user| Some((user, self.all.remove(&user)?))).collect()
    }

    /// Puts back a change whose registration failed.
    pub(super) fn put_back(&mut self, user: UserId, change: Change) {
        if let Some(again) = self.all.get_mut(&user) {
            again.waiting.extend(change.waiting);
            again.released |= change.released;
        } else {
            self.all.insert(user, change);
            self.failed.push(user);
        }
    }

    /// The turn of those that failed comes again, behind all others.
    pub(super) fn retry(&mut self) {
        self.queue.extend(self.failed.drain(..));
    }

    pub(super) fn contains(&self, user: UserId) -> bool {
        self.all.contains_key(&user)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether the turn of some has come.
    pub(super) fn is_due(&self) -> bool {
        !self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(users: &[i64]) -> Changes {
        let mut changes = Changes::default();
        for user in users {
            changes.entry(UserId(*user)).released = false;
        }
        changes
    }

    fn take(changes: &mut Changes, most: usize) -> Vec<i64> {
        changes.take(most).into_iter().map(|(user, _)| user.0).collect()
    }

    #[test]
    fn changes_come_in_their_order_each_user_once() {
        let mut changes = changes(&[3, 1, 3, 2]);
        assert_eq!(take(&mut changes, 2), [3, 1]);
        assert_eq!(take(&mut changes, 2), [2]);
        assert!(changes.is_empty() && !changes.is_due());
    }

    #[test]
    fn what_failed_holds_up_no_other() {
        let mut changes = changes(&[1, 2, 3]);
        for (user, change) in changes.take(2) {
            changes.put_back(user, change);
        }
        changes.entry(UserId(4));
        assert_eq!(take(&mut changes, 9), [3, 4]);
        assert!(changes.contains(UserId(1)) && !changes.is_due());
        changes.entry(UserId(5));
        changes.retry();
        assert_eq!(take(&mut changes, 9), [5, 1, 2]);
    }

    #[test]
    fn a_change_meanwhile_takes_over_those_who_wait() {
        let mut changes = changes(&[1]);
        let (registered, _wait) = oneshot::channel();
        changes.entry(UserId(1)).waiting.push(registered);
        let mut taken = changes.take(1);
        changes.entry(UserId(1)).released = true;
        let (user, change) = taken.pop().expect("one");
        changes.put_back(user, change);
        changes.retry();
        let (_, change) = changes.take(2).pop().expect("one");
        assert!(change.released && change.waiting.len() == 1);
        assert!(changes.is_empty() && !changes.is_due());
    }
}
