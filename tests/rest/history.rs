//! The history of a chat, by key, in both directions.

use crate::support::user::id;
use crate::support::{Deployment, User, Value, json};

both_forms!(
    the_newest_page_comes_without_a_key,
    a_cursor_goes_on_to_older_messages,
    a_cursor_goes_on_to_newer_messages,
    before_and_after_are_exclusive_and_exclude_each_other,
    a_message_that_arrives_meanwhile_moves_no_page,
    the_bounds_of_a_page_are_exact,
    subscribing_after_the_historys_number_misses_nothing,
);

async fn chat_of(user: &User, messages: usize) -> (i64, Vec<i64>) {
    let chat_id = user.group_id(&[]).await;
    let mut ids = Vec::new();
    for n in 0..messages {
        ids.push(id(&user.say(chat_id, &n.to_string()).await));
    }
    (chat_id, ids)
}

async fn page(user: &User, chat_id: i64, query: &str) -> (Vec<i64>, Option<String>, Value) {
    let page = user.rest.get(&format!("/messages/chat/{chat_id}?{query}")).await.ok(200);
    let ids = page["items"].as_array().unwrap().iter().map(id).collect();
    (ids, page["next_cursor"].as_str().map(str::to_owned), page)
}

async fn the_newest_page_comes_without_a_key(d: &Deployment) {
    let ann = d.user().await;
    let (chat_id, ids) = chat_of(&ann, 5).await;
    let (all, cursor, page_of_all) = page(&ann, chat_id, "").await;
    assert_eq!((all, cursor), (ids.clone(), None), "oldest first");
    assert_eq!(page_of_all["seq"], ann.chat(chat_id).await["seq"]);
    let (newest, cursor, _) = page(&ann, chat_id, "limit=2").await;
    assert_eq!(newest, ids[3..]);
    assert!(cursor.is_some());
}

async fn a_cursor_goes_on_to_older_messages(d: &Deployment) {
    let ann = d.user().await;
    let (chat_id, ids) = chat_of(&ann, 5).await;
    let (newest, cursor, _) = page(&ann, chat_id, "limit=2").await;
    assert_eq!(newest, ids[3..5]);
    let (older, cursor, _) = page(&ann, chat_id, &format!("limit=2&cursor={}", cursor.unwrap())).await;
    assert_eq!(older, ids[1..3]);
    let (oldest, cursor, _) = page(&ann, chat_id, &format!("limit=2&cursor={}", cursor.unwrap())).await;
    assert_eq!((oldest, cursor), (ids[0..1].to_vec(), None));
}

async fn a_cursor_goes_on_to_newer_messages(d: &Deployment) {
    let ann = d.user().await;
    let (chat_id, ids) = chat_of(&ann, 6).await;
    let (first, cursor, _) = page(&ann, chat_id, &format!("limit=2&after={}", ids[0])).await;
    assert_eq!(first, ids[1..3]);
    let (second, cursor, _) = page(&ann, chat_id, &format!("limit=2&cursor={}", cursor.unwrap())).await;
    assert_eq!(second, ids[3..5]);
    let (last, cursor, _) = page(&ann, chat_id, &format!("limit=2&cursor={}", cursor.unwrap())).await;
    assert_eq!((last, cursor), (ids[5..6].to_vec(), None));
}

async fn before_and_after_are_exclusive_and_exclude_each_other(d: &Deployment) {
    let ann = d.user().await;
    let (chat_id, ids) = chat_of(&ann, 4).await;
    let (before, cursor, _) = page(&ann, chat_id, &format!("before={}", ids[2])).await;
    assert_eq!((before, cursor), (ids[0..2].to_vec(), None));
    let (before, _, _) = page(&ann, chat_id, &format!("limit=1&before={}", ids[2])).await;
    assert_eq!(before, ids[1..2], "those next to it");
    let (after, cursor, _) = page(&ann, chat_id, &format!("after={}", ids[1])).await;
    assert_eq!((after, cursor), (ids[2..4].to_vec(), None));
    let (none, _, _) = page(&ann, chat_id, &format!("after={}", ids[3])).await;
    assert_eq!(none, [] as [i64; 0]);
    let both = format!("/messages/chat/{chat_id}?before={}&after={}", ids[3], ids[0]);
    let fields = ann.rest.get(&both).await.faulty_fields();
    assert!(fields.iter().all(|field| ["before", "after"].contains(&field.as_str())), "{fields:?}");
    let faulty = format!("/messages/chat/{chat_id}?before=x&limit=y");
    assert_eq!(ann.rest.get(&faulty).await.faulty_fields(), ["before", "limit"]);
    // a key that is no message any more still has its place
    ann.rest.delete(&format!("/messages/delete/{}", ids[2])).await.ok(204);
    let (before, _, _) = page(&ann, chat_id, &format!("before={}", ids[2])).await;
    assert_eq!(before, ids[0..2]);
}

async fn a_message_that_arrives_meanwhile_moves_no_page(d: &Deployment) {
    let ann = d.user().await;
    let (chat_id, ids) = chat_of(&ann, 4).await;
    let (_, cursor, _) = page(&ann, chat_id, "limit=2").await;
    ann.say(chat_id, "in between").await;
    let (older, _, _) = page(&ann, chat_id, &format!("limit=2&cursor={}", cursor.unwrap())).await;
    assert_eq!(older, ids[0..2]);
}

async fn the_bounds_of_a_page_are_exact(d: &Deployment) {
    let ann = d.user().await;
    let (chat_id, _) = chat_of(&ann, 1).await;
    let paths = [
        format!("/messages/chat/{chat_id}"),
        "/chats/".to_owned(),
        "/users".to_owned(),
        format!("/chats/{chat_id}/members"),
        "/ws/online-users".to_owned(),
        format!("/ws/chat/{chat_id}/online-users"),
    ];
    for path in paths {
        let q = if path == "/users" { "&q=u" } else { "" };
        for limit in ["0", "101", "-1", "x", "99999999999999999999"] {
            let answer = ann.rest.get(&format!("{path}?limit={limit}{q}")).await;
            assert_eq!(answer.faulty_fields(), ["limit"], "{path} {limit:?}");
        }
        for limit in ["1", "100"] {
            let answer = ann.rest.get(&format!("{path}?limit={limit}{q}")).await.ok(200);
            assert!(answer["items"].is_array(), "{path}: {answer}");
            assert!(answer.get("next_cursor").is_some(), "{path}: {answer}");
        }
        let answer = ann.rest.get(&format!("{path}?cursor=rubbish{q}")).await;
        assert_eq!(answer.faulty_fields(), ["cursor"], "{path}");
    }
}

async fn subscribing_after_the_historys_number_misses_nothing(d: &Deployment) {
    let ann = d.user().await;
    let (chat_id, _) = chat_of(&ann, 2).await;
    let seq = ann.history(chat_id).await["seq"].as_i64().unwrap();
    let late = ann.say(chat_id, "after the page").await;
    let mut ws = ann.connect().await;
    let answer = ws.subscribe_after(chat_id, seq).await;
    assert_eq!(answer["recovered"], 1, "{answer}");
    let event = ws.expect("new_message").await;
    assert_eq!((&event["seq"], &event["message"]["id"]), (&json!(seq + 1), &late["id"]));
}
