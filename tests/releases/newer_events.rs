//! What this release publishes and the one before does not know: it passes it on, counts its
//! number, and goes on.

use std::time::Duration;

use crate::once_built;
use crate::side_by_side::{NEW, OLD, both, send};
use crate::support::user::id;
use crate::support::{Value, eventually, json};

/// Texts of an older node get their words within this.
const WORDS_WITHIN: Duration = Duration::from_secs(30);
/// The events between the first message and the last, in their order.
const BETWEEN: [&str; 5] =
    ["reaction_added", "reaction_removed", "message_pinned", "message_unpinned", "message_edited"];

#[tokio::test]
async fn a_node_of_the_release_before_passes_on_each_newer_event() {
    once_built(async {
        let d = both().await;
        let (ann, ben) = (d.user().await, d.user().await);
        let chat_id = ann.group_id(&[&ben]).await;
        let (api, mention) = (ann.rest.on(NEW), format!("for @{}", ben.username));
        let mut sockets = [ben.connect_to(OLD).await, ben.connect_to(NEW).await];
        for ws in &mut sockets {
            ws.subscribe(chat_id).await;
        }
        let message = api.post("/messages/send", send(chat_id, &mention)).await.ok(201);
        let message_id = id(&message);
        let (reaction, pin) =
            (format!("/messages/{message_id}/reactions/%F0%9F%91%8D"), format!("/chats/{chat_id}/pins/{message_id}"));
        ben.rest.on(NEW).put_nothing(&reaction).await.ok(204);
        ben.rest.on(NEW).delete(&reaction).await.ok(204);
        api.put_nothing(&pin).await.ok(204);
        api.delete(&pin).await.ok(204);
        // An edit through the node before: it knows neither words nor mentions.
        ann.rest.on(OLD).put(&format!("/messages/edit/{message_id}"), json!({"text": "by the older"})).await.ok(200);
        api.patch(&format!("/chats/{chat_id}"), json!({"name": "renamed"})).await.ok(200);
        ben.rest.on(NEW).patch(&format!("/chats/{chat_id}/settings"), json!({"pinned": true})).await.ok(200);
        ann.rest.on(OLD).post("/messages/send", send(chat_id, "the last")).await.ok(201);
        for ws in &mut sockets {
            let first = ws.expect_in("new_message", chat_id).await;
            assert_eq!((&first["seq"], &first["message"]["text"]), (&json!(1), &json!(mention)));
            for (seq, kind) in (2..).zip(BETWEEN) {
                let event = ws.expect_in(kind, chat_id).await;
                assert_eq!((&event["seq"], &event["message_id"]), (&json!(seq), &named(kind, message_id)), "{event}");
            }
            assert_eq!(ws.expect_in("chat_updated", chat_id).await["seq"], 7);
            assert_eq!(ws.expect_in("new_message", chat_id).await["seq"], 8);
            ws.none_of(&["resync", "error"]).await;
        }
        assert_eq!(sockets[NEW].expect("mentioned").await["message"]["id"], message_id);
        assert_eq!(sockets[NEW].expect("chat_settings").await["settings"]["pinned"], true);

        // A replay: the older node says that something is there; this one what it is.
        let mut older = ben.connect_to(OLD).await;
        let subscribed = older.subscribe_after(chat_id, 1).await;
        assert_eq!((&subscribed["recovered"], &subscribed["resync"]), (&json!(7), &json!(null)), "{subscribed}");
        for seq in 2..=5 {
            assert_eq!(older.expect_in("unknown", chat_id).await["seq"], seq);
        }
        for kind in ["message_edited", "chat_updated", "new_message"] {
            older.expect_in(kind, chat_id).await;
        }
        let mut newer = ben.connect_to(NEW).await;
        newer.subscribe_after(chat_id, 1).await;
        for kind in BETWEEN.into_iter().chain(["chat_updated", "new_message"]) {
            newer.expect_in(kind, chat_id).await;
        }

        // The text that the older node wrote is found by its words of now, and not by those before.
        let found = async |q: &str| -> Vec<Value> {
            let page = ben.rest.on(NEW).get(&format!("/messages/search?q={q}")).await.ok(200);
            page["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect()
        };
        assert_eq!(found("for").await, [json!(null); 0]);
        eventually("words of the older node's texts", WORDS_WITHIN, async || {
            (found("older").await == [json!(message_id)] && found("last").await.len() == 1).then_some(())
        })
        .await;
        let page = ann.rest.on(OLD).get(&format!("/messages/chat/{chat_id}")).await.ok(200);
        assert_eq!(page["items"].as_array().unwrap().len(), 2);
    })
    .await;
}

/// The field in which an event names the message; an edit bears it whole.
fn named(kind: &str, message_id: i64) -> Value {
    if kind == "message_edited" { json!(null) } else { json!(message_id) }
}
