//! Mentions: counted for each member, and delivered to every connection of theirs.

use crate::support::user::id;
use crate::support::{Deployment, User, Value, json};

both_forms!(
    the_mentioned_hear_of_it_unsubscribed,
    an_edit_mentions_anew,
    those_who_muted_or_blocked_hear_nothing,
    only_members_are_mentioned,
);

async fn mention_count(user: &User, chat_id: i64) -> Value {
    user.chat(chat_id).await["mention_count"].clone()
}

async fn the_mentioned_hear_of_it_unsubscribed(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob, &eve]).await;
    let mut bare = [bob.connect_to(0).await, bob.connect_to(1).await];
    let mut other = eve.connect_to(1).await;
    let mut author = ann.connect_to(0).await;
    let text = format!("Hi @{}, and not mail@{} nor @{}", bob.username.to_uppercase(), eve.username, "nobody");
    let sent = ann.say(chat_id, &text).await;
    assert_eq!(sent["mentions"], json!([bob.id]));
    for ws in &mut bare {
        let event = ws.expect("mentioned").await;
        assert_eq!((&event["chat_id"], &event["seq"]), (&json!(chat_id), &sent["seq"]));
        assert_eq!(event["message"]["text"], text.as_str());
        assert_eq!(event["message"]["mentions"], json!([bob.id]));
    }
    assert_eq!(mention_count(&bob, chat_id).await, 1);
    assert_eq!(bob.rest.get("/chats/").await.ok(200)["items"][0]["mention_count"], 1);
    assert_eq!(mention_count(&eve, chat_id).await, 0);
    let read = json!({"seq": sent["seq"]});
    bob.rest.post(&format!("/chats/{chat_id}/read"), read).await.ok(204);
    assert_eq!(mention_count(&bob, chat_id).await, 0);
    // By the WebSocket; a subscriber hears of it once, beside the event.
    bare[0].subscribe(chat_id).await;
    let command = json!({"type": "send_message", "chat_id": chat_id, "text": format!("@{}", bob.username),
        "client_message_id": "once"});
    for _ in 0..2 {
        assert_eq!(author.command(command.clone()).await["message"]["mentions"], json!([bob.id]));
    }
    bare[0].expect("new_message").await;
    for ws in &mut bare {
        ws.expect("mentioned").await;
        ws.none_of(&["mentioned"]).await;
    }
    other.none_of(&["mentioned"]).await;
    author.none_of(&["mentioned"]).await;
}

async fn an_edit_mentions_anew(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob, &eve]).await;
    let (mut first, mut second) = (bob.connect_to(0).await, eve.connect_to(1).await);
    let sent = ann.say(chat_id, &format!("@{}", bob.username)).await;
    first.expect("mentioned").await;
    let path = format!("/messages/edit/{}", id(&sent));
    let both = format!("@{} @{}", bob.username, eve.username);
    let edited = ann.rest.put(&path, json!({"text": both})).await.ok(200);
    let mut mentions = vec![bob.id, eve.id];
    mentions.sort_unstable();
    assert_eq!(edited["mentions"], json!(mentions));
    assert_eq!(second.expect("mentioned").await["message"]["text"], both.as_str());
    first.none_of(&["mentioned"]).await;
    assert_eq!(mention_count(&bob, chat_id).await, 1);
    let edited = ann.rest.put(&path, json!({"text": "nobody"})).await.ok(200);
    assert_eq!(edited["mentions"], json!([]));
    assert_eq!((mention_count(&bob, chat_id).await, mention_count(&eve, chat_id).await), (json!(0), json!(0)));
    let sent = ann.say(chat_id, &format!("@{}", bob.username)).await;
    ann.rest.delete(&format!("/messages/delete/{}", id(&sent))).await.ok(204);
    assert_eq!(mention_count(&bob, chat_id).await, 0);
}

async fn those_who_muted_or_blocked_hear_nothing(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob, &eve]).await;
    let settings = format!("/chats/{chat_id}/settings");
    bob.rest.patch(&settings, json!({"muted_until": "2100-01-01T00:00:00Z"})).await.ok(200);
    eve.rest.put_nothing(&format!("/users/{}/block", ann.id)).await.ok(204);
    let (mut muted, mut blocker) = (bob.connect_to(0).await, eve.connect_to(1).await);
    let sent = ann.say(chat_id, &format!("@{} @{}", bob.username, eve.username)).await;
    assert_eq!(sent["mentions"].as_array().unwrap().len(), 2);
    muted.none_of(&["mentioned"]).await;
    blocker.none_of(&["mentioned"]).await;
    assert_eq!(mention_count(&bob, chat_id).await, 1);
    bob.rest.patch(&settings, json!({"muted_until": null})).await.ok(200);
    ann.say(chat_id, &format!("@{}", bob.username)).await;
    muted.expect("mentioned").await;
}

async fn only_members_are_mentioned(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let private = ann.private_chat_id(&bob).await;
    let mut stranger = eve.connect_to(1).await;
    for chat_id in [chat_id, private] {
        let sent = ann.say(chat_id, &format!("@{} @{}", eve.username, bob.username)).await;
        assert_eq!(sent["mentions"], json!([bob.id]));
    }
    stranger.none_of(&["mentioned"]).await;
}
