//! The cost of presence in Redis while nothing happens: one gateway sweeps for all.

use std::collections::BTreeMap;
use std::time::Duration;

use super::watch::Watch;
use crate::support::{Deployment, Redis, SOON, User, Ws, limited};

const WINDOW: Duration = Duration::from_secs(10);
/// Commands a second that a gateway more may send: its claim, its comparison, the probe.
const A_GATEWAY_MORE: f64 = 15.0;
/// The commands that scripts send too; a gateway itself does not while nothing happens.
const OF_SCRIPTS: [&str; 8] = ["hget", "hset", "hlen", "hmget", "time", "zadd", "zcard", "zrangebyscore"];

/// The commands a second that the programs send, over a while, in all and by name.
async fn commands(redis: &Redis) -> (f64, BTreeMap<String, f64>) {
    redis.command(&["CONFIG", "RESETSTAT"]).await;
    // Measured, not waited for.
    tokio::time::sleep(WINDOW).await;
    let stats = redis.text(&["INFO", "commandstats"]).await;
    let calls = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let calls: f64 = rest.split(',').next()?.parse().ok()?;
        (!OF_SCRIPTS.contains(&name)).then(|| (name.to_owned(), calls / WINDOW.as_secs_f64()))
    };
    let all: BTreeMap<_, _> = stats.lines().filter_map(calls).collect();
    (all.values().sum(), all)
}

async fn user_on(d: &Deployment, gateway: usize) -> (User, Ws) {
    let user = d.user().await;
    let ws = user.connect_to(gateway).await;
    (user, ws)
}

#[tokio::test]
async fn a_gateway_more_costs_redis_next_to_nothing() {
    limited(async {
        let redis = Redis::private().await;
        let builder = Deployment::cluster(1, 1).redis(&redis).env("PRESENCE_GRACE_SECONDS", 1);
        let mut d = builder.start().await;
        let (one, by_name) = commands(&redis).await;
        println!("G5 idle, one gateway: {one:.0} commands/s: {by_name:.0?}");
        d.add_gateway().await;
        d.add_gateway().await;
        let (three, by_name) = commands(&redis).await;
        println!("G5 idle, three gateways: {three:.0} commands/s: {by_name:.0?}");
        let more = (three - one) / 2.0;
        println!("G5 idle, each gateway more: {more:.1} commands/s");
        assert!(more <= A_GATEWAY_MORE, "{more:.1}");

        // And the others sweep once the one that did is gone.
        let (observer, ws) = user_on(&d, 2).await;
        let (leaving, left) = user_on(&d, 1).await;
        let chat_id = observer.group_id(&[&leaving]).await;
        let watch = Watch::subscribed(ws, chat_id).await;
        d.gateway(0).kill_9();
        left.close().await;
        watch.expect_status(&leaving, "offline", SOON).await;
    })
    .await;
}
