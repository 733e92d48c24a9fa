//! G9 where many join one group at once: sends to it go on. A join locks the group's row for what
//! the database itself takes, however far away the database is.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::tally::ms;
use crate::support::proxy::Mode;
use crate::support::{Deployment, Postgres, Proxy, json, limited};

const USERS: usize = 60;
/// On the way to the database and back, each: as in a cloud's next zone, and some more.
const DELAY: Duration = Duration::from_millis(5);
/// Joins that hold the row over their round trips take four seconds in all.
const SLOWEST: Duration = Duration::from_secs(1);

#[tokio::test]
async fn sends_to_a_group_go_on_while_many_join_it() {
    limited(async {
        let postgres = Postgres::private().await;
        let database = postgres.new_database().await;
        let proxy = Proxy::to(&format!("127.0.0.1:{}", postgres.port()));
        let url = database.replace(&format!(":{}/", postgres.port()), &format!(":{}/", proxy.port()));
        let d = Deployment::cluster(1, 1).postgres(&postgres).env("DATABASE_URL", url).start().await;
        let ann = d.user().await;
        let users = join_all((0..USERS).map(|_| d.user())).await;
        let chat_id = ann.group_id(&[]).await;
        ann.say(chat_id, "a connection for each").await;
        proxy.set(Mode::Delay(DELAY));
        let joins = async {
            let begun = Instant::now();
            let joined = join_all(users.iter().map(|user| user.join(chat_id))).await;
            assert!(joined.iter().all(|chat| chat["role"] == "member"));
            begun.elapsed()
        };
        let sends = async {
            let mut slowest = Duration::ZERO;
            for n in 0..8 {
                let begun = Instant::now();
                let body = json!({"chat_id": chat_id, "text": format!("{n}")});
                ann.rest.post("/messages/send", body).await.ok(201);
                slowest = slowest.max(begun.elapsed());
            }
            slowest
        };
        let (all, slowest) = tokio::join!(joins, sends);
        println!(
            "{USERS} joins at once, {} to the database and back: {}; a send meanwhile {} at most",
            ms(DELAY * 2),
            ms(all),
            ms(slowest)
        );
        assert!(slowest < SLOWEST, "{slowest:?}");
        proxy.set(Mode::Forward);
        let chat = ann.chat(chat_id).await;
        // Each join and each message has its number.
        assert_eq!((&chat["member_count"], &chat["seq"]), (&json!(USERS + 1), &json!(USERS + 9)));
    })
    .await;
}
