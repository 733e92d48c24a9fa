//! Faults that only a Redis server has: it loses everything, its scripts, or its time.

use super::*;
use crate::error::Error;
use tokio::time::Instant;

fn server(back_end: &BackEnd) -> &Arc<Redis> {
    match back_end {
        BackEnd::Redis(server) => server,
        _ => panic!("a single server"),
    }
}

#[tokio::test]
async fn emptied_it_is_whole_after_one_renewal_and_nobody_is_told_anything() {
    let back_end = BackEnd::redis().await;
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    let (of_a, of_b): (Vec<i64>, Vec<i64>) = ((0..200).collect(), (150..300).collect());
    a.arrive(&of_a).await;
    b.arrive(&of_b).await;
    for round in 0..3 {
        server(&back_end).command(&["FLUSHALL"]).await;
        assert_eq!(a.count().await, 0, "round {round}");
        // Whichever comes first of renewal and sweep.
        if round == 1 {
            assert_eq!(b.sweep().await, []);
        }
        assert_eq!(a.renew(&of_a).await, []);
        assert_eq!(b.sweep().await, []);
        assert_eq!(b.renew(&of_b).await, []);
        assert_eq!(a.count().await, 300);
    }
    // And later neither.
    let healed = Instant::now() + LEASE + LEASE / 2;
    let mut ticks = tokio::time::interval(LEASE / 6);
    while Instant::now() < healed {
        ticks.tick().await;
        assert_eq!(a.renew(&of_a).await, []);
        assert_eq!(b.renew(&of_b).await, []);
        assert_eq!(a.sweep().await, []);
    }
    // It works on as ever.
    a.depart(&[0]).await;
    assert_eq!(a.sweep_until(&of_a[1..], 1).await.first(), Some(&(0, false)));
}

#[tokio::test]
async fn who_went_during_the_emptiness_is_told_offline_once() {
    let back_end = BackEnd::redis().await;
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    a.arrive(&[1, 2, 3]).await;
    b.arrive(&[2, 3]).await;
    server(&back_end).command(&["FLUSHALL"]).await;
    // 1 went for good; 2 is with b still, which has not renewed yet; 3 too, and b has.
    a.depart(&[1, 2]).await;
    assert_eq!(b.sweep().await, []);
    assert_eq!(b.renew(&[2, 3]).await, []);
    a.depart(&[3]).await;
    let told = b.sweep_until(&[2, 3], 1).await;
    assert_eq!(told, [(1, false)]);
    assert!(b.is_online(2).await && b.is_online(3).await && !b.is_online(1).await);
}

/// 1 was in grace, 2 is with b still: the bucket lost both, and knows of 1 again by its departure.
#[tokio::test]
async fn who_was_in_grace_when_it_was_emptied_departs_anew() {
    let back_end = BackEnd::redis().await;
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    a.arrive(&[1, 2]).await;
    b.arrive(&[2]).await;
    let losses = |user| a.presence.contact(UserId(user)).losses;
    let before = [1, 2].map(losses);
    a.depart(&[1, 2]).await;
    server(&back_end).command(&["FLUSHALL"]).await;
    assert_eq!(b.renew(&[2]).await, []);
    assert_eq!(b.sweep().await, []);
    assert_eq!(surplus(&a, &[]).await, []);
    assert_eq!([1, 2].map(losses), before.map(|losses| losses + 1), "a, who holds nobody, learns of the loss");
    a.presence.depart_anew(&a.id, &ids(&[1, 2]), GRACE).await.whole().unwrap();
    let told = b.sweep_until(&[2], 1).await;
    assert_eq!(told, [(1, false)]);
    assert!(b.is_online(2).await && !b.is_online(1).await);
}

/// Redis was away for longer than a lease and came back empty. The only user of a bucket left
/// meanwhile: nobody else says that the bucket lost anything.
#[tokio::test]
async fn who_left_during_a_long_absence_is_told_offline() {
    let back_end = BackEnd::redis().await;
    let a = back_end.node("a");
    a.arrive(&[1]).await;
    assert_eq!(a.renew(&[1]).await, []);
    server(&back_end).kill().await;
    let killed = Instant::now();
    let mut ticks = tokio::time::interval(LEASE / 3);
    while killed.elapsed() < LEASE + LEASE / 2 {
        ticks.tick().await;
        a.presence.renew(&a.id, &[]).await;
        assert!(a.presence.depart(&a.id, &ids(&[1]), GRACE).await.whole().is_err());
    }
    server(&back_end).start().await;
    until("it answers again", || async { a.presence.depart(&a.id, &ids(&[1]), GRACE).await.whole().is_ok() }).await;
    assert_eq!(a.sweep_until(&[], 1).await, [(1, false)]);
}

/// A node that holds nobody of a bucket saw it last before Redis was emptied, and comes when
/// others have made it whole long since.
#[tokio::test]
async fn who_lost_nobody_takes_an_old_loss_for_none() {
    let back_end = BackEnd::redis().await;
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    a.arrive(&[7]).await;
    b.arrive(&[71]).await;
    b.depart(&[71]).await;
    assert_eq!(b.renew(&[]).await, []);
    server(&back_end).command(&["FLUSHALL"]).await;
    let later = Instant::now() + LEASE + LEASE / 4;
    let mut ticks = tokio::time::interval(LEASE / 6);
    while Instant::now() < later {
        ticks.tick().await;
        assert_eq!(a.renew(&[7]).await, []);
        assert_eq!(a.sweep().await, []);
    }
    // Nothing but the bucket's state says until when it heals.
    let heals = async || server(&back_end).command(&["HGET", "{m:test:p:7}:state", "healing"]).await;
    let before = heals().await;
    assert_eq!(b.arrive(&[71]).await, [(71, true)]);
    b.depart(&[71]).await;
    // Nor as the next that sweeps.
    assert_eq!(b.sweep_until(&[], 1).await, [(71, false)]);
    assert_eq!(heals().await, before, "what was lost long ago heals no more");
}

#[tokio::test]
async fn a_node_that_died_with_the_flush_leaves_nobody_online() {
    let back_end = BackEnd::redis().await;
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    a.arrive(&[1]).await;
    b.arrive(&[2]).await;
    server(&back_end).command(&["FLUSHALL"]).await;
    b.renew(&[2]).await;
    assert_eq!(b.everyone(10).await, [2]);
}

#[tokio::test]
async fn a_server_without_our_scripts_is_sent_them_again() {
    let back_end = BackEnd::redis().await;
    let a = back_end.node("a");
    a.arrive(&[1]).await;
    server(&back_end).command(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(a.arrive(&[2]).await, [(2, true)]);
    server(&back_end).kill().await;
    server(&back_end).start().await;
    until("it answers again", || async { a.presence.renew(&a.id, &ids(&[1, 2])).await.whole().is_ok() }).await;
    assert_eq!(a.count().await, 2);
}

#[tokio::test]
async fn a_server_away_or_frozen_is_unavailable_within_a_second_or_so() {
    let back_end = BackEnd::redis().await;
    let a = back_end.node("a");
    a.arrive(&[1]).await;
    server(&back_end).freeze();
    let begun = Instant::now();
    assert!(matches!(a.presence.sweep(&a.id).await, Err(Error::Unavailable(_))));
    assert!(matches!(a.presence.count().await, Err(Error::Unavailable(_))));
    assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
    server(&back_end).thaw();
    until("it answers again", || async { a.presence.count().await.is_ok() }).await;
    server(&back_end).kill().await;
    let begun = Instant::now();
    assert!(matches!(a.presence.renew(&a.id, &ids(&[1])).await.whole(), Err(Error::Unavailable(_))));
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
}

/// Nobody could renew while the server stood still: its own sleep is nobody's death.
#[tokio::test]
async fn a_server_frozen_beyond_the_lease_ends_nobodys() {
    let back_end = BackEnd::redis().await;
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    a.arrive(&[1]).await;
    b.arrive(&[2]).await;
    assert_eq!(a.sweep().await, []);
    server(&back_end).freeze();
    let frozen = Instant::now();
    let mut ticks = tokio::time::interval(LEASE / 3);
    while frozen.elapsed() < LEASE + LEASE / 2 {
        ticks.tick().await;
        assert!(a.presence.renew(&a.id, &ids(&[1])).await.whole().is_err());
    }
    server(&back_end).thaw();
    until("it answers again", || async { a.presence.count().await.is_ok() }).await;
    // The worst order: sweeps before renewals.
    assert_eq!(a.sweep().await, []);
    assert_eq!(b.sweep().await, []);
    assert_eq!(a.renew(&[1]).await, []);
    assert_eq!(a.count().await, 2);
    // But who does not renew by the next lease is dead.
    assert_eq!(a.sweep_until(&[1], 1).await, [(2, false)]);
}

#[tokio::test]
async fn whom_a_snapshot_brings_back_is_surplus() {
    let server = Redis::private().await;
    let back_end = BackEnd::Redis(server.clone());
    let a = back_end.node("a");
    // One bucket: the node renews it for the one who stays.
    a.arrive(&[2, 66]).await;
    server.command(&["SAVE"]).await;
    a.depart(&[2]).await;
    assert_eq!(a.sweep_until(&[66], 1).await, [(2, false)]);
    server.kill().await;
    server.start().await;
    until("it answers again", || async { a.presence.renew(&a.id, &ids(&[66])).await.whole().is_ok() }).await;
    assert!(a.is_online(2).await, "as the snapshot has it");
    assert_eq!(surplus(&a, &[2, 66]).await, []);
    assert_eq!(surplus(&a, &[66]).await, ids(&[2]));
    a.presence.forget(&a.id, &ids(&[2])).await.whole().unwrap();
    assert_eq!((a.is_online(2).await, a.is_online(66).await, a.count().await), (false, true, 1));
    assert_eq!(surplus(&a, &[66]).await, []);
    assert_eq!(a.sweep().await, [], "it was reported before");
}

/// Steps the bucket's stored times ahead, as a clock that stepped back leaves them.
async fn step_back(server: &Redis, seconds: i64) {
    let script = "local ahead = tonumber(ARGV[1]) for _, name in ipairs({'leases', 'grace'}) do
        local key = KEYS[1] .. ':' .. name
        for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do redis.call('ZINCRBY', key, ahead, member) end end
        redis.call('HINCRBY', KEYS[1] .. ':state', 'beat', ahead)
        redis.call('HINCRBYFLOAT', KEYS[1] .. ':state', 'decided', ahead * 1000)";
    server.command(&["EVAL", script, "1", "{m:test:p:2}", &(seconds * 1000).to_string()]).await;
}

#[tokio::test]
async fn a_clock_that_steps_back_delays_nobody() {
    let server = Redis::private().await;
    let back_end = BackEnd::Redis(server.clone());
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    a.arrive(&[2]).await;
    let told = b.presence.arrive(&b.id, &ids(&[66])).await.whole().unwrap();
    b.publish(told.clone()).await;
    a.depart(&[2]).await;
    step_back(&server, 3600).await;
    let begun = Instant::now();
    // One whose grace runs, and one whose node has died.
    let mut gone = a.sweep_until(&[130], 3).await;
    gone.sort_unstable();
    assert_eq!(gone, [(2, false), (66, false), (130, true)]);
    assert!(begun.elapsed() < LEASE + GRACE + Duration::from_secs(3), "{:?}", begun.elapsed());
    let again = b.presence.arrive(&b.id, &ids(&[66])).await.whole().unwrap();
    assert!(again[0].decided_at > told[0].decided_at, "the later decision is the greater");
}

#[tokio::test]
async fn a_bucket_that_fails_costs_only_its_own_users() {
    let server = Redis::private().await;
    let back_end = BackEnd::Redis(server.clone());
    let a = back_end.node("a");
    a.arrive(&[7]).await;
    server.command(&["SET", "{m:test:p:5}:held", "of another kind"]).await;
    let users: Vec<i64> = (0..128).collect();
    let outcome = a.presence.arrive(&a.id, &ids(&users)).await;
    assert!(matches!(outcome.error, Some(Error::Unavailable(_))));
    assert_eq!(outcome.failed, ids(&[5, 69]));
    assert_eq!((outcome.transitions.len(), a.count().await), (125, 126));
    server.command(&["SADD", "{m:test:p:6}:n:a", "70", "6", "134"]).await;
    assert_eq!(surplus(&a, &users).await, ids(&[134]));
    let outcome = a.presence.depart(&a.id, &ids(&[4, 5, 6]), GRACE).await;
    assert_eq!(outcome.failed, ids(&[5]));
    server.command(&["DEL", "{m:test:p:5}:held"]).await;
    assert_eq!(by_user(&a.arrive(&[5, 69]).await), by_user(&[(5, true), (69, true)]));
}
