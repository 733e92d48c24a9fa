//! The list of one's chats: its order, its pages, the last message and what is unread.

use super::chats::assert_chat;
use crate::support::user::id;
use crate::support::{Deployment, User, Value, json};

both_forms!(
    the_list_is_the_callers_last_active_first,
    the_list_is_paged_by_cursor,
    the_list_shows_the_last_message_and_what_is_unread,
    what_is_read_never_moves_back_nor_beyond_the_head,
);

/// The caller's entry for this chat in the list of chats.
async fn listed(user: &User, chat_id: i64) -> Value {
    let list = user.rest.get("/chats/").await.ok(200);
    let chats = list["items"].as_array().unwrap();
    chats.iter().find(|chat| id(chat) == chat_id).cloned().expect("the chat in the list")
}

async fn the_list_is_the_callers_last_active_first(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let (one, two) = (ann.group_id(&[&bob]).await, ann.group_id(&[&bob]).await);
    let three = ann.private_chat_id(&bob).await;
    bob.group_id(&[]).await;
    let ids = async || {
        let list = ann.rest.get("/chats/").await.ok(200);
        list["items"].as_array().unwrap().iter().map(id).collect::<Vec<_>>()
    };
    assert_eq!(ids().await, [three, two, one]);
    bob.say(one, "hello").await;
    assert_eq!(ids().await, [one, three, two]);
    ann.say(two, "hello").await;
    assert_eq!(ids().await, [two, one, three]);
}

async fn the_list_is_paged_by_cursor(d: &Deployment) {
    let ann = d.user().await;
    let mut chats = Vec::new();
    for _ in 0..5 {
        chats.push(ann.group_id(&[]).await);
    }
    chats.reverse();
    let mut found = Vec::new();
    let mut path = "/chats/?limit=2".to_owned();
    for expected in [2, 2, 1] {
        let page = ann.rest.get(&path).await.ok(200);
        let items = page["items"].as_array().unwrap();
        assert_eq!(items.len(), expected, "{page}");
        found.extend(items.iter().map(id));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/chats/?limit=2&cursor={cursor}"),
            None => assert_eq!(found.len(), 5, "{page}"),
        }
    }
    assert_eq!(found, chats);
    assert_eq!(ann.rest.get("/chats/?cursor=%00rubbish").await.faulty_fields(), ["cursor"]);
}

async fn the_list_shows_the_last_message_and_what_is_unread(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let before = listed(&bob, chat_id).await;
    assert_chat(&before);
    assert_eq!((&before["last_message"], &before["unread_count"]), (&Value::Null, &json!(0)));

    let mut sent = Vec::new();
    for text in ["one", "two", "three"] {
        sent.push(ann.say(chat_id, text).await);
    }
    let seen = listed(&bob, chat_id).await;
    assert_eq!(seen["last_message"]["text"], "three");
    assert_eq!(seen["last_message"]["author_username"], ann.username.as_str());
    assert_eq!((&seen["unread_count"], &seen["role"]), (&json!(3), &json!("member")));
    assert_eq!(listed(&ann, chat_id).await["unread_count"], 0, "one's own are read");

    ann.rest.delete(&format!("/messages/delete/{}", id(&sent[2]))).await.ok(204);
    let seen = listed(&bob, chat_id).await;
    assert_eq!(seen["unread_count"], 2, "a deleted one is not unread");
    assert_eq!(seen["last_message"]["text"], "two");

    let read = json!({"seq": sent[0]["seq"]});
    bob.rest.post(&format!("/chats/{chat_id}/read"), read).await.ok(204);
    assert_eq!(listed(&bob, chat_id).await["unread_count"], 1);
    bob.say(chat_id, "I read all").await;
    assert_eq!(listed(&bob, chat_id).await["unread_count"], 0, "sending reads up to there");
    assert_eq!(listed(&ann, chat_id).await["unread_count"], 1);
}

async fn what_is_read_never_moves_back_nor_beyond_the_head(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let one = ann.say(chat_id, "one").await;
    let two = ann.say(chat_id, "two").await;
    let read = async |seq: &Value| bob.rest.post(&format!("/chats/{chat_id}/read"), json!({"seq": seq})).await;
    read(&json!(1_000_000_000)).await.ok(204);
    assert_eq!(listed(&bob, chat_id).await["unread_count"], 0);
    read(&one["seq"]).await.ok(204);
    assert_eq!(listed(&bob, chat_id).await["unread_count"], 0, "never back");
    ann.say(chat_id, "three").await;
    assert_eq!(listed(&bob, chat_id).await["unread_count"], 1, "nor beyond the head of then");
    read(&two["seq"]).await.ok(204);
    assert_eq!(listed(&bob, chat_id).await["unread_count"], 1);
    assert_eq!(read(&json!("x")).await.faulty_fields(), ["seq"]);
    assert_eq!(read(&json!(-1)).await.faulty_fields(), ["seq"]);
}
