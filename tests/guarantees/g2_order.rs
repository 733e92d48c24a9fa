//! G2: each subscription sees consecutive numbers, each once, although Redis forgets, links stall
//! and clocks differ.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use sqlx::{Connection, Executor, PgConnection};

use super::figures::{backplane_shows, gap_fills, reconnects};
use super::load::{Load, READERS};
use super::tally::ms;
use crate::support::proxy::Mode;
use crate::support::{Deployment, Postgres, Proxy, Redis, SOON, Way, Ws, eventually, json, limited, process};

#[tokio::test]
async fn redis_kills_all_subscriptions_again_and_again() {
    limited(async {
        let d = Deployment::cluster(2, 2).start().await;
        let mut load = Load::start(&d).await;
        let links = reconnects(&d.nodes()).await;
        load.fault_begins();
        let mut killed = 0;
        for _ in 0..6 {
            backplane_shows(&d.nodes(), true).await;
            let answer = d.redis().command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
            load.fault_is_over();
            match answer {
                // of two apis and two gateways
                redis::Value::Int(links @ 1..=4) => killed += u32::try_from(links).unwrap(),
                other => panic!("{other:?}"),
            }
            load.go_on(50).await;
        }
        let tally = load.finish("CLIENT KILL TYPE pubsub, six times").await;
        tally.check();
        assert_eq!(tally.connections, READERS, "no client notices");
        let made_anew = reconnects(&d.nodes()).await - links;
        assert!(made_anew >= f64::from(killed), "{made_anew} links made anew of {killed} killed");
    })
    .await;
}

/// The link of one node to Redis goes silent while both ends hold it for open.
async fn one_link_stalls(node: &str, fault: &str) {
    let redis = Redis::private().await;
    let proxy = Proxy::to(&redis.address());
    let url = format!("redis://{}", proxy.address());
    let d = Deployment::cluster(2, 2).redis(&redis).node_env(node, "REDIS_URL", url).start().await;
    let nodes = d.nodes();
    let (behind, others): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|other| other.name() == node);
    let mut load = Load::start(&d).await;
    let (fills, links) = (gap_fills(d.gateways()).await, reconnects(&behind).await);
    load.fault_begins();
    proxy.set(Mode::Stall);
    backplane_shows(&behind, false).await;
    backplane_shows(&others, true).await;
    load.go_on(100).await;
    proxy.set(Mode::Forward);
    load.fault_is_over();
    backplane_shows(&behind, true).await;
    let tally = load.finish(fault).await;
    tally.check();
    assert_eq!(tally.connections, READERS, "no client notices");
    assert_eq!(tally.refused.len() + tally.unanswered, 0, "nor does a writer");
    assert!(tally.slowest_send() < Duration::from_secs(1), "{tally}");
    assert!(gap_fills(d.gateways()).await > fills, "what did not come was read from the log");
    assert!(reconnects(&behind).await > links);
}

#[tokio::test]
async fn the_link_of_a_gateway_stalls() {
    limited(one_link_stalls("gateway-0", "a gateway's link to Redis stalled")).await;
}

#[tokio::test]
async fn the_link_of_an_api_stalls() {
    limited(one_link_stalls("api-0", "an api's link to Redis stalled")).await;
}

/// As [`one_link_stalls`], but the link ends and no new one can be made.
#[tokio::test]
async fn the_link_of_a_gateway_is_refused() {
    limited(async {
        let redis = Redis::private().await;
        let proxy = Proxy::to(&redis.address());
        let url = format!("redis://{}", proxy.address());
        let d = Deployment::cluster(2, 2).redis(&redis).node_env("gateway-0", "REDIS_URL", url).start().await;
        let behind = [Arc::clone(d.gateway(0))];
        let mut load = Load::start(&d).await;
        load.fault_begins();
        proxy.set(Mode::Refuse);
        proxy.cut();
        backplane_shows(&behind, false).await;
        load.go_on(100).await;
        proxy.set(Mode::Forward);
        load.fault_is_over();
        let tally = load.finish("a gateway's link to Redis cut and refused").await;
        tally.check();
        assert_eq!(tally.connections, READERS, "no client notices");
    })
    .await;
}

/// Half of the nodes live five minutes ago, the other half in five minutes: what is stored is
/// stamped by Postgres, and lasting is measured by clocks that only run.
#[tokio::test]
async fn clocks_are_ten_minutes_apart() {
    limited(async {
        let library = crate::support::blocking(process::faketime).await;
        let mut builder = Deployment::cluster(2, 2);
        for (node, shift) in [("api-0", "-5m"), ("api-1", "+5m"), ("gateway-0", "+5m"), ("gateway-1", "-5m")] {
            builder = builder
                .node_env(node, "LD_PRELOAD", &library)
                .node_env(node, "FAKETIME", shift)
                .node_env(node, "FAKETIME_DONT_FAKE_MONOTONIC", 1)
                .node_env(node, "DONT_FAKE_MONOTONIC", 1);
        }
        let d = builder.start().await;
        let apart = [clock_of(&d, 0).await, clock_of(&d, 1).await];
        assert!(apart[0] < -200 && apart[1] > 200, "the clocks are apart: {apart:?}");

        let (ann, bob) = (d.user().await, d.user().await);
        let chat_id = ann.group_id(&[&bob]).await;
        let mut stamps = Vec::new();
        for n in 0..20 {
            let message =
                ann.rest.on(n).post("/messages/send", json!({"chat_id": chat_id, "text": format!("{n}")})).await;
            stamps.push(message.ok(201)["created_at"].as_str().unwrap().to_owned());
        }
        let in_order = stamps.is_sorted();
        assert!(in_order, "stamped by two clocks: {stamps:?}");

        let mut load = Load::start(&d).await;
        load.fault_begins();
        d.gateway(0).kill_9();
        load.fault_is_over();
        load.go_on(100).await;
        d.gateway(0).restart().await;
        let tally = load.finish("clocks ten minutes apart, kill -9 of a gateway").await;
        tally.check();

        let mut sockets = vec![bob.connect_to(0).await, bob.connect_to(1).await];
        for n in 0..2 {
            let online = ann.rest.on(n).get(&format!("/ws/chat/{chat_id}/online-users")).await.ok(200);
            assert_eq!(online["items"][0]["user_id"], bob.id, "gateway {n} tells {online}");
        }
        bob.rest.on(1).post_nothing("/auth/logout").await.ok(204);
        for ws in &mut sockets {
            assert_eq!(ws.expect_close(SOON).await.0, 4502);
        }
    })
    .await;
}

/// By how many seconds the clock of the nth api is ahead of this one's: it dates its answers.
async fn clock_of(d: &Deployment, n: usize) -> i64 {
    let user = d.user().await;
    let (api, body) = (user.rest.on(n).anonymous(), json!({"username": user.username, "password": user.password}));
    let tokens = api.post("/auth/login", body).await.ok(200);
    let token = tokens["access_token"].as_str().unwrap();
    let claims = base64_url(token.split('.').nth(1).unwrap());
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    claims["iat"].as_i64().unwrap() - i64::try_from(now).unwrap()
}

fn base64_url(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// How many clients come back at once in the test below.
const CROWD: usize = 300;

#[tokio::test]
async fn a_crowd_comes_back_at_once() {
    limited(async {
        let postgres = Postgres::private().await;
        let builder = Deployment::cluster(2, 2).postgres(&postgres).env("MAX_CONNECTIONS_PER_USER", CROWD);
        let d = builder.start().await;
        let (ann, bob) = (d.user().await, d.user().await);
        let chat_id = ann.group_id(&[&bob]).await;
        let first = d.gateway(0).ws_url();
        let mut crowd = join_all((0..CROWD).map(|_| subscribed(&first, &bob.access, chat_id, None))).await;
        let mut head = 0;
        let mut heads = Vec::new();
        for n in 0..100 {
            if n == 50 {
                d.gateway(0).kill_9();
            }
            head = ann.say(chat_id, &format!("number {n}")).await["seq"].as_i64().unwrap();
            heads.push(head);
        }
        for ws in &mut crowd {
            assert_eq!(ws.expect_close(SOON).await.0, 1006);
        }
        // ten each left off at the same place, further back than what a gateway keeps in memory
        let left_off: Vec<i64> = (0..CROWD).map(|n| heads[n / 10]).collect();
        log_statements(&postgres).await;
        let mark = postgres.log().len();
        let other = d.gateway(1).ws_url();
        let begun = std::time::Instant::now();
        let back = join_all(left_off.iter().map(async |&after| {
            let mut ws = subscribed(&other, &bob.access, chat_id, Some(after)).await;
            let answered = begun.elapsed();
            for seq in after + 1..=head {
                assert_eq!(ws.expect_in("new_message", chat_id).await["seq"], seq);
            }
            (answered, ws)
        }));
        let (answered, mut crowd): (Vec<_>, Vec<_>) = back.await.into_iter().unzip();
        let (answered, took) = (answered.into_iter().max().unwrap(), begun.elapsed());
        let log = postgres.log();
        let mut statements = BTreeMap::<_, usize>::new();
        for line in log[mark..].iter().filter_map(|line| line.split_once("execute ")) {
            *statements.entry(line.1.split_once(": ").map_or(line.1, |(_, text)| text)).or_default() += 1;
        }
        let reads = log[mark..].iter().filter(|line| line.contains("from log o where o.chat_id = c.id")).count();
        let most = statements.values().copied().max().unwrap_or_default();
        println!(
            "{CROWD} clients back after kill -9 of their gateway: subscribed within {}, caught up within {}, \
             the log read {reads} times, no statement more than {most} times",
            ms(answered),
            ms(took)
        );
        assert!(reads >= 1, "the statement is known by its text:\n{}", log[mark..].join("\n"));
        assert!(reads <= CROWD / 10, "{statements:#?}");
        // how many share one depends on how close together they come
        assert!(most <= CROWD / 2, "{statements:#?}");

        let live = ann.say(chat_id, "live").await["seq"].as_i64().unwrap();
        for ws in &mut crowd {
            assert_eq!(ws.expect_in("new_message", chat_id).await["seq"], live);
        }
    })
    .await;
}

async fn subscribed(base: &str, token: &str, chat_id: i64, after: Option<i64>) -> Ws {
    let mut ws = Ws::open(base, Way::Path, token).await;
    ws.expect_welcome().await;
    let answer = match after {
        None => ws.subscribe(chat_id).await,
        Some(after) => ws.subscribe_after(chat_id, after).await,
    };
    assert!(!answer["resync"].as_bool().unwrap_or(false), "{answer}");
    ws
}

/// Has the server write every statement that it runs into its log.
async fn log_statements(postgres: &Arc<Postgres>) {
    let mut link = PgConnection::connect(&postgres.url("postgres")).await.unwrap();
    link.execute("alter system set log_statement = 'all'").await.unwrap();
    link.execute("select pg_reload_conf()").await.unwrap();
    // the nodes' own beats show that it has begun
    let mark = postgres.log().len();
    eventually("statements in the log", SOON, async || {
        postgres.log()[mark..].iter().any(|line| line.contains("execute sqlx")).then_some(())
    })
    .await;
}
