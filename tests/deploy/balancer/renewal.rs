//! A rolling restart behind each load balancer (G8): every client is back when it was told to
//! come, nothing that was sent is lost or refused, nobody was told offline, and the sockets are
//! spread again.
//!
//! A balancer moves no socket that stands. The sockets of the last gateway go to the others while
//! it is away: with two, the other one holds all of them after a kill. Gateways with too many hand
//! some over.

use std::time::{Duration, Instant};

use super::clients::{Clients, Seen};
use super::{Balancer, Kind, both_balancers, sockets};
use crate::guarantees::watch::{Flow, assert_consecutive};
use crate::support::{Deployment, User, eventually};

both_balancers!(
    two_gateways_and_two_apis_are_renewed_in_turn,
    three_gateways_are_renewed_in_turn,
    two_gateways_are_killed_in_turn,
    three_gateways_are_killed_in_turn,
);

const SOCKETS: u8 = 100;
const DRAIN: Duration = Duration::from_secs(2);
/// The longest delay that a gateway names.
const LONGEST_DELAY: Duration = Duration::from_secs(3);
/// How much later than it was told a client may be back, on a machine that is busy with other
/// tests.
const LATE: Duration = Duration::from_secs(2);
/// How long a gateway that was renewed waits for its share: a few sockets first, then the rest.
const SHARED_WITHIN: Duration = Duration::from_secs(30);

/// How a gateway ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Sigterm,
    Kill9,
}

struct Renewal {
    kind: Kind,
    cluster: Deployment,
    balancer: Balancer,
    author: User,
    chat_id: i64,
    clients: Clients,
    flow: Flow,
}

impl Renewal {
    async fn of(kind: Kind, gateways: usize) -> Self {
        let cluster =
            Deployment::cluster(2, gateways).env("DRAIN_SECONDS", DRAIN.as_secs()).env("REBALANCE", "on").start().await;
        let balancer = Balancer::before(kind, &cluster).await;
        let author = balancer.user().await;
        let mut users = Vec::new();
        for _ in 0..10 {
            users.push(balancer.user().await);
        }
        let chat_id = author.group_id(&users.iter().collect::<Vec<_>>()).await;
        let clients = Clients::open(&balancer.ws_url(), &users, usize::from(SOCKETS), chat_id).await;
        let flow = Flow::start(&author.rest, chat_id, 10, |n| format!("message {n}"));
        let renewal = Self { kind, cluster, balancer, author, chat_id, clients, flow };
        renewal.balanced("at first").await;
        // Each client has an event to go on from.
        renewal.clients.all_reached(5, LONGEST_DELAY).await;
        renewal
    }

    /// How many sockets each gateway holds, once none is under way.
    async fn settled(&self) -> Vec<i64> {
        self.clients.all_connected(LONGEST_DELAY + LATE).await;
        // Some may be handed over since.
        eventually("the sockets in the metrics", LONGEST_DELAY + LATE, async || {
            let held = sockets(&self.cluster).await;
            (held.iter().sum::<i64>() == i64::from(SOCKETS)).then_some(held)
        })
        .await
    }

    /// How many sockets each gateway holds, once none has more than one and a half times its share.
    async fn shared(&self) -> Vec<i64> {
        let share = i64::from(SOCKETS) / i64::try_from(self.cluster.gateways().len()).unwrap();
        let (began, mut held) = (Instant::now(), self.settled().await);
        while *held.iter().max().unwrap() > share * 3 / 2 {
            assert!(began.elapsed() < SHARED_WITHIN, "{held:?}, where {} are right", share * 3 / 2);
            tokio::time::sleep(Duration::from_millis(100)).await;
            held = self.settled().await;
        }
        held
    }

    async fn balanced(&self, when: &str) {
        let held = self.settled().await;
        let (fullest, share) = (*held.iter().max().unwrap(), i64::from(SOCKETS) / i64::try_from(held.len()).unwrap());
        assert!(fullest <= share + 3, "{when}: {held:?}");
    }

    /// Ends one gateway and starts it again; how the sockets were spread when it was ready.
    async fn renew_gateway(&self, number: usize, end: End) -> Vec<i64> {
        let node = self.cluster.gateway(number);
        let mark = self.balancer.log.mark();
        match end {
            End::Sigterm => {
                node.sigterm();
                let exit = node.wait_exit(DRAIN + Duration::from_secs(5)).await;
                assert_eq!(exit.code(), Some(0), "{exit}");
                node.restart().await;
                sockets(&self.cluster).await
            }
            End::Kill9 => {
                node.kill_9();
                self.settled_elsewhere(number).await;
                node.restart().await;
                let when_ready = sockets(&self.cluster).await;
                // All clients of the next one come back within half a second, before a balancer has
                // asked twice.
                self.balancer.has_heard_of(number, mark).await;
                when_ready
            }
        }
    }

    async fn settled_elsewhere(&self, number: usize) {
        eventually("all sockets on the other gateways", LONGEST_DELAY + LATE, async || {
            let held = sockets(&self.cluster).await;
            (held[number] == 0 && held.iter().sum::<i64>() == i64::from(SOCKETS)).then_some(())
        })
        .await;
    }

    async fn renew_api(&self, number: usize) {
        let node = self.cluster.api(number);
        node.sigterm();
        let exit = node.wait_exit(DRAIN + Duration::from_secs(5)).await;
        assert_eq!(exit.code(), Some(0), "{exit}");
        node.restart().await;
    }

    /// Asserts what a renewal promises, and tells how it went.
    async fn end(self, what: &str, when_ready: &[i64]) {
        let held = self.shared().await;
        let flowed = self.flow.stop().await;
        self.clients.all_reached(flowed.head(), LONGEST_DELAY + LATE).await;
        let seen = self.clients.stop().await;
        let history = self.author.history(self.chat_id).await;
        assert_eq!(history["seq"], flowed.head(), "a message more than was sent");

        let sum = |of: fn(&Seen) -> usize| seen.iter().map(of).sum::<usize>();
        let late = seen.iter().flat_map(|seen| seen.late.iter().copied()).max().unwrap_or_default();
        println!(
            "G8 behind {:?}, {what}: sockets {when_ready:?} when the last gateway was ready, {held:?} in the end; {} connections, {} refused, \
             at most {late:.2?} late; {} messages, {} refused, {} sent again",
            self.kind,
            sum(|seen| seen.connections),
            sum(|seen| seen.refused.len()),
            flowed.seqs.len(),
            flowed.refused.len(),
            flowed.retried,
        );
        let refused: Vec<&String> = seen.iter().flat_map(|seen| &seen.refused).collect();
        assert!(refused.is_empty(), "{} handshakes were refused, the first: {}", refused.len(), refused[0]);
        assert!(late <= LATE, "a client was back {late:?} after it was told to come");
        assert_eq!(flowed.refused, Vec::<String>::new());
        assert_eq!(flowed.retried, 0, "messages of which nothing was answered");
        for seen in &seen {
            assert_eq!(seen.seqs.last(), Some(&flowed.head()), "a client's last message");
            assert_eq!(seen.faults, Vec::<String>::new());
            assert_consecutive(&seen.seqs, "a client");
        }
    }
}

async fn two_gateways_and_two_apis_are_renewed_in_turn(kind: Kind) {
    let renewal = Renewal::of(kind, 2).await;
    renewal.renew_gateway(0, End::Sigterm).await;
    renewal.renew_api(0).await;
    renewal.renew_api(1).await;
    let when_ready = renewal.renew_gateway(1, End::Sigterm).await;
    renewal.end("two gateways and two apis renewed", &when_ready).await;
}

async fn three_gateways_are_renewed_in_turn(kind: Kind) {
    renewed_in_turn(kind, 3, End::Sigterm).await;
}

async fn two_gateways_are_killed_in_turn(kind: Kind) {
    renewed_in_turn(kind, 2, End::Kill9).await;
}

async fn three_gateways_are_killed_in_turn(kind: Kind) {
    renewed_in_turn(kind, 3, End::Kill9).await;
}

async fn renewed_in_turn(kind: Kind, gateways: usize, end: End) {
    let renewal = Renewal::of(kind, gateways).await;
    let mut when_ready = Vec::new();
    for number in 0..gateways {
        when_ready = renewal.renew_gateway(number, end).await;
    }
    renewal.end(&format!("{gateways} gateways ended by {end:?}"), &when_ready).await;
}
