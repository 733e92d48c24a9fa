//! Commands in general, sending, and the errors that leave a connection open.

use crate::support::{Deployment, Value, json};

both_forms!(
    a_message_sent_is_answered_and_reaches_the_subscribers,
    sending_obeys_the_rules_of_rest,
    a_retry_over_either_way_is_one_message,
    every_fault_of_a_command_is_told_at_once,
    every_answer_carries_the_request_id,
    an_unknown_type_is_told,
    json_that_is_none_is_told,
    a_request_id_that_is_none_is_told,
    unknown_fields_are_ignored,
    what_one_connection_does_wrong_harms_no_other,
);

async fn a_message_sent_is_answered_and_reaches_the_subscribers(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let (mut sender, mut listener) = (ann.connect_to(0).await, bob.connect_to(1).await);
    sender.subscribe(chat_id).await;
    let head = listener.subscribe(chat_id).await["seq"].as_i64().unwrap();
    let first = sender
        .command(json!({"type": "send_message", "chat_id": chat_id, "text": "hello", "client_message_id": "c1"}))
        .await;
    assert_eq!(first["type"], "message_sent", "{first}");
    let message = &first["message"];
    assert_eq!((&message["text"], &message["seq"]), (&json!("hello"), &json!(head + 1)));
    assert_eq!((&message["author_id"], &message["client_message_id"]), (&json!(ann.id), &json!("c1")));
    for ws in [&mut sender, &mut listener] {
        let event = ws.expect("new_message").await;
        assert_eq!((&event["seq"], &event["message"]), (&json!(head + 1), message));
        assert_eq!(event.get("request_id"), None, "an event answers nothing");
    }
    let reply = json!({"type": "send_message", "chat_id": chat_id, "text": "re", "reply_to_id": message["id"]});
    let sent = sender.command(reply).await;
    assert_eq!(sent["message"]["reply_to_id"], message["id"]);
    assert_eq!(bob.history(chat_id).await["items"], json!([message, sent["message"]]));
}

async fn every_fault_of_a_command_is_told_at_once(d: &Deployment) {
    let mut ws = d.user().await.connect().await;
    let content = json!({"text": " ", "client_message_id": ""});
    for (kind, mut command, named) in [
        ("send_message", content.clone(), "chat_id"),
        ("private_message", content, "recipient_id"),
        ("subscribe_chat", json!({"after_seq": -1}), "chat_id"),
        ("read", json!({"seq": -1}), "chat_id"),
    ] {
        command["type"] = kind.into();
        command[named] = "x".into();
        let mut faulty: Vec<String> =
            command.as_object().unwrap().keys().filter(|name| *name != "type").cloned().collect();
        let refused = ws.refused(command, "invalid").await;
        let mut told: Vec<&str> =
            refused["errors"].as_array().unwrap().iter().map(|one| one["field"].as_str().unwrap()).collect();
        faulty.sort();
        told.sort_unstable();
        assert_eq!(told, faulty, "{kind}: {refused}");
    }
}

async fn sending_obeys_the_rules_of_rest(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let private = ann.private_chat_id(&bob).await;
    let mut ws = eve.connect().await;
    let message = |chat_id: Value, text: &str| json!({"type": "send_message", "chat_id": chat_id, "text": text});
    ws.refused(message(json!(chat_id), "x"), "not_a_member").await;
    ws.refused(message(json!(private), "x"), "chat_not_found").await;
    ws.refused(message(json!(999_999_999), "x"), "chat_not_found").await;
    let mut ws = bob.connect().await;
    for text in ["", "  \n", "a\0b", &"🙂".repeat(4097)] {
        ws.refused(message(json!(chat_id), text), "invalid").await;
    }
    let sent = ws.command(message(json!(chat_id), &"🙂".repeat(4096))).await;
    assert_eq!(sent["type"], "message_sent", "{sent}");
    ws.refused(message(json!("x"), "x"), "invalid").await;
    ws.refused(json!({"type": "send_message", "chat_id": chat_id}), "invalid").await;
    let mut keyed = message(json!(chat_id), "x");
    keyed["client_message_id"] = json!("x".repeat(65));
    ws.refused(keyed, "invalid").await;
}

async fn a_retry_over_either_way_is_one_message(d: &Deployment) {
    let ann = d.user().await;
    let chat_id = ann.group_id(&[]).await;
    let body = json!({"chat_id": chat_id, "text": "once", "client_message_id": "both"});
    let mut command = body.clone();
    command["type"] = json!("send_message");
    let (mut one, mut two) = (ann.connect_to(0).await, ann.connect_to(1).await);
    one.subscribe(chat_id).await;
    let first = ann.rest.post("/messages/send", body.clone()).await.ok(201);
    for ws in [&mut one, &mut two] {
        let again = ws.command(command.clone()).await;
        assert_eq!((&again["type"], &again["message"]), (&json!("message_sent"), &first));
    }
    assert_eq!(ann.rest.post("/messages/send", body).await.ok(200), first);
    command["text"] = json!("another");
    two.refused(command, "client_message_id_reused").await;
    one.expect("new_message").await;
    ann.say(chat_id, "next").await;
    let next = one.expect("new_message").await;
    assert_eq!(next["message"]["text"], "next", "the retries made no event");
}

async fn every_answer_carries_the_request_id(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let head = ann.chat(chat_id).await["seq"].clone();
    let mut ws = ann.connect().await;
    let commands = [
        (json!({"type": "ping"}), "pong"),
        (json!({"type": "subscribe_chat", "chat_id": chat_id}), "subscribed"),
        (json!({"type": "read", "chat_id": chat_id, "seq": head}), "message_read"),
        (json!({"type": "send_message", "chat_id": chat_id, "text": "x"}), "message_sent"),
        (json!({"type": "private_message", "recipient_id": bob.id, "text": "x"}), "message_sent"),
        (json!({"type": "authenticate", "token": ann.access}), "authenticated"),
        (json!({"type": "unsubscribe_chat", "chat_id": chat_id}), "unsubscribed"),
        (json!({"type": "typing", "chat_id": chat_id}), "error"),
        (json!({"type": "nonsense"}), "error"),
    ];
    for (command, kind) in commands {
        // `command` finds the answer by its request_id alone
        let answer = ws.command(command.clone()).await;
        assert_eq!(answer["type"], kind, "{command}: {answer}");
    }
    let longest = "é".repeat(64);
    ws.send(json!({"type": "ping", "request_id": longest})).await;
    assert_eq!(ws.expect("pong").await["request_id"], longest.as_str());
    ws.send(json!({"type": "ping"})).await;
    let bare = ws.expect("pong").await;
    assert!(bare["request_id"].is_null(), "{bare}");
}

async fn an_unknown_type_is_told(d: &Deployment) {
    let mut ws = d.user().await.connect().await;
    for kind in ["nonsense", "", "welcome", "new_message", "Ping", "\0"] {
        ws.refused(json!({"type": kind}), "unknown_type").await;
    }
    ws.round_trip().await;
}

async fn json_that_is_none_is_told(d: &Deployment) {
    let mut ws = d.user().await.connect().await;
    let deep = "[".repeat(20_000);
    for text in ["", " ", "{", "nonsense", "{\"type\":\"ping\"", "{} {}", "{\"type\": \"ping\"}x", &deep] {
        ws.send_text(text).await;
        let answer = ws.expect("error").await;
        assert_eq!(answer["code"], "bad_json", "{}: {answer}", text.get(..20).unwrap_or(text));
        assert!(answer["request_id"].is_null(), "{answer}");
    }
    // JSON, but not a command
    for text in ["[]", "null", "7", "\"ping\"", "{}", "{\"type\": 7}", "{\"type\": null}"] {
        ws.send_text(text).await;
        let answer = ws.expect("error").await;
        let code = answer["code"].as_str().unwrap();
        assert!(["bad_json", "invalid", "unknown_type"].contains(&code), "{text}: {answer}");
    }
    ws.round_trip().await;
}

async fn a_request_id_that_is_none_is_told(d: &Deployment) {
    let mut ws = d.user().await.connect().await;
    for request_id in [json!("x".repeat(65)), json!(7), json!({"a": 1}), json!([])] {
        ws.send(json!({"type": "ping", "request_id": request_id})).await;
        let answer = ws.expect("error").await;
        assert_eq!(answer["code"], "invalid", "{request_id}: {answer}");
    }
    ws.round_trip().await;
}

async fn unknown_fields_are_ignored(d: &Deployment) {
    let mut ws = d.user().await.connect().await;
    let pong = ws.command(json!({"type": "ping", "later": {"deep": [1, 2]}, "chat_id": "x"})).await;
    assert_eq!(pong["type"], "pong");
}

async fn what_one_connection_does_wrong_harms_no_other(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let mut listener = bob.connect_to(0).await;
    listener.subscribe(chat_id).await;
    for _ in 0..3 {
        let mut bad = ann.connect_to(0).await;
        bad.subscribe(chat_id).await;
        bad.send_raw_text(vec![0xff, 0xfe]).await;
        bad.expect_close(crate::support::SOON).await;
    }
    ann.say(chat_id, "still here").await;
    assert_eq!(listener.expect("new_message").await["message"]["text"], "still here");
}
