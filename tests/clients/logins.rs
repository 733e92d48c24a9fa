//! The end of a login: by a logout, by another login, and by the end of the client.

use serde_json::{Value, json};

use super::fake::Fake;
use super::{Client, Language, each_client_faked};
use crate::support::SOON;

each_client_faked!(
    a_logout_says_how_it_went,
    a_logout_under_an_expired_token_ends_the_session,
    a_logout_while_the_server_is_away_ends_the_loop,
    the_answer_of_an_old_refresh_leaves_the_new_login,
    a_call_of_one_login_is_not_repeated_by_another,
    a_message_that_waits_ends_with_the_client,
);

async fn signed_in(fake: &Fake, language: Language, expires_in: f64) -> Client {
    let mut client = Client::open(language, &fake.url(), None).await;
    client.ok(adopt("old", expires_in)).await;
    client
}

fn adopt(name: &str, expires_in: f64) -> Value {
    let (access, refresh) = (format!("{name}-access"), format!("{name}-refresh"));
    json!({"do": "adopt", "access_token": access, "refresh_token": refresh, "expires_in": expires_in})
}

fn pair(name: &str) -> Value {
    json!({"access_token": format!("{name}-access"), "refresh_token": format!("{name}-refresh"), "expires_in": 900})
}

fn problem(status: u16, code: &str) -> Value {
    json!({"status": status, "code": code, "title": code, "detail": code})
}

async fn a_logout_says_how_it_went(language: Language) {
    let fake = Fake::start().await;
    let mut client = signed_in(&fake, language, 900.0).await;
    let asked = client.begin(json!({"do": "logout"})).await;
    fake.call("post /auth/logout").await.answer(503, problem(503, "unavailable")).await;
    assert_eq!(client.answer(asked, SOON).await["error"], "unavailable");
    assert!(client.close().await.success());
}

async fn a_logout_under_an_expired_token_ends_the_session(language: Language) {
    let fake = Fake::start().await;
    let mut client = signed_in(&fake, language, 900.0).await;
    let asked = client.begin(json!({"do": "logout"})).await;
    fake.call("post /auth/logout").await.answer(401, problem(401, "token_expired")).await;
    fake.call("post /auth/refresh").await.answer(200, pair("fresh")).await;
    let told = fake.call("post /auth/logout").await;
    assert!(told.head.contains("bearer fresh-access"), "{}", told.head);
    told.answer(200, json!(null)).await;
    assert!(client.answer(asked, SOON).await.get("ok").is_some());
    assert!(client.close().await.success());
}

async fn a_logout_while_the_server_is_away_ends_the_loop(language: Language) {
    let fake = Fake::start().await;
    let mut client = signed_in(&fake, language, 900.0).await;
    client.ok(json!({"do": "listen"})).await;
    let mut link = fake.next().await;
    link.welcome().await;
    client.until_open(1).await;
    let asked = client.begin(json!({"do": "logout"})).await;
    let told = fake.call("post /auth/logout").await;
    drop(link);
    told.answer(200, json!(null)).await;
    assert!(client.answer(asked, SOON).await.get("ok").is_some());
    drop(fake);
    let ended = client.until("the end", |line| line["ended"].is_i64()).await;
    assert_eq!(ended["ended"], 4501);
    assert!(client.close().await.success());
}

async fn the_answer_of_an_old_refresh_leaves_the_new_login(language: Language) {
    let fake = Fake::start().await;
    for (status, answer) in [(200, pair("late")), (401, problem(401, "token_reused"))] {
        let mut client = signed_in(&fake, language, 0.001).await;
        let me = json!({"do": "request", "method": "GET", "path": "/auth/me", "body": null});
        let early = client.begin(me.clone()).await;
        let refresh = fake.call("post /auth/refresh").await;
        client.ok(adopt("new", 900.0)).await;
        refresh.answer(status, answer).await;
        assert!(client.answer(early, SOON).await["error"].is_string());
        let asked = client.begin(me).await;
        let call = fake.call("get /auth/me").await;
        assert!(call.head.contains("bearer new-access"), "{status}: {}", call.head);
        call.answer(200, json!({"id": 1})).await;
        assert_eq!(client.answer(asked, SOON).await["ok"]["id"], 1);
        assert!(client.close().await.success());
    }
}

/// The deletion of one account must not become that of another.
async fn a_call_of_one_login_is_not_repeated_by_another(language: Language) {
    let fake = Fake::start().await;
    let mut client = signed_in(&fake, language, 900.0).await;
    for (path, next) in [("/auth/me", "second"), ("/auth/sessions", "third")] {
        let asked = client.begin(json!({"do": "request", "method": "DELETE", "path": path, "body": null})).await;
        let held = fake.call(&format!("delete {path}")).await;
        client.ok(adopt(next, 900.0)).await;
        held.answer(401, problem(401, "token_expired")).await;
        assert_eq!(client.answer(asked, SOON).await["error"], "token_expired");
        let asked = client.begin(json!({"do": "request", "method": "GET", "path": "/auth/me", "body": null})).await;
        let call = fake.call("get /auth/me").await;
        assert!(call.head.contains(&format!("bearer {next}-access")), "{}", call.head);
        call.answer(200, json!({"id": 1})).await;
        assert_eq!(client.answer(asked, SOON).await["ok"]["id"], 1);
    }
    if language == Language::Python {
        // Its logout ends no client, and leaves a login that begins meanwhile.
        let asked = client.begin(json!({"do": "logout"})).await;
        let held = fake.call("post /auth/logout").await;
        client.ok(adopt("last", 900.0)).await;
        held.answer(200, json!(null)).await;
        assert!(client.answer(asked, SOON).await.get("ok").is_some());
        let asked = client.begin(json!({"do": "request", "method": "GET", "path": "/auth/me", "body": null})).await;
        fake.call("get /auth/me").await.answer(200, json!({"id": 1})).await;
        assert_eq!(client.answer(asked, SOON).await["ok"]["id"], 1);
    }
    assert!(client.close().await.success());
}

async fn a_message_that_waits_ends_with_the_client(language: Language) {
    let fake = Fake::start().await;
    let mut client = signed_in(&fake, language, 900.0).await;
    drop(fake);
    let sent = client.send(1, "nobody takes it").await;
    client.ok(json!({"do": "close"})).await;
    assert_eq!(client.answer(sent, SOON).await["error"], "offline");
    assert!(client.ended().await.success());
}
