//! The host's own work on accounts.

use super::*;

contract!(
    all_accounts_are_listed_by_name,
    an_account_is_activated_again,
    a_deleted_account_says_nothing_of_a_person,
    an_account_is_deleted_whoever_has_its_address,
);

async fn all_accounts_are_listed_by_name(at: Fixture) {
    for name in ["bob", "Ann", "bo_b", "eve"] {
        at.named(name).await;
    }
    let gone = at.named("bogus").await;
    at.store.deactivate_user(gone.id).await.unwrap();
    let page = at.store.all_users("", &first(3)).await.unwrap();
    let names = |page: Page<UserRow>| page.items.into_iter().map(|row| row.user.username).collect::<Vec<_>>();
    let cursor = page.next_cursor.clone();
    assert_eq!(names(page), ["Ann", "bo_b", "bob"]);
    assert_eq!(names(at.store.all_users("", &next(cursor, 3)).await.unwrap()), ["bogus", "eve"]);
    assert_eq!(names(at.store.all_users("BO", &first(9)).await.unwrap()), ["bo_b", "bob", "bogus"]);
    let page = PageRequest { cursor: Some("x".into()), limit: 3 };
    assert_eq!(field(at.store.all_users("", &page).await), "cursor");
}

async fn an_account_is_activated_again(at: Fixture) {
    let ann = at.user().await;
    for _ in 0..2 {
        at.store.deactivate_user(ann.id).await.unwrap();
        assert_eq!(code(at.store.create_session(ann.id, HASH, KEY, HOUR, None).await), "account_disabled");
        for _ in 0..2 {
            at.store.activate_user(ann.id).await.unwrap();
        }
        at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
    }
    at.store.activate_user(UserId(0)).await.unwrap();
}

async fn a_deleted_account_says_nothing_of_a_person(at: Fixture) {
    let (ann, bob, eve) = (at.user().await, at.user().await, at.user().await);
    let names = |user: &User| [format!("deleted-{}", user.id), format!("deleted-{}-x", user.id)];
    let left = |user: &User| Erased { names: names(user), password_hash: "$argon2id$y".into() };
    at.store.erase_user(ann.id, left(&ann)).await.unwrap();
    assert_eq!(at.store.users(&[ann.id]).await.unwrap()[0].user, ann, "an active account stays as it is");
    let chat = at.group(&bob, &[&ann, &eve]).await.id;
    at.send(chat, &ann, "said by ann").await;
    let profile = ProfilePatch { display_name: Some(Some("Ann A.".into())), bio: Some(Some("about".into())) };
    at.store.set_profile(ann.id, profile).await.unwrap();
    at.store.remember_network(ann.id, 7).await.unwrap();
    at.named(&names(&eve)[0]).await;
    for user in [&ann, &eve] {
        at.store.deactivate_user(user.id).await.unwrap();
        at.store.erase_user(user.id, left(user)).await.unwrap();
    }
    let erased = at.store.users(&[ann.id]).await.unwrap().remove(0).user;
    let name = format!("deleted-{}", ann.id);
    assert_eq!((&erased.username, erased.email), (&name, format!("{name}@deleted.invalid")));
    assert_eq!((erased.display_name, erased.bio, erased.is_active), (None, None, false));
    assert!(!at.store.knows_network(ann.id, 7).await.unwrap());
    assert!(at.store.credentials(&ann.username).await.unwrap().is_none());
    assert_eq!(at.store.credentials(&name).await.unwrap().unwrap().password_hash, "$argon2id$y");
    let message = at.history(chat, &bob).await.remove(0);
    assert_eq!((message.text, message.author_username), ("said by ann".into(), name));
    let other = at.store.users(&[eve.id]).await.unwrap().remove(0).user.username;
    assert_eq!(other, names(&eve)[1], "somebody has the first name");
    at.named(&ann.username).await;
}

/// Releases before took such an address from anybody, and the names may be anybody's still.
async fn an_account_is_deleted_whoever_has_its_address(at: Fixture) {
    for write in [str::to_owned, str::to_uppercase, |address: &str| address.replace("deleted", "ｄeleted")] {
        let ann = at.user().await;
        let names = [format!("deleted-{}", ann.id), format!("deleted-{}-x", ann.id)];
        let email = write(&format!("{}@deleted.invalid", names[0]));
        let username = format!("holder-{}", ann.id);
        at.store.create_user(NewUser { username, email, password_hash: HASH.into() }).await.unwrap();
        at.store.deactivate_user(ann.id).await.unwrap();
        // Again: it keeps its own.
        for _ in 0..2 {
            let left = Erased { names: names.clone(), password_hash: "$argon2id$y".into() };
            at.store.erase_user(ann.id, left).await.unwrap();
            let erased = at.store.users(&[ann.id]).await.unwrap().remove(0).user;
            assert_eq!((erased.email, erased.username), (format!("{}@deleted.invalid", names[1]), names[1].clone()));
        }
    }
}
