//! The cost of presence in Redis while nothing happens: one gateway sweeps for all.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;

use super::watch::Watch;
use crate::support::{Deployment, Redis, SOON, User, Ws, limited};

const WINDOW: Duration = Duration::from_secs(20);
/// Commands a second that an idle gateway may send, whether it sweeps or not.
const A_GATEWAY: f64 = 5.0;
/// Users of each gateway, in as many buckets of presence.
const USERS: usize = 50;

/// The commands a second that the programs send, over a while. Commands that scripts run are not
/// counted: the network, the parser and the wait are a command's; what a script costs is measured
/// where presence is tested by itself.
async fn commands(redis: &Redis, of: &str) -> f64 {
    let mut monitor = redis.monitor().await;
    // Measured, not waited for.
    tokio::time::sleep(WINDOW).await;
    let mut by_name: BTreeMap<String, f64> = BTreeMap::new();
    for command in monitor.commands().await {
        *by_name.entry(command.name).or_default() += 1.0 / WINDOW.as_secs_f64();
    }
    let all = by_name.values().sum();
    println!("G5 idle, {of}: {all:.1} commands/s: {by_name:.1?}");
    all
}

async fn user_on(d: &Deployment, gateway: usize) -> (User, Ws) {
    let user = d.user().await;
    let ws = user.connect_to(gateway).await;
    (user, ws)
}

async fn users_on(d: &Deployment, gateway: usize) -> Vec<(User, Ws)> {
    join_all((0..USERS).map(|_| user_on(d, gateway))).await
}

#[tokio::test]
async fn an_idle_gateway_sends_redis_few_commands() {
    limited(async {
        let redis = Redis::private().await;
        let builder = Deployment::cluster(1, 1).redis(&redis).env("PRESENCE_GRACE_SECONDS", 1);
        let mut d = builder.start().await;
        let mut here = users_on(&d, 0).await;
        let one = commands(&redis, "an api and a gateway").await;
        d.add_gateway().await;
        d.add_gateway().await;
        here.extend(users_on(&d, 1).await);
        here.extend(users_on(&d, 2).await);
        let three = commands(&redis, "two gateways more").await;

        // And the others sweep once the one that did is gone.
        let (observer, ws) = user_on(&d, 2).await;
        let (leaving, left) = user_on(&d, 1).await;
        let chat_id = observer.group_id(&[&leaving]).await;
        let watch = Watch::subscribed(ws, chat_id).await;
        d.gateway(0).kill_9();
        left.close().await;
        watch.expect_status(&leaving, "offline", SOON).await;

        d.gateway(1).kill_9();
        d.gateway(2).kill_9();
        let none = commands(&redis, "the api alone").await;
        let (sweeping, other) = (one - none, (three - one) / 2.0);
        println!("G5 idle: {sweeping:.1} commands/s of the gateway that sweeps, {other:.1} of each other one");
        assert!(sweeping <= A_GATEWAY && other <= A_GATEWAY, "{sweeping:.1}, {other:.1}");
    })
    .await;
}
