//! G6: access ends at once, on every node, while messages flow; and ends all the same when the
//! word of it is lost.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::watch::{Flow, Watch, assert_consecutive};
use crate::support::proxy::Mode;
use crate::support::{Answer, Deployment, Proxy, Redis, SOON, User, Value, Ws, json, limited};

/// The promise.
const AT_ONCE: Duration = Duration::from_secs(1);
/// Messages a second that flow meanwhile.
const RATE: u32 = 100;

fn text(n: usize) -> String {
    format!("message {n}")
}

/// The removal of a user, as the chat's sequence tells it.
async fn expect_left(witness: &Watch, chat_id: i64, user: &User, limit: Duration) -> i64 {
    let left = |seen: &super::watch::Seen| {
        seen.is("member_left") && seen.frame["user_id"] == user.id && seen.seq_in(chat_id).is_some()
    };
    witness.expect("member_left", limit, left).await.frame["seq"].as_i64().unwrap()
}

/// Waits until the witness was told of `count` messages after this number.
async fn flow_on(witness: &Watch, chat_id: i64, seq: i64, count: i64) {
    witness
        .until("messages go on", SOON, |seen| {
            seen.iter().any(|seen| seen.seq_in(chat_id).is_some_and(|at| at >= seq + count)).then_some(())
        })
        .await;
}

/// Asserts that the events of the chat end with the removal; how long after `since` the last of
/// them was read.
fn silence(watch: &Watch, chat_id: i64, left: i64, since: Instant, whose: &str) -> Duration {
    let events: Vec<_> = watch.seen().into_iter().filter_map(|seen| Some((seen.seq_in(chat_id)?, seen.at))).collect();
    let seqs: Vec<i64> = events.iter().map(|(seq, _)| *seq).collect();
    assert_consecutive(&seqs, whose);
    let Some((last, at)) = events.last() else { return Duration::ZERO };
    assert!(*last <= left, "{whose}: was removed by {left} and got {last}");
    at.saturating_duration_since(since)
}

#[tokio::test]
async fn the_removed_and_who_leaves_get_nothing_more() {
    limited(async {
        let d = Deployment::cluster(2, 2).start().await;
        let (owner, author) = (d.user().await, d.user().await);
        let victims = join_all((0..6).map(|_| d.user())).await;
        let chat_id = owner.group_id(&[&[&author], &victims.iter().collect::<Vec<_>>()[..]].concat()).await;
        let witnesses = [
            Watch::subscribed(owner.connect_to(0).await, chat_id).await,
            Watch::subscribed(owner.connect_to(1).await, chat_id).await,
        ];
        let flow = Flow::start(&author.rest.on(0), chat_id, RATE, text);
        let mut times = Vec::new();
        for (n, victim) in victims.iter().enumerate() {
            let mut watches = Vec::new();
            for gateway in [0, 1] {
                watches.push(Watch::subscribed(victim.connect_to(gateway).await, chat_id).await);
            }
            // more of the victim's sockets begin, each with all that was, at about the time of the
            // removal
            let starting: Vec<Ws> = join_all((0..6).map(|gateway| victim.connect_to(gateway))).await;
            let begins = starting.into_iter().zip(0_u64..).map(async |(ws, n)| {
                tokio::time::sleep(Duration::from_millis(4 * n)).await;
                let watch = Watch::start(ws);
                watch.send(json!({"type": "subscribe_chat", "chat_id": chat_id, "after_seq": 0}));
                watch
            });
            let ends = async {
                tokio::time::sleep(Duration::from_millis(8)).await;
                let rest = owner.rest.on(1);
                let (rest, path) = if n % 2 == 0 {
                    (rest, format!("/chats/{chat_id}/members/{}", victim.id))
                } else {
                    (victim.rest.on(1), format!("/chats/{chat_id}/leave"))
                };
                rest.delete(&path).await.ok(204);
                Instant::now()
            };
            let (begun, ended) = tokio::join!(join_all(begins), ends);
            watches.extend(begun);
            let left = expect_left(&witnesses[0], chat_id, victim, SOON).await;
            for witness in &witnesses {
                flow_on(witness, chat_id, left, i64::from(RATE) / 2).await;
            }
            for watch in &watches {
                times.push(silence(watch, chat_id, left, ended, &victim.username));
            }
            for watch in &watches[..2] {
                assert_eq!(watch.seqs(chat_id).last(), Some(&left), "the removal itself is the last");
            }
        }
        let flowed = flow.stop().await;
        assert!(flowed.refused.is_empty(), "{:?}", flowed.refused);
        for witness in &witnesses {
            flow_on(witness, chat_id, flowed.head(), 0).await;
            assert_consecutive(&witness.seqs(chat_id), "the owner");
        }
        let longest = *times.iter().max().unwrap();
        assert!(longest < AT_ONCE, "delivered {longest:?} after the answer");
        println!(
            "G6 {} removals and departures at {RATE} messages/s: silence {longest:.1?} after the answer at the latest, on {} sockets; nothing after the removal's own",
            victims.len(),
            times.len()
        );
    })
    .await;
}

#[tokio::test]
async fn ended_sessions_are_closed_on_all_nodes_within_a_second() {
    limited(async {
        let d = Deployment::cluster(2, 3).start().await;
        let author = d.user().await;
        let [logging_out, changing, disabled] = [d.user().await, d.user().await, d.user().await];
        let chat_id = author.group_id(&[&logging_out, &changing, &disabled]).await;
        let witness = Watch::subscribed(author.connect_to(0).await, chat_id).await;
        let flow = Flow::start(&author.rest.on(0), chat_id, RATE, text);
        let mut told = Vec::new();
        for (user, what, expected) in
            [(&logging_out, "logout", 4502), (&changing, "new password", 4502), (&disabled, "deactivation", 4503)]
        {
            let other = user.second_session().await;
            let (mut ending, mut staying) = (Vec::new(), Vec::new());
            for gateway in 0..3 {
                ending.push(Watch::subscribed(user.connect_to(gateway).await, chat_id).await);
                let others = Watch::subscribed(other.connect_to(gateway).await, chat_id).await;
                if what == "deactivation" { ending.push(others) } else { staying.push(others) }
            }
            let rest = user.rest.on(1);
            match what {
                "logout" => rest.post_nothing("/auth/logout").await.ok(204),
                "deactivation" => rest.delete("/auth/me").await.ok(204),
                _ => {
                    // the session that changes it stays: the other one asks
                    let body = json!({"password": "another good one", "current_password": user.password});
                    other.rest.on(1).patch("/auth/me", body).await.ok(200)
                }
            };
            let ended = Instant::now();
            let mut slowest = Duration::ZERO;
            for watch in &ending {
                let closed = watch.expect_close(SOON).await;
                assert_eq!(closed.code, expected, "{what}");
                slowest = slowest.max(closed.at.saturating_duration_since(ended));
                assert_consecutive(&watch.seqs(chat_id), what);
            }
            assert!(slowest < AT_ONCE, "{what}: closed after {slowest:?}");
            told.push(format!("{what} {slowest:.1?}"));
            flow_on(&witness, chat_id, *witness.seqs(chat_id).last().unwrap_or(&0), 20).await;
            for watch in staying {
                assert!(!watch.is_closed(), "{what}: the other session goes on");
                flow_on(&watch, chat_id, *witness.seqs(chat_id).last().unwrap(), 0).await;
            }
        }
        assert!(flow.stop().await.refused.is_empty());
        println!("G6 sockets on three gateways closed, the slowest after: {}", told.join(", "));
    })
    .await;
}

fn expires_at(frame: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(frame["expires_at"].as_str().expect("a time"), &Rfc3339).unwrap()
}

/// The user in a session whose token is made by the `api`th api.
async fn session_from(user: &User, api: usize) -> User {
    let body = json!({"username": user.username, "password": user.password});
    let tokens = user.rest.anonymous().on(api).post("/auth/login", body).await.ok(200);
    let mut session = user.second_session().await;
    session.take_tokens(&tokens);
    session
}

/// At that moment the connections that go on had hardly more than `had`: half a second of the
/// flow. A machine that is slow is so to all of them.
fn flowed_to_the_last(others: &[(Watch, OffsetDateTime)], chat_id: i64, at: Instant, had: i64) {
    for (other, _) in others {
        let seen = other.seen();
        let mut numbers = seen.iter().filter(|seen| seen.at <= at).filter_map(|seen| seen.seq_in(chat_id));
        let then = numbers.next_back().expect("messages flowed to the others");
        assert!(then - had <= i64::from(RATE / 2), "the closed one had {had}, another {then}");
    }
}

#[tokio::test]
async fn a_token_that_expires_ends_its_connection_and_a_fresh_one_keeps_it() {
    limited(async {
        // one api gives tokens that hold four seconds, as if the others' were near their end
        let d = Deployment::cluster(2, 2).node_env("api-1", "ACCESS_TOKEN_TTL_SECONDS", 4).start().await;
        let (author, ann) = (d.user().await, d.user().await);
        let long = session_from(&ann, 0).await;
        let chat_id = author.group_id(&[&ann]).await;
        let flow = Flow::start(&author.rest.on(0), chat_id, RATE, text);
        let (mut expiring, mut renewed) = (Vec::new(), Vec::new());
        for gateway in [0, 1] {
            let short = session_from(&ann, 1).await;
            for watches in [&mut expiring, &mut renewed] {
                let mut ws = short.open(gateway, crate::support::Way::Header).await;
                let expires = expires_at(&ws.expect_welcome().await);
                watches.push((Watch::subscribed(ws, chat_id).await, expires));
            }
        }
        for (watch, _) in &renewed {
            watch.send(json!({"type": "authenticate", "token": long.access, "request_id": "fresh"}));
        }
        let mut latest = Duration::ZERO;
        for (watch, expires) in &expiring {
            let closed = watch.expect_close(SOON).await;
            assert_eq!(closed.code, 4401);
            let at = OffsetDateTime::now_utc() - closed.at.elapsed();
            assert!(at >= *expires, "closed at {at}, the token held until {expires}");
            latest = latest.max((at - *expires).unsigned_abs());
            assert_consecutive(&watch.seqs(chat_id), "until it expired");
            let had = watch.seqs(chat_id).last().copied().expect("messages flowed");
            flowed_to_the_last(&renewed, chat_id, closed.at, had);
        }
        assert!(latest < AT_ONCE, "closed {latest:?} after the expiry");
        let flowed = flow.stop().await;
        for (watch, expires) in &renewed {
            let answer = watch.expect("authenticated", SOON, |seen| seen.frame["request_id"] == "fresh").await.frame;
            assert_eq!(answer["type"], "authenticated", "{answer}");
            assert!(expires_at(&answer) > *expires, "{answer}");
            flow_on(watch, chat_id, flowed.head(), 0).await;
            assert_consecutive(&watch.seqs(chat_id), "under a fresh token");
            assert!(OffsetDateTime::now_utc() > *expires && !watch.is_closed());
        }
        println!("G6 token expired under {RATE} messages/s: closed with 4401 within {latest:.1?}; those under a fresh one missed nothing of {}", flowed.seqs.len());
    })
    .await;
}

/// How long until a node finds out by itself: the tail of the log is read every 10 s, ended
/// sessions every 5 s; and some for a busy machine.
const SLOW_BEAT: Duration = Duration::from_secs(13);

#[tokio::test]
async fn access_ends_though_the_word_of_it_is_lost() {
    limited(async {
        let redis = Redis::private().await;
        let proxy = Proxy::to(&redis.address());
        let through = format!("redis://{}", proxy.address());
        let d = Deployment::cluster(1, 2).redis(&redis).node_env("gateway-1", "REDIS_URL", through).start().await;
        let (author, staying) = (d.user().await, d.user().await);
        let [removed, leaving, logged_out, disabled] = [d.user().await, d.user().await, d.user().await, d.user().await];
        let chat_id = author.group_id(&[&staying, &removed, &leaving, &logged_out, &disabled]).await;
        // all on the gateway that will hear nothing
        let watch = async |user: &User| Watch::subscribed(user.connect_to(1).await, chat_id).await;
        let (stays, removes, leaves) = (watch(&staying).await, watch(&removed).await, watch(&leaving).await);
        let (logs_out, disables) = (watch(&logged_out).await, watch(&disabled).await);
        let witness = Watch::subscribed(author.connect_to(0).await, chat_id).await;
        let flow = Flow::start(&author.rest, chat_id, 20, text);
        flow_on(&stays, chat_id, 0, 10).await;

        proxy.set(Mode::Stall);
        author.rest.delete(&format!("/chats/{chat_id}/members/{}", removed.id)).await.ok(204);
        leaving.leave(chat_id).await;
        logged_out.rest.post_nothing("/auth/logout").await.ok(204);
        let gone: Answer = disabled.rest.delete("/auth/me").await;
        gone.ok(204);
        let ended = Instant::now();

        let (out, off) = (logs_out.expect_close(SLOW_BEAT).await, disables.expect_close(SLOW_BEAT).await);
        assert_eq!((out.code, off.code), (4502, 4503));
        let mut slowest = Duration::ZERO;
        for (watch, user) in [(&removes, &removed), (&leaves, &leaving)] {
            let left = expect_left(&witness, chat_id, user, SOON).await;
            // its gateway reads the log without a word from Redis: the removal is the last that
            // comes of it
            let last = watch
                .expect("the removal", SLOW_BEAT.saturating_sub(ended.elapsed()), |seen| seen.seq_in(chat_id) == Some(left))
                .await;
            slowest = slowest.max(last.at - ended);
            flow_on(&stays, chat_id, left, 1).await;
        }
        proxy.set(Mode::Forward);
        let flowed = flow.stop().await;
        flow_on(&stays, chat_id, flowed.head(), 0).await;
        assert_consecutive(&stays.seqs(chat_id), "who stays");
        for (watch, user) in [(&removes, &removed), (&leaves, &leaving)] {
            let left = expect_left(&witness, chat_id, user, SOON).await;
            silence(watch, chat_id, left, ended, &user.username);
        }
        println!(
            "G6 word lost on a stalled link: logged out closed after {:.1?}, disabled after {:.1?}, removed and left ended by the log after {slowest:.1?}",
            out.at - ended,
            off.at - ended
        );
    })
    .await;
}
