//! G2 where the history itself goes back, as a standby that lacked the last commits leaves it:
//! `resync` says so, and nothing of the lost history is delivered as if it still were.

use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::figures::gap_fills;
use crate::support::{Deployment, SOON, Ws, eventually, json, limited};

/// From the loss of the connections to the resync: a ping of the database, a tick.
const NOTICED_WITHIN: Duration = Duration::from_secs(5);

/// Those who live find out from the one who began: the epoch changes, and every head is compared.
const FOUND_WITHIN: Duration = Duration::from_secs(13);

/// Takes back what came after `head`.
async fn go_back(d: &Deployment, chats: &[i64], head: i64) {
    let mut database = PgConnection::connect(d.database_url()).await.unwrap();
    for chat in chats {
        database
            .execute(AssertSqlSafe(format!(
                "delete from messages where chat_id = {chat} and seq > {head};
                 delete from events where chat_id = {chat} and seq > {head};
                 update members set read_seq = least(read_seq, {head}) where chat_id = {chat};
                 update chats set seq = {head} where id = {chat}"
            )))
            .await
            .unwrap();
    }
    database.close().await.unwrap();
}

/// Ends the programs' connections, as the death of a primary does.
async fn cut_connections(d: &Deployment) {
    let mut database = PgConnection::connect(d.database_url()).await.unwrap();
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity
               where datname = current_database() and pid <> pg_backend_pid()";
    database.execute(cut).await.unwrap();
    database.close().await.unwrap();
}

async fn resync(ws: &mut Ws, chat_id: i64) -> i64 {
    resync_within(NOTICED_WITHIN, ws, chat_id).await
}

async fn resync_within(limit: Duration, ws: &mut Ws, chat_id: i64) -> i64 {
    let is_it = |frame: &Value| frame["type"] == "resync" && frame["chat_id"] == chat_id;
    let resync = ws.expect_where("a resync", limit, is_it).await;
    resync["seq"].as_i64().unwrap()
}

/// The numbers that are given anew contradict those that were delivered.
#[tokio::test]
async fn numbers_that_are_given_anew_are_a_resync() {
    limited(async {
        let d = Deployment::cluster(1, 2).start().await;
        let (ann, bob) = (d.user().await, d.user().await);
        let chat_id = ann.group_id(&[&bob]).await;
        let mut sockets = vec![bob.connect_to(0).await, bob.connect_to(1).await];
        let lost = ["first", "lost 2", "lost 3"];
        for ws in &mut sockets {
            ws.subscribe(chat_id).await;
        }
        for text in lost {
            ann.say(chat_id, text).await;
        }
        for ws in &mut sockets {
            for _ in lost {
                ws.expect_in("new_message", chat_id).await;
            }
        }
        go_back(&d, &[chat_id], 1).await;
        let fills = gap_fills(d.gateways()).await;
        let began = Instant::now();
        let again = [ann.say(chat_id, "second").await, ann.say(chat_id, "third").await];
        assert_eq!((&again[0]["seq"], &again[1]["seq"]), (&2.into(), &3.into()), "numbers are given anew");
        let mut heads = Vec::new();
        for ws in &mut sockets {
            heads.push(resync(ws, chat_id).await);
        }
        println!("G2 history went back under live subscriptions: resync after {:.1?}", began.elapsed());
        let fourth = ann.say(chat_id, "fourth").await;
        for (ws, head) in sockets.iter_mut().zip(heads) {
            for seq in head + 1..=4 {
                let event = ws.expect_in("new_message", chat_id).await;
                assert_eq!(event["seq"], seq, "consecutive after the resync at {head}");
                assert!(seq < 4 || event["message"] == fourth);
            }
        }
        // Nothing of the lost history is replayed, from the log or from a feed's newest events.
        let mut late = bob.connect_to(0).await;
        assert_eq!(late.subscribe_after(chat_id, 0).await["recovered"], 4);
        for text in ["first", "second", "third", "fourth"] {
            assert_eq!(late.expect_in("new_message", chat_id).await["message"]["text"], text);
        }
        let made = gap_fills(d.gateways()).await - fills;
        assert!(made < 20.0, "the log was read {made} times");
    })
    .await;
}

/// No message tells: the loss of the connections does, for chats that are followed and for notices
/// of those that are not.
#[tokio::test]
async fn a_database_that_failed_over_is_compared_at_once() {
    limited(async {
        let d = Deployment::cluster(1, 2).start().await;
        let (ann, bob) = (d.user().await, d.user().await);
        let chat_id = ann.group_id(&[&bob]).await;
        let private = ann.private_chat_id(&bob).await;
        let mut sockets = vec![bob.connect_to(0).await, bob.connect_to(1).await];
        for ws in &mut sockets {
            ws.subscribe(chat_id).await;
        }
        for text in ["first", "second", "third"] {
            ann.say(chat_id, text).await;
            ann.say(private, text).await;
        }
        for ws in &mut sockets {
            for chat_id in [chat_id, private] {
                for seq in 1..=3 {
                    assert_eq!(ws.expect_in("new_message", chat_id).await["seq"], seq);
                }
            }
        }
        // Its subscription had these numbers.
        sockets[0].subscribe(private).await;
        sockets[0].command(json!({"type": "unsubscribe_chat", "chat_id": private})).await;
        go_back(&d, &[chat_id, private], 1).await;
        cut_connections(&d).await;
        for ws in &mut sockets {
            assert_eq!(resync(ws, chat_id).await, 1);
        }
        for chat_id in [chat_id, private] {
            let sent = ann.say(chat_id, "anew").await;
            assert_eq!(sent["seq"], 2);
            for ws in &mut sockets {
                assert_eq!(ws.expect_in("new_message", chat_id).await["message"], sent);
            }
        }
        let warnings = d.tail(1000).matches("history went back").count();
        assert!((1..=2).contains(&warnings), "{warnings} lines, one a gateway");
    })
    .await;
}

/// The commits that made the chat are lost, or those that made the subscriber a member.
#[tokio::test]
async fn a_chat_that_the_history_lacks_ends_for_its_subscribers() {
    limited(async {
        let d = Deployment::cluster(1, 1).start().await;
        let (ann, bob) = (d.user().await, d.user().await);
        let [spoken, silent, left] =
            [ann.group_id(&[&bob]).await, ann.group_id(&[&bob]).await, ann.group_id(&[&bob]).await];
        let mut sockets = vec![bob.connect().await, bob.connect().await];
        for chat_id in [spoken, silent, left] {
            sockets[0].subscribe(chat_id).await;
        }
        for chat_id in [spoken, left] {
            ann.say(chat_id, "one").await;
            sockets[0].expect_in("new_message", chat_id).await;
        }
        go_back(&d, &[spoken, left], 0).await;
        let mut database = PgConnection::connect(d.database_url()).await.unwrap();
        let lost = format!(
            "delete from members where chat_id in ({spoken}, {silent}) or (chat_id = {left} and user_id = {});
             delete from chats where id in ({spoken}, {silent})",
            bob.id
        );
        database.execute(AssertSqlSafe(lost)).await.unwrap();
        database.close().await.unwrap();
        cut_connections(&d).await;
        for ws in &mut sockets {
            for chat_id in [spoken, silent, left] {
                ws.expect_in("chat_removed", chat_id).await;
            }
        }
        for chat_id in [spoken, silent, left] {
            let refused = sockets[0].command(json!({"type": "typing", "chat_id": chat_id})).await;
            assert_eq!((&refused["type"], &refused["code"]), (&"error".into(), &"not_subscribed".into()));
        }
        // A membership of the present history is news again.
        ann.rest.post(&format!("/chats/{left}/members"), json!({"user_ids": [bob.id]})).await.ok(200);
        for ws in &mut sockets {
            let is_it = |frame: &Value| frame["type"] == "chat_added" && frame["chat"]["id"] == left;
            ws.expect_where("the chat", SOON, is_it).await;
            ws.none_of(&["chat_removed"]).await;
        }
    })
    .await;
}

/// A subscription that begins finds out, and soon so do those that live.
#[tokio::test]
async fn a_newcomer_finds_that_the_history_went_back() {
    limited(async {
        let d = Deployment::cluster(1, 1).start().await;
        let (ann, bob) = (d.user().await, d.user().await);
        let chat_id = ann.group_id(&[&bob]).await;
        let mut live = bob.connect_to(0).await;
        live.subscribe(chat_id).await;
        for text in ["first", "second", "third"] {
            ann.say(chat_id, text).await;
            live.expect_in("new_message", chat_id).await;
        }
        go_back(&d, &[chat_id], 1).await;
        let mut newcomer = ann.connect_to(0).await;
        let subscribed = newcomer.subscribe_after(chat_id, 2).await;
        assert_eq!((&subscribed["seq"], &subscribed["resync"]), (&1.into(), &true.into()));
        assert_eq!(resync_within(FOUND_WITHIN, &mut live, chat_id).await, 1);
        let sent = ann.say(chat_id, "anew").await;
        for ws in [&mut live, &mut newcomer] {
            assert_eq!(ws.expect_in("new_message", chat_id).await["message"], sent);
        }
    })
    .await;
}

#[tokio::test]
async fn a_number_of_another_epoch_leads_to_a_resync() {
    limited(async {
        for d in [Deployment::embedded().start().await, Deployment::cluster(1, 2).start().await] {
            let user = d.user().await;
            let chat_id = user.group_id(&[]).await;
            let last = user.say(chat_id, "one").await["seq"].clone();
            let ask = async |gateway: usize, epoch: &Value| {
                let mut ws = user.connect_to(gateway).await;
                ws.command(json!({"type": "subscribe_chat", "chat_id": chat_id, "after_seq": last, "epoch": epoch}))
                    .await
            };
            let first = ask(0, &json!(null)).await;
            let epoch = first["epoch"].clone();
            assert!(epoch.as_str().is_some_and(|epoch| epoch.len() >= 16), "{first}");
            let same = ask(1, &epoch).await;
            assert_eq!((&same["epoch"], &same["resync"], &same["recovered"]), (&epoch, &json!(null), &json!(0)));
            let other = ask(0, &json!("another")).await;
            assert_eq!((&other["epoch"], &other["resync"], &other["seq"]), (&epoch, &json!(true), &last));
            if !d.is_cluster() {
                continue;
            }
            // The steps of `docs/REFERENCE.md` for the time after a restore.
            let mut link = PgConnection::connect(d.database_url()).await.unwrap();
            sqlx::query("update deployment set epoch = md5(random()::text)").execute(&mut link).await.unwrap();
            for gateway in 0..2 {
                eventually("the new epoch", SOON, async || {
                    let answer = ask(gateway, &epoch).await;
                    (answer["resync"] == true && answer["epoch"] != epoch).then_some(())
                })
                .await;
            }
            let ended = "update sessions set ended_at = clock_timestamp() where ended_at is null";
            sqlx::query(ended).execute(&mut link).await.unwrap();
            eventually("the sessions have ended", SOON, async || {
                (user.rest.get("/auth/me").await.status == 401).then_some(())
            })
            .await;
        }
    })
    .await;
}
