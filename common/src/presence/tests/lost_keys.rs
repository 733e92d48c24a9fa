//! A Redis that evicts takes single keys: the bucket is whole again within a lease, and nothing is
//! announced that is not so, nor twice.

use super::*;
use std::collections::BTreeSet;
use tokio::time::Instant;

/// Users of one bucket.
const STAYING: [i64; 4] = [2, 66, 130, 194];
const LEAVING: i64 = 258;
const IN_GRACE: i64 = 322;

async fn evict(server: &Redis, keys: &[&str]) {
    for key in keys {
        server.command(&["DEL", &format!("{{m:test:p:2}}:{key}")]).await;
    }
}

/// One node loses `keys` while one user is in grace, one leaves and others stay on two nodes; then
/// the node that holds most of them dies.
async fn heals(keys: &[&str]) {
    let server = Redis::private().await;
    let back_end = BackEnd::Redis(server.clone());
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    a.arrive(&[STAYING.as_slice(), &[LEAVING, IN_GRACE]].concat()).await;
    b.arrive(&STAYING[2..]).await;
    a.depart(&[IN_GRACE]).await;
    let mut told = b.sweep().await;
    evict(&server, keys).await;
    let lost = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    let expected: BTreeSet<i64> = STAYING.into();
    let mut of_a = [STAYING.as_slice(), &[LEAVING]].concat();
    loop {
        ticks.tick().await;
        told.extend(a.sweep().await);
        told.extend(a.renew(&of_a).await);
        told.extend(b.renew(&STAYING[2..]).await);
        let online: BTreeSet<i64> = a.everyone(10).await.into_iter().collect();
        if lost.elapsed() > LEASE / 4 && of_a.len() > STAYING.len() {
            assert!(online.is_superset(&expected), "{keys:?}: {online:?}");
            a.depart(&[LEAVING]).await;
            of_a.pop();
        }
        if online == expected && told.len() == 2 {
            break;
        }
        assert!(lost.elapsed() < LEASE * 4, "{keys:?}: {online:?}, told {told:?}");
    }
    // Nobody is a ghost once its node dies, whatever was lost before.
    evict(&server, keys).await;
    let died = Instant::now();
    while told.len() < 4 {
        ticks.tick().await;
        told.extend(b.sweep().await);
        told.extend(b.renew(&STAYING[2..]).await);
        assert!(died.elapsed() < LEASE * 4, "{keys:?}: told {told:?}");
    }
    assert_eq!(b.everyone(10).await.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([130, 194]), "{keys:?}");
    b.depart(&STAYING[2..]).await;
    while told.len() < 6 {
        ticks.tick().await;
        told.extend(b.sweep().await);
        assert!(died.elapsed() < LEASE * 8, "{keys:?}: told {told:?}");
    }
    assert_eq!((b.count().await, b.everyone(10).await), (0, vec![]), "{keys:?}");
    let once: HashMap<i64, Vec<bool>> =
        STAYING.into_iter().chain([LEAVING, IN_GRACE]).map(|user| (user, vec![false])).collect();
    assert_eq!(by_user(&told), once, "{keys:?}: each offline once, and no online");
}

#[tokio::test]
async fn each_key_that_is_lost_comes_back_without_a_ghost() {
    let keys = ["held", "online", "since", "grace", "gone", "leases", "n:a", "n:b", "d:a", "pending", "claims"];
    futures_util::future::join_all(keys.iter().map(|key| heals(std::slice::from_ref(key)))).await;
}

#[tokio::test]
async fn so_do_several_at_once() {
    let several: [&[&str]; 5] = [
        &["held", "leases"],
        &["held", "n:a", "n:b"],
        &["online", "since", "grace"],
        &["held", "leases", "online"],
        &["held", "d:a", "d:b", "leases"],
    ];
    futures_util::future::join_all(several.map(heals)).await;
}

/// Where nothing says any more who holds whom, the users are named again, whatever their digest
/// says.
#[tokio::test]
async fn users_whom_a_mend_cannot_place_are_brought_back_by_their_node() {
    let server = Redis::private().await;
    let a = BackEnd::Redis(server.clone()).node("a");
    a.arrive(&STAYING).await;
    a.renew(&STAYING).await;
    evict(&server, &["held", "leases"]).await;
    let lost = Instant::now();
    let (mut told, mut ticks) = (Vec::new(), tokio::time::interval(Duration::from_millis(250)));
    for _ in 0..3 {
        ticks.tick().await;
        told.extend(a.sweep().await);
    }
    while lost.elapsed() < LEASE * 2 {
        ticks.tick().await;
        told.extend(a.renew(&STAYING).await);
        told.extend(a.sweep().await);
    }
    assert_eq!(by_user(&told), HashMap::new(), "they are connected all the time");
    assert_eq!(a.everyone(10).await.into_iter().collect::<BTreeSet<_>>(), STAYING.into());
}
