//! Blocks: silence from one user, and nobody learns of it.

use crate::support::user::id;
use crate::support::{Deployment, User, Value, json};

both_forms!(
    the_blocked_cannot_write_or_call_the_blocker_in,
    blocks_are_listed_for_the_blocker_alone,
    a_block_reaches_no_socket,
    nobody_blocks_themselves_or_no_one,
);

async fn block(user: &User, other: &User) {
    user.rest.put_nothing(&format!("/users/{}/block", other.id)).await.ok(204);
}

async fn blocked(user: &User) -> Vec<i64> {
    let page = user.rest.get("/users/blocked").await.ok(200);
    page["items"].as_array().unwrap().iter().map(id).collect()
}

async fn the_blocked_cannot_write_or_call_the_blocker_in(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let (private, group) = (ann.private_chat_id(&bob).await, bob.group_id(&[]).await);
    let message = id(&bob.say(private, "before").await);
    block(&ann, &bob).await;
    block(&ann, &bob).await;
    let text = json!({"chat_id": private, "text": "again"});
    bob.rest.post("/messages/send", text.clone()).await.problem(403, "blocked");
    let edit = format!("/messages/edit/{message}");
    bob.rest.put(&edit, json!({"text": "again"})).await.problem(403, "blocked");
    bob.rest.put_nothing(&super::marks::reaction(message, "👍")).await.problem(403, "blocked");
    bob.rest.put_nothing(&format!("/chats/{private}/pins/{message}")).await.problem(403, "blocked");
    let members = format!("/chats/{group}/members");
    bob.rest.post(&members, json!({"user_ids": [eve.id, ann.id]})).await.problem(403, "blocked");
    let made = json!({"name": "Trap", "member_ids": [ann.id]});
    bob.rest.post("/chats/create", made).await.problem(403, "blocked");
    let mut ws = bob.connect_to(1).await;
    let command = json!({"type": "private_message", "recipient_id": ann.id, "text": "again"});
    ws.refused(command, "blocked").await;
    let command = json!({"type": "send_message", "chat_id": private, "text": "again"});
    ws.refused(command, "blocked").await;
    // No chat yet: none is made.
    block(&eve, &bob).await;
    let command = json!({"type": "private_message", "recipient_id": eve.id, "text": "hello"});
    ws.refused(command, "blocked").await;
    let made = json!({"is_group": false, "member_ids": [eve.id]});
    bob.rest.post("/chats/create", made).await.problem(403, "blocked");
    assert!(eve.rest.get("/chats/").await.ok(200)["items"].as_array().unwrap().is_empty());
    // The blocker writes, and a group of both goes on.
    ann.say(private, "I do").await;
    let shared = eve.group_id(&[&ann, &bob]).await;
    bob.say(shared, "all of you").await;
    ann.rest.delete(&format!("/users/{}/block", bob.id)).await.ok(204);
    bob.rest.post("/messages/send", text).await.ok(201);
    bob.rest.post(&members, json!({"user_ids": [ann.id]})).await.ok(200);
}

async fn blocks_are_listed_for_the_blocker_alone(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    block(&ann, &eve).await;
    block(&ann, &bob).await;
    assert_eq!(blocked(&ann).await, [bob.id, eve.id]);
    assert!(blocked(&bob).await.is_empty());
    let page = ann.rest.get("/users/blocked?limit=1").await.ok(200);
    assert_eq!(page["items"][0]["username"], bob.username.as_str());
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = ann.rest.get(&format!("/users/blocked?limit=1&cursor={cursor}")).await.ok(200);
    assert_eq!((id(&rest["items"][0]), &rest["next_cursor"]), (eve.id, &Value::Null));
    for _ in 0..2 {
        ann.rest.delete(&format!("/users/{}/block", bob.id)).await.ok(204);
    }
    assert_eq!(blocked(&ann).await, [eve.id]);
}

async fn a_block_reaches_no_socket(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let private = ann.private_chat_id(&bob).await;
    let mut ws = bob.connect_to(1).await;
    ws.subscribe(private).await;
    let before = bob.rest.get(&format!("/users/{}", ann.id)).await.ok(200);
    block(&ann, &bob).await;
    assert_eq!(bob.rest.get(&format!("/users/{}", ann.id)).await.ok(200), before);
    assert_eq!(bob.chat(private).await["seq"], 0);
    // The next that the socket hears is what comes after it.
    ann.say(private, "hello").await;
    let event = super::super::ws::subscribe::numbered(&mut ws, private, 1, 1).await;
    assert_eq!(event[0]["type"], "new_message");
}

async fn nobody_blocks_themselves_or_no_one(d: &Deployment) {
    let ann = d.user().await;
    let own = format!("/users/{}/block", ann.id);
    assert_eq!(ann.rest.put_nothing(&own).await.faulty_fields(), ["user_id"]);
    ann.rest.put_nothing("/users/0/block").await.problem(404, "user_not_found");
    ann.rest.delete("/users/0/block").await.problem(404, "user_not_found");
    d.rest().put_nothing(&own).await.problem(401, "unauthenticated");
    d.rest().get("/users/blocked").await.problem(401, "unauthenticated");
}
