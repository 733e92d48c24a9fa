//! Typing and reading: told to those who are there, never numbered.

use std::time::{Duration, Instant};

use crate::support::deployment::Builder;
use crate::support::{Deployment, json};

both_forms!(
    typing_is_told_to_the_other_subscribers,
    typing_is_told_at_most_once_in_two_seconds,
    typing_needs_a_subscription,
    reading_is_told_to_the_reader_and_the_subscribers,
    a_mark_that_does_not_move_is_told_to_nobody,
    reading_obeys_the_rules_of_rest,
    the_blocked_neither_type_nor_read_before_the_blocker,
);

both_forms_alone!(in_a_large_chat_a_mark_is_told_to_the_readers_own_connections);

async fn typing_is_told_to_the_other_subscribers(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let (mut typist, mut reader) = (ann.connect_to(0).await, bob.connect_to(1).await);
    let mut absent = bob.connect_to(0).await;
    typist.subscribe(chat_id).await;
    let head = reader.subscribe(chat_id).await["seq"].clone();
    typist.send(json!({"type": "typing", "chat_id": chat_id})).await;
    let told = reader.expect("typing").await;
    assert_eq!((&told["chat_id"], &told["user_id"]), (&json!(chat_id), &json!(ann.id)));
    assert_eq!((&told["username"], &told["is_typing"]), (&json!(ann.username), &json!(true)));
    assert!(told["seq"].is_null(), "not numbered: {told}");
    typist.none_of(&["typing", "error"]).await;
    absent.none_of(&["typing"]).await;
    assert_eq!(ann.chat(chat_id).await["seq"], head);

    let other = ann.group_id(&[&bob]).await;
    typist.subscribe(other).await;
    reader.subscribe(other).await;
    typist.send(json!({"type": "typing", "chat_id": other, "is_typing": false})).await;
    assert_eq!(reader.expect_in("typing", other).await["is_typing"], false);
}

async fn typing_is_told_at_most_once_in_two_seconds(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let (mut typist, mut reader) = (ann.connect_to(0).await, bob.connect_to(1).await);
    typist.subscribe(chat_id).await;
    reader.subscribe(chat_id).await;
    let start = Instant::now();
    let mut told = Vec::new();
    while start.elapsed() < Duration::from_secs(5) {
        typist.send(json!({"type": "typing", "chat_id": chat_id})).await;
        typist.round_trip().await;
        if let Some(frame) = reader.next_within(Duration::from_millis(100)).await
            && frame["type"] == "typing"
        {
            told.push(Instant::now());
        }
    }
    assert!((2..=3).contains(&told.len()), "{} in five seconds", told.len());
    for pair in told.windows(2) {
        let apart = pair[1] - pair[0];
        assert!(apart > Duration::from_millis(1500), "{apart:?} apart");
    }
    typist.none_of(&["error"]).await;
}

async fn typing_needs_a_subscription(d: &Deployment) {
    let (ann, eve) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[]).await;
    let mut ws = ann.connect().await;
    ws.refused(json!({"type": "typing", "chat_id": chat_id}), "not_subscribed").await;
    let mut ws = eve.connect().await;
    ws.refused(json!({"type": "typing", "chat_id": chat_id}), "not_subscribed").await;
    ws.refused(json!({"type": "typing"}), "invalid").await;
    let command = json!({"type": "typing", "chat_id": chat_id, "is_typing": "yes"});
    ws.refused(command, "invalid").await;
}

async fn reading_is_told_to_the_reader_and_the_subscribers(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let sent = ann.say(chat_id, "read me").await;
    let (mut reader, mut author) = (bob.connect_to(0).await, ann.connect_to(1).await);
    author.subscribe(chat_id).await;
    let command = json!({"type": "read", "chat_id": chat_id, "seq": sent["seq"]});
    let answer = reader.command(command).await;
    for told in [answer, author.expect("message_read").await] {
        assert_eq!(told["type"], "message_read");
        assert_eq!((&told["chat_id"], &told["user_id"]), (&json!(chat_id), &json!(bob.id)));
        assert_eq!(told["seq"], sent["seq"]);
    }
    let list = bob.rest.get("/chats/").await.ok(200);
    assert_eq!(list["items"][0]["unread_count"], 0);
    // over REST the subscribers are told, too
    let next = ann.say(chat_id, "and me").await;
    let body = json!({"seq": next["seq"]});
    bob.rest.post(&format!("/chats/{chat_id}/read"), body).await.ok(204);
    assert_eq!(author.expect("message_read").await["seq"], next["seq"]);
    assert_eq!(ann.chat(chat_id).await["seq"], next["seq"], "reading takes no number");
}

async fn a_mark_that_does_not_move_is_told_to_nobody(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let (first, second) = (ann.say(chat_id, "one").await, ann.say(chat_id, "two").await);
    let mut author = ann.connect_to(1).await;
    author.subscribe(chat_id).await;
    let mut reader = bob.connect_to(0).await;
    let read = async |seq: &serde_json::Value| {
        bob.rest.post(&format!("/chats/{chat_id}/read"), json!({"seq": seq})).await.ok(204);
    };
    // the same again, further back, and beyond the head where it stands at the head already
    for seq in [&second["seq"], &second["seq"], &first["seq"], &json!(1_000)] {
        read(seq).await;
    }
    let command = json!({"type": "read", "chat_id": chat_id, "seq": 1_000});
    assert_eq!(reader.command(command).await["seq"], second["seq"], "the caller is answered all the same");
    assert_eq!(author.expect("message_read").await["seq"], second["seq"]);
    ann.say(chat_id, "the end").await;
    author.expect("new_message").await;
    author.none_of(&["message_read"]).await;
}

async fn in_a_large_chat_a_mark_is_told_to_the_readers_own_connections(builder: Builder) {
    let d = builder.env("STATUS_MAX_MEMBERS", 2).start().await;
    let (ann, bob, cem) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob, &cem]).await;
    let sent = ann.say(chat_id, "read me").await;
    let mut author = ann.connect_to(1).await;
    author.subscribe(chat_id).await;
    // of the reader's devices one follows the chat and one does not
    let (mut reader, mut second) = (bob.connect_to(0).await, bob.connect_to(1).await);
    second.subscribe(chat_id).await;
    let mut third = bob.connect_to(1).await;
    let answer = reader.command(json!({"type": "read", "chat_id": chat_id, "seq": sent["seq"]})).await;
    assert_eq!(answer["seq"], sent["seq"]);
    for device in [&mut second, &mut third] {
        assert_eq!(device.expect("message_read").await["user_id"], bob.id);
    }
    ann.say(chat_id, "the end").await;
    author.expect("new_message").await;
    author.none_of(&["message_read"]).await;
    reader.none_of(&["message_read"]).await;
}

async fn reading_obeys_the_rules_of_rest(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.group_id(&[]).await;
    let private = ann.private_chat_id(&bob).await;
    let mut ws = eve.connect().await;
    let read = |chat_id: i64| json!({"type": "read", "chat_id": chat_id, "seq": 1});
    ws.refused(read(chat_id), "not_a_member").await;
    ws.refused(read(private), "chat_not_found").await;
    ws.refused(read(999_999_999), "chat_not_found").await;
    ws.refused(json!({"type": "read", "chat_id": chat_id}), "invalid").await;
    ws.refused(json!({"type": "read", "chat_id": chat_id, "seq": "x"}), "invalid").await;
}

async fn the_blocked_neither_type_nor_read_before_the_blocker(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let (private, group) = (ann.private_chat_id(&bob).await, ann.group_id(&[&bob]).await);
    ann.say(private, "one").await;
    ann.say(group, "one").await;
    let (mut blocker, mut blocked) = (ann.connect_to(0).await, bob.connect_to(1).await);
    let mut beside = bob.connect_to(0).await;
    for chat_id in [private, group] {
        for ws in [&mut blocker, &mut blocked, &mut beside] {
            ws.subscribe(chat_id).await;
        }
    }
    ann.rest.put_nothing(&format!("/users/{}/block", bob.id)).await.ok(204);
    // The group's come later, on the same way: with them, those of the private chat would be there.
    for chat_id in [private, group] {
        blocked.send(json!({"type": "typing", "chat_id": chat_id})).await;
        assert_eq!(
            blocked.command(json!({"type": "read", "chat_id": chat_id, "seq": 1})).await["type"],
            "message_read"
        );
    }
    let mut told = Vec::new();
    for kind in ["typing", "message_read"] {
        told.push(blocker.expect(kind).await["chat_id"].clone());
    }
    assert_eq!(told, [json!(group), json!(group)]);
    blocker.none_of(&["typing", "message_read"]).await;
    // The reader's other connections go on together, and the blocker writes as before.
    assert_eq!(beside.expect_in("message_read", private).await["seq"], 1);
    blocker.send(json!({"type": "typing", "chat_id": private})).await;
    assert_eq!(blocked.expect_in("typing", private).await["user_id"], ann.id);
    ann.rest.delete(&format!("/users/{}/block", bob.id)).await.ok(204);
    beside.send(json!({"type": "typing", "chat_id": private})).await;
    assert_eq!(blocker.expect_in("typing", private).await["user_id"], bob.id);
}
