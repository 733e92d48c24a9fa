//! Groups of closed accounts. An account is closed first, then its groups are passed on, a round at
//! a time: however many there are, nobody logs in meanwhile. A program that ends in between leaves
//! the rest to the upkeep.
//!
//! Imports `store`. Any number of processes may do so at once: a group that was passed on is left
//! alone.

use crate::error::Result;
use crate::id::UserId;
use crate::store::{Committed, Store};
use std::sync::Arc;
use std::time::Duration;

/// The most groups of one round.
const GROUPS_PER_ROUND: usize = 1_000;
/// The process that closed the account passes its groups on first. After this long, any process may
/// do the rest.
const LEFT_TO_OWN_PROCESS: Duration = Duration::from_secs(10);
/// By now everything has ended that began while the account was active, and that may leave another
/// group without an owner.
const SETTLED: Duration = Duration::from_mins(1);
/// The pause between two looks for accounts that were left.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The most accounts of one look.
const ACCOUNTS_PER_LOOK: usize = 1_000;

/// Deactivates an account, then passes all its groups on. The relay publishes these changes.
/// `Unavailable`.
pub async fn deactivate(store: &dyn Store, user: UserId) -> Result<()> {
    store.deactivate_user(user).await?;
    pass_on_all(store, user, GROUPS_PER_ROUND).await
}

/// Passes on a round of a deactivated account's groups. False: there may be more of them.
/// `Unavailable`.
pub async fn pass_on(store: &dyn Store, user: UserId, publish: impl Fn(Committed) + Send) -> Result<bool> {
    pass_on_round(store, user, GROUPS_PER_ROUND, publish).await
}

/// Passes on what others left, for as long as the process lives.
pub async fn run(store: Arc<dyn Store>) {
    loop {
        if let Err(error) = pass_on_left_over(&*store, LEFT_TO_OWN_PROCESS, SETTLED).await {
            tracing::debug!(%error, "closed accounts could not be looked for");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn pass_on_left_over(store: &dyn Store, longer_than: Duration, settled: Duration) -> Result<()> {
    for user in store.accounts_with_groups_left(longer_than, ACCOUNTS_PER_LOOK).await? {
        let passed_on = async {
            pass_on_all(store, user, GROUPS_PER_ROUND).await?;
            store.all_groups_passed_on(user, settled).await
        };
        // Of one account a group may be held: the others go on.
        if let Err(error) = passed_on.await {
            tracing::debug!(%error, "groups of a closed account could not be passed on");
        }
    }
    Ok(())
}

/// Each group leaves the list, whoever passes it on.
async fn pass_on_all(store: &dyn Store, user: UserId, per_round: usize) -> Result<()> {
    while !pass_on_round(store, user, per_round, drop).await? {}
    Ok(())
}

async fn pass_on_round(
    store: &dyn Store,
    user: UserId,
    groups: usize,
    publish: impl Fn(Committed) + Send,
) -> Result<bool> {
    let left = store.left_without_owner(user, groups).await?;
    for chat in &left {
        publish(store.pass_on(*chat, user).await?);
    }
    Ok(left.len() < groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ChatId;
    use crate::model::Role;
    use crate::store::sqlite::SqliteStore;
    use crate::store::{Accounts, Chats, Members, NewGroup, NewUser};

    /// A store in which Ann owns groups that Ben is in. Her account is closed.
    async fn closed() -> (tempfile::TempDir, SqliteStore, [UserId; 2], Vec<ChatId>) {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("chat.db")).await.unwrap();
        store.migrate().await.unwrap();
        let (ann, ben) = (user(&store, "ann").await, user(&store, "ben").await);
        let made = groups(&store, ann, ben).await;
        store.deactivate_user(ann).await.unwrap();
        (dir, store, [ann, ben], made)
    }

    async fn user(store: &SqliteStore, name: &str) -> UserId {
        let (username, email) = (name.to_owned(), format!("{name}@example.org"));
        store.create_user(NewUser { username, email, password_hash: "x".into() }).await.unwrap().id
    }

    async fn groups(store: &SqliteStore, owner: UserId, member: UserId) -> Vec<ChatId> {
        let mut made = Vec::new();
        for n in 0..5 {
            let (name, member_ids) = (format!("group {n}"), vec![member]);
            let group = NewGroup { owner, name, description: None, is_public: false, member_ids };
            made.push(store.create_group(group).await.unwrap().0.id);
        }
        made
    }

    async fn owned(store: &SqliteStore, user: UserId, groups: &[ChatId]) -> usize {
        let mut owned = 0;
        for chat in groups {
            owned += usize::from(store.chat(*chat, user).await.unwrap().unwrap().role == Some(Role::Owner));
        }
        owned
    }

    #[tokio::test]
    async fn an_account_is_closed_before_its_groups_are_passed_on_and_the_rest_is_found_again() {
        let (_dir, store, [ann, ben], made) = closed().await;
        assert!(!store.credentials_of(ann).await.unwrap().unwrap().user.is_active);
        assert_eq!(owned(&store, ben, &made).await, 0);
        assert!(!pass_on_round(&store, ann, 2, drop).await.unwrap());
        assert_eq!(owned(&store, ben, &made).await, 2, "a round has its end");

        pass_on_left_over(&store, LEFT_TO_OWN_PROCESS, SETTLED).await.unwrap();
        assert_eq!(owned(&store, ben, &made).await, 2, "they may be at it still");
        pass_on_left_over(&store, Duration::ZERO, SETTLED).await.unwrap();
        assert_eq!(owned(&store, ben, &made).await, 5);
        pass_on_left_over(&store, Duration::ZERO, Duration::ZERO).await.unwrap();
        assert_eq!(store.accounts_with_groups_left(Duration::ZERO, 9).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_group_that_is_left_without_an_owner_afterwards_is_passed_on_too() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("chat.db")).await.unwrap();
        store.migrate().await.unwrap();
        let (ann, ben, cem) = (user(&store, "ann").await, user(&store, "ben").await, user(&store, "cem").await);
        let made = groups(&store, ann, ben).await;
        for chat in &made {
            store.add_members(*chat, ann, &[cem], 9).await.unwrap();
            store.set_role(*chat, ann, ben, Role::Owner).await.unwrap();
        }
        deactivate(&store, ann).await.unwrap();
        pass_on_left_over(&store, Duration::ZERO, SETTLED).await.unwrap();
        // A request that was checked while her account was active.
        store.remove_member(made[0], ann, ben).await.unwrap();
        pass_on_left_over(&store, Duration::ZERO, SETTLED).await.unwrap();
        assert_eq!((owned(&store, cem, &made).await, owned(&store, ben, &made[1..]).await), (1, 4));
    }

    #[tokio::test]
    async fn rounds_go_on_until_no_group_is_left() {
        let (_dir, store, [ann, ben], made) = closed().await;
        pass_on_all(&store, ann, 1).await.unwrap();
        assert_eq!(owned(&store, ben, &made).await, 5);
    }
}
