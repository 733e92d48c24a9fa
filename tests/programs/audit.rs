//! The security events of the log: each is there, and none has a name, an address or a secret.

use std::time::Duration;

use reqwest::Method;

use crate::support::deployment::Builder;
use crate::support::user::{PASSWORD, fresh_name};
use crate::support::{Answer, Deployment, Postgres, SOON, User, Value, eventually, json, limited as in_time};

both_forms_alone!(each_security_event_is_a_line, addresses_are_logged_only_where_asked_for);

/// The events of that kind in all nodes' logs.
fn events(d: &Deployment, kind: &str) -> Vec<Value> {
    let lines = d.nodes().into_iter().flat_map(|node| node.log().since(0));
    let parsed = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    parsed.filter(|line| line["security.event"] == kind).collect()
}

async fn event(d: &Deployment, kind: &str) -> Value {
    eventually(kind, SOON, || async { events(d, kind).pop() }).await
}

fn logged(builder: Builder) -> Builder {
    builder.env("RATE_LIMITS", "on").env("DEBUG", "off")
}

async fn login(d: &Deployment, name: &str, password: &str) -> Answer {
    d.rest().post("/auth/login", json!({"username": name, "password": password})).await
}

async fn flood(user: &User) {
    let mut ws = user.connect_to(0).await;
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    while ws.closed.is_none() {
        pace.tick().await;
        ws.send(json!({"type": "ping"})).await;
        ws.next_within(Duration::from_millis(20)).await;
    }
}

async fn each_security_event_is_a_line(builder: Builder) {
    let builder = logged(builder).env("RATE_LOGINS_PER_MINUTE", 30);
    let d = builder.env("RATE_WRONG_PASSWORDS_PER_HOUR", 2).start().await;
    let mut ann = d.user().await;
    let ben = d.user().await;
    let chat_id = ann.group_id(&[&ben]).await;
    for kind in ["registered", "logged_in"] {
        assert_eq!(event(&d, kind).await["level"], "INFO");
    }
    assert!(events(&d, "logged_in").iter().any(|line| line["user.id"] == ann.id && line["session.id"].is_i64()));

    ben.rest.patch(&format!("/chats/{chat_id}"), json!({"name": "taken over"})).await.problem(403, "not_owner");
    let refused = event(&d, "refused").await;
    assert_eq!((&refused["security.code"], &refused["span"]["user.id"]), (&json!("not_owner"), &json!(ben.id)));
    assert!(refused["span"]["request.id"].is_string() && refused["span"]["session.id"].is_i64(), "{refused}");
    let mut ws = ben.connect().await;
    ws.refused(json!({"type": "subscribe_chat", "chat_id": d.user().await.group_id(&[]).await}), "not_a_member").await;
    eventually("refused on a socket", SOON, || async {
        let mut refused = events(&d, "refused").into_iter();
        refused.find(|line| line["security.code"] == "not_a_member" && line["user.id"] == ben.id)
    })
    .await;

    let spent = ann.refresh.clone();
    for _ in 0..2 {
        let tokens = ann.rest.post("/auth/refresh", json!({"refresh_token": ann.refresh})).await.ok(200);
        ann.take_tokens(&tokens);
    }
    d.rest().post("/auth/refresh", json!({"refresh_token": spent})).await.problem(401, "token_reused");
    let reused = event(&d, "token_reused").await;
    assert_eq!((&reused["level"], &reused["user.id"]), (&json!("WARN"), &json!(ann.id)));
    d.rest().with_bearer("rubbish").get("/auth/me").await.problem(401, "token_invalid");
    event(&d, "token_refused").await;

    let change = async |current: &str| {
        let body =
            json!({"password": "another good one", "email": "new.address@example.org", "current_password": current});
        ben.rest.patch("/auth/me", body).await
    };
    change("wrong").await.problem(403, "wrong_password");
    change(PASSWORD).await.ok(200);
    for kind in ["password_wrong", "password_changed", "email_changed"] {
        let line = event(&d, kind).await;
        assert!(line["user.id"] == ben.id && line["session.id"].is_i64(), "{line}");
    }
    ben.rest.delete("/auth/me").await.ok(204);
    assert_eq!(event(&d, "deactivated").await["user.id"], ben.id);
    login(&d, &ben.username, "another good one").await.problem(403, "account_disabled");
    assert_eq!(event(&d, "login_disabled").await["user.id"], ben.id);
    login(&d, &ann.username, "a secret guess").await.problem(401, "bad_credentials");
    assert_eq!(event(&d, "login_failed").await["user.id"], ann.id);
    let nobody = fresh_name("nobody");
    while login(&d, &ann.username, "a secret guess").await.status != 429 {}
    let line = event(&d, "login_limited").await;
    assert_eq!((&line["level"], &line["user.id"]), (&json!("INFO"), &json!(ann.id)));
    while events(&d, "address_limited").is_empty() {
        login(&d, &nobody, "a secret guess").await;
    }
    assert_eq!(event(&d, "address_limited").await["level"], "INFO");

    let lines: Vec<_> = d.nodes().into_iter().flat_map(|node| node.log().since(0)).collect();
    let secrets = [&ann.username, &ben.username, &ann.email, &nobody, &ann.access, &spent];
    for secret in secrets.into_iter().map(String::as_str).chain([
        PASSWORD,
        "a secret guess",
        "new.address",
        "client.address\":\"",
    ]) {
        assert!(!lines.iter().any(|line| line.contains(secret)), "{secret} is in the log");
    }
}

async fn addresses_are_logged_only_where_asked_for(builder: Builder) {
    let builder = logged(builder).env("LOG_CLIENT_ADDRESSES", "on").env("TRUSTED_PROXIES", "127.0.0.0/8,::1");
    let d = builder.env("RATE_COMMANDS_PER_SECOND", 5).start().await;
    let body = json!({"username": fresh_name("nobody"), "password": "x"});
    let request = d.rest().request(Method::POST, "/auth/login").header("x-forwarded-for", "203.0.113.9");
    Answer::of(request.json(&body)).await.problem(401, "bad_credentials");
    let line = event(&d, "login_failed").await;
    assert_eq!(line["span"]["client.address"], "203.0.113.9", "{line}");
    let ann = d.user().await;
    ann.rest.post_nothing("/auth/logout").await.ok(204);
    assert_eq!(event(&d, "session_ended").await["user.id"], ann.id);
    flood(&d.user().await).await;
    assert_eq!(event(&d, "flooded").await["level"], "WARN");
}

#[tokio::test]
async fn an_address_that_is_taken_is_not_in_the_log_of_postgres() {
    in_time(async {
        let postgres = Postgres::private().await;
        let d = Deployment::cluster(1, 0).postgres(&postgres).start().await;
        let (ann, ben) = (d.user().await, d.user().await);
        let body = json!({"username": fresh_name("twin"), "email": ann.email, "password": PASSWORD});
        d.rest().post("/auth/register", body).await.problem(409, "email_taken");
        let body = json!({"username": ann.username, "email": fresh_name("a") + "@example.org", "password": PASSWORD});
        d.rest().post("/auth/register", body).await.problem(409, "username_taken");
        let body = json!({"email": ann.email.to_uppercase(), "current_password": PASSWORD});
        ben.rest.patch("/auth/me", body).await.problem(409, "email_taken");
        let named: Vec<_> = postgres.log().into_iter().filter(|line| line.contains("@example.org")).collect();
        assert!(named.is_empty(), "{named:?}");
    })
    .await;
}
