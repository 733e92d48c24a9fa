//! G3 over failovers of Redis in which no connection is cut: the old primary goes on answering.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::figures::reconnects;
use super::tally::AGAIN_WITHIN;
use crate::support::deployment::Builder;
use crate::support::proxy::Mode;
use crate::support::{Deployment, Proxy, Redis, RedisCluster, SOON, Ws, blocking, eventually, json, limited};

/// From the swap to the first event that crosses: a probe, a new link, a retry.
const MOVED_WITHIN: Duration = Duration::from_secs(3);

async fn is_primary(server: &Redis) -> bool {
    server.text(&["INFO", "replication"]).await.contains("role:master")
}

/// Makes `from` a replica of `to`, with every connection of its clients kept.
async fn swap(proxy: &Proxy, from: &Redis, to: &Redis) {
    to.command(&["REPLICAOF", "NO", "ONE"]).await;
    from.command(&["REPLICAOF", "127.0.0.1", &to.port().to_string()]).await;
    assert!(is_primary(to).await && !is_primary(from).await);
    proxy.lead_to(&to.address());
}

/// The nodes reach Redis through the proxy.
fn behind(builder: Builder, server: &Arc<Redis>, proxy: &Proxy) -> Builder {
    let nodes = ["api-0", "gateway-0", "gateway-1"];
    let url = format!("redis://{}", proxy.address());
    nodes.iter().fold(builder.redis(server), |builder, node| builder.node_env(node, "REDIS_URL", &url))
}

async fn ready(d: &Deployment, wanted: bool) {
    for node in d.nodes() {
        let what = format!("{} ready: {wanted}", node.name());
        let is_ready = async || {
            let node = Arc::clone(&node);
            let status = blocking(move || node.probe("/readyz")).await;
            ((status == Some(200)) == wanted).then_some(())
        };
        eventually(&what, Duration::from_secs(10), is_ready).await;
    }
}

#[tokio::test]
async fn a_link_to_a_demoted_primary_is_left() {
    limited(async {
        let (first, second) = (Redis::private().await, Redis::private().await);
        second.command(&["REPLICAOF", "127.0.0.1", &first.port().to_string()]).await;
        let (staying, moving) = (Proxy::to(&first.address()), Proxy::to(&first.address()));
        let d = behind(Deployment::cluster(1, 2), &first, &staying)
            .node_env("gateway-1", "REDIS_URL", format!("redis://{}", moving.address()))
            .start()
            .await;
        let (ann, bob) = (d.user().await, d.user().await);
        let chat_id = ann.group_id(&[&bob]).await;
        let (mut typist, mut reader) = (ann.connect_to(0).await, bob.connect_to(1).await);
        typist.subscribe(chat_id).await;
        reader.subscribe(chat_id).await;
        ann.say(chat_id, "before").await;
        reader.expect("new_message").await;

        let mut slowest = Duration::ZERO;
        for (from, to) in [(&first, &second), (&second, &first)] {
            swap(&staying, from, to).await;
            // Of one node the connections are cut, as a Sentinel does; the others' are kept.
            moving.lead_to(&to.address());
            moving.cut();
            let swapped = Instant::now();
            let sent = ann.say(chat_id, "after").await;
            let message = reader.expect_where("the message", SOON, |frame| frame["seq"] == sent["seq"]).await;
            assert_eq!(message["type"], "new_message");
            slowest = slowest.max(swapped.elapsed());
            ready(&d, true).await;
            // A node whose link stood before the others' swap would still be alone.
            notice_crosses(&d, &mut typist, &mut reader, chat_id).await;
        }
        println!("G3 Redis demoted with all connections kept: the first message after {slowest:.1?}");
        assert!(slowest < MOVED_WITHIN, "{slowest:?}");
    })
    .await;
}

/// Typing, which nothing but the bus carries, and a private message to an unsubscribed connection.
async fn notice_crosses(d: &Deployment, typist: &mut Ws, reader: &mut Ws, chat_id: i64) {
    let at = Instant::now();
    loop {
        typist.send(json!({"type": "typing", "chat_id": chat_id})).await;
        if reader.next_within(Duration::from_millis(2100)).await.is_some_and(|frame| frame["type"] == "typing") {
            break;
        }
        assert!(at.elapsed() < SOON, "typing does not cross");
    }
    let (cem, dan) = (d.user().await, d.user().await);
    let mut alone = dan.connect_to(1).await;
    let private = cem.private_chat_id(&dan).await;
    cem.say(private, "to you").await;
    assert_eq!(alone.expect("new_message").await["chat_id"], private);
}

/// A paused machine, or one without time for its processes: nothing was wrong with the link, and
/// all that was published waits in it.
#[tokio::test]
async fn a_gateway_that_stood_still_keeps_its_link() {
    const STOOD_STILL: Duration = Duration::from_secs(5);
    limited(async {
        let d = Deployment::cluster(1, 1).start().await;
        let (ann, bob) = (d.user().await, d.user().await);
        let chat_id = ann.group_id(&[&bob]).await;
        let mut reader = bob.connect().await;
        reader.subscribe(chat_id).await;
        let gateways = [Arc::clone(d.gateway(0))];
        let before = reconnects(&gateways).await;
        d.gateway(0).sigstop();
        let begun = Instant::now();
        let mut sent = Vec::new();
        for n in 0..20 {
            sent.push(ann.say(chat_id, &format!("{n}")).await);
        }
        // Measured, not waited for.
        tokio::time::sleep(STOOD_STILL.saturating_sub(begun.elapsed())).await;
        d.gateway(0).sigcont();
        for message in &sent {
            assert_eq!(&reader.expect_in("new_message", chat_id).await["message"], message);
        }
        // Beyond the time in which a link without probes is given up.
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(reconnects(&gateways).await <= before, "the link was made anew");
    })
    .await;
}

/// The only api is killed while what it publishes hangs in a silent link: the gateways publish it.
#[tokio::test]
async fn gateways_publish_what_the_last_api_left() {
    limited(async {
        let redis = Redis::private().await;
        let proxy = Proxy::to(&redis.address());
        let url = format!("redis://{}", proxy.address());
        let d = Deployment::cluster(1, 2).redis(&redis).node_env("api-0", "REDIS_URL", url).start().await;
        let (ann, bob) = (d.user().await, d.user().await);
        let chat_id = ann.group_id(&[&bob]).await;
        let private = ann.private_chat_id(&bob).await;
        let mut sockets = vec![bob.connect_to(0).await, bob.connect_to(1).await];
        for ws in &mut sockets {
            ws.subscribe(chat_id).await;
        }
        proxy.set(Mode::Stall);
        let sent = [ann.say(chat_id, "to all").await, ann.say(private, "to you").await];
        d.api(0).kill_9();
        let killed = Instant::now();
        for ws in &mut sockets {
            for message in &sent {
                let chat_id = message["chat_id"].as_i64().unwrap();
                assert_eq!(&ws.expect_in("new_message", chat_id).await["message"], message);
            }
        }
        let took = killed.elapsed();
        println!("G3 the only api killed between commit and publish: a gateway published after {took:.1?}");
        assert!(took < AGAIN_WITHIN, "{took:?}");
        for ws in &mut sockets {
            ws.none_of(&["new_message", "resync"]).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_node_that_reaches_a_replica_is_not_ready_and_says_so() {
    limited(async {
        let (primary, replica) = (Redis::private().await, Redis::private().await);
        replica.command(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]).await;
        let proxy = Proxy::to(&primary.address());
        let d = behind(Deployment::cluster(1, 1), &primary, &proxy).start().await;
        swap(&proxy, &primary, &replica).await;
        ready(&d, true).await;
        // A link that leads to the replica from now on finds no primary.
        proxy.lead_to(&primary.address());
        proxy.cut();
        ready(&d, false).await;
        let line = "the server is a replica";
        eventually("the log names the cause", SOON, async || d.tail(200).contains(line).then_some(())).await;
        let lines = d.tail(1000).matches(line).count();
        assert!(lines <= d.nodes().len() * 2, "{lines} lines, each cause once a link");
        proxy.lead_to(&replica.address());
        ready(&d, true).await;
        d.user().await.connect_to(0).await.round_trip().await;
    })
    .await;
}

/// One address of a cluster is that cluster, in everything: events, presence and limits.
#[tokio::test]
async fn one_address_of_a_cluster_is_the_cluster() {
    limited(async {
        let cluster = RedisCluster::start(3).await;
        let url = cluster.urls().remove(1);
        let nodes = ["api-0", "gateway-0", "gateway-1"];
        let alone = Deployment::cluster(1, 2).env("RATE_LIMITS", "on");
        let d = nodes.iter().fold(alone, |builder, node| builder.node_env(node, "REDIS_URL", &url)).start().await;
        for _ in 0..4 {
            let (ann, bob) = (d.user().await, d.user().await);
            let chat_id = ann.group_id(&[&bob]).await;
            let (mut first, mut second) = (ann.connect_to(0).await, bob.connect_to(1).await);
            first.subscribe(chat_id).await;
            second.subscribe(chat_id).await;
            let sent = ann.say(chat_id, "text").await;
            assert_eq!(second.expect_in("new_message", chat_id).await["message"], sent);
            let online = async || {
                let answer = ann.rest.on(0).get(&format!("/ws/chat/{chat_id}/online-users")).await.ok(200);
                (answer["count"] == 2).then_some(())
            };
            eventually("both are online", SOON, online).await;
        }
    })
    .await;
}
