//! A request that is repeated because its answer was lost.

use std::time::Duration;

use reqwest::Method;
use sqlx::{Connection, Executor, PgConnection};

use crate::support::user::{PASSWORD, fresh_name};
use crate::support::{Answer, Deployment, Rest, SOON, Value, eventually, json, shared};

both_forms!(
    the_same_key_answers_what_the_first_did,
    a_key_is_of_one_user_and_one_request,
    of_two_at_once_one_makes_the_group,
    a_key_has_1_to_64_characters,
    a_registration_repeated_word_for_word_answers_the_same_account,
    a_registration_by_an_invitation_is_repeated_and_tells_others_no_name,
);

async fn keyed(rest: &Rest, key: &str, path: &str, body: &Value) -> Answer {
    Answer::of(rest.request(Method::POST, path).header("Idempotency-Key", key).json(body)).await
}

async fn groups(rest: &Rest, name: &str) -> usize {
    let chats = rest.get("/chats/?limit=100").await.ok(200);
    chats["items"].as_array().unwrap().iter().filter(|chat| chat["name"] == name).count()
}

async fn the_same_key_answers_what_the_first_did(d: &Deployment) {
    let user = d.user().await;
    let body = json!({"name": "made once"});
    let first = keyed(&user.rest, "a key", "/chats/create", &body).await;
    let (text, chat) = (first.body.clone(), first.ok(201));
    // On every node, with and without the slash and the quotes of a structured field.
    for (key, path) in [("a key", "/chats/create"), ("\"a key\"", "/chats/create/"), ("a key", "/chats/create")] {
        let again = keyed(&user.rest, key, path, &body).await;
        assert_eq!((again.status, &again.body), (201, &text));
        assert_eq!(again.header("content-type"), Some("application/json"));
    }
    assert_eq!(groups(&user.rest, "made once").await, 1);

    let message = json!({"chat_id": chat["id"], "text": "sent once"});
    let sent = keyed(&user.rest, "another", "/messages/send", &message).await.ok(201);
    assert_eq!(keyed(&user.rest, "another", "/messages/send", &message).await.ok(201), sent);
    let history = user.history(chat["id"].as_i64().unwrap()).await;
    assert_eq!(history["items"].as_array().unwrap().len(), 1);

    // A text that was edited or deleted since is not repeated, nor kept.
    let edit = format!("/messages/edit/{}", sent["id"]);
    user.rest.put(&edit, json!({"text": "edited since"})).await.ok(200);
    let again = keyed(&user.rest, "another", "/messages/send", &message).await.ok(201);
    assert_eq!((&again["id"], &again["text"]), (&sent["id"], &json!("edited since")));
    user.rest.delete(&format!("/messages/delete/{}", sent["id"])).await.ok(204);
    let again = keyed(&user.rest, "another", "/messages/send", &message).await.ok(201);
    assert_eq!((&again["id"], &again["text"], &again["is_deleted"]), (&sent["id"], &json!(""), &json!(true)));
    user.rest.delete(&format!("/chats/{}", chat["id"])).await.ok(204);
    let again = keyed(&user.rest, "a key", "/chats/create", &body).await.ok(201);
    assert_eq!((&again["id"], &again["name"]), (&chat["id"], &json!("")));

    // A refusal is an answer too.
    let blank = json!({"name": " "});
    for _ in 0..2 {
        assert_eq!(keyed(&user.rest, "blank", "/chats/create", &blank).await.faulty_fields(), ["name"]);
    }
    // No token, no word about a key.
    keyed(&d.rest(), "a key", "/chats/create", &body).await.problem(401, "unauthenticated");
    keyed(&d.rest(), "", "/chats/create", &body).await.problem(401, "unauthenticated");
}

async fn a_key_is_of_one_user_and_one_request(d: &Deployment) {
    let (ann, ben) = (d.user().await, d.user().await);
    let body = json!({"name": "a group"});
    let first = keyed(&ann.rest, "k", "/chats/create", &body).await.ok(201);
    let other = json!({"name": "another group"});
    keyed(&ann.rest, "k", "/chats/create", &other).await.problem(422, "idempotency_key_reused");
    keyed(&ann.rest, "k", "/messages/send", &body).await.problem(422, "idempotency_key_reused");
    let second = keyed(&ben.rest, "k", "/chats/create", &body).await.ok(201);
    assert_ne!(second["id"], first["id"]);
    assert_eq!(keyed(&ann.rest, "k", "/chats/create", &body).await.ok(201), first);
    assert_eq!(groups(&ann.rest, "another group").await, 0);
    // A call that makes nothing takes no key.
    let read = format!("/chats/{}/read", first["id"]);
    keyed(&ann.rest, "k", &read, &json!({"seq": 0})).await.ok(204);
}

async fn of_two_at_once_one_makes_the_group(d: &Deployment) {
    let user = d.user().await;
    for round in 0..5 {
        let name = format!("round {round}");
        let body = json!({"name": name});
        let (one, two) = (user.rest.on(0), user.rest.on(1));
        let at_once =
            tokio::join!(keyed(&one, &name, "/chats/create", &body), keyed(&two, &name, "/chats/create", &body));
        let mut made = Vec::new();
        for answer in [at_once.0, at_once.1] {
            if answer.status == 409 {
                answer.problem(409, "in_progress");
            } else {
                made.push(answer.ok(201)["id"].clone());
            }
        }
        made.dedup();
        assert_eq!(made.len(), 1, "{made:?}");
        assert_eq!(keyed(&two, &name, "/chats/create", &body).await.ok(201)["id"], made[0]);
        assert_eq!(groups(&user.rest, &name).await, 1);
    }
}

async fn a_key_has_1_to_64_characters(d: &Deployment) {
    let user = d.user().await;
    let body = json!({"name": "a group"});
    for key in ["", "\"\"", &"x".repeat(65)] {
        assert_eq!(keyed(&user.rest, key, "/chats/create", &body).await.faulty_fields(), ["Idempotency-Key"]);
    }
    for key in ["x", &"x".repeat(64)] {
        keyed(&user.rest, key, "/chats/create", &body).await.ok(201);
    }
    let twice = user.rest.request(Method::POST, "/chats/create").json(&body);
    let twice = Answer::of(twice.header("Idempotency-Key", "p").header("Idempotency-Key", "q")).await;
    assert_eq!(twice.faulty_fields(), ["Idempotency-Key"]);
    assert_eq!(groups(&user.rest, "a group").await, 2);
}

async fn a_registration_repeated_word_for_word_answers_the_same_account(d: &Deployment) {
    let rest = d.rest();
    let (name, other) = (fresh_name("Again"), fresh_name("other"));
    let email = format!("{name}@example.org");
    let register = async |username: &str, email: &str, password: &str| {
        let body = json!({"username": username, "email": email, "password": password});
        rest.post("/auth/register", body).await
    };
    let first = register(&name, &email, PASSWORD).await.ok(201);
    for _ in 0..2 {
        assert_eq!(register(&name, &email, PASSWORD).await.ok(201), first);
    }
    let elsewhere = format!("{other}@example.org");
    register(&name, &email, "another password").await.problem(409, "username_taken");
    register(&name, &elsewhere, PASSWORD).await.problem(409, "username_taken");
    register(&name.to_uppercase(), &email, PASSWORD).await.problem(409, "username_taken");
    register(&other, &email, PASSWORD).await.problem(409, "email_taken");
    // A closed account is not given back.
    let tokens = rest.post("/auth/login", json!({"username": name, "password": PASSWORD})).await.ok(200);
    rest.with_bearer(tokens["access_token"].as_str().unwrap()).delete("/auth/me").await.ok(204);
    register(&name, &email, PASSWORD).await.problem(409, "username_taken");
}

async fn a_registration_by_an_invitation_is_repeated_and_tells_others_no_name(d: &Deployment) {
    let (ann, rest) = (d.user().await, d.rest());
    for (fate, max_uses) in [("used up", Some(1)), ("its group gone", None), ("revoked", None), ("open", None)] {
        let chat_id = ann.group_id(&[]).await;
        let invites = format!("/chats/{chat_id}/invites");
        let invite = ann.rest.post(&invites, json!({"max_uses": max_uses})).await.ok(201)["code"].clone();
        let name = fresh_name("Guest");
        let register = async |password: &str| {
            let email = format!("{name}@example.org");
            let body = json!({"username": name, "email": email, "password": password, "invite": invite});
            rest.post("/auth/register", body).await
        };
        let first = register(PASSWORD).await.ok(201);
        match fate {
            "its group gone" => drop(ann.rest.delete(&format!("/chats/{chat_id}")).await.ok(204)),
            "revoked" => drop(ann.rest.delete(&format!("{invites}/{}", invite.as_str().unwrap())).await.ok(204)),
            _ => {}
        }
        assert_eq!(register(PASSWORD).await.ok(201), first, "{fate}");
        // One that lets nobody in any more does not say which names are taken.
        let refused = register("another password").await;
        match fate {
            "open" => refused.problem(409, "username_taken"),
            _ => refused.problem(404, "invite_not_found"),
        };
    }
}

#[tokio::test]
async fn ten_minutes_later_a_registration_finds_its_name_taken() {
    let d = shared::cluster().await;
    let user = d.user().await;
    let body = json!({"username": user.username, "email": user.email, "password": user.password});
    let mut link = PgConnection::connect(d.database_url()).await.unwrap();
    for (minutes, status) in [(9, 201), (2, 409)] {
        let earlier = "update users set created_at = created_at - make_interval(mins => $2) where id = $1";
        sqlx::query(earlier).bind(user.id).bind(minutes).execute(&mut link).await.unwrap();
        assert_eq!(d.rest().post("/auth/register", body.clone()).await.status, status);
    }
}

#[tokio::test]
async fn a_request_whose_client_went_away_keeps_its_answer() {
    let d = shared::cluster().await;
    let user = d.user().await;
    let chat = user.group_id(&[]).await;
    let body = json!({"chat_id": chat, "text": "sent once"});
    let mut holder = PgConnection::connect(d.database_url()).await.unwrap();
    holder.execute("begin").await.unwrap();
    sqlx::query("select from chats where id = $1 for update").bind(chat).execute(&mut holder).await.unwrap();
    let lost = tokio::spawn({
        let request = user.rest.on(0).request(Method::POST, "/messages/send").header("Idempotency-Key", "k");
        Answer::try_of(request.json(&body))
    });
    eventually("a claim", SOON, async || {
        let claimed = "select exists (select from idempotency_keys where user_id = $1)";
        let claimed: bool = sqlx::query_scalar(claimed).bind(user.id).fetch_one(&mut holder).await.unwrap();
        claimed.then_some(())
    })
    .await;
    keyed(&user.rest.on(1), "k", "/messages/send", &body).await.problem(409, "in_progress");
    lost.abort();
    assert!(lost.await.unwrap_err().is_cancelled());
    holder.execute("rollback").await.unwrap();
    // Well before the lease of a claim ends.
    let sent = eventually("the answer", Duration::from_secs(10), async || {
        let answer = keyed(&user.rest.on(1), "k", "/messages/send", &body).await;
        (answer.status != 409).then(|| answer.ok(201))
    })
    .await;
    let history = user.history(chat).await;
    assert_eq!(history["items"].as_array().unwrap().len(), 1, "{history}");
    assert_eq!(history["items"][0]["id"], sent["id"]);
}
