//! The obligations of [`Presence`], over all back ends.

use super::*;
use crate::error::Error;
use messenger_testing::over_each;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashSet};
use time::OffsetDateTime;
use tokio::time::Instant;

over_each! {
    #[tokio::test]
    memory: super::BackEnd::memory(),
    redis: super::BackEnd::redis().await,
    cluster: super::BackEnd::cluster().await;
    the_first_arrival_is_told_and_no_other
    offline_is_told_after_the_grace_once
    who_comes_back_within_the_grace_was_never_gone
    a_longer_grace_is_kept
    a_user_of_two_nodes_is_online_until_the_last_goes
    calls_may_be_repeated
    a_dead_nodes_users_go_once_whoever_sweeps
    a_node_that_renews_lives
    a_node_cut_off_for_long_is_told_online_again
    whoever_races_each_transition_is_told_once
    pages_are_complete_and_stable
    who_is_online_is_answered_in_the_order_asked
    nobody_is_no_trouble
}

async fn the_first_arrival_is_told_and_no_other(back_end: BackEnd) {
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    let before = OffsetDateTime::now_utc() - Duration::from_secs(1);
    let told = a.presence.arrive(&a.id, &ids(&[1, 2])).await.whole().unwrap();
    assert_eq!(by_user(&plain(&told)), HashMap::from([(1, vec![true]), (2, vec![true])]));
    assert!(told.iter().all(|transition| transition.at >= before));
    a.publish(told).await;
    assert_eq!(b.arrive(&[2, 3]).await, [(3, true)]);
    assert_eq!(a.arrive(&[1, 2, 3]).await, []);
    assert_eq!((a.count().await, b.count().await), (3, 3));
    assert!(a.is_online(3).await);
    assert!(!a.is_online(4).await);
}

async fn offline_is_told_after_the_grace_once(back_end: BackEnd) {
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    a.arrive(&[1, 2]).await;
    let went = OffsetDateTime::now_utc();
    let begun = Instant::now();
    a.depart(&[1]).await;
    assert!(b.is_online(1).await, "through the grace");
    let told = within("offline", async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        loop {
            ticks.tick().await;
            a.renew(&[2]).await;
            let told = b.presence.sweep(&b.id).await.unwrap();
            if !told.is_empty() {
                return told;
            }
        }
    })
    .await;
    assert!(begun.elapsed() >= GRACE && begun.elapsed() < GRACE + Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(plain(&told), [(1, false)]);
    let off = (told[0].at - went).abs();
    assert!(off < Duration::from_millis(500), "when the last connection went: {off}");
    assert!(!a.is_online(1).await);
    assert_eq!(a.count().await, 1);
    assert_eq!(a.arrive(&[1]).await, [(1, true)], "and online again");
}

async fn who_comes_back_within_the_grace_was_never_gone(back_end: BackEnd) {
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    a.arrive(&[1]).await;
    let since = a.presence.online(&ids(&[1])).await.unwrap();
    a.depart(&[1]).await;
    assert_eq!(b.arrive(&[1]).await, []);
    // Past what was the end of the grace; another user's end shows that sweeps do tell.
    a.arrive(&[2]).await;
    a.depart(&[2]).await;
    assert_eq!(b.sweep_until(&[1], 1).await, [(2, false)]);
    assert!(a.is_online(1).await);
    assert_eq!(a.presence.online(&ids(&[1])).await.unwrap(), since);
}

async fn a_longer_grace_is_kept(back_end: BackEnd) {
    let a = back_end.node("a");
    a.arrive(&[1, 2, 3]).await;
    a.presence.depart(&a.id, &ids(&[1]), GRACE * 4).await.whole().unwrap();
    let begun = Instant::now();
    a.depart(&[2]).await;
    assert_eq!(a.sweep_until(&[3], 1).await, [(2, false)]);
    assert!(begun.elapsed() < GRACE * 3);
    assert_eq!(a.sweep_until(&[3], 1).await, [(1, false)]);
    assert!(begun.elapsed() >= GRACE * 4);
}

async fn a_user_of_two_nodes_is_online_until_the_last_goes(back_end: BackEnd) {
    let (a, b, c) = (back_end.node("a"), back_end.node("b"), back_end.node("c"));
    for node in [&a, &b, &c] {
        node.arrive(&[1]).await;
    }
    a.depart(&[1]).await;
    c.depart(&[1]).await;
    a.arrive(&[2]).await;
    a.depart(&[2]).await;
    assert_eq!(b.sweep_until(&[1], 1).await, [(2, false)]);
    assert!(b.is_online(1).await);
    b.depart(&[1]).await;
    assert_eq!(b.sweep_until(&[], 1).await, [(1, false)]);
}

async fn calls_may_be_repeated(back_end: BackEnd) {
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    assert_eq!(a.arrive(&[1]).await, [(1, true)]);
    assert_eq!(a.arrive(&[1, 1]).await, []);
    assert_eq!(a.renew(&[1]).await, []);
    // Of a user that the node does not hold.
    b.depart(&[1, 2]).await;
    assert!(a.is_online(1).await && !a.is_online(2).await);
    a.depart(&[1]).await;
    let again = Instant::now();
    a.depart(&[1]).await;
    assert_eq!(a.sweep_until(&[], 1).await, [(1, false)]);
    assert!(again.elapsed() < GRACE * 2);
    a.depart(&[1]).await;
    assert!(!a.is_online(1).await);
}

async fn a_dead_nodes_users_go_once_whoever_sweeps(back_end: BackEnd) {
    let dead = back_end.node("dead");
    let survivors: Vec<_> = ["s1", "s2", "s3", "s4"].map(|name| back_end.node(name)).into();
    let users: Vec<i64> = (0..300).collect();
    dead.arrive(&users).await;
    // Ten of them are elsewhere too.
    survivors[0].arrive(&users[..10]).await;
    let killed = Instant::now();
    let told = Arc::new(Mutex::new(Vec::new()));
    let sweeping = survivors.iter().map(|node| {
        let (node, told, users) = (node.clone(), told.clone(), users.clone());
        async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(50));
            while told.lock().len() < 290 {
                ticks.tick().await;
                if node.id.0 == "s1" {
                    node.renew(&users[..10]).await;
                }
                let swept = node.sweep().await;
                told.lock().extend(swept);
            }
        }
    });
    within("all are told", futures_util::future::join_all(sweeping)).await;
    let took = killed.elapsed();
    assert!(took >= LEASE - Duration::from_millis(50) && took < LEASE + Duration::from_secs(5), "{took:?}");
    survivors[1].arrive(&[1000]).await;
    survivors[1].depart(&[1000]).await;
    let swept = survivors[0].sweep_until(&users[..10], 1).await;
    told.lock().extend(swept);
    let told = by_user(&told.lock());
    assert_eq!(told.len(), 291);
    assert!(told.values().all(|told| told == &[false]));
    assert!((0..10).all(|user| !told.contains_key(&user)));
    assert_eq!(survivors[2].count().await, 10);
}

async fn a_node_that_renews_lives(back_end: BackEnd) {
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    a.arrive(&[1]).await;
    b.arrive(&[2]).await;
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(LEASE / 3);
    while begun.elapsed() < LEASE * 2 {
        ticks.tick().await;
        assert_eq!(a.renew(&[1]).await, []);
        let swept = a.sweep().await;
        assert!(!swept.contains(&(1, false)));
    }
    assert!(a.is_online(1).await);
    assert!(!a.is_online(2).await);
}

async fn a_node_cut_off_for_long_is_told_online_again(back_end: BackEnd) {
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    a.arrive(&[1]).await;
    b.arrive(&[2]).await;
    assert_eq!(b.sweep_until(&[2], 1).await, [(1, false)]);
    assert_eq!(a.renew(&[1]).await, [(1, true)]);
    assert_eq!(a.renew(&[1]).await, []);
    assert!(b.is_online(1).await);
}

/// Hundreds of interleavings: users come and go on three nodes at random while all of them sweep.
/// Counted for each user: what was told alternates between online and offline, begins with online
/// and ends with what is so.
async fn whoever_races_each_transition_is_told_once(back_end: BackEnd) {
    const USERS: i64 = 200;
    /// Transitions told, so that races were among them.
    const ENOUGH: usize = 300;
    let nodes = ["a", "b", "c"].map(|name| back_end.node(name));
    let told: Arc<Mutex<Vec<Transition>>> = Arc::default();
    // Until enough was told, however fast the machine: who comes and goes faster than the graces
    // end is told less of.
    let (least, most) = (Instant::now() + Duration::from_secs(4), Instant::now() + Duration::from_secs(30));
    let acting = nodes.iter().zip(1_u64..).map(|(node, seed)| {
        let (node, told) = (node.clone(), told.clone());
        async move {
            let mut random = seed;
            let mut next = move |below: u64| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 33) % below
            };
            let mut here = HashSet::new();
            let mut acts = 0;
            while Instant::now() < least || (told.lock().len() <= ENOUGH && Instant::now() < most) {
                let users: BTreeSet<i64> =
                    (0..20).map(|_| i64::try_from(next(USERS.unsigned_abs())).unwrap()).collect();
                let (going, coming): (Vec<i64>, Vec<i64>) = users.into_iter().partition(|user| here.contains(user));
                let came = node.presence.arrive(&node.id, &ids(&coming)).await.whole().unwrap();
                node.publish(came.clone()).await;
                told.lock().extend(came);
                node.presence.depart(&node.id, &ids(&going), Duration::from_millis(next(300))).await.whole().unwrap();
                here.extend(coming);
                here.retain(|user| !going.contains(user));
                acts += 1;
                if acts % 5 == 0 {
                    let all: Vec<_> = here.iter().copied().collect();
                    let renewed = node.presence.renew(&node.id, &ids(&all)).await.whole().unwrap();
                    node.publish(renewed.clone()).await;
                    told.lock().extend(renewed);
                }
                let swept = node.presence.sweep(&node.id).await.unwrap();
                node.publish(swept.clone()).await;
                told.lock().extend(swept);
                tokio::task::yield_now().await;
            }
            (here, acts)
        }
    });
    let outcomes = futures_util::future::join_all(acting).await;
    let acts: usize = outcomes.iter().map(|(_, acts)| acts).sum();
    let online: BTreeSet<i64> = outcomes.iter().flat_map(|(here, _)| here.iter().copied()).collect();
    // Graces that still run end.
    until("all that left is told", || async {
        for (node, (here, _)) in nodes.iter().zip(&outcomes) {
            // A lease may have run out on a loaded machine; then this tells that they are online
            // again.
            let here: Vec<_> = here.iter().copied().collect();
            let renewed = node.presence.renew(&node.id, &ids(&here)).await.whole().unwrap();
            node.publish(renewed.clone()).await;
            told.lock().extend(renewed);
        }
        let swept = nodes[0].presence.sweep(&nodes[0].id).await.unwrap();
        nodes[0].publish(swept.clone()).await;
        told.lock().extend(swept);
        nodes[0].count().await == online.len() as u64
    })
    .await;
    // A grace may be as short as the way of an answer: two of one user may cross, and when they
    // were decided says which was first.
    let mut told = told.lock().clone();
    told.sort_by_key(|transition| transition.decided_at);
    let told = by_user(&plain(&told));
    let transitions: usize = told.values().map(Vec::len).sum();
    println!("{acts} rounds of 20 users, {transitions} transitions told");
    assert!(transitions > ENOUGH, "{transitions}");
    for (user, told) in &told {
        let expected: Vec<_> = (0..told.len()).map(|n| n % 2 == 0).collect();
        assert_eq!(told, &expected, "user {user}");
        assert_eq!(told.last(), Some(&online.contains(user)), "user {user}");
    }
    assert_eq!(nodes[1].everyone(30).await.into_iter().collect::<BTreeSet<_>>(), online);
}

async fn pages_are_complete_and_stable(back_end: BackEnd) {
    let a = back_end.node("a");
    let users: Vec<i64> = (1..=1000).map(|n| n * 37).collect();
    a.arrive(&users).await;
    let sorted: BTreeSet<_> = users.iter().copied().collect();
    let once = a.everyone(100).await;
    assert_eq!(once.len(), 1000);
    assert_eq!(once.iter().copied().collect::<BTreeSet<_>>(), sorted);
    for limit in [1, 7, 64, 999, 1000, 1001] {
        if limit > 1 || matches!(back_end, BackEnd::Memory(_)) {
            assert_eq!(a.everyone(limit).await, once, "pages of {limit}");
        }
    }
    // Those who come and go between two pages disturb nobody else.
    let first = a.presence.list(None, 400).await.unwrap();
    a.arrive(&[5, 6, 7]).await;
    a.depart(&once[..3]).await;
    let mut all: Vec<_> = first.items.iter().map(|online| online.user_id.0).collect();
    let mut after = first.next_cursor;
    while let Some(cursor) = after {
        let page = a.presence.list(Some(&cursor), 400).await.unwrap();
        all.extend(page.items.iter().map(|online| online.user_id.0));
        after = page.next_cursor;
    }
    assert_eq!(all.iter().filter(|user| sorted.contains(user)).copied().collect::<Vec<_>>(), once);
    assert_eq!(all.len(), all.iter().collect::<HashSet<_>>().len());
    assert_eq!(a.count().await, 1003);
    for broken in ["", "x", "1.x", "99.5", "1.2.3", "-1.5", "0.1"] {
        let answer = a.presence.list(Some(broken), 10).await;
        assert!(matches!(answer, Err(Error::Invalid(_))), "{broken}: {answer:?}");
    }
}

async fn who_is_online_is_answered_in_the_order_asked(back_end: BackEnd) {
    let a = back_end.node("a");
    a.arrive(&[5, 70, 6]).await;
    let answer = a.presence.online(&ids(&[6, 999, 5, 70, 6, -3])).await.unwrap();
    let known: Vec<_> = answer.iter().map(Option::is_some).collect();
    assert_eq!(known, [true, false, true, true, true, false]);
    let listed = a.presence.list(None, 10).await.unwrap();
    for online in listed.items {
        assert_eq!(a.presence.online(&[online.user_id]).await.unwrap(), [Some(online.since)]);
    }
}

async fn nobody_is_no_trouble(back_end: BackEnd) {
    let a = back_end.node("a");
    assert_eq!(a.arrive(&[]).await, []);
    a.depart(&[]).await;
    assert_eq!(a.renew(&[]).await, []);
    assert_eq!(a.sweep().await, []);
    assert_eq!(a.presence.online(&[]).await.unwrap(), []);
    assert_eq!((a.count().await, a.everyone(5).await.len()), (0, 0));
}
