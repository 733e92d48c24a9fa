//! A renewal by digest keeps what a renewal by names kept.

use super::*;
use messenger_testing::over_each;

over_each! {
    #[tokio::test]
    redis: super::BackEnd::redis().await,
    cluster: super::BackEnd::cluster().await;
    a_lease_renewed_by_digest_goes_on
    users_who_come_and_go_between_renewals_are_known
}

async fn a_lease_renewed_by_digest_goes_on(back_end: BackEnd) {
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    let users: Vec<i64> = (0..200).collect();
    a.arrive(&users).await;
    b.arrive(&[1000]).await;
    let begun = tokio::time::Instant::now();
    let mut ticks = tokio::time::interval(LEASE / 4);
    let mut told = Vec::new();
    while begun.elapsed() < LEASE * 2 {
        ticks.tick().await;
        assert_eq!(a.renew(&users).await, []);
        told.extend(a.sweep().await);
    }
    assert_eq!((told, a.count().await), (vec![(1000, false)], 200));
    // And where it is renewed no longer, it ends.
    assert_eq!(b.sweep_until(&[], 200).await.len(), 200);
}

async fn users_who_come_and_go_between_renewals_are_known(back_end: BackEnd) {
    let a = back_end.node("a");
    a.arrive(&[2, 66]).await;
    for _ in 0..2 {
        assert_eq!(a.renew(&[2, 66]).await, []);
    }
    a.depart(&[66]).await;
    a.arrive(&[130]).await;
    assert_eq!(a.renew(&[2, 130]).await, []);
    assert_eq!(a.sweep_until(&[2, 130], 1).await, [(66, false)]);
    assert_eq!(a.renew(&[2, 130]).await, []);
    assert_eq!(surplus(&a, &[2, 130]).await, []);
    // An arrival that Redis never got: the renewal brings it.
    assert_eq!(a.renew(&[2, 130, 194]).await, [(194, true)]);
    assert_eq!(a.renew(&[2, 130, 194]).await, []);
}

/// The users of a snapshot are not those whose digest it has, if that were kept while they change:
/// as many, and since then the same again.
#[tokio::test]
async fn a_snapshot_from_between_two_renewals_is_compared() {
    let server = Redis::private().await;
    let back_end = BackEnd::Redis(server.clone());
    let a = back_end.node("a");
    a.arrive(&[2, 66]).await;
    for _ in 0..2 {
        assert_eq!(a.renew(&[2, 66]).await, []);
    }
    a.presence.depart(&a.id, &ids(&[66]), Duration::ZERO).await.whole().unwrap();
    a.arrive(&[130]).await;
    server.command(&["SAVE"]).await;
    a.presence.depart(&a.id, &ids(&[130]), Duration::ZERO).await.whole().unwrap();
    a.arrive(&[66]).await;
    for _ in 0..2 {
        assert_eq!(a.renew(&[2, 66]).await, []);
    }
    server.kill().await;
    server.start().await;
    until("it answers again", || async { a.presence.renew(&a.id, &ids(&[2, 66])).await.whole().is_ok() }).await;
    assert!(a.is_online(66).await && a.is_online(130).await, "130 as the snapshot has it");
    assert_eq!(a.presence.surplus(&a.id, &ids(&[2, 66])).await.unwrap(), ids(&[130]));
}

/// A node that was taken for dead by another is not kept as it was by its digest.
#[tokio::test]
async fn what_a_sweep_took_the_renewal_brings_back() {
    let back_end = BackEnd::redis().await;
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    let users: Vec<i64> = (0..130).collect();
    a.arrive(&users).await;
    for _ in 0..2 {
        assert_eq!(a.renew(&users).await, []);
    }
    let mut gone = b.sweep_until(&[], users.len()).await;
    gone.sort_unstable();
    assert_eq!(gone, users.iter().map(|user| (*user, false)).collect::<Vec<_>>());
    let mut back = a.renew(&users).await;
    back.sort_unstable();
    assert_eq!(back, users.iter().map(|user| (*user, true)).collect::<Vec<_>>());
    assert_eq!((a.renew(&users).await, a.count().await), (vec![], 130));
}
