//! G3: soon with everything up, and soon again once it is.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use tokio_tungstenite::tungstenite::Error;

use super::figures::{all_answer, backplane_shows, gap_fills, outbox_empties, outbox_rises, reconnects};
use super::load::{Load, READERS};
use super::tally::{AGAIN_WITHIN, Tally, ms};
use crate::support::deployment::Builder;
use crate::support::proxy::Mode;
use crate::support::{Answer, Deployment, Postgres, Proxy, Redis, SOON, Way, Ws, json, limited, limited_alone, ws};

/// "As fast as ever", on a machine that is busy with other tests.
const FAST: Duration = Duration::from_secs(1);

/// A cluster whose limits are on, so that sends ask Redis for them, and out of reach.
fn limits_on() -> Builder {
    let mut builder = Deployment::cluster(2, 2).env("RATE_LIMITS", "on");
    for limit in [
        "MESSAGES_PER_SECOND",
        "MESSAGES_BURST",
        "REQUESTS_PER_SECOND",
        "REQUESTS_BURST",
        "COMMANDS_PER_SECOND",
        "LOGINS_PER_MINUTE",
        "REGISTRATIONS_PER_MINUTE",
        "WRONG_PASSWORDS_PER_HOUR",
    ] {
        builder = builder.env(&format!("RATE_{limit}"), 100_000);
    }
    builder
}

/// The checks for each fault that only Redis has.
fn redis_alone_failed(tally: &Tally) {
    tally.check();
    assert_eq!(tally.refused.len() + tally.unanswered, 0, "no writer notices: {tally}");
    assert!(tally.slowest_send() < FAST, "writes succeed as fast as ever: {tally}");
    assert_eq!(tally.connections, READERS, "no subscriber notices: {tally}");
}

#[tokio::test]
async fn redis_is_stopped_and_comes_back_empty() {
    limited(async {
        let d = limits_on().start().await;
        let mut load = Load::start(&d).await;
        let (fills, links) = (gap_fills(d.gateways()).await, reconnects(&d.nodes()).await);
        load.fault_begins();
        d.redis().stop().await;
        backplane_shows(&d.nodes(), false).await;
        outbox_rises(d.apis(), 100).await;
        load.go_on(100).await;
        d.redis().start().await;
        load.fault_is_over();
        backplane_shows(&d.nodes(), true).await;
        let tally = load.finish("Redis stopped and started empty").await;
        redis_alone_failed(&tally);
        outbox_empties(d.apis()).await;
        assert!(gap_fills(d.gateways()).await > fills, "what was missed was read from the log");
        assert!(reconnects(&d.nodes()).await >= links + 4.0, "each node has made its link anew");
    })
    .await;
}

/// The tail is read each second then; and some for a busy machine.
const BY_THE_TAIL_WITHIN: Duration = Duration::from_secs(4);

#[tokio::test]
async fn what_is_sent_while_redis_is_away_comes_a_little_late() {
    limited(async {
        let d = Deployment::cluster(1, 1).start().await;
        let (ann, bob, cem) = (d.user().await, d.user().await, d.user().await);
        let chat_id = ann.group_id(&[&bob]).await;
        let mut ws = bob.connect().await;
        ws.subscribe(chat_id).await;
        d.redis().stop().await;
        backplane_shows(&d.nodes(), false).await;
        let mut expect = async |kind: &str, seq: i64| {
            let came = |frame: &serde_json::Value| frame["type"] == kind && frame["chat_id"] == chat_id;
            let frame = ws.expect_where(kind, BY_THE_TAIL_WITHIN, came).await;
            assert_eq!(frame["seq"], seq, "{frame}");
        };
        for seq in 1..=4 {
            ann.say(chat_id, "still here").await;
            expect("new_message", seq).await;
        }
        cem.join(chat_id).await;
        expect("member_joined", 5).await;
        d.redis().start().await;
        backplane_shows(&d.nodes(), true).await;
        ann.say(chat_id, "and again").await;
        expect("new_message", 6).await;
    })
    .await;
}

#[tokio::test]
async fn redis_freezes_and_thaws() {
    limited(async {
        let d = limits_on().start().await;
        let mut load = Load::start(&d).await;
        load.fault_begins();
        d.redis().freeze();
        backplane_shows(&d.nodes(), false).await;
        outbox_rises(d.apis(), 100).await;
        load.go_on(100).await;
        d.redis().thaw();
        load.fault_is_over();
        backplane_shows(&d.nodes(), true).await;
        redis_alone_failed(&load.finish("Redis frozen and thawed").await);
        outbox_empties(d.apis()).await;
    })
    .await;
}

/// The api's word of a message, and of a change that only its user hears of, hangs in a silent link
/// when the api is killed: another api publishes both.
#[tokio::test]
async fn an_api_is_killed_between_commit_and_publish() {
    limited(async {
        let redis = Redis::private().await;
        let proxy = Proxy::to(&redis.address());
        let url = format!("redis://{}", proxy.address());
        let d = Deployment::cluster(2, 2).redis(&redis).node_env("api-0", "REDIS_URL", url).start().await;
        let (ann, bob) = (d.user().await, d.user().await);
        let chat_id = ann.group_id(&[&bob]).await;
        let mut sockets = vec![bob.connect_to(0).await, bob.connect_to(1).await];
        for ws in &mut sockets {
            ws.subscribe(chat_id).await;
        }
        let mut own = ann.connect_to(1).await;
        let mut slowest = Duration::ZERO;
        for round in 0..3 {
            proxy.set(Mode::Stall);
            let body = json!({"chat_id": chat_id, "text": format!("{round}")});
            let sent = ann.rest.on(0).post("/messages/send", body).await.ok(201);
            let view = json!({"archived": false, "pinned": round % 2 == 0});
            let path = format!("/chats/{chat_id}/settings");
            let settings = ann.rest.on(0).patch(&path, view).await.ok(200)["settings"].clone();
            d.api(0).kill_9();
            let killed = Instant::now();
            for ws in &mut sockets {
                let event = ws.expect_in("new_message", chat_id).await;
                slowest = slowest.max(killed.elapsed());
                assert_eq!((&event["seq"], &event["message"]), (&sent["seq"], &sent), "on both gateways");
            }
            assert_eq!(own.expect("chat_settings").await["settings"], settings);
            slowest = slowest.max(killed.elapsed());
            proxy.cut();
            proxy.set(Mode::Forward);
            d.api(0).restart().await;
        }
        println!("kill -9 of an api between commit and publish, three times: the event came within {}", ms(slowest));
        assert!(slowest < AGAIN_WITHIN, "{slowest:?}");
        outbox_empties(d.apis()).await;
        for ws in &mut sockets {
            ws.none_of(&["new_message", "resync"]).await;
        }
        own.none_of(&["chat_settings"]).await;
    })
    .await;
}

/// A database that neither answers nor hangs up is as bad as one that is gone: nobody waits for it
/// longer than two seconds.
#[tokio::test]
async fn postgres_goes_silent() {
    limited(async {
        let postgres = Postgres::private().await;
        let database = postgres.new_database().await;
        let proxy = Proxy::to(&format!("127.0.0.1:{}", postgres.port()));
        let url = database.replace(&format!(":{}/", postgres.port()), &format!(":{}/", proxy.port()));
        let d = Deployment::cluster(2, 2).postgres(&postgres).env("DATABASE_URL", url).start().await;
        let user = d.user().await;
        // No gateway knows the session.
        let handshake = ws::request(&d.gateway(1).ws_url(), Way::Header, &user.second_session().await.access);
        let mut load = Load::start(&d).await;
        load.fault_begins();
        proxy.set(Mode::Stall);
        let asked = ["/chats/", "/users?q=a", "/messages/chat/1"].iter().flat_map(|path| [(path, 0), (path, 1)]);
        let answers = join_all(asked.map(async |(path, api)| {
            let asked = Instant::now();
            Answer::of(user.rest.on(api).request(Method::GET, path)).await.problem(503, "unavailable");
            asked.elapsed()
        }));
        let refused = async {
            let asked = Instant::now();
            match Ws::handshake(handshake).await.err().map(|error| *error) {
                Some(Error::Http(answer)) => assert_eq!(answer.status(), 503),
                other => panic!("{other:?}"),
            }
            asked.elapsed()
        };
        let (answers, handshake) = tokio::join!(answers, refused);
        let slowest = answers.into_iter().fold(handshake, Duration::max);
        all_answer(&d.nodes(), 503).await;
        proxy.set(Mode::Forward);
        load.fault_is_over();
        all_answer(&d.nodes(), 200).await;
        let tally = load.finish("the links to Postgres stalled").await;
        tally.check();
        let slowest = tally.refused.iter().map(|refused| refused.took).fold(slowest, Duration::max);
        println!("  503 within {}", ms(slowest));
        assert!(slowest < Duration::from_secs(2), "{slowest:?}");
        assert_eq!(tally.codes().into_iter().collect::<Vec<_>>(), [(503, "unavailable")]);
        assert_eq!((tally.unanswered, tally.connections), (0, READERS), "{tally}");
    })
    .await;
}

/// With everything up. The bound is that of a busy machine and an unoptimised build; what was
/// measured is printed.
#[tokio::test]
async fn an_event_comes_at_once() {
    limited_alone(async {
        let d = Deployment::cluster(2, 2).start().await;
        let (ann, bob) = (d.user().await, d.user().await);
        let chat_id = ann.group_id(&[&bob]).await;
        let mut ws = bob.connect_to(1).await;
        ws.subscribe(chat_id).await;
        let mut took = Vec::new();
        for n in 0..200 {
            let asked = Instant::now();
            let body = json!({"chat_id": chat_id, "text": format!("{n}")});
            let (sent, event) = tokio::join!(ann.rest.post("/messages/send", body), async {
                let event = ws.expect_in("new_message", chat_id).await;
                took.push(asked.elapsed());
                event
            });
            assert_eq!(event["message"], sent.ok(201));
        }
        took.sort_unstable();
        let (median, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
        println!("with everything up, from the request to the event: median {}, 99 % within {}", ms(median), ms(p99));
        assert!(median < Duration::from_millis(100), "{median:?}");
        assert!(took[took.len() - 1] < SOON);
    })
    .await;
}
