//! Reactions and pins on the sequence: live, over a reconnect, and on both gateways.

use crate::support::user::id;
use crate::support::{Deployment, json};

use super::subscribe::numbered;

both_forms!(marks_are_delivered_in_order, marks_are_replayed);

async fn marks_are_delivered_in_order(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let (mut near, mut far) = (ann.connect_to(0).await, bob.connect_to(1).await);
    let message = id(&ann.say(chat_id, "hello").await);
    for ws in [&mut near, &mut far] {
        ws.subscribe(chat_id).await;
    }
    let (react, pin) = (format!("/messages/{message}/reactions/👍"), format!("/chats/{chat_id}/pins/{message}"));
    bob.rest.put_nothing(&react).await.ok(204);
    ann.rest.put_nothing(&react).await.ok(204);
    ann.rest.put_nothing(&pin).await.ok(204);
    bob.rest.delete(&react).await.ok(204);
    ann.rest.delete(&pin).await.ok(204);
    let reaction = |kind: &str, seq: i64, user: i64, count: i64| json!({"type": kind, "chat_id": chat_id, "seq": seq, "message_id": message, "user_id": user, "emoji": "👍", "count": count});
    let pinned = |kind: &str, seq: i64| json!({"type": kind, "chat_id": chat_id, "seq": seq, "message_id": message, "user_id": ann.id});
    let expected = [
        reaction("reaction_added", 2, bob.id, 1),
        reaction("reaction_added", 3, ann.id, 2),
        pinned("message_pinned", 4),
        reaction("reaction_removed", 5, bob.id, 1),
        pinned("message_unpinned", 6),
    ];
    for ws in [&mut near, &mut far] {
        assert_eq!(numbered(ws, chat_id, 2, 5).await, expected);
    }
}

async fn marks_are_replayed(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let message = id(&ann.say(chat_id, "hello").await);
    bob.rest.put_nothing(&format!("/messages/{message}/reactions/👍")).await.ok(204);
    ann.rest.put_nothing(&format!("/chats/{chat_id}/pins/{message}")).await.ok(204);
    for node in [0, 1] {
        let mut ws = bob.connect_to(node).await;
        let subscribed = ws.subscribe_after(chat_id, 0).await;
        assert_eq!(subscribed["recovered"], 3, "{subscribed}");
        let events = numbered(&mut ws, chat_id, 1, 3).await;
        // The same for every reader: without `me`.
        let of_now = json!([{"emoji": "👍", "count": 1}]);
        assert!([&json!([]), &of_now].contains(&&events[0]["message"]["reactions"]), "{}", events[0]);
        assert_eq!((&events[1]["type"], &events[1]["count"]), (&json!("reaction_added"), &json!(1)));
        assert_eq!((&events[2]["type"], &events[2]["user_id"]), (&json!("message_pinned"), &json!(ann.id)));
    }
}
