//! Groups and private chats: making, seeing, changing and deleting them.

use crate::support::user::id;
use crate::support::{Deployment, User, Value, json};

both_forms!(
    a_group_is_made_with_its_members,
    a_private_chat_is_made_once_for_its_two_users,
    two_who_make_their_private_chat_at_once_get_the_same,
    a_chat_is_made_only_of_users_that_exist,
    every_fault_of_a_new_chat_is_told_at_once,
    a_group_is_seen_by_all_and_read_by_members,
    a_private_chat_exists_for_its_two_alone,
    only_the_owner_changes_a_group,
    only_the_owner_deletes_a_group,
);

/// A `Chat` of the contract and nothing else.
#[track_caller]
pub fn assert_chat(chat: &Value) {
    let mut fields: Vec<&String> = chat.as_object().unwrap().keys().collect();
    fields.sort();
    let mut expected = [
        "id",
        "name",
        "description",
        "is_group",
        "is_public",
        "created_at",
        "seq",
        "role",
        "member_count",
        "last_message",
        "unread_count",
        "mention_count",
        "settings",
        "peer",
    ];
    expected.sort_unstable();
    assert_eq!(fields, expected, "{chat}");
    crate::rest::assert_time(&chat["created_at"]);
    assert!(chat["seq"].as_i64().is_some_and(|seq| seq >= 0), "{chat}");
}

async fn a_group_is_made_with_its_members(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let body = json!({"name": "Plans 🗺", "description": "what to do", "member_ids": [bob.id, eve.id]});
    let chat = ann.rest.post("/chats/create", body).await.ok(201);
    assert_chat(&chat);
    assert_eq!(chat["name"], "Plans 🗺");
    assert_eq!(chat["description"], "what to do");
    assert_eq!((&chat["is_group"], &chat["role"]), (&json!(true), &json!("owner")));
    assert_eq!((&chat["member_count"], &chat["peer"]), (&json!(3), &Value::Null));

    let seen = bob.chat(id(&chat)).await;
    assert_chat(&seen);
    assert_eq!((&seen["role"], &seen["member_count"]), (&json!("member"), &json!(3)));
    let alone = eve.rest.post("/chats/create", json!({"name": "x"})).await.ok(201);
    assert_eq!(alone["member_count"], 1, "members are no must");
}

async fn a_private_chat_is_made_once_for_its_two_users(d: &Deployment) {
    let (ann, bob) = (d.user_named("Ann").await, d.user_named("Bob").await);
    let make = async |by: &User, other: &User| {
        let body = json!({"is_group": false, "member_ids": [other.id]});
        by.rest.post("/chats/create", body).await
    };
    let first = make(&ann, &bob).await.ok(201);
    assert_chat(&first);
    assert_eq!((&first["is_group"], &first["member_count"]), (&json!(false), &json!(2)));
    assert_eq!(first["name"], bob.username.as_str(), "the other's name");
    assert_eq!(first["peer"]["id"], bob.id, "{first}");
    assert_eq!(first["peer"]["username"], bob.username.as_str());
    assert!(first["peer"].get("email").is_none(), "{first}");

    assert_eq!(make(&ann, &bob).await.ok(200)["id"], first["id"]);
    let from_bob = make(&bob, &ann).await.ok(200);
    assert_eq!(from_bob["id"], first["id"]);
    assert_eq!(from_bob["name"], ann.username.as_str());
    assert_eq!(from_bob["peer"]["id"], ann.id);
}

async fn two_who_make_their_private_chat_at_once_get_the_same(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let tries = (0..6).map(|n| {
        let (by, other) = if n % 2 == 0 { (&ann, &bob) } else { (&bob, &ann) };
        let body = json!({"is_group": false, "member_ids": [other.id]});
        async move { by.rest.post("/chats/create", body).await }
    });
    let answers = futures_util::future::join_all(tries).await;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 1, "{answers:?}");
    for answer in &answers {
        assert!([200, 201].contains(&answer.status), "{answer:?}");
        assert_eq!(answer.json["id"], answers[0].json["id"]);
    }
}

async fn a_chat_is_made_only_of_users_that_exist(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let faults = [
        json!({"name": "x", "member_ids": [bob.id, 999_999_999]}),
        json!({"name": "x", "member_ids": [ann.id]}),
        json!({"is_group": false, "member_ids": [999_999_999]}),
        json!({"is_group": false, "member_ids": [ann.id]}),
        json!({"is_group": false, "member_ids": []}),
        json!({"is_group": false}),
        json!({"is_group": false, "member_ids": [bob.id, eve.id]}),
        json!({"name": "x", "member_ids": (1..=1001).map(|n| 999_000_000 + n).collect::<Vec<i64>>()}),
    ];
    for body in faults {
        let fields = ann.rest.post("/chats/create", body.clone()).await.faulty_fields();
        assert_eq!(fields, ["member_ids"], "{body}");
    }
    let list = ann.rest.get("/chats/").await.ok(200);
    assert_eq!(list["items"], json!([]), "nothing was made of the faulty ones");
}

async fn every_fault_of_a_new_chat_is_told_at_once(d: &Deployment) {
    let ann = d.user().await;
    let create = async |body: Value| ann.rest.post("/chats/create", body).await;
    let body = json!({"name": "", "description": "x".repeat(1025), "member_ids": "none"});
    assert_eq!(create(body).await.faulty_fields(), ["description", "member_ids", "name"]);
    let body = json!({"name": "x".repeat(129)});
    assert_eq!(create(body).await.faulty_fields(), ["name"]);
    assert_eq!(create(json!({})).await.faulty_fields(), ["name"]);
    assert_eq!(create(json!({"name": "a\0b"})).await.faulty_fields(), ["name"]);
    // characters count, not bytes
    let body = json!({"name": "é".repeat(128), "description": "🙂".repeat(1024)});
    create(body).await.ok(201);
}

async fn a_group_is_seen_by_all_and_read_by_members(d: &Deployment) {
    let (ann, eve) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[]).await;
    let message = ann.say(chat_id, "for members").await;

    let answer = eve.rest.get(&format!("/chats/{chat_id}")).await;
    assert!(!answer.body.contains("for members"), "{}", answer.body);
    let seen = answer.ok(200);
    assert_eq!((&seen["role"], &seen["last_message"]), (&Value::Null, &Value::Null), "{seen}");
    let text = json!({"text": "x"});
    let send = json!({"chat_id": chat_id, "text": "x"});
    let get = async |path: String| eve.rest.get(&path).await;
    get(format!("/messages/chat/{chat_id}")).await.problem(403, "not_a_member");
    get(format!("/chats/{chat_id}/members")).await.problem(403, "not_a_member");
    get(format!("/ws/chat/{chat_id}/online-users")).await.problem(403, "not_a_member");
    eve.rest.post("/messages/send", send).await.problem(403, "not_a_member");
    let read = eve.rest.post(&format!("/chats/{chat_id}/read"), json!({"seq": 1})).await;
    read.problem(403, "not_a_member");
    eve.rest.delete(&format!("/chats/{chat_id}/leave")).await.problem(403, "not_a_member");
    let edit = eve.rest.put(&format!("/messages/edit/{}", id(&message)), text).await;
    assert!(edit.status == 403 || edit.status == 404, "{}", edit.body);
}

async fn a_private_chat_exists_for_its_two_alone(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.private_chat_id(&bob).await;
    let message_id = id(&ann.say(chat_id, "between us").await);
    let missing = chat_id + 900_000_000;
    for chat in [chat_id, missing] {
        let get = async |path: String| eve.rest.get(&path).await.problem(404, "chat_not_found");
        get(format!("/chats/{chat}")).await;
        get(format!("/chats/{chat}/members")).await;
        get(format!("/messages/chat/{chat}")).await;
        get(format!("/ws/chat/{chat}/online-users")).await;
        let join = eve.rest.post_nothing(&format!("/chats/{chat}/join")).await;
        join.problem(404, "chat_not_found");
        let leave = eve.rest.delete(&format!("/chats/{chat}/leave")).await;
        leave.problem(404, "chat_not_found");
        let send = json!({"chat_id": chat, "text": "x"});
        eve.rest.post("/messages/send", send).await.problem(404, "chat_not_found");
        let read = eve.rest.post(&format!("/chats/{chat}/read"), json!({"seq": 1})).await;
        read.problem(404, "chat_not_found");
        let patch = eve.rest.patch(&format!("/chats/{chat}"), json!({"name": "x"})).await;
        patch.problem(404, "chat_not_found");
        eve.rest.delete(&format!("/chats/{chat}")).await.problem(404, "chat_not_found");
        let add = json!({"user_ids": [eve.id]});
        let added = eve.rest.post(&format!("/chats/{chat}/members"), add).await;
        added.problem(404, "chat_not_found");
    }
    for message in [message_id, message_id + 900_000_000] {
        let text = json!({"text": "x"});
        let edit = eve.rest.put(&format!("/messages/edit/{message}"), text).await;
        edit.problem(404, "message_not_found");
        let delete = eve.rest.delete(&format!("/messages/delete/{message}")).await;
        delete.problem(404, "message_not_found");
    }
    // for its two it is neither joined nor left
    bob.rest.delete(&format!("/chats/{chat_id}/leave")).await.problem(403, "private_chat");
    let history = bob.history(chat_id).await;
    assert_eq!(history["items"][0]["text"], "between us");
}

async fn only_the_owner_changes_a_group(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let path = format!("/chats/{chat_id}");
    let body = json!({"name": "New", "description": "newer"});
    bob.rest.patch(&path, body.clone()).await.problem(403, "not_owner");
    let stranger = eve.rest.patch(&path, body.clone()).await;
    assert_eq!(stranger.status, 403, "{}", stranger.body);

    let changed = ann.rest.patch(&path, body).await.ok(200);
    assert_chat(&changed);
    assert_eq!((&changed["name"], &changed["description"]), (&json!("New"), &json!("newer")));
    let changed = ann.rest.patch(&path, json!({"name": "Newest"})).await.ok(200);
    assert_eq!(changed["description"], "newer", "what is not given stays");
    assert_eq!(bob.chat(chat_id).await["name"], "Newest");
    let faulty = json!({"name": "", "description": "x".repeat(1025)});
    assert_eq!(ann.rest.patch(&path, faulty).await.faulty_fields(), ["description", "name"]);
}

async fn only_the_owner_deletes_a_group(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let message_id = id(&bob.say(chat_id, "gone soon").await);
    let path = format!("/chats/{chat_id}");
    bob.rest.delete(&path).await.problem(403, "not_owner");
    ann.rest.delete(&path).await.ok(204);
    for user in [&ann, &bob] {
        user.rest.get(&path).await.problem(404, "chat_not_found");
        user.rest.get(&format!("/messages/chat/{chat_id}")).await.problem(404, "chat_not_found");
        let path = format!("/messages/edit/{message_id}");
        let edit = user.rest.put(&path, json!({"text": "x"})).await;
        edit.problem(404, "message_not_found");
        assert_eq!(user.rest.get("/chats/").await.ok(200)["items"], json!([]));
    }
    ann.rest.delete(&path).await.problem(404, "chat_not_found");
}
