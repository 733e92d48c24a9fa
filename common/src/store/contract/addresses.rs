//! Addresses, however they are spelled.

use super::*;
use tokio::task::JoinSet;

contract!(
    an_address_is_taken_and_found_in_every_spelling,
    an_account_spells_its_own_address_in_another_way,
    what_an_older_release_stored_and_changed_gets_its_spelling,
    of_two_older_accounts_the_older_one_keeps_the_spelling,
    many_nodes_give_addresses_their_spellings_at_once,
    of_two_spellings_at_once_one_is_registered,
);

const PAIRS: [[&str; 2]; 5] = [
    ["σίσυφος@example.org", "σίσυφοσ@example.org"],
    ["Straße@example.org", "STRASSE@example.org"],
    ["caf\u{e9}@example.org", "CAFE\u{301}@example.org"],
    ["ａｎｎ@example.org", "ann@Ｅｘａｍｐｌｅ．org"],
    ["bob@bücher.example", "BOB@xn--bcher-kva.example"],
];

impl Fixture {
    async fn registers(&self, username: &str, email: &str) -> Result<User> {
        let user = NewUser { username: username.into(), email: email.into(), password_hash: HASH.into() };
        self.store.create_user(user).await
    }

    async fn of_login(&self, login: &str) -> Option<UserId> {
        self.store.credentials(login).await.unwrap().map(|found| found.user.id)
    }

    /// An account as an older release stores it.
    async fn older(&self, username: &str, email: &str) -> UserId {
        let (lower, long_ago) = (email.to_lowercase(), self.long_ago());
        self.sql(&format!(
            "insert into users (username, username_lower, email, email_lower, password_hash, created_at)
             values ('{username}', '{username}', '{email}', '{lower}', 'x', {long_ago})"
        ))
        .await;
        self.of_login(username).await.unwrap()
    }

    async fn spells(&self, after: UserId, limit: usize) -> (Option<UserId>, u64) {
        let Spelled { last, apart } = self.store.spell_addresses(after, limit).await.unwrap();
        (last, apart)
    }

    /// Changes the address of an account with that hash.
    async fn changes(&self, user: UserId, hash: &str, email: &str) -> Result<Option<User>> {
        let patch = UserPatch { email: Some(email.into()), ..UserPatch::default() };
        let changed = self.store.update_user(user, hash, patch, Kept { session: SessionId(0), network: 0 }).await;
        Ok(changed?.map(|(user, _)| user))
    }

    async fn unspelled(&self) -> i64 {
        self.number("select count(*) from users where email_spelling is null").await
    }
}

async fn an_address_is_taken_and_found_in_every_spelling(at: Fixture) {
    for (n, [one, other]) in PAIRS.into_iter().enumerate() {
        let user = at.registers(&format!("one{n}"), one).await.unwrap();
        assert_eq!(user.email, one);
        for email in [one, other, &one.to_uppercase(), &other.to_lowercase()] {
            assert_eq!(code(at.registers(&format!("other{n}"), email).await), "email_taken", "{email}");
            assert_eq!(at.of_login(email).await, Some(user.id), "{email}");
        }
    }
    assert_eq!(at.unspelled().await, 0);
    assert_eq!(at.spells(UserId(0), 100).await, (None, 0));
    let invite = NewInvite { code: "code".into(), expires_in: None, max_uses: None };
    at.store.create_host_invite(invite).await.unwrap();
    let user = NewUser { username: "invited".into(), email: PAIRS[0][0].into(), password_hash: HASH.into() };
    assert_eq!(code(at.store.register(user, "code", MANY).await), "email_taken");
    // A name is found as it was, and so is nobody.
    let ann = at.user().await;
    assert_eq!(at.of_login(&ann.username.to_uppercase()).await, Some(ann.id));
    for nobody in ["", "@", "strasse", "@example.org", "strasse@", "bücher.example"] {
        assert_eq!(at.of_login(nobody).await, None, "{nobody}");
    }
}

async fn an_account_spells_its_own_address_in_another_way(at: Fixture) {
    let ann = at.registers("ann", "Straße@example.org").await.unwrap();
    let ben = at.registers("ben", "ben@example.org").await.unwrap();
    for own in ["STRASSE@example.org", "straße@example.org", "straße@example.org", "strasse@EXAMPLE.org"] {
        assert_eq!(at.changes(ann.id, HASH, own).await.unwrap().unwrap().email, own);
        for taken in ["Straße@example.org", "strasse@example.org"] {
            assert_eq!(code(at.changes(ben.id, HASH, taken).await), "email_taken");
        }
        assert_eq!(at.of_login("STRAẞE@example.org").await, Some(ann.id));
        assert_eq!(at.unspelled().await, 0, "{own}");
    }
    assert_eq!(at.changes(ann.id, "stale", "x@example.org").await.unwrap(), None);
    assert_eq!(at.of_login("straße@example.org").await, Some(ann.id), "nothing changed");
    at.changes(ann.id, HASH, "ann@example.org").await.unwrap().unwrap();
    at.changes(ben.id, HASH, "STRASSE@example.org").await.unwrap().unwrap();
    assert_eq!(at.of_login("straße@example.org").await, Some(ben.id));
    // An erased account leaves the address free.
    at.store.deactivate_user(ben.id).await.unwrap();
    let names = ["deleted-2".to_owned(), "deleted-2-x".to_owned()];
    at.store.erase_user(ben.id, Erased { names, password_hash: "y".into() }).await.unwrap();
    at.registers("eve", "straße@example.org").await.unwrap();
    assert_eq!(at.spells(UserId(0), 100).await, (Some(ben.id), 0));
    assert_eq!(at.unspelled().await, 0);
}

/// An older release writes the address alone. The trigger forgets the spelling of one that changed.
async fn what_an_older_release_stored_and_changed_gets_its_spelling(at: Fixture) {
    let ann = at.registers("ann", "straße@example.org").await.unwrap();
    let stays = at.user().await;
    let change = |email: &str| {
        format!("update users set email = '{email}', email_lower = '{}' where id = {}", email.to_lowercase(), ann.id)
    };
    at.sql(&change("Straße@example.org")).await;
    assert_eq!(at.unspelled().await, 0, "it is the same, but for case");
    at.sql(&change("bücher@example.org")).await;
    assert_eq!(at.of_login("strasse@example.org").await, None);
    at.registers("eve", "STRASSE@example.org").await.unwrap();
    let older = [at.older("old", "bob@bücher.example").await, at.older("old2", "ＯＬＤ@example.org").await];
    assert_eq!(at.unspelled().await, 3);
    // One that needs no other spelling is taken at once.
    let plain = at.older("plain", "plain@example.org").await;
    assert_eq!(code(at.registers("x", "ｐlain@example.org").await), "email_taken");
    assert_eq!(code(at.changes(stays.id, HASH, "ｐlain@example.org").await), "email_taken");
    assert_eq!(at.spells(UserId(0), 2).await, (Some(older[0]), 0), "the oldest first");
    assert_eq!(at.of_login("BOB@xn--bcher-kva.example").await, Some(older[0]));
    assert_eq!(at.of_login("bu\u{308}cher@example.org").await, Some(ann.id));
    assert_eq!(at.of_login("old@example.org").await, None);
    assert_eq!(at.spells(older[0], 100).await, (Some(plain), 0));
    assert_eq!(at.of_login("old@example.org").await, Some(older[1]));
    assert_eq!(at.spells(plain, 100).await, (None, 0));
    assert_eq!(at.spells(UserId(0), 100).await, (None, 0));
    assert_eq!(code(at.registers("y", "old@example.org").await), "email_taken");
    assert_eq!(at.store.users(&[stays.id]).await.unwrap()[0].user, stays);
}

async fn of_two_older_accounts_the_older_one_keeps_the_spelling(at: Fixture) {
    let mut ids = Vec::new();
    let emails = ["straße@example.org", "strasse@example.org", "ＳＴＲＡＳＳＥ@example.org", "other@example.org"];
    for (n, email) in emails.into_iter().enumerate() {
        ids.push(at.older(&format!("older{n}"), email).await);
    }
    for _ in 0..2 {
        let (last, apart) = at.spells(UserId(0), 100).await;
        assert_eq!(apart, 2);
        assert!(last == Some(ids[3]) || last == Some(ids[2]));
        assert_eq!(at.unspelled().await, 2);
        for (id, email) in ids.iter().zip(emails) {
            assert_eq!(at.of_login(email).await, Some(*id), "each is found by its own");
            assert_eq!(code(at.registers("x", email).await), "email_taken");
        }
        assert_eq!(at.of_login("STRAẞE@example.org").await, Some(ids[0]));
        assert_eq!(at.of_login("ｓtrasse@example.org").await, Some(ids[0]));
    }
    // In pieces of one it is the same.
    at.sql("update users set email_spelling = null").await;
    let mut apart = 0;
    let mut after = UserId(0);
    while let (Some(last), more) = at.spells(after, 1).await {
        (after, apart) = (last, apart + more);
    }
    assert_eq!((apart, at.of_login("STRAẞE@example.org").await), (2, Some(ids[0])));
    // One that keeps its address keeps it, and takes another as anybody does.
    at.changes(ids[1], "x", "Strasse@example.org").await.unwrap().unwrap();
    assert_eq!(code(at.changes(ids[1], "x", "STRAẞE@example.org").await), "email_taken");
    at.changes(ids[1], "x", "free@example.org").await.unwrap().unwrap();
    // The spelling that comes free is the next one's.
    at.sql(&format!("update users set email = 'a@b', email_lower = 'a@b' where id = {}", ids[0])).await;
    assert_eq!(at.spells(UserId(0), 100).await, (Some(ids[2]), 0));
    assert_eq!(at.of_login("straße@example.org").await, Some(ids[2]));
    assert_eq!(at.unspelled().await, 0);
}

async fn many_nodes_give_addresses_their_spellings_at_once(at: Fixture) {
    for n in 0..60 {
        at.older(&format!("older{n}"), &format!("straße{n}@example.org")).await;
    }
    for n in 0..6 {
        at.older(&format!("twin{n}"), &format!("strasse{n}@example.org")).await;
    }
    let mut nodes = JoinSet::new();
    for limit in [7, 10, 20, 100] {
        let store = Arc::clone(&at.store);
        nodes.spawn(async move {
            let (mut after, mut apart) = (UserId(0), 0);
            loop {
                let Spelled { last, apart: more } = store.spell_addresses(after, limit).await.unwrap();
                apart += more;
                let Some(last) = last else { return apart };
                after = last;
            }
        });
    }
    // A node that finds the older ones done counts the same.
    for apart in nodes.join_all().await {
        assert_eq!(apart, 6);
    }
    assert_eq!(at.unspelled().await, 6);
    assert_eq!(at.of_login("STRASSE3@example.org").await, at.of_login("twin3").await);
    assert_eq!(at.of_login("STRAẞE3@example.org").await, at.of_login("older3").await);
}

async fn of_two_spellings_at_once_one_is_registered(at: Fixture) {
    let at = Arc::new(at);
    let ben = at.registers("ben", "ben@example.org").await.unwrap();
    for (round, [one, other]) in PAIRS.into_iter().enumerate() {
        let mut tries = JoinSet::new();
        for (n, email) in [one, other].into_iter().cycle().take(8).enumerate() {
            let (at, email) = (Arc::clone(&at), email.to_owned());
            tries.spawn(async move {
                at.registers(&format!("user{round}x{n}"), &email)
                    .await
                    .map(|user| user.id)
                    .map_err(|error| error.code())
            });
        }
        let (also, ben) = (Arc::clone(&at), ben.id);
        tries.spawn(async move {
            let changed = also.changes(ben, HASH, other).await;
            changed.map(|changed| changed.unwrap().id).map_err(|error| error.code())
        });
        let all = tries.join_all().await;
        let got = all.iter().filter_map(|one| one.ok()).collect::<Vec<_>>();
        assert_eq!(got.len(), 1, "{all:?}");
        assert!(all.iter().all(|one| matches!(one, Ok(_) | Err("email_taken"))), "{all:?}");
        assert_eq!(at.of_login(one).await, Some(got[0]));
    }
    assert_eq!(at.unspelled().await, 0);
}
