//! A member's own view of a chat.

use crate::support::user::id;
use crate::support::{Deployment, Value, json};

both_forms!(a_view_is_the_members_own, a_view_is_a_members, every_fault_of_a_view_is_named);

fn path(chat_id: i64) -> String {
    format!("/chats/{chat_id}/settings")
}

async fn a_view_is_the_members_own(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let plain = json!({"muted_until": null, "archived": false, "pinned": false});
    assert_eq!(ann.chat(chat_id).await["settings"], plain);
    let mut near = ann.connect_to(0).await;
    let mut far = ann.connect_to(1).await;
    let mut other = bob.connect_to(1).await;
    other.subscribe(chat_id).await;
    let body = json!({"muted_until": "2100-01-01T02:00:00+02:00", "archived": true});
    let chat = ann.rest.patch(&path(chat_id), body).await.ok(200);
    crate::rest::chats::assert_chat(&chat);
    let set = chat["settings"].clone();
    assert!(set["muted_until"].as_str().unwrap().starts_with("2100-01-01T00:00:00"), "{set}");
    assert_eq!((&set["archived"], &set["pinned"]), (&json!(true), &json!(false)));
    for ws in [&mut near, &mut far] {
        let event = ws.expect("chat_settings").await;
        assert_eq!((&event["chat_id"], &event["settings"]), (&json!(chat_id), &set));
    }
    assert_eq!(ann.rest.get("/chats/").await.ok(200)["items"][0]["settings"], set);
    assert_eq!(bob.chat(chat_id).await["settings"], plain);
    // At the calendar's end it lies beyond it in UTC.
    for beyond in ["9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00"] {
        let refused = ann.rest.patch(&path(chat_id), json!({"muted_until": beyond})).await;
        assert_eq!(refused.faulty_fields(), ["muted_until"], "{beyond}");
    }
    let body = json!({"muted_until": null, "pinned": true});
    let chat = ann.rest.patch(&path(chat_id), body).await.ok(200);
    assert_eq!(chat["settings"], json!({"muted_until": null, "archived": true, "pinned": true}));
    assert_eq!(chat["seq"], 0, "it is no event of the chat");
    other.none_of(&["chat_settings"]).await;
}

async fn a_view_is_a_members(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let open = ann.group_id(&[&bob]).await;
    let body = json!({"name": "Quiet", "is_public": false, "member_ids": [bob.id]});
    let closed = id(&ann.rest.post("/chats/create", body).await.ok(201));
    let private = ann.private_chat_id(&bob).await;
    for (chat_id, status, code) in
        [(open, 403, "not_a_member"), (closed, 404, "chat_not_found"), (private, 404, "chat_not_found")]
    {
        for user in [&ann, &bob] {
            user.rest.patch(&path(chat_id), json!({"pinned": true})).await.ok(200);
        }
        eve.rest.patch(&path(chat_id), json!({"pinned": true})).await.problem(status, code);
        d.rest().patch(&path(chat_id), json!({})).await.problem(401, "unauthenticated");
    }
    assert_eq!(eve.chat(open).await["settings"], Value::Null);
    ann.rest.patch(&path(0), json!({})).await.problem(404, "chat_not_found");
}

async fn every_fault_of_a_view_is_named(d: &Deployment) {
    let ann = d.user().await;
    let chat_id = ann.group_id(&[]).await;
    let body = json!({"muted_until": "tomorrow", "archived": "yes", "pinned": 1});
    assert_eq!(ann.rest.patch(&path(chat_id), body).await.faulty_fields(), ["archived", "muted_until", "pinned"]);
    ann.rest.patch(&path(chat_id), json!({})).await.ok(200);
}
