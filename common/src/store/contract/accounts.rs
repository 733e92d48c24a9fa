//! Accounts.

use super::*;
use time::Duration as Span;

contract!(
    names_and_addresses_are_taken_without_case,
    credentials_are_found_by_name_and_address,
    users_are_found_by_id,
    search_is_by_literal_prefix_in_order_and_pages,
    a_new_address_or_password_is_kept,
    a_password_that_was_changed_opens_and_changes_nothing,
    a_deactivated_account_keeps_nothing_open,
    last_seen_never_moves_back,
    a_network_is_known_for_ninety_days,
    a_new_password_forgets_other_networks,
    a_hash_is_renewed_unless_it_changed,
);

async fn names_and_addresses_are_taken_without_case(at: Fixture) {
    let ann = at.named("Ann").await;
    assert_eq!((ann.username.as_str(), ann.email.as_str(), ann.is_active), ("Ann", "Ann@example.org", true));
    let new = |username: &str, email: &str| NewUser {
        username: username.into(),
        email: email.into(),
        password_hash: "x".into(),
    };
    assert_eq!(code(at.store.create_user(new("aNN", "other@example.org")).await), "username_taken");
    assert_eq!(code(at.store.create_user(new("other", "ANN@EXAMPLE.ORG")).await), "email_taken");
    at.named("Ämne").await;
    assert_eq!(code(at.store.create_user(new("äMNE", "other@example.org")).await), "username_taken");
}

async fn credentials_are_found_by_name_and_address(at: Fixture) {
    let ann = at.named("Ann").await;
    for login in ["Ann", "ann", "ANN@example.ORG"] {
        let found = at.store.credentials(login).await.unwrap().unwrap();
        assert_eq!((found.user, found.password_hash.as_str()), (ann.clone(), "$argon2id$x"));
    }
    for login in ["", "an", "ann\0", "a\u{10ffff}", "' or 1=1 --"] {
        assert!(at.store.credentials(login).await.unwrap().is_none());
    }
    assert_eq!(at.store.credentials_of(ann.id).await.unwrap().unwrap().user, ann);
    assert!(at.store.credentials_of(UserId(0)).await.unwrap().is_none());
}

async fn users_are_found_by_id(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let mut found = at.store.users(&[ben.id, UserId(-1), ann.id]).await.unwrap();
    found.sort_by_key(|row| row.user.id);
    assert_eq!(found.iter().map(|row| &row.user).collect::<Vec<_>>(), [&ann, &ben]);
    assert!(at.store.users(&[]).await.unwrap().is_empty());
}

async fn search_is_by_literal_prefix_in_order_and_pages(at: Fixture) {
    for name in ["bo_b", "boxb", "Bo.a", "bo-c", "alice", "bob"] {
        at.named(name).await;
    }
    let gone = at.named("bogus").await;
    at.store.deactivate_user(gone.id).await.unwrap();
    let search = async |prefix: &str| {
        let rows = at.store.search_users(prefix, &first(100)).await.unwrap();
        assert_eq!(rows.next_cursor, None);
        rows.items.into_iter().map(|row| row.user.username).collect::<Vec<_>>()
    };
    assert_eq!(search("BO").await, ["bo-c", "Bo.a", "bo_b", "bob", "boxb"]);
    assert_eq!(search("bo_").await, ["bo_b"]);
    assert_eq!(search("bo%").await, Vec::<String>::new());
    assert_eq!(search("b\0").await, Vec::<String>::new());
    assert_eq!(search("").await.len(), 6);
    let one = at.store.search_users("bo", &first(2)).await.unwrap();
    let two = at.store.search_users("bo", &next(one.next_cursor, 2)).await.unwrap();
    let three = at.store.search_users("bo", &next(two.next_cursor, 2)).await.unwrap();
    let names: Vec<_> = [one.items, two.items, three.items].concat().into_iter().map(|row| row.user.username).collect();
    assert_eq!(names, ["bo-c", "Bo.a", "bo_b", "bob", "boxb"]);
    assert_eq!(three.next_cursor, None);
    assert_eq!(field(at.store.search_users("bo", &next(Some("x".into()), 2)).await), "cursor");
}

async fn a_new_address_or_password_is_kept(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let keep = at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
    let other = at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
    let bens = at.store.create_session(ben.id, HASH, KEY, HOUR, None).await.unwrap();
    let taken = at.store.update_user(ann.id, HASH, email(&ben.email.to_uppercase()), keeping(keep.id)).await;
    assert_eq!(code(taken), "email_taken");
    // All of it or nothing.
    let profile = ProfilePatch { display_name: Some(Some("Ann".into())), bio: Some(Some("here".into())) };
    let taken = UserPatch { profile: profile.clone(), ..email(&ben.email) };
    assert_eq!(code(at.store.update_user(ann.id, HASH, taken, keeping(keep.id)).await), "email_taken");
    let stale = UserPatch { profile: profile.clone(), ..password("late") };
    assert_eq!(at.store.update_user(ann.id, "stale", stale, keeping(keep.id)).await.unwrap(), None);
    assert_eq!(at.store.users(&[ann.id]).await.unwrap()[0].user.display_name, None);
    let named = UserPatch { profile, ..UserPatch::default() };
    let (user, ended) = at.store.update_user(ann.id, HASH, named, keeping(keep.id)).await.unwrap().unwrap();
    assert_eq!((user.display_name.as_deref(), user.bio.as_deref(), ended), (Some("Ann"), Some("here"), vec![]));
    let (user, ended) =
        at.store.update_user(ann.id, HASH, email("New@example.org"), keeping(keep.id)).await.unwrap().unwrap();
    assert_eq!((user.email.as_str(), ended), ("New@example.org", vec![]));
    assert!(at.store.credentials("new@EXAMPLE.org").await.unwrap().is_some());
    let (_, ended) = at.store.update_user(ann.id, HASH, password("new"), keeping(keep.id)).await.unwrap().unwrap();
    assert_eq!(ended, [other.id]);
    assert_eq!(at.store.credentials_of(ann.id).await.unwrap().unwrap().password_hash, "new");
    assert!(matches!(
        at.store.rotate_session(Session { generation: 0, ..keep }, HOUR).await.unwrap(),
        Rotation::Rotated(..)
    ));
    assert_eq!(at.store.rotate_session(Session { generation: 0, ..other }, HOUR).await.unwrap(), Rotation::Ended);
    assert!(matches!(
        at.store.rotate_session(Session { generation: 0, ..bens }, HOUR).await.unwrap(),
        Rotation::Rotated(..)
    ));
    assert_eq!(at.store.update_user(UserId(0), HASH, password("x"), keeping(keep.id)).await.unwrap(), None);
}

/// Checked before the change, used after it: the race of a login with a new password.
async fn a_password_that_was_changed_opens_and_changes_nothing(at: Fixture) {
    let ann = at.user().await;
    let own = at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
    at.store.update_user(ann.id, HASH, password("new"), keeping(own.id)).await.unwrap().unwrap();
    assert_eq!(code(at.store.create_session(ann.id, HASH, KEY, HOUR, None).await), "bad_credentials");
    let late = at.store.update_user(ann.id, HASH, email("late@example.org"), keeping(own.id)).await;
    assert_eq!(late.unwrap(), None);
    let late = at.store.update_user(ann.id, HASH, password("late"), keeping(own.id)).await;
    assert_eq!(late.unwrap(), None);
    let kept = at.store.credentials_of(ann.id).await.unwrap().unwrap();
    assert_eq!((kept.password_hash.as_str(), kept.user.email), ("new", ann.email));
    at.store.create_session(ann.id, "new", KEY, HOUR, None).await.unwrap();
}

async fn a_deactivated_account_keeps_nothing_open(at: Fixture) {
    let ann = at.user().await;
    let open = at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
    let ended = at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
    at.store.end_session(ended.id).await.unwrap();
    at.store.deactivate_user(ann.id).await.unwrap();
    at.store.deactivate_user(ann.id).await.unwrap();
    assert!(!at.store.credentials_of(ann.id).await.unwrap().unwrap().user.is_active);
    assert_eq!(at.store.rotate_session(Session { generation: 0, ..open }, HOUR).await.unwrap(), Rotation::Disabled);
    assert_eq!(code(at.store.create_session(ann.id, HASH, KEY, HOUR, None).await), "account_disabled");
    let mut found = at.store.sessions_ended_within(HOUR).await.unwrap();
    found.sort_by_key(|session| session.id);
    let found: Vec<_> = found.iter().map(|session| (session.id, session.user_id, session.disabled)).collect();
    assert_eq!(found, [(open.id, ann.id, true), (ended.id, ann.id, false)]);
}

async fn last_seen_never_moves_back(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let noon = ann.created_at;
    at.store.set_last_seen(&[(ann.id, noon), (ann.id, noon - Span::HOUR), (UserId(0), noon)]).await.unwrap();
    at.store.set_last_seen(&[(ann.id, noon - Span::MINUTE), (ben.id, noon)]).await.unwrap();
    at.store.set_last_seen(&[(ben.id, noon + Span::MINUTE)]).await.unwrap();
    at.store.set_last_seen(&[]).await.unwrap();
    let mut rows = at.store.users(&[ann.id, ben.id]).await.unwrap();
    rows.sort_by_key(|row| row.user.id);
    let seen: Vec<_> = rows.iter().map(|row| row.last_seen_at).collect();
    assert_eq!(seen, [Some(noon), Some(noon + Span::MINUTE)]);
}

fn email(email: &str) -> UserPatch {
    UserPatch { email: Some(email.into()), ..UserPatch::default() }
}

fn keeping(session: SessionId) -> Kept {
    Kept { session, network: 1 }
}

fn password(hash: &str) -> UserPatch {
    UserPatch { password_hash: Some(hash.into()), ..UserPatch::default() }
}

async fn a_network_is_known_for_ninety_days(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let known = async |user: &User, network: i64| at.store.knows_network(user.id, network).await.unwrap();
    assert!(!known(&ann, -1).await);
    for _ in 0..2 {
        at.store.remember_network(ann.id, -1).await.unwrap();
    }
    assert!(known(&ann, -1).await);
    assert!(!known(&ann, 1).await && !known(&ben, -1).await);
    let day = if matches!(at.raw, Raw::Sqlite(..)) { "86400000000" } else { "interval '1 day'" };
    let age = async |days: u32| at.sql(&format!("update networks set seen_at = seen_at - {days} * {day}")).await;
    age(2).await;
    at.store.remember_network(ann.id, -1).await.unwrap();
    age(89).await;
    at.store.prune(HOUR, 100).await.unwrap();
    assert!(known(&ann, -1).await, "it was seen anew");
    age(2).await;
    assert!(!known(&ann, -1).await);
    at.store.prune(HOUR, 100).await.unwrap();
    at.store.remember_network(ann.id, -1).await.unwrap();
    assert!(known(&ann, -1).await, "after pruning as at first");
}

async fn a_new_password_forgets_other_networks(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let own = at.store.create_session(ann.id, HASH, KEY, HOUR, None).await.unwrap();
    for (user, network) in [(&ann, 1), (&ann, 2), (&ben, 2)] {
        at.store.remember_network(user.id, network).await.unwrap();
    }
    let known = async |user: &User, network: i64| at.store.knows_network(user.id, network).await.unwrap();
    at.store.update_user(ann.id, HASH, email("new@example.org"), keeping(own.id)).await.unwrap().unwrap();
    assert!(known(&ann, 1).await && known(&ann, 2).await);
    at.store.update_user(ann.id, HASH, password("new"), keeping(own.id)).await.unwrap().unwrap();
    assert!(known(&ann, 1).await && !known(&ann, 2).await && known(&ben, 2).await);
}

async fn a_hash_is_renewed_unless_it_changed(at: Fixture) {
    let ann = at.user().await;
    let hash = async || at.store.credentials_of(ann.id).await.unwrap().unwrap().password_hash;
    let first = hash().await;
    at.store.renew_hash(ann.id, &first, "renewed").await.unwrap();
    assert_eq!(hash().await, "renewed");
    at.store.renew_hash(ann.id, &first, "late").await.unwrap();
    assert_eq!(hash().await, "renewed");
}
