//! Clients that a balancer brings to the same gateway whatever it holds (a hash of the address, a
//! weight): a gateway that hands them over notices, and leaves them alone.

use std::time::Duration;

use super::clients::Clients;
use super::{metric, sockets};
use crate::guarantees::watch::{Flow, assert_consecutive};
use crate::support::{Deployment, eventually, limited};

/// On each gateway that has some, each of a user of its own; the third has none.
const SOCKETS: usize = 30;
/// Both hold 30 where the mean is 20.
const SURPLUS: i64 = 10;
/// Until a hand-over begins, its clients are back and counted: 4 and 5 s, and the looks.
const NOTICED_WITHIN: Duration = Duration::from_secs(20);

#[tokio::test]
async fn connections_that_come_back_to_their_gateway_are_handed_over_once() {
    limited(async {
        // Less than most are told to wait for: they are not offline meanwhile.
        let builder = Deployment::cluster(1, 3).env("PRESENCE_GRACE_SECONDS", "0.2");
        let cluster = builder.env("REBALANCE", "on").node_env("gateway-2", "REBALANCE", "off").start().await;
        let author = cluster.user().await;
        let mut users = Vec::new();
        for _ in 0..2 * SOCKETS {
            users.push(cluster.user().await);
        }
        let chat_id = author.group_id(&users.iter().collect::<Vec<_>>()).await;
        let flow = Flow::start(&author.rest, chat_id, 10, |n| format!("message {n}"));
        let mut all = Vec::new();
        // The one that hands over comes last: it never has more than a third too many.
        for (number, users) in [2, 0].into_iter().zip(users.chunks(SOCKETS)) {
            all.push(Clients::open(&cluster.gateway(number).ws_url(), users, SOCKETS, chat_id).await);
        }
        assert_eq!(sockets(&cluster).await, [30, 0, 30]);

        let node = cluster.gateway(0);
        let noticed = eventually("the return to be noticed", NOTICED_WITHIN, async || {
            node.log().since(0).into_iter().find(|line| line.contains("came back here"))
        })
        .await;
        assert!(noticed.contains("\"again_after_seconds\":60") && noticed.contains("REBALANCE=off"), "{noticed}");
        assert_eq!(metric(node, "messenger_ws_handed_over_total").await, Some(SURPLUS));
        assert_eq!(metric(cluster.gateway(2), "messenger_ws_handed_over_total").await, Some(0), "it is off there");

        let flowed = flow.stop().await;
        let mut connections = 0;
        for clients in all {
            clients.all_reached(flowed.head(), NOTICED_WITHIN).await;
            for seen in clients.stop().await {
                connections += seen.connections;
                assert_eq!((seen.faults, seen.refused), (Vec::<String>::new(), Vec::new()));
                assert_consecutive(&seen.seqs, "a client");
            }
        }
        assert_eq!(connections, 2 * SOCKETS + usize::try_from(SURPLUS).unwrap());
    })
    .await;
}
