//! G5 for a gateway whose link was away while others announced who came and went.

use std::time::Duration;

use futures_util::future::join_all;

use super::crowd::{sockets, users};
use super::watch::{Watch, statuses};
use crate::support::proxy::Mode;
use crate::support::{Deployment, Proxy, Redis, SOON, User, Ws, limited};

const OUTAGE: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_gateway_whose_link_was_away_learns_who_came_and_went() {
    limited(async {
        let redis = Redis::private().await;
        let proxy = Proxy::to(&redis.address());
        let through = format!("redis://{}", proxy.address());
        let builder = Deployment::cluster(1, 2).redis(&redis).env("PRESENCE_GRACE_SECONDS", 1);
        let d = builder.node_env("gateway-0", "REDIS_URL", through).start().await;
        let (observer, staying, going, coming) =
            (d.user().await, users(&d, 5).await, users(&d, 25).await, users(&d, 25).await);
        let (twice, back) = (d.user().await, d.user().await);
        let all: Vec<&User> = staying.iter().chain(&going).chain(&coming).chain([&twice, &back]).collect();
        let chat_id = observer.group_id(&all).await;
        let mut watches = Vec::new();
        for gateway in 0..2 {
            watches.push(Watch::subscribed(observer.connect_to(gateway).await, chat_id).await);
        }
        let (_stay, gone) = (sockets(&staying, 1).await, sockets(going.iter().chain([&twice]), 1).await);
        for watch in &watches {
            for user in staying.iter().chain(&going).chain([&twice]) {
                watch.expect_status(user, "online", SOON).await;
            }
        }

        proxy.set(Mode::Refuse);
        proxy.cut();
        let mut ticks = tokio::time::interval(OUTAGE);
        ticks.tick().await;
        join_all(gone.into_iter().map(Ws::close)).await;
        let _came = sockets(&coming, 1).await;
        let flashed = back.connect_to(1).await;
        let [away, near] = &watches[..] else { unreachable!() };
        for user in going.iter().chain([&twice]) {
            near.expect_status(user, "offline", SOON).await;
        }
        for user in coming.iter().chain([&back]) {
            near.expect_status(user, "online", SOON).await;
        }
        // One comes back, another leaves again: only the last counts.
        let _again = twice.connect_to(1).await;
        flashed.close().await;
        near.expect_status(&back, "offline", SOON).await;
        near.until("online again", SOON, |seen| (statuses(seen, twice.id).len() == 3).then_some(())).await;
        ticks.tick().await;
        assert!(going.iter().chain(&coming).all(|user| away.statuses(user).len() <= 1), "its link is away");
        proxy.set(Mode::Forward);

        for user in &going {
            away.expect_status(user, "offline", SOON).await;
        }
        for user in &coming {
            away.expect_status(user, "online", SOON).await;
        }
        away.expect_status(&back, "offline", SOON).await;
        away.until("online again", SOON, |seen| (statuses(seen, twice.id).len() == 2).then_some(())).await;
        // Events from now on come behind the missed ones.
        let last = d.user().await;
        last.join(chat_id).await;
        let _last = last.connect_to(1).await;
        away.expect_status(&last, "online", SOON).await;
        for user in &staying {
            assert_eq!(away.statuses(user), ["online"]);
        }
        for user in &going {
            assert_eq!(away.statuses(user), ["online", "offline"], "each once");
        }
        for user in &coming {
            assert_eq!(away.statuses(user), ["online"], "each once");
        }
        println!(
            "G5 a gateway without its link for {OUTAGE:?}: {} who went and {} who came announced after it, each once",
            going.len(),
            coming.len()
        );
    })
    .await;
}
