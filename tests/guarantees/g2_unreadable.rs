//! G2 where the database cannot read a row of the log: the chat's subscribers get a `resync`, and
//! no other chat waits for it.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::support::{Deployment, SOON, Value, json, limited};

/// A read is tried three times; and some for a busy machine.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(8);

/// From now on a read of the message with this number fails, as of a block with a wrong checksum.
async fn tear(database: &mut PgConnection, chat_id: i64, seq: i64) {
    let torn = format!(
        "create or replace view log as
             select chat_id, seq, 1::smallint as kind, id as message_id, null::bigint as user_id,
                 case when chat_id = {chat_id} and seq = {seq} then (1 / (seq - {seq}))::smallint end as role,
                 created_at, null::text as emoji, null::bigint as emoji_count
             from messages
             union all
             select chat_id, seq, kind, message_id, user_id, role, created_at, emoji, emoji_count from events"
    );
    database.execute(AssertSqlSafe(torn)).await.unwrap();
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_a_resync_and_holds_up_no_other_chat() {
    limited(async {
        let d = Deployment::cluster(1, 1).start().await;
        let (ann, bob) = (d.user().await, d.user().await);
        let [torn, whole] = [ann.group_id(&[&bob]).await, ann.group_id(&[&bob]).await];
        for chat_id in [torn, whole] {
            for text in ["one", "two", "three"] {
                ann.say(chat_id, text).await;
            }
        }
        let mut database = PgConnection::connect(d.database_url()).await.unwrap();
        tear(&mut database, torn, 2).await;
        let mut ws = bob.connect().await;
        for chat_id in [torn, whole] {
            let subscribed = ws.subscribe_after(chat_id, 0).await;
            assert_eq!((&subscribed["recovered"], &subscribed["resync"]), (&json!(3), &Value::Null));
        }
        for seq in 1..=3 {
            let frame = ws.expect_where("the other chat's replay", GIVEN_UP_WITHIN, |frame| {
                frame["type"] == "new_message" && frame["chat_id"] == whole
            });
            assert_eq!(frame.await["seq"], seq);
        }
        let is_it = |frame: &Value| frame["type"] == "resync" && frame["chat_id"] == torn;
        assert_eq!(ws.expect_where("a resync", GIVEN_UP_WITHIN, is_it).await["seq"], 3);
        for chat_id in [torn, whole] {
            ann.say(chat_id, "four").await;
            assert_eq!(ws.expect_in("new_message", chat_id).await["seq"], 4);
        }
    })
    .await;
}

/// Its publication is lost, and the log does not give it either.
#[tokio::test]
async fn a_gap_that_cannot_be_read_is_a_resync() {
    limited(async {
        let d = Deployment::cluster(1, 1).start().await;
        let ann = d.user().await;
        let chat_id = ann.group_id(&[]).await;
        let mut ws = ann.connect().await;
        ws.subscribe(chat_id).await;
        ann.say(chat_id, "one").await;
        ws.expect_in("new_message", chat_id).await;
        let mut database = PgConnection::connect(d.database_url()).await.unwrap();
        tear(&mut database, chat_id, 2).await;
        let unpublished = format!(
            "begin; update chats set seq = seq + 1 where id = {chat_id};
             insert into messages (chat_id, seq, author_id, text, created_at)
             values ({chat_id}, 2, {}, 'nobody published this', clock_timestamp()); commit",
            ann.id
        );
        database.execute(AssertSqlSafe(unpublished)).await.unwrap();
        assert_eq!(ann.say(chat_id, "three").await["seq"], 3);
        let is_it = |frame: &Value| frame["type"] == "resync" && frame["chat_id"] == chat_id;
        assert_eq!(ws.expect_where("a resync", GIVEN_UP_WITHIN, is_it).await["seq"], 3);
        ann.say(chat_id, "four").await;
        let is_event = |frame: &Value| frame["type"] == "new_message" && frame["chat_id"] == chat_id;
        assert_eq!(ws.expect_where("what follows", SOON, is_event).await["seq"], 4);
    })
    .await;
}
