//! Pinned messages.

use crate::support::user::id;
use crate::support::{Deployment, User, json};

both_forms!(
    the_last_pinned_message_comes_first,
    roles_decide_over_pins,
    two_take_the_fiftieth_pin_at_once,
    a_deleted_message_is_pinned_no_more,
);

fn pin(chat_id: i64, message: i64) -> String {
    format!("/chats/{chat_id}/pins/{message}")
}

async fn pins(user: &User, chat_id: i64) -> Vec<i64> {
    let page = user.rest.get(&format!("/chats/{chat_id}/pins?limit=100")).await.ok(200);
    page["items"].as_array().unwrap().iter().map(id).collect()
}

async fn the_last_pinned_message_comes_first(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let mut ids = Vec::new();
    for text in ["one", "two", "three"] {
        ids.push(id(&bob.say(chat_id, text).await));
    }
    let (one, two, three) = (ids[0], ids[1], ids[2]);
    for message in [two, one, three, one] {
        ann.rest.put_nothing(&pin(chat_id, message)).await.ok(204);
    }
    assert_eq!(pins(&bob, chat_id).await, [three, one, two]);
    assert_eq!(ann.chat(chat_id).await["seq"], 6, "the same again is no event");
    let page = bob.rest.get(&format!("/chats/{chat_id}/pins?limit=2")).await.ok(200);
    crate::rest::messages::assert_message(&page["items"][0]);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = bob.rest.get(&format!("/chats/{chat_id}/pins?limit=2&cursor={cursor}")).await.ok(200);
    assert_eq!((id(&rest["items"][0]), &rest["next_cursor"]), (two, &json!(null)));
    bob.rest.get(&format!("/chats/{chat_id}/pins?limit=0")).await.problem(422, "invalid");
    bob.rest.get(&format!("/chats/{chat_id}/pins?cursor=x")).await.problem(422, "invalid");
    for _ in 0..2 {
        ann.rest.delete(&pin(chat_id, three)).await.ok(204);
    }
    assert_eq!(pins(&ann, chat_id).await, [one, two]);
}

async fn roles_decide_over_pins(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let open = ann.group_id(&[&bob]).await;
    let body = json!({"name": "Quiet", "is_public": false, "member_ids": [bob.id]});
    let closed = id(&ann.rest.post("/chats/create", body).await.ok(201));
    let private = ann.private_chat_id(&bob).await;
    // The owner, a member, a stranger.
    let allowed = (204, None);
    let (not_owner, not_a_member) = ((403, Some("not_owner")), (403, Some("not_a_member")));
    let hidden = (404, Some("chat_not_found"));
    for (chat_id, owner, member, stranger) in [
        (open, allowed, not_owner, not_a_member),
        (closed, allowed, not_owner, hidden),
        (private, allowed, allowed, hidden),
    ] {
        let path = pin(chat_id, id(&ann.say(chat_id, "hello").await));
        for (user, (status, code)) in [(&ann, owner), (&bob, member), (&eve, stranger)] {
            for answer in [user.rest.put_nothing(&path).await, user.rest.delete(&path).await] {
                assert_eq!((answer.status, answer.json["code"].as_str()), (status, code), "{answer:?}");
            }
        }
        let list = format!("/chats/{chat_id}/pins");
        bob.rest.get(&list).await.ok(200);
        let (status, code) = stranger;
        eve.rest.get(&list).await.problem(status, code.unwrap());
    }
    let elsewhere = id(&ann.say(open, "elsewhere").await);
    ann.rest.put_nothing(&pin(closed, elsewhere)).await.problem(404, "message_not_found");
    ann.rest.put_nothing(&pin(closed, 0)).await.problem(404, "message_not_found");
}

async fn two_take_the_fiftieth_pin_at_once(d: &Deployment) {
    let ann = d.user().await;
    let chat_id = ann.group_id(&[]).await;
    let mut ids = Vec::new();
    for n in 0..51 {
        ids.push(id(&ann.say(chat_id, &n.to_string()).await));
    }
    for message in &ids[..49] {
        ann.rest.put_nothing(&pin(chat_id, *message)).await.ok(204);
    }
    let (near, far) = (ann.rest.on(0), ann.rest.on(1));
    let (one, two) = (pin(chat_id, ids[49]), pin(chat_id, ids[50]));
    let (one, two) = futures_util::join!(near.put_nothing(&one), far.put_nothing(&two));
    let mut answers = [(one.status, one), (two.status, two)];
    answers.sort_by_key(|(status, _)| *status);
    let [(_, first), (_, second)] = answers;
    first.ok(204);
    second.problem(409, "too_many_pins");
    assert_eq!(pins(&ann, chat_id).await.len(), 50);
    ann.rest.put_nothing(&pin(chat_id, ids[0])).await.ok(204);
}

async fn a_deleted_message_is_pinned_no_more(d: &Deployment) {
    let ann = d.user().await;
    let chat_id = ann.group_id(&[]).await;
    let message = id(&ann.say(chat_id, "hello").await);
    ann.rest.put_nothing(&pin(chat_id, message)).await.ok(204);
    ann.rest.delete(&format!("/messages/delete/{message}")).await.ok(204);
    assert!(pins(&ann, chat_id).await.is_empty());
    ann.rest.put_nothing(&pin(chat_id, message)).await.problem(404, "message_not_found");
}
