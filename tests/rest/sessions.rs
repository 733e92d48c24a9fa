//! Refreshing, reuse of a spent refresh token, logging out, the list of sessions, and tokens that
//! have expired.

use std::time::{Duration, Instant};

use reqwest::Method;

use crate::rest::{assert_time, ends_within_a_second};
use crate::support::deployment::Builder;
use crate::support::user::{fresh_name, id};
use crate::support::{Answer, Deployment, SOON, User, Value, eventually, json};

both_forms!(
    a_refresh_gives_new_tokens_and_spends_the_old,
    a_spent_refresh_token_ends_the_whole_session,
    a_refresh_whose_answer_was_lost_is_repeated_once,
    a_session_is_not_ended_with_another,
    logging_out_ends_the_session_on_every_node,
    a_refresh_token_that_never_was_is_refused,
    sessions_are_listed_with_the_program_that_opened_them,
    a_session_is_ended_by_its_id,
    all_other_sessions_end_at_once,
);

both_forms_alone!(an_access_token_expires, bad_credentials_take_the_same_time_for_a_stranger,);

async fn a_refresh_gives_new_tokens_and_spends_the_old(d: &Deployment) {
    let mut user = d.user().await;
    let first = user.refresh.clone();
    let body = json!({"refresh_token": first});
    let tokens = d.rest().post("/auth/refresh", body).await.ok(200);
    assert_eq!(tokens["token_type"], "bearer");
    assert_eq!(tokens["expires_in"], 900);
    assert_ne!(tokens["refresh_token"], first.as_str());
    user.take_tokens(&tokens);
    assert_eq!(user.rest.get("/auth/me").await.ok(200)["id"], user.id);
    let body = json!({"refresh_token": user.refresh});
    d.rest().post("/auth/refresh", body).await.ok(200);
}

async fn a_spent_refresh_token_ends_the_whole_session(d: &Deployment) {
    let mut user = d.user().await;
    let spent = user.refresh.clone();
    let tokens = d.rest().post("/auth/refresh", json!({"refresh_token": spent})).await.ok(200);
    user.take_tokens(&tokens);
    let used = d.rest().post("/auth/refresh", json!({"refresh_token": user.refresh})).await.ok(200);
    user.take_tokens(&used);
    let again = d.rest().post("/auth/refresh", json!({"refresh_token": spent})).await;
    again.problem(401, "token_reused");
    let newest = d.rest().post("/auth/refresh", json!({"refresh_token": user.refresh})).await;
    assert_eq!(newest.status, 401, "{}", newest.body);
    crate::rest::ends_within_a_second(&user.rest).await;
    user.login().await.ok(200);
}

async fn a_refresh_whose_answer_was_lost_is_repeated_once(d: &Deployment) {
    let mut user = d.user().await;
    let spent = user.refresh.clone();
    let ask = async || d.rest().post("/auth/refresh", json!({"refresh_token": spent})).await;
    ask().await.ok(200);
    user.take_tokens(&ask().await.ok(200));
    user.rest.get("/auth/me").await.ok(200);
    // a third time is no accident
    ask().await.problem(401, "token_reused");
    crate::rest::ends_within_a_second(&user.rest).await;
}

async fn a_session_is_not_ended_with_another(d: &Deployment) {
    let user = d.user().await;
    let other = user.second_session().await;
    other.rest.post_nothing("/auth/logout").await.ok(204);
    crate::rest::ends_within_a_second(&other.rest).await;
    user.rest.get("/auth/me").await.ok(200);
    d.rest().post("/auth/refresh", json!({"refresh_token": user.refresh})).await.ok(200);
}

async fn logging_out_ends_the_session_on_every_node(d: &Deployment) {
    let user = d.user().await;
    user.rest.post_nothing("/auth/logout").await.ok(204);
    for node in 0..2 {
        let body = json!({"refresh_token": user.refresh});
        let answer = d.rest().on(node).post("/auth/refresh", body).await;
        assert_eq!(answer.status, 401, "at once: {}", answer.body);
    }
    crate::rest::ends_within_a_second(&user.rest).await;
    d.rest().post_nothing("/auth/logout").await.problem(401, "unauthenticated");
}

async fn a_refresh_token_that_never_was_is_refused(d: &Deployment) {
    let user = d.user().await;
    for token in ["", "rubbish", &user.access, "\0", &"x".repeat(5000)] {
        let answer = d.rest().post("/auth/refresh", json!({"refresh_token": token})).await;
        assert!([401, 422].contains(&answer.status), "{token:?}: {}", answer.body);
    }
    assert_eq!(d.rest().post("/auth/refresh", json!({})).await.faulty_fields(), ["refresh_token"]);
    let rubbish = json!({"refresh_token": "rubbish"});
    d.rest().post("/auth/refresh", rubbish).await.problem(401, "token_invalid");
}

/// The sessions that a user is shown.
async fn shown(user: &User) -> Vec<Value> {
    user.rest.get("/auth/sessions").await.ok(200)["items"].as_array().unwrap().clone()
}

/// The id of the session that the user asks with.
async fn current(user: &User) -> i64 {
    let current: Vec<_> = shown(user).await.into_iter().filter(|session| session["is_current"] == true).collect();
    assert_eq!(current.len(), 1, "{current:?}");
    id(&current[0])
}

async fn sessions_are_listed_with_the_program_that_opened_them(d: &Deployment) {
    let user = d.user().await;
    let mut expected = vec![Value::Null];
    for (given, kept) in [("Firefox/99", "Firefox/99".to_owned()), (&"ü".repeat(300), "ü".repeat(256))] {
        let body = json!({"username": user.username, "password": user.password});
        let login = d.rest().request(Method::POST, "/auth/login").header("user-agent", given).json(&body);
        Answer::of(login).await.ok(200);
        expected.insert(0, kept.into());
    }
    let sessions = shown(&user).await;
    assert_eq!(sessions.iter().map(|session| session["user_agent"].clone()).collect::<Vec<_>>(), expected);
    for session in &sessions {
        assert_eq!(session.as_object().unwrap().len(), 5, "{session}");
        assert!(assert_time(&session["last_used_at"]) >= assert_time(&session["created_at"]));
    }
    assert_eq!(id(&sessions[2]), current(&user).await);
    d.rest().post("/auth/refresh", json!({"refresh_token": user.refresh})).await.ok(200);
    let refreshed = &shown(&user).await[2];
    assert!(assert_time(&refreshed["last_used_at"]) > assert_time(&refreshed["created_at"]), "{refreshed}");
    let first = user.rest.get("/auth/sessions?limit=2").await.ok(200);
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = user.rest.get(&format!("/auth/sessions?limit=2&cursor={cursor}")).await.ok(200);
    assert_eq!((id(&second["items"][0]), &second["next_cursor"]), (id(&sessions[2]), &Value::Null));
    assert_eq!(user.rest.get("/auth/sessions?limit=0").await.faulty_fields(), ["limit"]);
    assert_eq!(user.rest.get("/auth/sessions?cursor=m1").await.faulty_fields(), ["cursor"]);
    d.rest().get("/auth/sessions").await.problem(401, "unauthenticated");
}

async fn a_session_is_ended_by_its_id(d: &Deployment) {
    let (user, stranger) = (d.user().await, d.user().await);
    let device = user.second_session().await;
    let path = format!("/auth/sessions/{}", current(&device).await);
    for refused in ["/auth/sessions/0", "/auth/sessions/9223372036854775807"] {
        user.rest.delete(refused).await.problem(404, "session_not_found");
    }
    user.rest.delete("/auth/sessions/x").await.problem(404, "not_found");
    stranger.rest.delete(&path).await.problem(404, "session_not_found");
    device.rest.get("/auth/me").await.ok(200);
    let mut sockets = [device.connect_to(0).await, device.connect_to(1).await];
    user.rest.delete(&path).await.ok(204);
    for ws in &mut sockets {
        assert_eq!(ws.expect_close(SOON).await.0, 4502);
    }
    ends_within_a_second(&device.rest).await;
    let spent = d.rest().post("/auth/refresh", json!({"refresh_token": device.refresh})).await;
    spent.problem(401, "token_invalid");
    user.rest.delete(&path).await.problem(404, "session_not_found");
    assert_eq!(shown(&user).await.len(), 1);
    // one's own ends as by a logout
    user.rest.delete(&format!("/auth/sessions/{}", current(&user).await)).await.ok(204);
    ends_within_a_second(&user.rest).await;
}

async fn all_other_sessions_end_at_once(d: &Deployment) {
    let (user, stranger) = (d.user().await, d.user().await);
    let devices = [user.second_session().await, user.second_session().await];
    let mut staying = user.connect_to(0).await;
    let mut ending = [devices[0].connect_to(0).await, devices[1].connect_to(1).await];
    for _ in 0..2 {
        user.rest.delete("/auth/sessions").await.ok(204);
    }
    for ws in &mut ending {
        assert_eq!(ws.expect_close(SOON).await.0, 4502);
    }
    for device in &devices {
        ends_within_a_second(&device.rest).await;
    }
    staying.round_trip().await;
    assert_eq!(shown(&user).await.len(), 1);
    assert_eq!(shown(&stranger).await.len(), 1);
    stranger.rest.get("/auth/me").await.ok(200);
}

async fn an_access_token_expires(builder: Builder) {
    let d = builder.env("ACCESS_TOKEN_TTL_SECONDS", 1).start().await;
    let user = d.user().await;
    let expired = eventually("an expired token", SOON, || async {
        let answer = user.rest.get("/auth/me").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    expired.problem(401, "token_expired");
    let tokens = d.rest().post("/auth/refresh", json!({"refresh_token": user.refresh})).await.ok(200);
    assert_eq!(tokens["expires_in"], 1);
}

async fn bad_credentials_take_the_same_time_for_a_stranger(builder: Builder) {
    // the hash at its real strength, so that leaving it out would show
    let d = builder.without("ARGON2_MEMORY_KIB").start().await;
    let user = d.user().await;
    // The shortest of each: whatever else the machine does can only add to a time.
    let (mut known, mut unknown) = (Duration::MAX, Duration::MAX);
    for _ in 0..15 {
        for (name, shortest) in [(&user.username, &mut known), (&fresh_name("nobody"), &mut unknown)] {
            let body = json!({"username": name, "password": "not the password"});
            let start = Instant::now();
            d.rest().post("/auth/login", body).await.problem(401, "bad_credentials");
            *shortest = start.elapsed().min(*shortest);
        }
    }
    assert!(known > Duration::from_millis(5), "a hash in {known:?} is none");
    let ratio = known.as_secs_f64() / unknown.as_secs_f64();
    assert!((0.6..1.6).contains(&ratio), "{known:?} for a user, {unknown:?} for a stranger");
}
