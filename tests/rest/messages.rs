//! Sending, editing and deleting messages.

use crate::support::user::id;
use crate::support::{Deployment, User, Value, json, shared};
use sqlx::{Connection, Executor, PgConnection};
use std::time::Duration;

both_forms!(
    a_message_is_answered_as_it_is_stored,
    the_numbers_of_a_chat_are_consecutive,
    a_retry_gives_the_first_message,
    parallel_retries_make_one_message,
    a_reply_names_a_message_of_the_chat,
    a_text_is_kept_as_sent,
    the_length_of_a_text_is_counted_in_characters,
    every_fault_of_a_message_is_told_at_once,
    a_message_is_read_by_members_alone,
    the_author_edits,
    the_author_and_an_owner_delete,
    a_chat_that_does_not_exist_takes_no_message,
);

/// A `Message` of the contract and nothing else.
#[track_caller]
pub fn assert_message(message: &Value) {
    let mut fields: Vec<&String> = message.as_object().unwrap().keys().collect();
    fields.sort();
    let mut expected = [
        "id",
        "chat_id",
        "author_id",
        "author_username",
        "author_display_name",
        "text",
        "created_at",
        "is_edited",
        "edited_at",
        "is_deleted",
        "seq",
        "client_message_id",
        "reply_to_id",
        "reactions",
        "mentions",
    ];
    expected.sort_unstable();
    assert_eq!(fields, expected, "{message}");
    crate::rest::assert_time(&message["created_at"]);
}

async fn send(user: &User, body: Value) -> crate::support::Answer {
    user.rest.post("/messages/send", body).await
}

async fn a_message_is_answered_as_it_is_stored(d: &Deployment) {
    let ann = d.user_named("Ann").await;
    let chat_id = ann.group_id(&[]).await;
    let sent = send(&ann, json!({"chat_id": chat_id, "text": "hello"})).await.ok(201);
    assert_message(&sent);
    assert_eq!((&sent["chat_id"], &sent["author_id"]), (&json!(chat_id), &json!(ann.id)));
    assert_eq!((&sent["author_username"], &sent["text"]), (&json!(ann.username), &json!("hello")));
    assert_eq!((&sent["is_edited"], &sent["is_deleted"]), (&json!(false), &json!(false)));
    for field in ["edited_at", "client_message_id", "reply_to_id"] {
        assert_eq!(sent[field], Value::Null, "{field}");
    }
    let history = ann.history(chat_id).await;
    assert_eq!(history["items"], json!([sent]));
    assert_eq!(history["seq"], sent["seq"]);
}

async fn the_numbers_of_a_chat_are_consecutive(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let head = ann.chat(chat_id).await["seq"].as_i64().unwrap();
    let users = [&ann, &bob];
    let sends = (0..20).map(|n| users[n % 2].say(chat_id, "x"));
    let sent = futures_util::future::join_all(sends).await;
    let mut numbers: Vec<i64> = sent.iter().map(|one| one["seq"].as_i64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (head + 1..=head + 20).collect::<Vec<_>>());
    assert_eq!(ann.chat(chat_id).await["seq"], head + 20);
}

async fn a_retry_gives_the_first_message(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let (chat_id, other) = (ann.group_id(&[&bob]).await, ann.group_id(&[&bob]).await);
    let body = json!({"chat_id": chat_id, "text": "once", "client_message_id": "a-1"});
    let first = send(&ann, body.clone()).await.ok(201);
    assert_eq!(first["client_message_id"], "a-1");
    for _ in 0..3 {
        assert_eq!(send(&ann, body.clone()).await.ok(200), first);
    }
    let changed = json!({"chat_id": chat_id, "text": "twice", "client_message_id": "a-1"});
    send(&ann, changed).await.problem(409, "client_message_id_reused");
    // another author's, and another chat's, are their own
    let second = send(&bob, body).await.ok(201);
    assert_ne!(second["id"], first["id"]);
    let elsewhere = json!({"chat_id": other, "text": "once", "client_message_id": "a-1"});
    send(&ann, elsewhere).await.ok(201);
    assert_eq!(ann.history(chat_id).await["items"].as_array().unwrap().len(), 2);
}

async fn parallel_retries_make_one_message(d: &Deployment) {
    let ann = d.user().await;
    let chat_id = ann.group_id(&[]).await;
    let body = json!({"chat_id": chat_id, "text": "once", "client_message_id": "parallel"});
    let answers = futures_util::future::join_all((0..10).map(|_| send(&ann, body.clone()))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1, "{answers:?}");
    for answer in &answers {
        assert!([200, 201].contains(&answer.status), "{answer:?}");
        assert_eq!(answer.json["id"], answers[0].json["id"]);
    }
    assert_eq!(ann.history(chat_id).await["items"].as_array().unwrap().len(), 1);
}

async fn a_reply_names_a_message_of_the_chat(d: &Deployment) {
    let ann = d.user().await;
    let (chat_id, other) = (ann.group_id(&[]).await, ann.group_id(&[]).await);
    let first = ann.say(chat_id, "a question").await;
    let elsewhere = ann.say(other, "in another chat").await;
    let reply = json!({"chat_id": chat_id, "text": "an answer", "reply_to_id": first["id"]});
    assert_eq!(send(&ann, reply).await.ok(201)["reply_to_id"], first["id"]);
    for wrong in [elsewhere["id"].clone(), json!(999_999_999)] {
        let reply = json!({"chat_id": chat_id, "text": "an answer", "reply_to_id": wrong});
        let answer = send(&ann, reply).await;
        if answer.status == 404 {
            answer.problem(404, "message_not_found");
        } else {
            assert_eq!(answer.faulty_fields(), ["reply_to_id"]);
        }
    }
}

async fn a_text_is_kept_as_sent(d: &Deployment) {
    let ann = d.user().await;
    let chat_id = ann.group_id(&[]).await;
    let texts = [
        "  spaces around  ",
        "line\nline\r\n\ttab",
        "👩‍👩‍👧‍👦 e\u{301} \u{202e}rtl \u{200b}zero",
        "<script>alert('x')</script> '; drop table users; -- \\ % _ \"",
        "{\"type\": \"pong\"}",
        "\u{1}\u{7f}\u{85}\u{feff}\u{fffd}\u{ffff}\u{10ffff}",
    ];
    for text in texts {
        let sent = ann.say(chat_id, text).await;
        assert_eq!(sent["text"], text);
    }
    let history = ann.history(chat_id).await;
    let kept: Vec<&str> = history["items"].as_array().unwrap().iter().map(|m| m["text"].as_str().unwrap()).collect();
    assert_eq!(kept, texts);
}

async fn the_length_of_a_text_is_counted_in_characters(d: &Deployment) {
    let ann = d.user().await;
    let chat_id = ann.group_id(&[]).await;
    for letter in ["x", "é", "🙂"] {
        let longest = letter.repeat(4096);
        assert_eq!(ann.say(chat_id, &longest).await["text"], longest.as_str());
        let longer = json!({"chat_id": chat_id, "text": letter.repeat(4097)});
        assert_eq!(send(&ann, longer).await.faulty_fields(), ["text"], "{letter}");
    }
}

async fn every_fault_of_a_message_is_told_at_once(d: &Deployment) {
    let ann = d.user().await;
    let chat_id = ann.group_id(&[]).await;
    for text in ["", " ", "\n\t  ", "\u{3000}\u{a0}", "a\0b", "\0"] {
        let fields = send(&ann, json!({"chat_id": chat_id, "text": text})).await.faulty_fields();
        assert_eq!(fields, ["text"], "{text:?}");
    }
    let body = json!({"chat_id": "x", "text": "", "client_message_id": "x".repeat(65), "reply_to_id": "y"});
    let fields = send(&ann, body).await.faulty_fields();
    assert_eq!(fields, ["chat_id", "client_message_id", "reply_to_id", "text"]);
    assert_eq!(send(&ann, json!({})).await.faulty_fields(), ["chat_id", "text"]);
    let body = json!({"chat_id": chat_id, "text": "x", "client_message_id": "a\0b"});
    assert_eq!(send(&ann, body).await.faulty_fields(), ["client_message_id"]);
    let longest = json!({"chat_id": chat_id, "text": "x", "client_message_id": "é".repeat(64)});
    send(&ann, longest).await.ok(201);
}

async fn a_message_is_read_by_members_alone(d: &Deployment) {
    let (ann, ben) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[]).await;
    let sent = send(&ann, json!({"chat_id": chat_id, "text": "one"})).await.ok(201);
    let path = format!("/messages/{}", id(&sent));
    assert_eq!(ann.rest.get(&path).await.ok(200), sent);
    ben.rest.get(&path).await.problem(404, "message_not_found");
    ann.rest.get("/messages/9223372036854775807").await.problem(404, "message_not_found");
    ann.rest.get("/messages/first").await.problem(404, "not_found");
    let edited = ann.rest.put(&format!("/messages/edit/{}", id(&sent)), json!({"text": "two"})).await.ok(200);
    assert_eq!(ann.rest.get(&path).await.ok(200), edited);
    ann.rest.delete(&format!("/messages/delete/{}", id(&sent))).await.ok(204);
    ann.rest.get(&path).await.problem(404, "message_not_found");
}

async fn the_author_edits(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let sent = bob.say(chat_id, "frist").await;
    let path = format!("/messages/edit/{}", id(&sent));
    let edit = async |by: &User, text: &str| by.rest.put(&path, json!({"text": text})).await;
    edit(&ann, "owner's").await.problem(403, "not_author");
    let stranger = edit(&eve, "stranger's").await;
    assert!([403, 404].contains(&stranger.status), "{}", stranger.body);

    let edited = edit(&bob, "first").await.ok(200);
    assert_message(&edited);
    assert_eq!((&edited["text"], &edited["is_edited"]), (&json!("first"), &json!(true)));
    assert_eq!((&edited["id"], &edited["created_at"]), (&sent["id"], &sent["created_at"]));
    crate::rest::assert_time(&edited["edited_at"]);
    assert_eq!(ann.history(chat_id).await["items"][0]["text"], "first");
    for text in ["", "  ", "\0", &"x".repeat(4097)] {
        assert_eq!(edit(&bob, text).await.faulty_fields(), ["text"]);
    }
    bob.rest.put("/messages/edit/999999999", json!({"text": "x"})).await.problem(404, "message_not_found");
    bob.leave(chat_id).await;
    edit(&bob, "from outside").await.problem(403, "not_a_member");
}

async fn the_author_and_an_owner_delete(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob, &eve]).await;
    let (one, two) = (bob.say(chat_id, "one").await, bob.say(chat_id, "two").await);
    let path = |message: &Value| format!("/messages/delete/{}", id(message));
    let refused = eve.rest.delete(&path(&one)).await;
    assert_eq!(refused.status, 403, "{}", refused.body);
    bob.rest.delete(&path(&one)).await.ok(204);
    bob.rest.delete(&path(&one)).await.problem(404, "message_not_found");
    let edit = bob.rest.put(&format!("/messages/edit/{}", id(&one)), json!({"text": "x"})).await;
    edit.problem(404, "message_not_found");
    let left = bob.history(chat_id).await;
    assert_eq!(left["items"], json!([two]), "a deleted one is not in the history");
    ann.rest.delete(&path(&two)).await.ok(204);
    assert_eq!(bob.history(chat_id).await["items"], json!([]));

    let private = ann.private_chat_id(&bob).await;
    let mine = ann.say(private, "mine").await;
    let refused = bob.rest.delete(&path(&mine)).await;
    assert_eq!(refused.status, 403, "{}", refused.body);
    ann.rest.delete(&path(&mine)).await.ok(204);
}

async fn a_chat_that_does_not_exist_takes_no_message(d: &Deployment) {
    let ann = d.user().await;
    for chat_id in [999_999_999_i64, 0, -1, i64::MAX] {
        let answer = send(&ann, json!({"chat_id": chat_id, "text": "x"})).await;
        if chat_id > 0 {
            answer.problem(404, "chat_not_found");
        } else {
            assert!([404, 422].contains(&answer.status), "{}", answer.body);
        }
    }
}

/// A chat whose row somebody holds, an operator's transaction say, keeps nobody from sending to
/// the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_is_held_holds_up_no_other() {
    let d = shared::cluster().await;
    let ann = d.user_named("Ann").await;
    let (held, free) = (ann.group_id(&[]).await, ann.group_id(&[]).await);
    let mut holder = PgConnection::connect(d.database_url()).await.unwrap();
    holder.execute("begin").await.unwrap();
    sqlx::query("select from chats where id = $1 for update").bind(held).execute(&mut holder).await.unwrap();

    let api = ann.rest.on(0);
    let waits = tokio::spawn({
        let api = api.clone();
        async move { api.post("/messages/send", json!({"chat_id": held, "text": "waits"})).await }
    });
    let mut waiting = false;
    while !waiting {
        let blocked =
            "select exists (select from pg_stat_activity where pg_backend_pid() = any (pg_blocking_pids(pid)))";
        waiting = sqlx::query_scalar(blocked).fetch_one(&mut holder).await.unwrap();
        assert!(!waits.is_finished(), "it is held");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    api.post("/messages/send", json!({"chat_id": free, "text": "passes"})).await.ok(201);
    assert!(!waits.is_finished(), "one did not wait for the other");
    holder.execute("rollback").await.unwrap();
    waits.await.unwrap().ok(201);
}
