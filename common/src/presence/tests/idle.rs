//! What presence asks of one Redis server: by its commands, not by what scripts run.

use super::*;
use messenger_testing::SOON;
use std::collections::BTreeSet;
use tokio::time::Instant;

/// What a gateway asks a second beside presence: its link's probe (two commands), and the server's
/// policy every ten seconds.
const BESIDE: f64 = 2.2;
const A_SECOND: f64 = 5.0;
/// Between two renewals under the lease of 15 s that is the default.
const RENEWAL_SECONDS: u8 = 5;

/// The server's own time for the scripts of a call, µs.
pub(super) async fn cost(server: &Redis, call: impl Future<Output = ()>) -> f64 {
    server.command(&["CONFIG", "RESETSTAT"]).await;
    call.await;
    let stats = server.text(&["INFO", "commandstats"]).await;
    let of = |name: &str| -> f64 {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:"))).unwrap_or_default();
        line.split(',').find_map(|part| part.strip_prefix("usec=")).map_or(0.0, |usec| usec.parse().unwrap())
    };
    of("evalsha") + of("eval")
}

#[tokio::test]
async fn an_idle_gateway_asks_at_most_five_commands_a_second_whatever_it_holds() {
    for users in [0, 300, 5_000, 50_000] {
        let server = Redis::private().await;
        // So long that no lease ends on a slow machine.
        let node = |name: &str| Node {
            id: NodeId(name.to_owned()),
            presence: redis(vec![server.url()], false, Duration::from_mins(1)),
        };
        let (a, b) = (node("a"), node("b"));
        let held: Vec<i64> = (0..users).collect();
        for some in held.chunks(1_000) {
            a.arrive(some).await;
        }
        let renew = async || {
            assert_eq!(a.renew(&held).await, []);
            assert_eq!(a.presence.surplus(&a.id, &ids(&held)).await.unwrap(), []);
        };
        let sweep = async || assert_eq!(a.lead().await, (true, Some(users.unsigned_abs())));
        // The first names all. The first that asks becomes the one that sweeps, and a server learns
        // a script once.
        let by_names = cost(&server, renew()).await;
        renew().await;
        sweep().await;
        sweep().await;
        assert!(!b.lead().await.0);
        let by_digest = cost(&server, renew()).await;
        // A bucket is not swept twice within 200 ms.
        tokio::time::sleep(Duration::from_millis(250)).await;
        let swept = cost(&server, sweep()).await;

        let mut monitor = server.monitor().await;
        renew().await;
        let renewal = monitor.commands().await.len();
        for _ in 0..2 * RENEWAL_SECONDS {
            sweep().await;
        }
        let sweeps = monitor.commands().await.len();
        for _ in 0..RENEWAL_SECONDS {
            assert!(!b.lead().await.0);
        }
        let waiting = monitor.commands().await.len();
        let a_second =
            |commands: usize| f64::from(u32::try_from(commands).unwrap()) / f64::from(RENEWAL_SECONDS) + BESIDE;
        let (sweeping, other) = (a_second(renewal + sweeps), a_second(renewal + waiting));
        println!(
            "{users} users: {sweeping:.1} commands/s while it sweeps, {other:.1} while another does; of the server, a renewal \
             takes {by_digest:.0} µs (by names {by_names:.0}), a sweep {swept:.0}"
        );
        assert!(sweeping <= A_SECOND && other <= A_SECOND, "{users} users: {sweeping:.1}, {other:.1}");
    }
}

/// A gateway of thousands dies, or all of its graces end at once: each transition is returned once,
/// by commands that are bounded.
#[tokio::test]
async fn a_sweep_with_much_to_do_is_several_commands_and_returns_each_transition_once() {
    const USERS: i64 = 3_000;
    /// A sweep takes up to 250, and the last of its buckets has one more at most.
    const COMMANDS: usize = 3_000 / 250;
    let server = Redis::private().await;
    let back_end = BackEnd::Redis(server.clone());
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    let users: Vec<i64> = (0..USERS).collect();
    a.arrive(&users).await;
    b.arrive(&[USERS]).await;
    assert!(b.lead().await.0);
    a.presence.depart(&a.id, &ids(&users), Duration::ZERO).await.whole().unwrap();
    let mut monitor = server.monitor().await;
    let mut told: Vec<Transition> = Vec::new();
    let mut commands = 0;
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    while told.len() < users.len() {
        ticks.tick().await;
        // However long it takes, the other's lease does not end.
        assert_eq!(b.renew(&[USERS]).await, []);
        monitor.commands().await;
        told.extend(b.presence.lead(&b.id, Own::default()).await.unwrap().transitions);
        let sent = monitor.commands().await;
        commands += sent.iter().filter(|command| command.name == "evalsha").count();
        assert!(begun.elapsed() < SOON, "{} of {USERS}", told.len());
    }
    let once: BTreeSet<i64> = told.iter().map(|transition| transition.user_id.0).collect();
    assert_eq!((once.len(), told.len()), (users.len(), users.len()), "each once");
    assert!(commands >= COMMANDS, "{commands} commands for {USERS} users");
    assert_eq!(b.count().await, 1);
    b.publish(told).await;
    assert_eq!(b.presence.lead(&b.id, Own::default()).await.unwrap().transitions, []);
}

/// One bucket is broken: the others are swept by the same command.
#[tokio::test]
async fn a_bucket_that_cannot_be_swept_holds_up_no_other() {
    let server = Redis::private().await;
    let back_end = BackEnd::Redis(server.clone());
    let a = back_end.node("a");
    let users: Vec<i64> = (0..64).collect();
    a.arrive(&users).await;
    server.command(&["SET", "{m:test:p:5}:held", "of another kind"]).await;
    let left = [0, 4, 6, 63];
    a.presence.depart(&a.id, &ids(&left), Duration::ZERO).await.whole().unwrap();
    let told = by_user(&a.sweep_until(&[], left.len()).await);
    assert_eq!(told, left.into_iter().map(|user| (user, vec![false])).collect());
    assert!(a.lead().await.0, "it goes on to sweep");
}
