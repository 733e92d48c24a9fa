//! Private messages: the chat is made when it is needed, and every connection of both users hears
//! once.

use crate::support::{Deployment, Value, Ws, json};

both_forms!(
    a_private_message_makes_the_chat_and_reaches_every_connection_once,
    it_reaches_every_connection_however_it_was_sent,
    a_subscription_does_not_double_it,
    it_goes_to_nobody_else,
    it_obeys_the_rules_of_sending,
    both_who_write_first_at_once_share_one_chat,
);

/// Reads the one `new_message` of this text, and asserts that there is no second.
async fn once(ws: &mut Ws, text: &str) -> Value {
    let event = ws
        .expect_where(&format!("new_message {text:?}"), crate::support::SOON, |frame| {
            frame["type"] == "new_message" && frame["message"]["text"] == text
        })
        .await;
    ws.round_trip().await;
    event
}

async fn a_private_message_makes_the_chat_and_reaches_every_connection_once(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let (mut sending, mut other) = (ann.connect_to(0).await, ann.connect_to(1).await);
    let (mut near, mut far) = (bob.connect_to(0).await, bob.connect_to(1).await);
    let command = json!({"type": "private_message", "recipient_id": bob.id, "text": "psst", "client_message_id": "p1"});
    let sent = sending.command(command.clone()).await;
    assert_eq!(sent["type"], "message_sent", "{sent}");
    let chat_id = sent["message"]["chat_id"].as_i64().expect("a chat");
    for (ws, peer) in [(&mut sending, &bob), (&mut other, &bob), (&mut near, &ann), (&mut far, &ann)] {
        let event = once(ws, "psst").await;
        assert_eq!((&event["chat_id"], &event["message"]), (&json!(chat_id), &sent["message"]));
        let added = ws.expect("chat_added").await;
        assert_eq!(added["chat"]["id"], chat_id);
        assert_eq!(added["chat"]["name"], peer.username.as_str(), "as each of them sees it");
        assert_eq!(added["chat"]["peer"]["id"], peer.id);
    }
    // a retry is answered and reaches nobody; the next one comes once and without another chat
    let again = sending.command(command).await;
    assert_eq!(again["message"], sent["message"]);
    near.command(json!({"type": "private_message", "recipient_id": ann.id, "text": "what?"})).await;
    for ws in [&mut sending, &mut other, &mut near, &mut far] {
        let event = once(ws, "what?").await;
        assert_eq!(event["chat_id"], chat_id);
        ws.none_of(&["new_message", "chat_added"]).await;
    }
    let chat = ann.chat(chat_id).await;
    assert_eq!((&chat["is_group"], &chat["member_count"]), (&json!(false), &json!(2)));
}

async fn it_reaches_every_connection_however_it_was_sent(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.private_chat_id(&bob).await;
    let mut sockets = Vec::new();
    for user in [&ann, &bob] {
        for gateway in 0..2 {
            sockets.push(user.connect_to(gateway).await);
        }
    }
    ann.say(chat_id, "over REST").await;
    let command = json!({"type": "send_message", "chat_id": chat_id, "text": "over a socket"});
    sockets[3].command(command).await;
    for ws in &mut sockets {
        once(ws, "over REST").await;
        once(ws, "over a socket").await;
        ws.none_of(&["new_message"]).await;
    }
}

async fn a_subscription_does_not_double_it(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.private_chat_id(&bob).await;
    let (mut subscribed, mut bare) = (bob.connect_to(0).await, bob.connect_to(1).await);
    subscribed.subscribe(chat_id).await;
    for n in 0..5 {
        let text = n.to_string();
        ann.say(chat_id, &text).await;
        for ws in [&mut subscribed, &mut bare] {
            once(ws, &text).await;
            ws.none_of(&["new_message"]).await;
        }
    }
    // unsubscribing leaves the notice
    subscribed.command(json!({"type": "unsubscribe_chat", "chat_id": chat_id})).await;
    ann.say(chat_id, "a notice").await;
    once(&mut subscribed, "a notice").await;
    subscribed.none_of(&["new_message"]).await;
}

async fn it_goes_to_nobody_else(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let shared = ann.group_id(&[&bob, &eve]).await;
    let mut sockets = [eve.connect_to(0).await, eve.connect_to(1).await];
    for ws in &mut sockets {
        ws.subscribe(shared).await;
    }
    let mut sender = ann.connect().await;
    sender.command(json!({"type": "private_message", "recipient_id": bob.id, "text": "for bob"})).await;
    ann.say(shared, "for all").await;
    for ws in &mut sockets {
        assert_eq!(ws.expect("new_message").await["message"]["text"], "for all");
        ws.none_of(&["new_message", "chat_added"]).await;
    }
}

async fn it_obeys_the_rules_of_sending(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let mut ws = ann.connect().await;
    let to = |recipient: Value, text: &str| json!({"type": "private_message", "recipient_id": recipient, "text": text});
    ws.refused(to(json!(999_999_999), "x"), "user_not_found").await;
    ws.refused(to(json!(ann.id), "x"), "invalid").await;
    for text in ["", "  ", "\0", &"x".repeat(4097)] {
        ws.refused(to(json!(bob.id), text), "invalid").await;
    }
    ws.refused(to(json!("bob"), "x"), "invalid").await;
    ws.refused(json!({"type": "private_message", "text": "x"}), "invalid").await;
    assert_eq!(ann.rest.get("/chats/").await.ok(200)["items"], json!([]), "no chat of all that");
    let mut keyed = to(json!(bob.id), "x");
    keyed["client_message_id"] = json!("k");
    ws.command(keyed.clone()).await;
    keyed["text"] = json!("y");
    ws.refused(keyed, "client_message_id_reused").await;
}

async fn both_who_write_first_at_once_share_one_chat(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let (mut one, mut two) = (ann.connect_to(0).await, bob.connect_to(1).await);
    let to = |user: i64| json!({"type": "private_message", "recipient_id": user, "text": "hello"});
    let (sent, answered) = tokio::join!(one.command(to(bob.id)), two.command(to(ann.id)));
    assert_eq!((&sent["type"], &answered["type"]), (&json!("message_sent"), &json!("message_sent")));
    assert_eq!(sent["message"]["chat_id"], answered["message"]["chat_id"]);
    let list = ann.rest.get("/chats/").await.ok(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}
