//! The events that follow what is done over REST, with consecutive numbers, and the notices to
//! those who come into a chat or out of it.

use crate::support::user::id;
use crate::support::{Deployment, User, Value, Ws, json};

use super::subscribe::numbered;

both_forms!(
    edits_and_deletions_are_told,
    joining_leaving_and_roles_are_told,
    a_change_of_the_chat_is_told,
    a_deletion_of_the_chat_is_told,
    those_who_come_in_are_told_the_chat,
    those_who_go_are_told_it_is_gone,
    an_owner_who_leaves_makes_another,
);

/// A member's socket on the second gateway, subscribed; the head with it.
async fn listening(user: &User, chat_id: i64) -> (Ws, i64) {
    let mut ws = user.connect_to(1).await;
    let head = ws.subscribe(chat_id).await["seq"].as_i64().unwrap();
    (ws, head)
}

#[track_caller]
fn assert_member_event(event: &Value, kind: &str, user: &User, role: &str) {
    assert_eq!(event["type"], kind, "{event}");
    assert_eq!(event["user_id"], user.id, "{event}");
    assert_eq!(event["username"], user.username.as_str(), "{event}");
    assert_eq!(event["role"], role, "{event}");
}

async fn edits_and_deletions_are_told(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let (mut ws, head) = listening(&bob, chat_id).await;
    let sent = ann.say(chat_id, "frist").await;
    let path = format!("/messages/edit/{}", id(&sent));
    let edited = ann.rest.put(&path, json!({"text": "first"})).await.ok(200);
    ann.rest.delete(&format!("/messages/delete/{}", id(&sent))).await.ok(204);
    let events = numbered(&mut ws, chat_id, head + 1, 3).await;
    assert_eq!((&events[0]["type"], &events[0]["message"]["id"]), (&json!("new_message"), &sent["id"]));
    assert_eq!(events[1]["type"], "message_edited");
    assert_eq!(events[1]["message"]["id"], edited["id"]);
    assert_eq!(events[1]["message"]["is_edited"], true);
    assert_eq!(events[2]["type"], "message_deleted");
    assert_eq!(events[2]["message_id"], sent["id"]);
    assert_eq!(ann.chat(chat_id).await["seq"], head + 3);
}

async fn joining_leaving_and_roles_are_told(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let (mut ws, head) = listening(&bob, chat_id).await;
    let path = format!("/chats/{chat_id}/members/{}", eve.id);
    eve.join(chat_id).await;
    ann.rest.patch(&path, json!({"role": "owner"})).await.ok(200);
    eve.leave(chat_id).await;
    let add = json!({"user_ids": [eve.id]});
    ann.rest.post(&format!("/chats/{chat_id}/members"), add).await.ok(200);
    ann.rest.delete(&path).await.ok(204);
    let events = numbered(&mut ws, chat_id, head + 1, 5).await;
    assert_member_event(&events[0], "member_joined", &eve, "member");
    assert_member_event(&events[1], "member_updated", &eve, "owner");
    assert_eq!((&events[2]["type"], &events[2]["user_id"]), (&json!("member_left"), &json!(eve.id)));
    assert_eq!(events[2]["username"], eve.username.as_str());
    assert_member_event(&events[3], "member_joined", &eve, "member");
    assert_eq!((&events[4]["type"], &events[4]["user_id"]), (&json!("member_left"), &json!(eve.id)));
}

async fn a_change_of_the_chat_is_told(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let (mut ws, head) = listening(&bob, chat_id).await;
    let body = json!({"name": "New", "description": "newer"});
    ann.rest.patch(&format!("/chats/{chat_id}"), body).await.ok(200);
    let event = numbered(&mut ws, chat_id, head + 1, 1).await.remove(0);
    assert_eq!(event["type"], "chat_updated");
    assert_eq!(event["chat"]["id"], chat_id);
    assert_eq!((&event["chat"]["name"], &event["chat"]["description"]), (&json!("New"), &json!("newer")));
}

async fn a_deletion_of_the_chat_is_told(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let (mut ws, head) = listening(&bob, chat_id).await;
    let mut bare = bob.connect_to(0).await;
    ann.rest.delete(&format!("/chats/{chat_id}")).await.ok(204);
    let event = numbered(&mut ws, chat_id, head + 1, 1).await.remove(0);
    assert_eq!((&event["type"], &event["chat"]["id"]), (&json!("chat_deleted"), &json!(chat_id)));
    for ws in [&mut ws, &mut bare] {
        assert_eq!(ws.expect("chat_removed").await["chat_id"], chat_id);
    }
    let command = json!({"type": "subscribe_chat", "chat_id": chat_id});
    ws.refused(command, "chat_not_found").await;
}

async fn those_who_come_in_are_told_the_chat(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let mut creator = ann.connect_to(0).await;
    let mut invited = [bob.connect_to(0).await, bob.connect_to(1).await];
    let mut joining = eve.connect_to(1).await;
    let chat = ann.group("News", &[&bob]).await;
    let chat_id = id(&chat);
    for (ws, role) in invited.iter_mut().map(|ws| (ws, "member")).chain([(&mut creator, "owner")]) {
        let added = ws.expect("chat_added").await;
        assert_eq!((&added["chat"]["id"], &added["chat"]["name"]), (&json!(chat_id), &json!("News")));
        assert_eq!(added["chat"]["role"], role, "{added}");
    }
    eve.join(chat_id).await;
    assert_eq!(joining.expect("chat_added").await["chat"]["id"], chat_id);
    eve.join(chat_id).await;
    joining.none_of(&["chat_added"]).await;
    let other = ann.group_id(&[]).await;
    creator.expect("chat_added").await;
    let add = json!({"user_ids": [eve.id]});
    ann.rest.post(&format!("/chats/{other}/members"), add).await.ok(200);
    assert_eq!(joining.expect("chat_added").await["chat"]["id"], other);
}

async fn those_who_go_are_told_it_is_gone(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob, &eve]).await;
    let mut leaving = [bob.connect_to(0).await, bob.connect_to(1).await];
    let mut removed = eve.connect_to(1).await;
    let mut staying = ann.connect_to(0).await;
    for ws in leaving.iter_mut().chain([&mut removed, &mut staying]) {
        ws.subscribe(chat_id).await;
    }
    bob.leave(chat_id).await;
    for ws in &mut leaving {
        assert_eq!(ws.expect("chat_removed").await["chat_id"], chat_id);
    }
    ann.rest.delete(&format!("/chats/{chat_id}/members/{}", eve.id)).await.ok(204);
    assert_eq!(removed.expect("chat_removed").await["chat_id"], chat_id);
    ann.say(chat_id, "now we are alone").await;
    staying.expect("new_message").await;
    for ws in leaving.iter_mut().chain([&mut removed]) {
        ws.none_of(&["new_message"]).await;
        ws.refused(json!({"type": "subscribe_chat", "chat_id": chat_id}), "not_a_member").await;
    }
    staying.none_of(&["chat_removed"]).await;
}

async fn an_owner_who_leaves_makes_another(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let (mut ws, head) = listening(&bob, chat_id).await;
    ann.leave(chat_id).await;
    let mut events = numbered(&mut ws, chat_id, head + 1, 2).await;
    events.sort_by_key(|event| event["type"].as_str().unwrap().to_owned());
    assert_eq!((&events[0]["type"], &events[0]["user_id"]), (&json!("member_left"), &json!(ann.id)));
    assert_member_event(&events[1], "member_updated", &bob, "owner");
    bob.say(chat_id, "mine").await;
    numbered(&mut ws, chat_id, head + 3, 1).await;
}
