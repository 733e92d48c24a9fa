//! Idempotency keys.

use super::*;

contract!(
    a_key_is_claimed_once_and_answers_what_the_first_did,
    a_lease_that_ended_frees_the_key_for_the_same_request,
    an_old_attempt_neither_finishes_nor_releases_its_successor,
    keys_are_pruned_after_a_day,
);

fn claim(user: &User, request: u8, claim: i64) -> KeyClaim {
    KeyClaim { user: user.id, key: "k".into(), request: [request; 32], claim }
}

fn answer(body: &str) -> KeptAnswer {
    KeptAnswer { status: 201, body: body.into() }
}

async fn a_key_is_claimed_once_and_answers_what_the_first_did(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    let tries = (0..8).map(|n| {
        let (store, claim) = (Arc::clone(&at.store), claim(&ann, 1, n));
        tokio::spawn(async move { (claim.clone(), store.claim_key(&claim).await.unwrap()) })
    });
    let mut first = None;
    for one in tries.collect::<Vec<_>>() {
        let (claim, claimed) = one.await.unwrap();
        match claimed {
            Claimed::Now => assert!(first.replace(claim).is_none(), "two at once"),
            other => assert_eq!(other, Claimed::InProgress),
        }
    }
    let first = first.unwrap();
    // A repetition of the claim itself, after a lost connection, is no second attempt.
    assert_eq!(at.store.claim_key(&first).await.unwrap(), Claimed::Now);
    assert_eq!(at.store.claim_key(&claim(&ann, 2, 90)).await.unwrap(), Claimed::Reused);
    assert_eq!(at.store.claim_key(&claim(&ben, 2, 91)).await.unwrap(), Claimed::Now, "another user's");
    at.store.finish_key(&first, &answer("one")).await.unwrap();
    for _ in 0..2 {
        let again = at.store.claim_key(&claim(&ann, 1, 92)).await.unwrap();
        assert_eq!(again, Claimed::Answered(answer("one")));
        assert_eq!(at.store.claim_key(&claim(&ann, 2, 93)).await.unwrap(), Claimed::Reused);
    }
}

async fn a_lease_that_ended_frees_the_key_for_the_same_request(at: Fixture) {
    let ann = at.user().await;
    assert_eq!(at.store.claim_key(&claim(&ann, 1, 1)).await.unwrap(), Claimed::Now);
    at.sql("update idempotency_keys set leased_until = created_at").await;
    assert_eq!(at.store.claim_key(&claim(&ann, 2, 2)).await.unwrap(), Claimed::Reused);
    assert_eq!(at.store.claim_key(&claim(&ann, 1, 3)).await.unwrap(), Claimed::Now);
    assert_eq!(at.store.claim_key(&claim(&ann, 1, 4)).await.unwrap(), Claimed::InProgress);
    at.store.release_key(&claim(&ann, 1, 3)).await.unwrap();
    assert_eq!(at.store.claim_key(&claim(&ann, 2, 5)).await.unwrap(), Claimed::Now, "released");
}

async fn an_old_attempt_neither_finishes_nor_releases_its_successor(at: Fixture) {
    let ann = at.user().await;
    let (old, new) = (claim(&ann, 1, 1), claim(&ann, 1, 2));
    assert_eq!(at.store.claim_key(&old).await.unwrap(), Claimed::Now);
    at.sql("update idempotency_keys set leased_until = created_at").await;
    assert_eq!(at.store.claim_key(&new).await.unwrap(), Claimed::Now);
    at.store.finish_key(&old, &answer("old")).await.unwrap();
    at.store.release_key(&old).await.unwrap();
    assert_eq!(at.store.claim_key(&claim(&ann, 1, 3)).await.unwrap(), Claimed::InProgress);
    at.store.finish_key(&new, &answer("new")).await.unwrap();
    at.store.release_key(&new).await.unwrap();
    assert_eq!(at.store.claim_key(&claim(&ann, 1, 4)).await.unwrap(), Claimed::Answered(answer("new")));
}

async fn keys_are_pruned_after_a_day(at: Fixture) {
    let (ann, ben) = (at.user().await, at.user().await);
    for user in [&ann, &ben] {
        let first = claim(user, 1, 1);
        assert_eq!(at.store.claim_key(&first).await.unwrap(), Claimed::Now);
        at.store.finish_key(&first, &answer("one")).await.unwrap();
    }
    let day = if matches!(at.raw, Raw::Sqlite(..)) { "86400000000" } else { "interval '1 day'" };
    at.sql(&format!("update idempotency_keys set created_at = created_at - {day} where user_id = {}", ann.id)).await;
    assert_eq!(at.store.claim_key(&claim(&ann, 2, 2)).await.unwrap(), Claimed::Now, "free after a day");
    at.sql(&format!("update idempotency_keys set created_at = created_at - {day} where user_id = {}", ann.id)).await;
    assert_eq!(at.store.prune(HOUR, 1000).await.unwrap(), 1, "what is deleted is told: there may be more");
    assert_eq!(at.store.prune(HOUR, 1000).await.unwrap(), 0);
    assert_eq!(at.number("select count(*) from idempotency_keys").await, 1);
    assert_eq!(at.store.claim_key(&claim(&ben, 1, 3)).await.unwrap(), Claimed::Answered(answer("one")));
}
