//! Search, by the wire form.

use crate::support::user::id;
use crate::support::{Deployment, User, Value, json};

both_forms!(
    a_search_finds_messages_with_their_highlights,
    only_the_callers_chats_of_now_are_searched,
    a_bad_question_is_refused_and_a_hostile_one_harmless,
    what_a_message_bears_is_found_with_it,
);

async fn search(user: &User, query: &[(&str, &str)]) -> Value {
    user.rest.get(&address(query)).await.ok(200)
}

fn address(query: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    format!("/messages/search?{query}")
}

fn texts(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["text"].as_str().unwrap()).collect()
}

async fn a_search_finds_messages_with_their_highlights(d: &Deployment) {
    let ann = d.user().await;
    let chat_id = ann.group_id(&[]).await;
    for text in ["Ёлка и ёж", "the 👩‍💻 big Cafe\u{301} here", "a big café, a big one", "北京市"] {
        ann.say(chat_id, text).await;
    }
    let page = search(&ann, &[("q", "BIG cafe")]).await;
    assert_eq!(texts(&page), ["a big café, a big one", "the 👩‍💻 big Cafe\u{301} here"]);
    assert_eq!(page["items"][0]["highlights"], json!([[2, 5], [6, 10], [14, 17]]));
    assert_eq!(page["items"][1]["highlights"], json!([[8, 11], [12, 17]]));
    assert_eq!(page["next_cursor"], json!(null));
    assert_eq!(search(&ann, &[("q", "елка")]).await["items"][0]["highlights"], json!([[0, 4]]));
    assert_eq!(texts(&search(&ann, &[("q", "\"big one\"")]).await), ["a big café, a big one"]);
    assert_eq!(texts(&search(&ann, &[("q", "京")]).await), ["北京市"]);
    let page = search(&ann, &[("q", "big"), ("limit", "1")]).await;
    assert_eq!(texts(&page), ["a big café, a big one"]);
    let rest = search(&ann, &[("q", "big"), ("limit", "1"), ("cursor", page["next_cursor"].as_str().unwrap())]).await;
    assert_eq!((texts(&rest).len(), &rest["next_cursor"]), (1, &json!(null)));
}

async fn only_the_callers_chats_of_now_are_searched(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let open = ann.group_id(&[&bob]).await;
    let body = json!({"name": "Quiet", "is_public": false, "member_ids": [bob.id]});
    let closed = id(&ann.rest.post("/chats/create", body).await.ok(201));
    let private = ann.private_chat_id(&bob).await;
    for chat_id in [open, closed, private] {
        ann.say(chat_id, &format!("secret {chat_id}")).await;
    }
    assert_eq!(texts(&search(&bob, &[("q", "secret")]).await).len(), 3);
    assert_eq!(texts(&search(&eve, &[("q", "secret")]).await).len(), 0);
    let in_chat = |chat_id: i64| address(&[("q", "secret"), ("chat_id", &chat_id.to_string())]);
    eve.rest.get(&in_chat(open)).await.problem(403, "not_a_member");
    for hidden in [closed, private, i64::MAX] {
        eve.rest.get(&in_chat(hidden)).await.problem(404, "chat_not_found");
    }
    assert_eq!(texts(&bob.rest.get(&in_chat(closed)).await.ok(200)), [format!("secret {closed}")]);
    let of_bob = search(&ann, &[("q", "secret"), ("author_id", &bob.id.to_string())]).await;
    assert_eq!(texts(&of_bob).len(), 0);
    ann.rest.delete(&format!("/chats/{closed}/members/{}", bob.id)).await.ok(204);
    bob.rest.delete(&format!("/chats/{open}/leave")).await.ok(204);
    assert_eq!(texts(&search(&bob, &[("q", "secret")]).await), [format!("secret {private}")]);
    bob.rest.get(&in_chat(closed)).await.problem(404, "chat_not_found");
}

async fn a_bad_question_is_refused_and_a_hostile_one_harmless(d: &Deployment) {
    let ann = d.user().await;
    ann.say(ann.group_id(&[]).await, "plain text").await;
    let long = "x".repeat(257);
    let many = "x ".repeat(33);
    for q in ["", "  ", &long, &many] {
        let problem = ann.rest.get(&address(&[("q", q)])).await.problem(422, "invalid");
        assert_eq!(problem["errors"][0]["field"], "q");
    }
    for (field, value) in [("limit", "0"), ("limit", "101"), ("cursor", "x"), ("chat_id", "x"), ("author_id", "1.5")] {
        let problem = ann.rest.get(&address(&[("q", "x"), (field, value)])).await.problem(422, "invalid");
        assert_eq!(problem["errors"][0]["field"], field);
    }
    ann.rest.get("/messages/search").await.problem(422, "invalid");
    for q in [
        "?!",
        "%",
        "'",
        "\\",
        "\0",
        "\"",
        "\"\"",
        ":*",
        "&|!<->",
        "(",
        "--",
        "a' OR 1=1",
        "pl%",
        "\"plain",
        "plain\" text\"",
    ] {
        search(&ann, &[("q", q)]).await;
    }
    assert_eq!(texts(&search(&ann, &[("q", "pla\0in")]).await).len(), 0);
    assert_eq!(texts(&search(&ann, &[("q", "plain\\ 'text:*")]).await).len(), 1);
}

async fn what_a_message_bears_is_found_with_it(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let message = id(&ann.say(chat_id, "early word").await);
    bob.rest.put_nothing(&format!("/messages/{message}/reactions/👍")).await.ok(204);
    ann.rest.put(&format!("/messages/edit/{message}"), json!({"text": "later word"})).await.ok(200);
    assert_eq!(texts(&search(&bob, &[("q", "early")]).await).len(), 0);
    let mut found = search(&bob, &[("q", "later")]).await["items"][0].take();
    assert_eq!(found["reactions"], json!([{"emoji": "👍", "count": 1, "me": true}]));
    found.as_object_mut().unwrap().remove("highlights");
    assert_eq!(found, bob.rest.get(&format!("/messages/{message}")).await.ok(200));
    ann.rest.delete(&format!("/messages/delete/{message}")).await.ok(204);
    assert_eq!(texts(&search(&bob, &[("q", "word")]).await).len(), 0);
}
