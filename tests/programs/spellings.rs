//! Addresses that a node of an older release stored get their spelling in the background.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::support::user::{PASSWORD, fresh_name};
use crate::support::{Deployment, eventually, json, limited};

/// Two looks at the addresses that lack theirs, and a moment.
const SPELLED_WITHIN: Duration = Duration::from_secs(25);

#[tokio::test]
async fn older_addresses_get_their_spelling_and_of_two_alike_the_older_one() {
    limited(async {
        let d = Deployment::cluster(2, 0).start().await;
        let (ann, ben) = (d.user().await, d.user().await);
        let mut link = PgConnection::connect(d.database_url()).await.unwrap();
        let name = fresh_name("older");
        let [sharp, double, wide] = ["straße", "strasse", "ｓtrasse"].map(|word| format!("{name}.{word}@example.org"));
        // As that release writes: more than are given theirs at once, and two of one address.
        link.execute(AssertSqlSafe(format!(
            "insert into users (username, username_lower, email, email_lower, password_hash)
             select 'a' || n, 'a' || n, n || email, n || email, 'x'
             from generate_series(1, 1200) n, (select '.ａ@example.org' as email) e;
             update users set email = '{sharp}', email_lower = '{sharp}' where id = {};
             update users set email = '{double}', email_lower = '{double}' where id = {}",
            ann.id, ben.id
        )))
        .await
        .unwrap();
        let spelled = async |link: &mut PgConnection| {
            let lack = "select count(*) from users where email_spelling is null";
            eventually("all but one have their spelling", SPELLED_WITHIN, async || {
                let lack: i64 = sqlx::query_scalar(lack).fetch_one(&mut *link).await.unwrap();
                (lack == 1).then_some(())
            })
            .await;
        };
        spelled(&mut link).await;
        let rest = d.rest();
        for (login, id) in [(&sharp, ann.id), (&wide, ann.id), (&double, ben.id)] {
            let tokens = rest.post("/auth/login", json!({"username": login, "password": PASSWORD})).await.ok(200);
            let me = rest.with_bearer(tokens["access_token"].as_str().unwrap()).get("/auth/me").await.ok(200);
            assert_eq!(me["id"], id, "{login}");
        }
        for taken in [&sharp, &wide, &double, &"7.A@example.org".to_owned()] {
            let account = json!({"username": fresh_name("late"), "email": taken, "password": PASSWORD});
            rest.post("/auth/register", account).await.problem(409, "email_taken");
        }
        for node in d.nodes() {
            let said =
                async || node.log().since(0).iter().any(|line| line.contains("in another spelling")).then_some(());
            eventually("the two are named by their number", SPELLED_WITHIN, said).await;
        }
        // Once, however often they look, and no address.
        let changed = "update users set email = 'a@b', email_lower = 'a@b' where username = 'a1'";
        link.execute(changed).await.unwrap();
        spelled(&mut link).await;
        for node in d.nodes() {
            let log = node.log().since(0);
            assert_eq!(log.iter().filter(|line| line.contains("in another spelling")).count(), 1);
            assert!(!log.iter().any(|line| line.contains("trasse@")), "an address is logged");
        }
    })
    .await;
}
