//! Registering, logging in, and one's own account.

use reqwest::Method;

use crate::support::user::{PASSWORD, fresh_name};
use crate::support::{Answer, Deployment, Value, json, shared};
use sqlx::{Connection, Executor, PgConnection};
use std::time::Duration;

both_forms!(
    registering_answers_the_user_and_never_a_hash,
    every_fault_of_a_registration_is_told_at_once,
    the_bounds_of_a_registration_are_exact,
    a_name_or_an_address_is_taken_whatever_its_case,
    of_many_who_register_one_name_at_once_one_gets_it,
    login_takes_json_and_a_form_a_name_and_an_address,
    bad_credentials_are_the_same_words_for_a_stranger_and_a_wrong_password,
    me_is_the_user_of_the_token,
    no_token_a_bad_one_and_a_foreign_one_are_unauthenticated,
    the_address_changes_only_with_the_current_password,
    a_new_password_ends_all_other_sessions,
    a_deactivated_account_is_closed,
    a_deactivated_owner_leaves_an_heir,
    a_group_of_deactivated_members_is_gone,
);

/// A `User` of the contract and nothing else.
#[track_caller]
fn assert_user(user: &Value, username: &str, email: &str) {
    let fields: Vec<&str> = user.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = ["id", "username", "email", "display_name", "bio", "is_active", "created_at"];
    expected.sort_unstable();
    let mut found = fields;
    found.sort_unstable();
    assert_eq!(found, expected, "{user}");
    assert!(user["id"].as_i64().is_some_and(|id| id > 0), "{user}");
    assert_eq!((user["username"].as_str(), user["email"].as_str()), (Some(username), Some(email)));
    assert_eq!(user["is_active"], true);
    crate::rest::assert_time(&user["created_at"]);
}

async fn registering_answers_the_user_and_never_a_hash(d: &Deployment) {
    let name = fresh_name("New.User-1");
    let email = format!("{name}@Example.org");
    let body = json!({"username": name, "email": email, "password": PASSWORD});
    let answer = d.rest().post("/auth/register", body).await;
    assert!(!answer.body.contains("argon2"), "{}", answer.body);
    let user = answer.ok(201);
    // names and addresses keep the case they were given in
    assert_eq!(user["username"], name.as_str());
    assert_user(&user, &name, user["email"].as_str().unwrap());
    assert!(user["email"].as_str().unwrap().eq_ignore_ascii_case(&email));
}

async fn every_fault_of_a_registration_is_told_at_once(d: &Deployment) {
    let rest = d.rest();
    let body = json!({"username": "a b", "email": "nobody", "password": "short"});
    let fields = rest.post("/auth/register", body).await.faulty_fields();
    assert_eq!(fields, ["email", "password", "username"]);

    let fields = rest.post("/auth/register", json!({})).await.faulty_fields();
    assert_eq!(fields, ["email", "password", "username"], "what is missing");

    let body = json!({"username": 7, "email": null, "password": ["x"]});
    let fields = rest.post("/auth/register", body).await.faulty_fields();
    assert_eq!(fields, ["email", "password", "username"], "what is of another kind");
}

async fn the_bounds_of_a_registration_are_exact(d: &Deployment) {
    let rest = d.rest();
    let register = async |username: &str, password: &str| {
        let email = format!("{}@example.org", fresh_name("bounds"));
        let body = json!({"username": username, "email": email, "password": password});
        rest.post("/auth/register", body).await
    };
    let unique = fresh_name("b");
    let longest = format!("{unique:x<32}");
    register(&longest, PASSWORD).await.ok(201);
    assert_eq!(register(&format!("{longest}x"), PASSWORD).await.faulty_fields(), ["username"]);
    assert_eq!(register("ab", PASSWORD).await.faulty_fields(), ["username"]);
    for name in ["with space", "zoë", "semi;colon", "a/b", "tab\tx", "new\nline", "nul\0x", ""] {
        assert_eq!(register(name, PASSWORD).await.faulty_fields(), ["username"], "{name:?}");
    }
    register(&fresh_name("p8"), "8 letter").await.ok(201);
    register(&fresh_name("p128"), &"x".repeat(128)).await.ok(201);
    assert_eq!(register(&fresh_name("p7"), "1234567").await.faulty_fields(), ["password"]);
    let too_long = "x".repeat(129);
    assert_eq!(register(&fresh_name("p129"), &too_long).await.faulty_fields(), ["password"]);
    for email in ["", "nobody", "@example.org", "nobody@", "a b@example.org", "a@b@c", "n\0@x.org"] {
        let body = json!({"username": fresh_name("e"), "email": email, "password": PASSWORD});
        let fields = rest.post("/auth/register", body).await.faulty_fields();
        assert_eq!(fields, ["email"], "{email:?}");
    }
}

async fn a_name_or_an_address_is_taken_whatever_its_case(d: &Deployment) {
    let user = d.user_named("Taken").await;
    let rest = d.rest();
    let register = async |username: &str, email: &str| {
        let body = json!({"username": username, "email": email, "password": PASSWORD});
        rest.post("/auth/register", body).await
    };
    let (name, email) = (fresh_name("other"), format!("{}@example.org", fresh_name("other")));
    for taken in [user.username.clone(), user.username.to_uppercase(), user.username.to_lowercase()] {
        register(&taken, &email).await.problem(409, "username_taken");
    }
    for taken in [user.email.clone(), user.email.to_uppercase(), user.email.to_lowercase()] {
        register(&name, &taken).await.problem(409, "email_taken");
    }
    register(&name, &email).await.ok(201);
}

async fn of_many_who_register_one_name_at_once_one_gets_it(d: &Deployment) {
    let name = fresh_name("race");
    let tries = (0..8).map(|n| {
        let body = json!({"username": name, "email": format!("{n}.{name}@example.org"), "password": PASSWORD});
        let rest = d.rest();
        async move { rest.post("/auth/register", body).await.status }
    });
    let mut statuses = futures_util::future::join_all(tries).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
}

async fn login_takes_json_and_a_form_a_name_and_an_address(d: &Deployment) {
    let user = d.user_named("Login").await;
    let rest = d.rest();
    let names = [user.username.clone(), user.username.to_uppercase(), user.email.clone(), user.email.to_uppercase()];
    for name in names {
        let fields = json!({"username": name, "password": PASSWORD});
        let by_json = rest.post("/auth/login", fields.clone()).await.ok(200);
        let form = rest.request(Method::POST, "/auth/login").form(&fields);
        let by_form = Answer::of(form).await.ok(200);
        for tokens in [by_json, by_form] {
            assert_eq!(tokens["token_type"], "bearer");
            assert_eq!(tokens["expires_in"], 900);
            assert!(tokens["refresh_token"].as_str().is_some_and(|token| token.len() >= 32));
            let access = tokens["access_token"].as_str().unwrap();
            let me = rest.with_bearer(access).get("/auth/me").await.ok(200);
            assert_eq!(me["id"], user.id);
        }
    }
    // what an OAuth2 password form brings along is no fault
    let form = [("grant_type", "password"), ("username", &user.username), ("password", PASSWORD)];
    Answer::of(rest.request(Method::POST, "/auth/login").form(&form)).await.ok(200);
}

async fn bad_credentials_are_the_same_words_for_a_stranger_and_a_wrong_password(d: &Deployment) {
    let user = d.user().await;
    let rest = d.rest();
    let mut answers = Vec::new();
    for name in [user.username.clone(), user.email.clone(), fresh_name("stranger")] {
        let body = json!({"username": name, "password": "not the password"});
        let mut problem = rest.post("/auth/login", body).await.problem(401, "bad_credentials");
        // a request's own id may stand in it
        problem.as_object_mut().unwrap().remove("instance");
        answers.push(problem);
    }
    assert_eq!((&answers[0], &answers[1]), (&answers[2], &answers[2]));
    let missing = rest.post("/auth/login", json!({})).await.faulty_fields();
    assert_eq!(missing, ["password", "username"]);
}

async fn me_is_the_user_of_the_token(d: &Deployment) {
    let user = d.user_named("Me").await;
    let me = user.rest.get("/auth/me").await.ok(200);
    assert_eq!(me["id"], user.id);
    assert_user(&me, &user.username, &user.email);
}

async fn no_token_a_bad_one_and_a_foreign_one_are_unauthenticated(d: &Deployment) {
    let user = d.user().await;
    let answer = d.rest().get("/auth/me").await;
    assert!(answer.header("www-authenticate").is_some(), "a 401 says how to authenticate");
    answer.problem(401, "unauthenticated");
    let (head, signature) = user.access.rsplit_once('.').unwrap();
    let swapped: String = signature.chars().rev().collect();
    // the same claims, and no signature at all
    let claims = head.split_once('.').unwrap().1;
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.");
    let refresh = user.refresh.clone();
    for token in ["rubbish", &format!("{head}.{swapped}"), &unsigned, &refresh] {
        let answer = d.rest().with_bearer(token).get("/auth/me").await;
        answer.problem(401, "token_invalid");
    }
    let basic = d.rest().request(Method::GET, "/auth/me").basic_auth("a", Some("b"));
    Answer::of(basic).await.ok(401);
}

async fn the_address_changes_only_with_the_current_password(d: &Deployment) {
    let (user, other) = (d.user().await, d.user().await);
    let email = format!("{}@example.org", fresh_name("changed"));
    let patch = async |body: Value| user.rest.patch("/auth/me", body).await;

    patch(json!({"email": email, "current_password": "wrong"})).await.problem(403, "wrong_password");
    patch(json!({"email": email})).await.problem(403, "wrong_password");
    let taken = json!({"email": other.email.to_uppercase(), "current_password": PASSWORD});
    patch(taken).await.problem(409, "email_taken");
    let faulty = json!({"email": "x", "password": "y", "current_password": PASSWORD});
    assert_eq!(patch(faulty).await.faulty_fields(), ["email", "password"]);

    let me = patch(json!({"email": email, "current_password": PASSWORD})).await.ok(200);
    assert_user(&me, &user.username, &email);
    assert_eq!(user.rest.get("/auth/me").await.ok(200)["email"], email.as_str());
    let body = json!({"username": email, "password": PASSWORD});
    d.rest().post("/auth/login", body).await.ok(200);
}

async fn a_new_password_ends_all_other_sessions(d: &Deployment) {
    let user = d.user().await;
    let other = user.second_session().await;
    let body = json!({"password": "another good one", "current_password": PASSWORD});
    user.rest.patch("/auth/me", body).await.ok(200);

    user.rest.get("/auth/me").await.ok(200);
    let refresh = json!({"refresh_token": other.refresh});
    let answer = d.rest().post("/auth/refresh", refresh).await;
    assert_eq!(answer.status, 401, "{}", answer.body);
    crate::rest::ends_within_a_second(&other.rest).await;
    user.login().await.problem(401, "bad_credentials");
    let body = json!({"username": user.username, "password": "another good one"});
    d.rest().post("/auth/login", body).await.ok(200);
}

async fn a_deactivated_account_is_closed(d: &Deployment) {
    let (user, other) = (d.user().await, d.user().await);
    let chat_id = user.group_id(&[&other]).await;
    user.say(chat_id, "I was here").await;
    user.rest.delete("/auth/me").await.ok(204);

    crate::rest::ends_within_a_second(&user.rest).await;
    user.login().await.problem(403, "account_disabled");
    let wrong = json!({"username": user.username, "password": "not the password"});
    d.rest().post("/auth/login", wrong).await.problem(401, "bad_credentials");
    let refresh = json!({"refresh_token": user.refresh});
    let refused = d.rest().post("/auth/refresh", refresh).await;
    assert!([401, 403].contains(&refused.status), "{}", refused.body);
    // what the user said stays, and the name stays taken
    let seen = other.rest.get(&format!("/users/{}", user.id)).await.ok(200);
    assert_eq!(seen["is_active"], false);
    let history = other.history(chat_id).await;
    assert_eq!(history["items"][0]["text"], "I was here");
    let body = json!({"username": user.username, "email": "free@example.org", "password": PASSWORD});
    d.rest().post("/auth/register", body).await.problem(409, "username_taken");
}

async fn a_deactivated_owner_leaves_an_heir(d: &Deployment) {
    let (ann, ben, cem) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&ben, &cem]).await;
    cem.rest.delete("/auth/me").await.ok(204);
    let path = format!("/chats/{chat_id}/members/{}", cem.id);
    let refused = ann.rest.patch(&path, json!({"role": "owner"})).await;
    assert_eq!(refused.faulty_fields(), ["role"]);
    let mut ws = ben.connect_to(1).await;
    let head = ws.subscribe(chat_id).await["seq"].as_i64().unwrap();
    ann.rest.delete("/auth/me").await.ok(204);

    let events = crate::ws::subscribe::numbered(&mut ws, chat_id, head + 1, 2).await;
    for (event, user, role) in [(&events[0], &ben, "owner"), (&events[1], &ann, "member")] {
        assert_eq!(event["type"], "member_updated", "{event}");
        assert_eq!((&event["user_id"], &event["role"]), (&json!(user.id), &json!(role)), "{event}");
    }
    assert_eq!(ben.chat(chat_id).await["role"], "owner");
    ben.rest.patch(&format!("/chats/{chat_id}"), json!({"name": "of Ben"})).await.ok(200);
}

/// Groups that are passed on before keep nobody logged in, and one that cannot be passed on now is
/// later.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_closed_before_its_groups_are_passed_on() {
    let d = shared::cluster().await;
    let (ann, ben) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&ben]).await;
    let mut ws = ann.connect_to(1).await;
    ws.round_trip().await;
    let mut holder = PgConnection::connect(d.database_url()).await.unwrap();
    holder.execute("begin").await.unwrap();
    sqlx::query("select from chats where id = $1 for update").bind(chat_id).execute(&mut holder).await.unwrap();

    let leaves = tokio::spawn({
        let rest = ann.rest.clone();
        async move { rest.delete("/auth/me").await }
    });
    assert_eq!(ws.expect_close(Duration::from_secs(1)).await.0, 4503);
    crate::rest::ends_within_a_second(&ann.rest).await;
    ann.login().await.problem(403, "account_disabled");
    leaves.await.unwrap().ok(204);
    assert_eq!(ben.chat(chat_id).await["role"], "member", "it is held");

    holder.execute("rollback").await.unwrap();
    let mut ws = ben.connect_to(0).await;
    ws.subscribe(chat_id).await;
    while ben.chat(chat_id).await["role"] != "owner" {
        let heir = |frame: &Value| frame["type"] == "member_updated";
        ws.expect_where("member_updated", Duration::from_secs(40), heir).await;
    }
}

async fn a_group_of_deactivated_members_is_gone(d: &Deployment) {
    let (ann, ben, eve) = (d.user().await, d.user().await, d.user().await);
    let (left, closed) = (ann.group_id(&[&ben]).await, ben.group_id(&[]).await);
    ben.rest.delete("/auth/me").await.ok(204);
    ann.leave(left).await;
    for chat_id in [left, closed] {
        eve.rest.get(&format!("/chats/{chat_id}")).await.problem(404, "chat_not_found");
        eve.rest.post_nothing(&format!("/chats/{chat_id}/join")).await.problem(404, "chat_not_found");
    }
}
