//! G6 over databases: a token speaks for its own session in its own database. And G9: two
//! deployments on one Redis never hear of each other.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::watch::Watch;
use crate::support::deployment::SECRET_KEY;
use crate::support::user::PASSWORD;
use crate::support::{Deployment, Redis, Rest, SOON, User, Way, Ws, eventually, json, limited};

/// Registers somebody in a database that gives out its numbers again.
async fn registered(d: &Deployment, name: &str) -> User {
    d.user_named(name).await
}

/// That none of these tokens opens anything.
async fn is_nobody(d: &Deployment, before: &User) {
    let rest: Rest = d.rest().with_bearer(&before.access);
    rest.get("/auth/me").await.problem(401, "token_invalid");
    rest.post("/chats/create", json!({"name": "mine"})).await.problem(401, "token_invalid");
    let refreshed = d.rest().post("/auth/refresh", json!({"refresh_token": before.refresh})).await;
    refreshed.problem(401, "token_invalid");
    let mut ws = Ws::open(&d.gateway(0).ws_url(), Way::Header, &before.access).await;
    assert_eq!(ws.expect_close(SOON).await.0, 4501);
}

#[tokio::test]
async fn a_token_of_a_database_that_is_gone_is_nobodys() {
    limited(async {
        let first = Deployment::embedded().start().await;
        let ann = registered(&first, "ann").await;
        // The same key over a new database: the first to register has the same numbers.
        let second = Deployment::embedded().env("SECRET_KEY", SECRET_KEY).start().await;
        let ben = registered(&second, "ben").await;
        assert_eq!(ann.id, ben.id, "the numbers are given out again");
        is_nobody(&second, &ann).await;
        second.rest().post("/auth/refresh", json!({"refresh_token": ben.refresh})).await.ok(200);
        ben.rest.get("/auth/me").await.ok(200);
    })
    .await;
}

#[tokio::test]
async fn a_token_of_after_a_backup_is_nobodys_once_it_is_restored() {
    limited(async {
        let d = Deployment::cluster(1, 1).start().await;
        let (before, ann) = (d.user().await, registered(&d, "ann").await);
        // As a restored dump has it: who came later never was, and the numbers go on from before.
        let sql = format!(
            "delete from sessions where user_id = {0}; delete from users where id = {0};
             select setval(pg_get_serial_sequence('users', 'id'), {0}, false);
             select setval(pg_get_serial_sequence('sessions', 'id'), (select max(id) + 1 from sessions), false)",
            ann.id
        );
        let mut link = PgConnection::connect(d.database_url()).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut link).await.unwrap();
        for node in d.nodes() {
            node.restart().await;
        }
        let ben = registered(&d, "ben").await;
        assert_eq!(ann.id, ben.id, "the numbers are given out again");
        is_nobody(&d, &ann).await;
        ben.rest.get("/auth/me").await.ok(200);
        before.rest.get("/auth/me").await.ok(200);
    })
    .await;
}

/// Who must be let in, on any node.
async fn is_let_in(user: &User) {
    for node in 0..2 {
        eventually("let in", SOON, async || (user.rest.on(node).get("/auth/me").await.status == 200).then_some(()))
            .await;
        let mut ws = user.connect_to(node).await;
        ws.round_trip().await;
    }
}

#[tokio::test]
async fn an_account_that_is_active_again_is_let_in() {
    limited(async {
        let d = Deployment::cluster(2, 2).start().await;
        let mut ann = d.user().await;
        let before = ann.second_session().await;
        ann.rest.delete("/auth/me").await.ok(204);
        crate::rest::ends_within_a_second(&ann.rest).await;
        let mut link = PgConnection::connect(d.database_url()).await.unwrap();
        sqlx::query("update users set is_active = true where id = $1").bind(ann.id).execute(&mut link).await.unwrap();
        let tokens = ann.login().await.ok(200);
        ann.take_tokens(&tokens);
        is_let_in(&ann).await;
        for node in 0..2 {
            let refused = before.rest.on(node).get("/auth/me").await;
            assert_eq!(refused.status, 401, "{}", refused.body);
        }
    })
    .await;
}

/// The nodes live on while the history goes back behind an account that was closed in it.
#[tokio::test]
async fn a_closed_account_of_a_lost_history_is_nobody_elses() {
    limited(async {
        let d = Deployment::cluster(2, 2).start().await;
        let ann = registered(&d, "ann").await;
        ann.rest.delete("/auth/me").await.ok(204);
        crate::rest::ends_within_a_second(&ann.rest).await;
        let sql = format!(
            "delete from sessions where user_id = {0}; delete from users where id = {0};
             select setval(pg_get_serial_sequence('users', 'id'), {0}, false);
             update deployment set epoch = md5(random()::text)",
            ann.id
        );
        let mut link = PgConnection::connect(d.database_url()).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut link).await.unwrap();
        let ben = registered(&d, "ben").await;
        assert_eq!(ann.id, ben.id, "the numbers are given out again");
        is_let_in(&ben).await;
    })
    .await;
}

/// A copy of the database beside its original, on one Redis and under one key: staging, say.
#[tokio::test]
async fn a_copy_of_a_database_is_a_deployment_of_its_own() {
    limited(async {
        let redis = Redis::private().await;
        let original = Deployment::cluster(1, 1).redis(&redis).start().await;
        let (ann, bob) = (original.user().await, original.user().await);
        let chat = ann.private_chat_id(&bob).await;
        for node in original.nodes() {
            node.sigterm();
            node.wait_exit(SOON).await;
        }
        let (server, name) = original.database_url().rsplit_once('/').unwrap();
        let mut link = PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
        let copied = format!("create database {name}_copy template {name}");
        sqlx::raw_sql(AssertSqlSafe(copied)).execute(&mut link).await.unwrap();
        for node in original.nodes() {
            node.start_again().await;
        }
        let copy = format!("{server}/{name}_copy");
        let copy = Deployment::cluster(1, 1).redis(&redis).env("DATABASE_URL", copy).start().await;

        // The original is what it was. Its tokens are nobody's in the copy, where the same people
        // are.
        let mut here = bob.connect_to(0).await;
        is_nobody(&copy, &bob).await;
        let login = async |user: &User| {
            let login = json!({"username": user.username, "password": user.password});
            copy.rest().post("/auth/login", login).await.ok(200)["access_token"].as_str().unwrap().to_owned()
        };
        let mut there = Ws::open(&copy.gateway(0).ws_url(), Way::Header, &login(&bob).await).await;
        there.expect_welcome().await;
        there.round_trip().await;
        // A private message reaches a connection without a subscription.
        assert_eq!(ann.say(chat, "of the original").await["seq"], 1);
        assert_eq!(here.expect("new_message").await["message"]["text"], "of the original");
        let copied = copy.rest().with_bearer(&login(&ann).await);
        copied.post("/messages/send", json!({"chat_id": chat, "text": "of the copy"})).await.ok(201);
        assert_eq!(there.expect("new_message").await["message"]["text"], "of the copy", "the first is its own");
        here.round_trip().await;
        assert!(here.drain().iter().all(|frame| frame["type"] != "new_message"));

        // Started anew it stays what it became, and so does the original.
        for node in copy.nodes() {
            node.restart().await;
        }
        copied.get("/auth/me").await.ok(200);
        bob.rest.get("/auth/me").await.ok(200);
    })
    .await;
}

#[tokio::test]
async fn two_deployments_on_one_redis_never_hear_of_each_other() {
    limited(async {
        let redis = Redis::private().await;
        for database in [0, 1] {
            let url = format!("redis://{}/{database}", redis.address());
            let (one, other) = tokio::join!(
                Deployment::cluster(1, 1).redis(&redis).start(),
                Deployment::cluster(1, 1)
                    .redis(&redis)
                    .node_env("api-0", "REDIS_URL", &url)
                    .node_env("gateway-0", "REDIS_URL", &url)
                    .start(),
            );
            never_meet(&one, &other).await;
        }
    })
    .await;
}

async fn never_meet(one: &Deployment, other: &Deployment) {
    // The same numbers on both sides.
    let (ann, bob) = (one.user().await, one.user().await);
    let (eve, dan) = (other.user().await, other.user().await);
    assert_eq!((ann.id, bob.id), (eve.id, dan.id));
    let (chat, same) = (ann.group_id(&[&bob]).await, eve.group_id(&[&dan]).await);
    assert_eq!(chat, same);
    let here = Watch::subscribed(bob.connect_to(0).await, chat).await;
    let there = Watch::subscribed(dan.connect_to(0).await, same).await;
    let mut typist = ann.connect_to(0).await;
    typist.subscribe(chat).await;
    typist.send(json!({"type": "typing", "chat_id": chat})).await;
    here.expect("typing", SOON, |seen| seen.is("typing")).await;
    ann.say(chat, "of one").await;
    ann.say(ann.private_chat_id(&bob).await, "to bob").await;
    here.expect("the private message", SOON, |seen| seen.frame["message"]["text"] == "to bob").await;
    eve.say(same, "of the other").await;
    let first = there.expect("a message", SOON, |seen| seen.is("new_message")).await;
    assert_eq!(first.frame["message"]["text"], "of the other", "the first that comes is its own");
    // Sessions that end there live on here.
    let second = dan.second_session().await;
    second.rest.post_nothing("/auth/logout").await.ok(204);
    let body = json!({"current_password": PASSWORD, "password": "another long password"});
    dan.rest.patch("/auth/me", body).await.ok(200);
    let online = one.rest().with_bearer(&ann.access).get("/ws/online-users").await.ok(200);
    assert_eq!(online["count"], 2, "{online}");
    let listed = other.rest().with_bearer(&eve.access).get("/ws/online-users").await.ok(200);
    assert_eq!(listed["count"], 1, "{listed}");
    bob.rest.get("/auth/me").await.ok(200);
    assert!(!here.is_closed());
    let strangers = there.seen().iter().any(|seen| seen.frame.to_string().contains("of one") || seen.is("typing"));
    assert!(!strangers, "{:?}", there.seen());
}
