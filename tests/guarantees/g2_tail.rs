//! G2 where a publication is lost on a link that is well: the tail of the log shows it, at the
//! cost of what happened and not of what is followed.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::support::{Deployment, json, limited};

/// The tail is read every ten seconds; and some for a busy machine.
const SHOWN_WITHIN: Duration = Duration::from_secs(13);
/// Chats that are followed and silent.
const SILENT: i64 = 1000;
const WINDOW: Duration = Duration::from_secs(12);

#[tokio::test]
async fn what_nobody_published_is_delivered_soon() {
    limited(async {
        let d = Deployment::cluster(1, 1).start().await;
        let (ann, bob) = (d.user().await, d.user().await);
        let [spoken, joined, silent] = [ann.group_id(&[]).await, ann.group_id(&[]).await, ann.group_id(&[]).await];
        let mut ws = ann.connect().await;
        for chat_id in [spoken, joined, silent] {
            ws.subscribe(chat_id).await;
        }
        let mut database = PgConnection::connect(d.database_url()).await.unwrap();
        // Committed, and gone from the outbox in the same transaction: neither publisher nor relay
        // has it.
        let author = ann.id;
        let message = format!(
            "begin; update chats set seq = seq + 1 where id = {spoken};
             insert into messages (chat_id, seq, author_id, text, created_at)
             values ({spoken}, 1, {author}, 'nobody published this', clock_timestamp()); commit"
        );
        database.execute(AssertSqlSafe(message)).await.unwrap();
        let came = |frame: &serde_json::Value, kind: &str, chat: i64| frame["type"] == kind && frame["chat_id"] == chat;
        let frame = ws.expect_where("the message", SHOWN_WITHIN, |frame| came(frame, "new_message", spoken)).await;
        assert_eq!((&frame["seq"], &frame["message"]["text"]), (&json!(1), &json!("nobody published this")));
        let event = format!(
            "begin; update chats set seq = seq + 1, member_count = member_count + 1 where id = {joined};
             insert into members (chat_id, user_id, role, joined_at) values ({joined}, {0}, 2, clock_timestamp());
             insert into events (chat_id, seq, kind, user_id, role, created_at)
             values ({joined}, 1, 4, {0}, 2, clock_timestamp()); commit",
            bob.id
        );
        database.execute(AssertSqlSafe(event)).await.unwrap();
        let frame = ws.expect_where("the join", SHOWN_WITHIN, |frame| came(frame, "member_joined", joined)).await;
        assert_eq!(frame["seq"], 1);
        // The sequences go on.
        for (chat_id, seq) in [(spoken, 2), (joined, 2), (silent, 1)] {
            assert_eq!(ann.say(chat_id, "on").await["seq"], seq);
            assert_eq!(ws.expect_in("new_message", chat_id).await["seq"], seq);
        }
    })
    .await;
}

#[tokio::test]
async fn a_silent_chat_that_is_followed_costs_the_database_next_to_nothing() {
    limited(async {
        let d = Deployment::cluster(1, 1).start().await;
        let ann = d.user().await;
        let mut database = PgConnection::connect(d.database_url()).await.unwrap();
        let made = format!(
            "with made as (
                 insert into chats (is_group, name, created_at, active_at, member_count)
                 select true, 'silent', clock_timestamp(), clock_timestamp(), 1 from generate_series(1, {SILENT})
                 returning id
             ), joined as (
                 insert into members (chat_id, user_id, role, joined_at)
                 select id, {}, 1, clock_timestamp() from made
             )
             select id from made",
            ann.id
        );
        let chats: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(made)).fetch_all(&mut database).await.unwrap();
        let mut ws = ann.connect().await;
        for some in chats.chunks(100) {
            ws.command(json!({"type": "subscribe_chats", "chats": some.iter().map(|id| json!({"chat_id": id})).collect::<Vec<_>>()})).await;
        }
        let mut looked_up = async || {
            let scans = "select idx_scan from pg_stat_user_tables where relname = 'chats'";
            sqlx::query_scalar::<_, i64>(scans).fetch_one(&mut database).await.unwrap()
        };
        // Measured, not waited for. A session of Postgres says within ten seconds what it did: the
        // subscriptions are over by then.
        tokio::time::sleep(WINDOW).await;
        let before = looked_up().await;
        tokio::time::sleep(WINDOW).await;
        let looked_up = looked_up().await - before;
        println!("G2 {SILENT} silent chats followed: {looked_up} looked up in {WINDOW:?}");
        assert!(looked_up < SILENT / 4, "{looked_up}");
    })
    .await;
}
