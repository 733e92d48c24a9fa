//! G5 where a part fails: a bucket of presence, or a user whom the store refuses.

use futures_util::future::join_all;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::crowd::{sockets, users};
use super::watch::Watch;
use crate::support::{Deployment, SOON, Ws, eventually, limited};

/// Buckets of presence, by the user's id.
const BUCKETS: i64 = 64;

/// The key of that name in a bucket.
async fn key(d: &Deployment, bucket: i64, name: &str) -> String {
    let any = d.redis().text(&["EVAL", "return redis.call('KEYS', '*p:*}:state')[1]", "0"]).await;
    let (start, _) = any.split_once("p:").expect("a bucket");
    format!("{start}p:{bucket}}}:{name}")
}

#[tokio::test]
async fn a_bucket_that_fails_holds_up_no_other() {
    limited(async {
        let d = Deployment::cluster(1, 1).start().await;
        let users = users(&d, 400).await;
        let first = users[0].connect_to(0).await;
        let bad = (users[0].id + 1) % BUCKETS;
        d.redis().command(&["SET", &key(&d, bad, "held").await, "of another kind"]).await;
        let mut sockets = sockets(&users[1..], 0).await;
        let well = users.iter().filter(|user| user.id % BUCKETS != bad).count() as u64;
        let count = async || users[0].rest.get("/ws/online-users?limit=1").await.ok(200)["count"].as_u64();
        eventually("all others online", SOON, async || (count().await? == well).then_some(())).await;
        d.redis().command(&["DEL", &key(&d, bad, "held").await]).await;
        let all = users.len() as u64;
        eventually("all online", SOON, async || (count().await? == all).then_some(())).await;
        println!("G5 one bucket of 64 fails: {well} of {all} online meanwhile, all once it is well");
        sockets.push(first);
    })
    .await;
}

#[tokio::test]
async fn a_user_whom_the_store_refuses_keeps_nobody_from_being_announced() {
    limited(async {
        let d = Deployment::cluster(1, 1).env("PRESENCE_GRACE_SECONDS", 1).start().await;
        let (observer, users) = (d.user().await, users(&d, 12).await);
        let chat_id = observer.group_id(&users.iter().collect::<Vec<_>>()).await;
        let watch = Watch::subscribed(observer.connect_to(0).await, chat_id).await;
        let sockets = sockets(&users, 0).await;
        for user in &users {
            watch.expect_status(user, "online", SOON).await;
        }
        let mut database = PgConnection::connect(d.database_url()).await.unwrap();
        let refused = users[5].id;
        let rule = format!(
            "create function refuse() returns trigger language plpgsql as $$ begin raise 'refused'; end $$;
             create trigger refuse before update of last_seen_at on users for each row when (new.id = {refused})
             execute function refuse();"
        );
        sqlx::raw_sql(AssertSqlSafe(rule)).execute(&mut database).await.unwrap();
        join_all(sockets.into_iter().map(Ws::close)).await;
        for user in users.iter().filter(|user| user.id != refused) {
            watch.expect_status(user, "offline", SOON).await;
        }
        assert_eq!(watch.statuses(&users[5]), ["online"]);
        sqlx::raw_sql("drop trigger refuse on users").execute(&mut database).await.unwrap();
        watch.expect_status(&users[5], "offline", SOON).await;
        for user in &users {
            assert_eq!(watch.statuses(user), ["online", "offline"], "each once");
        }
        println!("G5 the store refuses one of 12 who went: 11 announced, the last once it is well");
    })
    .await;
}
