//! G5: presence is true, whatever dies: a gateway, Redis, or a device of several.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::crowd::{sockets, users};
use super::watch::{Watch, statuses};
use crate::support::{Deployment, SOON, User, Ws, eventually, limited};

/// The contract's defaults.
const LEASE: Duration = Duration::from_secs(15);
const MARGIN: Duration = Duration::from_secs(5);

/// A group of all of them, the first one's.
async fn group_of(users: &[&User]) -> i64 {
    users[0].group_id(&users[1..]).await
}

/// A socket of the observer on each of these gateways, subscribed.
async fn observe(observer: &User, chat_id: i64, gateways: &[usize]) -> Vec<Watch> {
    join_all(gateways.iter().map(async |&gateway| Watch::subscribed(observer.connect_to(gateway).await, chat_id).await))
        .await
}

/// Waits until all observers have been told that these are online.
async fn expect_online(watches: &[Watch], users: &[&User]) {
    for (watch, user) in watches.iter().flat_map(|watch| users.iter().map(move |user| (watch, user))) {
        watch.expect_status(user, "online", SOON).await;
    }
}

/// The online users, as the gateway lists them: pages of a hundred, so that few users are one
/// page.
async fn online_ids(asking: &User, gateway: usize) -> Option<BTreeSet<i64>> {
    let answer = asking.rest.on(gateway).get("/ws/online-users?limit=100").await;
    let items = (answer.status == 200).then(|| answer.json["items"].as_array().unwrap().clone())?;
    Some(items.iter().map(|item| item["user_id"].as_i64().unwrap()).collect())
}

fn ids<'a>(users: impl IntoIterator<Item = &'a User>) -> BTreeSet<i64> {
    users.into_iter().map(|user| user.id).collect()
}

/// A user comes and goes, and all observers are told so: what the nodes told before is with them
/// by then.
async fn comes_and_goes(sentinel: &User, gateway: usize, watches: &[Watch]) {
    let ws = sentinel.connect_to(gateway).await;
    for watch in watches {
        watch.expect_status(sentinel, "online", SOON).await;
    }
    ws.close().await;
    for watch in watches {
        watch.expect_status(sentinel, "offline", SOON + MARGIN).await;
    }
}

#[tokio::test]
async fn a_killed_gateways_users_are_told_offline_once() {
    limited(async {
        let d = Deployment::cluster(1, 3).start().await;
        let (observer, sentinel) = (d.user().await, d.user().await);
        let (gone, elsewhere, movers) = (users(&d, 30).await, users(&d, 6).await, users(&d, 6).await);
        let leaving = &gone[26..];
        let all: Vec<&User> = gone.iter().chain(&elsewhere).chain(&movers).collect();
        let chat_id = group_of(&[&[&observer, &sentinel], &all[..]].concat()).await;
        let watches = observe(&observer, chat_id, &[1, 2]).await;
        let _here = (sockets(&gone[..26], 0).await, sockets(&elsewhere, 0).await, sockets(&movers, 0).await);
        let last_moments = sockets(leaving, 0).await;
        let _second = sockets(&elsewhere, 1).await;
        expect_online(&watches, &all).await;

        // some go just before it: what it had begun for them is for the others to end
        drop(last_moments);
        d.gateway(0).kill_9();
        let killed = Instant::now();
        let back = async {
            let mut sockets = Vec::new();
            for (n, mover) in movers.iter().enumerate() {
                tokio::time::sleep(Duration::from_secs(1)).await;
                sockets.push(mover.connect_to(1 + n % 2).await);
            }
            sockets
        };
        let offline = async {
            let mut times = Vec::new();
            for (watch, user) in watches.iter().flat_map(|watch| gone.iter().map(move |user| (watch, user))) {
                let left = (LEASE + MARGIN).saturating_sub(killed.elapsed());
                times.push(watch.expect_status(user, "offline", left).await.at - killed);
            }
            times
        };
        let (_moved, times) = tokio::join!(back, offline);
        comes_and_goes(&sentinel, 1, &watches).await;

        for watch in &watches {
            let seen = watch.seen();
            for user in &gone {
                assert_eq!(statuses(&seen, user.id), ["online", "offline"], "{}", user.username);
            }
            for user in elsewhere.iter().chain(&movers) {
                assert_eq!(statuses(&seen, user.id), ["online"], "{} was never away", user.username);
            }
        }
        let expected = ids(elsewhere.iter().chain(&movers).chain([&observer]));
        for gateway in [1, 2] {
            assert_eq!(online_ids(&observer, gateway).await, Some(expected.clone()));
        }
        let seen = observer.rest.get(&format!("/users/{}", gone[0].id)).await.ok(200);
        crate::rest::assert_time(&seen["last_seen_at"]);
        let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        println!("G5 gateway killed -9, lease 15 s: its 30 users told offline once after {first:.1?} to {last:.1?}, 12 who were or came back elsewhere never");
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_was_frozen_beyond_its_lease_makes_it_true_again() {
    const LEASE: Duration = Duration::from_secs(3);
    limited(async {
        let d = Deployment::cluster(1, 3).env("PRESENCE_LEASE_SECONDS", LEASE.as_secs()).start().await;
        let (observer, sentinel) = (d.user().await, d.user().await);
        let (frozen, elsewhere) = (users(&d, 10).await, users(&d, 4).await);
        let all: Vec<&User> = frozen.iter().chain(&elsewhere).collect();
        let chat_id = group_of(&[&[&observer, &sentinel], &all[..]].concat()).await;
        let watches = observe(&observer, chat_id, &[1, 2]).await;
        let mut here = sockets(&frozen, 0).await;
        let _more = (sockets(&elsewhere, 0).await, sockets(&elsewhere, 2).await);
        expect_online(&watches, &all).await;

        d.gateway(0).sigstop();
        let stopped = Instant::now();
        let mut after = Vec::new();
        for (watch, user) in watches.iter().flat_map(|watch| frozen.iter().map(move |user| (watch, user))) {
            let left = (LEASE + MARGIN).saturating_sub(stopped.elapsed());
            after.push(watch.expect_status(user, "offline", left).await.at - stopped);
        }
        d.gateway(0).sigcont();
        let resumed = Instant::now();
        let expected = ids(all.iter().copied().chain([&observer]));
        eventually("all online again", LEASE + MARGIN, async || {
            (online_ids(&observer, 1).await.as_ref() == Some(&expected)).then_some(())
        })
        .await;
        let again = resumed.elapsed();
        here[0].round_trip().await;
        comes_and_goes(&sentinel, 1, &watches).await;
        for watch in &watches {
            for user in &frozen {
                assert_eq!(watch.statuses(user), ["online", "offline", "online"], "{}", user.username);
            }
            for user in &elsewhere {
                assert_eq!(watch.statuses(user), ["online"], "{} was never away", user.username);
            }
        }
        println!(
            "G5 gateway frozen beyond its lease of 3 s: its 10 users told offline once after {:.1?}, online again once {again:.1?} after it went on",
            after.iter().max().unwrap()
        );
    })
    .await;
}

#[tokio::test]
async fn an_emptied_redis_is_made_true_again_and_nobody_told_of_it() {
    const LEASE: Duration = Duration::from_secs(6);
    limited(async {
        let builder = Deployment::cluster(1, 2).env("PRESENCE_LEASE_SECONDS", 6).env("PRESENCE_GRACE_SECONDS", 1);
        let d = builder.start().await;
        let (observer, sentinel) = (d.user().await, d.user().await);
        let (staying, going, coming) = (users(&d, 20).await, users(&d, 2).await, users(&d, 2).await);
        let all: Vec<&User> = staying.iter().chain(&going).collect();
        let members = [&[&observer, &sentinel], &all[..], &coming.iter().collect::<Vec<_>>()].concat();
        let chat_id = group_of(&members).await;
        let watches = observe(&observer, chat_id, &[0, 1]).await;
        // some on one node, some on the other, some on both
        let _sockets = (sockets(&staying[..14], 0).await, sockets(&staying[7..], 1).await);
        let mut leaving = sockets(&going, 0).await;
        let mut arrived = Vec::new();
        expect_online(&watches, &all).await;

        let mut healed = Vec::new();
        for (n, how) in ["flushed", "restarted"].into_iter().enumerate() {
            if how == "flushed" {
                d.redis().command(&["FLUSHALL"]).await;
                leaving.remove(0).close().await;
                arrived.push(coming[n].connect_to(1).await);
            } else {
                d.redis().stop().await;
                leaving.remove(0).close().await;
                arrived.push(coming[n].connect_to(1).await);
                d.redis().start().await;
            }
            let emptied = Instant::now();
            let expected = ids(staying.iter().chain(&coming[..=n]).chain([&observer]).chain(&going[n + 1..]));
            for gateway in 0..2 {
                eventually(&format!("a true list, {how}"), LEASE.saturating_sub(emptied.elapsed()), async || {
                    let listed = online_ids(&observer, gateway).await?;
                    // who left is let go of once the grace and the healing are over
                    let listed: BTreeSet<i64> = listed.into_iter().filter(|id| *id != going[n].id).collect();
                    (listed == expected).then_some(())
                })
                .await;
            }
            healed.push(emptied.elapsed());
            for watch in &watches {
                watch.expect_status(&going[n], "offline", LEASE + MARGIN).await;
                watch.expect_status(&coming[n], "online", LEASE).await;
            }
            for gateway in 0..2 {
                assert_eq!(online_ids(&observer, gateway).await, Some(expected.clone()), "{how}");
            }
        }
        comes_and_goes(&sentinel, 1, &watches).await;
        for watch in &watches {
            for user in &staying {
                assert_eq!(watch.statuses(user), ["online"], "{} was never away", user.username);
            }
            for n in 0..2 {
                assert_eq!(watch.statuses(&going[n]), ["online", "offline"]);
                assert_eq!(watch.statuses(&coming[n]), ["online"]);
            }
        }
        println!("G5 Redis emptied, lease 6 s: the lists true again {:.1?} after FLUSHALL, {:.1?} after a restart; 20 who stayed never told", healed[0], healed[1]);
    })
    .await;
}

/// Long enough after the grace, short enough to be in time.
const GRACE: Duration = Duration::from_secs(2);

/// A page that is reloaded, a laptop that is shut: the socket closed in order or its link cut.
async fn leave(ws: Ws, in_order: bool) {
    if in_order {
        ws.close().await;
    }
}

/// Three devices on two gateways come at once and go one by one, further apart than the grace;
/// when the last went.
async fn three_devices(user: &User, in_order: bool) -> Instant {
    let devices = [user.second_session().await, user.second_session().await, user.second_session().await];
    let mut open = join_all(devices.iter().zip([0, 0, 1]).map(|(device, gateway)| device.connect_to(gateway))).await;
    while let Some(ws) = open.pop() {
        leave(ws, in_order).await;
        if !open.is_empty() {
            tokio::time::sleep(GRACE + Duration::from_secs(1)).await;
        }
    }
    Instant::now()
}

/// Gone and back again before the grace is over, on another gateway.
async fn reload(user: &User, in_order: bool) -> Ws {
    let mut ws = user.connect_to(0).await;
    for gateway in [1, 2, 0, 1] {
        leave(ws, in_order).await;
        tokio::time::sleep(GRACE / 2).await;
        ws = user.connect_to(gateway).await;
    }
    ws
}

#[tokio::test]
async fn a_user_of_many_devices_is_online_once_and_offline_once() {
    limited(async {
        let d = Deployment::cluster(1, 3).env("PRESENCE_GRACE_SECONDS", GRACE.as_secs()).start().await;
        let (observer, sentinel) = (d.user().await, d.user().await);
        let (many, reloading, returning) = (users(&d, 6).await, users(&d, 6).await, users(&d, 6).await);
        let all: Vec<&User> = many.iter().chain(&reloading).chain(&returning).collect();
        let chat_id = group_of(&[&[&observer, &sentinel], &all[..]].concat()).await;
        let watches = observe(&observer, chat_id, &[0, 1, 2]).await;

        let devices = join_all(many.iter().enumerate().map(async |(n, user)| {
            let last = three_devices(user, n % 2 == 0).await;
            let mut after = Vec::new();
            for watch in &watches {
                after.push(watch.expect_status(user, "offline", GRACE + MARGIN).await.at - last);
            }
            after
        }));
        let reloads = join_all(reloading.iter().enumerate().map(|(n, user)| reload(user, n % 2 == 0)));
        let returns = join_all(returning.iter().enumerate().map(async |(n, user)| {
            leave(user.connect_to(n).await, n % 2 == 0).await;
            for watch in &watches {
                watch.expect_status(user, "offline", GRACE + MARGIN).await;
            }
            user.connect_to(n + 1).await
        }));
        let (after, _reloaded, _returned) = tokio::join!(devices, reloads, returns);
        comes_and_goes(&sentinel, 0, &watches).await;

        for watch in &watches {
            let seen = watch.seen();
            let told = |users: &[User]| users.iter().map(|user| statuses(&seen, user.id)).collect::<Vec<_>>();
            assert_eq!(told(&many), vec![["online", "offline"]; 6], "three devices");
            assert_eq!(told(&reloading), vec![["online"]; 6], "back within the grace");
            assert_eq!(told(&returning), vec![["online", "offline", "online"]; 6], "back after the grace");
        }
        let after: Vec<Duration> = after.into_iter().flatten().collect();
        let (first, last) = (*after.iter().min().unwrap(), *after.iter().max().unwrap());
        assert!(first >= GRACE - Duration::from_millis(100), "told after {first:?}, before the grace was over");
        println!("G5 three devices, grace 2 s: offline told once, {first:.2?} to {last:.2?} after the last; 24 reconnects within the grace never told");
    })
    .await;
}
