//! The behaviour of each client while nothing breaks.

use serde_json::json;

use super::{Client, Language, each_client};
use crate::support::{Deployment, SOON, Site, process};

each_client!(
    events_come_once_and_in_order,
    a_message_is_sent_once,
    a_message_is_found_by_its_words,
    a_restart_goes_on_from_the_store,
    all_chats_are_followed,
    an_unsubscribed_chat_is_forgotten,
    a_cursor_of_another_history_is_a_resync,
    a_chat_that_may_not_be_followed_is_refused,
    a_session_that_ends_ends_the_loop,
    a_logout_ends_the_session_at_the_server,
    a_bad_token_is_not_tried_again,
    calls_at_once_get_their_turns_and_all_end,
    an_address_that_is_none_is_refused_at_once,
    each_close_code_has_the_contracts_plan,
);

async fn events_come_once_and_in_order(d: &Deployment, language: Language) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat = ann.group_id(&[&bob]).await;
    for n in 0..20 {
        ann.say(chat, &format!("before {n}")).await;
    }
    let site = Site::of(d).await;
    let mut client = Client::of(language, &site.url, &bob, None).await;
    client.subscribe(chat, Some(0)).await;
    for n in 0..20 {
        ann.say(chat, &format!("after {n}")).await;
    }
    client.until_text("after 19").await;
    client.assert_whole(chat, 0);
    let texts: Vec<_> =
        client.sequence(chat).into_iter().map(|(_, text)| text).filter(|text| !text.is_empty()).collect();
    let sent = (0..20).map(|n| format!("before {n}")).chain((0..20).map(|n| format!("after {n}")));
    assert_eq!(texts, sent.collect::<Vec<_>>());
    assert!(client.close().await.success());
}

async fn a_message_is_sent_once(d: &Deployment, language: Language) {
    let bob = d.user().await;
    let chat = bob.group_id(&[]).await;
    let site = Site::of(d).await;
    let mut client = Client::of(language, &site.url, &bob, None).await;
    let send = |text| json!({"do": "send", "chat_id": chat, "text": text, "client_message_id": "mine"});
    let first = client.ok(send("once")).await;
    assert_eq!(first["text"], "once");
    assert_eq!(client.ok(send("once")).await["id"], first["id"]);
    assert_eq!(client.call(send("other")).await["error"], "client_message_id_reused");
    assert_eq!(bob.history(chat).await["items"].as_array().unwrap().len(), 1);
    // Many at once keep their order.
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(client.send(chat, &n.to_string()).await);
    }
    for (n, id) in ids.into_iter().enumerate() {
        assert_eq!(client.answer(id, SOON).await["ok"]["text"], n.to_string());
    }
    let texts = bob.history(chat).await["items"].as_array().unwrap()[1..].to_vec();
    let texts: Vec<_> = texts.iter().map(|message| message["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(texts, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(client.close().await.success());
}

async fn a_message_is_found_by_its_words(d: &Deployment, language: Language) {
    let bob = d.user().await;
    let chat = bob.group_id(&[]).await;
    bob.say(chat, "Ещё & ещё 100%").await;
    bob.say(chat, "🎉 ещё раз").await;
    let site = Site::of(d).await;
    let mut client = Client::of(language, &site.url, &bob, None).await;
    let search = |q, cursor| json!({"do": "search", "q": q, "chat_id": chat, "cursor": cursor});
    let page = client.ok(search("еще", json!(null))).await;
    assert_eq!((&page["items"][0]["text"], &page["items"][0]["highlights"]), (&json!("🎉 ещё раз"), &json!([[2, 5]])));
    let page = client.ok(search("еще", page["next_cursor"].clone())).await;
    assert_eq!((&page["items"][0]["text"], &page["next_cursor"]), (&json!("Ещё & ещё 100%"), &json!(null)));
    assert_eq!(client.ok(search("& 100%", json!(null))).await["items"].as_array().unwrap().len(), 1);
    assert_eq!(client.call(search(" ", json!(null))).await["error"], "invalid");
    assert!(client.close().await.success());
}

async fn a_restart_goes_on_from_the_store(d: &Deployment, language: Language) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat = ann.group_id(&[&bob]).await;
    let site = Site::of(d).await;
    let dir = process::new_dir("cursors");
    let store = dir.join("cursors.json");
    let mut client = Client::of(language, &site.url, &bob, Some(&store)).await;
    client.subscribe(chat, Some(0)).await;
    ann.say(chat, "one").await;
    client.until_text("one").await;
    let last = client.sequence(chat).last().unwrap().0;
    assert!(client.close().await.success());

    ann.say(chat, "two").await;
    let mut client = Client::of(language, &site.url, &bob, Some(&store)).await;
    client.subscribe(chat, None).await;
    client.until_text("two").await;
    client.assert_whole(chat, last);
    ann.say(chat, "three").await;
    client.until_text("three").await;
    let last = client.sequence(chat).last().unwrap().0;
    client.kill_9().await;

    // The process died: an event whose handling had not ended comes again, and none is lost.
    ann.say(chat, "four").await;
    let mut client = Client::of(language, &site.url, &bob, Some(&store)).await;
    client.subscribe(chat, None).await;
    client.until_text("four").await;
    let first = client.sequence(chat)[0].0;
    assert!(first == last || first == last + 1, "{first} after {last}");
    client.assert_whole(chat, first - 1);
    assert!(client.close().await.success());
    process::remove_dir(&dir);
}

async fn all_chats_are_followed(d: &Deployment, language: Language) {
    let (ann, bob) = (d.user().await, d.user().await);
    let mut chats = Vec::new();
    for _ in 0..30 {
        chats.push(ann.group_id(&[&bob]).await);
    }
    let site = Site::of(d).await;
    let mut client = Client::of(language, &site.url, &bob, None).await;
    client.ok(json!({"do": "subscribe_all"})).await;
    client.until_open(1).await;
    let late = ann.group_id(&[&bob]).await;
    ann.say(late, "into a new group").await;
    let private = ann.private_chat_id(&bob).await;
    ann.say(private, "into a new private chat").await;
    ann.say(private, "and again").await;
    client.until_text("into a new group").await;
    client.until_text("and again").await;
    client.assert_whole(private, 0);
    for chat in &chats {
        ann.say(*chat, &format!("into {chat}")).await;
    }
    for chat in &chats {
        client.until_text(&format!("into {chat}")).await;
        let sequence = client.sequence(*chat);
        client.assert_whole(*chat, sequence[0].0 - 1);
    }
    assert!(client.close().await.success());
}

async fn an_unsubscribed_chat_is_forgotten(d: &Deployment, language: Language) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat = ann.group_id(&[&bob]).await;
    let site = Site::of(d).await;
    let mut client = Client::of(language, &site.url, &bob, None).await;
    client.subscribe(chat, Some(0)).await;
    ann.say(chat, "one").await;
    client.until_text("one").await;
    let known = client.sequence(chat).len();
    client.ok(json!({"do": "unsubscribe", "chat_id": chat})).await;
    // Two commands of one connection are answered in their order.
    let other = ann.group_id(&[&bob]).await;
    ann.say(other, "in the other chat").await;
    client.subscribe(other, Some(0)).await;
    client.until_text("in the other chat").await;
    ann.say(chat, "two").await;
    ann.say(other, "elsewhere").await;
    client.until_text("elsewhere").await;
    assert_eq!(client.sequence(chat).len(), known);
    client.subscribe(chat, Some(0)).await;
    client.until_text("two").await;
    assert!(client.close().await.success());
}

async fn a_cursor_of_another_history_is_a_resync(d: &Deployment, language: Language) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat = ann.group_id(&[&bob]).await;
    let site = Site::of(d).await;
    let mut client = Client::of(language, &site.url, &bob, None).await;
    client.subscribe(chat, Some(1000)).await;
    let resync = client.until_event("a resync", |event| event["type"] == "resync").await;
    assert_eq!(resync["chat_id"], chat);
    ann.say(chat, "after it").await;
    client.until_text("after it").await;
    client.assert_whole(chat, resync["seq"].as_i64().unwrap());
    assert!(client.close().await.success());
}

async fn a_chat_that_may_not_be_followed_is_refused(d: &Deployment, language: Language) {
    let (ann, bob) = (d.user().await, d.user().await);
    let (others, own) = (ann.group_id(&[]).await, bob.group_id(&[]).await);
    let site = Site::of(d).await;
    let mut client = Client::of(language, &site.url, &bob, None).await;
    client.subscribe(others, None).await;
    client.subscribe(own, Some(0)).await;
    let refused = client.until_event("a refusal", |event| event["type"] == "refused").await;
    assert_eq!((&refused["chat_id"], &refused["code"]), (&json!(others), &json!("not_a_member")));
    bob.say(own, "all else goes on").await;
    client.until_text("all else goes on").await;
    assert!(client.close().await.success());
}

async fn a_session_that_ends_ends_the_loop(d: &Deployment, language: Language) {
    let mut bob = d.user().await;
    let site = Site::of(d).await;
    let client = Client::of(language, &site.url, &bob, None).await;
    client.until_open(1).await;
    let body = json!({"current_password": bob.password, "password": "another good password"});
    bob.rest.patch("/auth/me", body).await.ok(200);
    "another good password".clone_into(&mut bob.password);
    let ended = client.until("the end", |line| line.get("ended").is_some()).await;
    assert_eq!(ended["ended"], 4502);
    assert_eq!(client.states("connecting").len(), 1);
    assert!(client.close().await.success());

    let client = Client::of(language, &site.url, &bob, None).await;
    client.until_open(1).await;
    bob.rest.delete("/auth/me").await.ok(204);
    let ended = client.until("the end", |line| line.get("ended").is_some()).await;
    assert_eq!(ended["ended"], 4503);
    assert!(client.close().await.success());
}

async fn a_logout_ends_the_session_at_the_server(d: &Deployment, language: Language) {
    let bob = d.user().await;
    let sessions = || async { bob.rest.get("/auth/sessions").await.ok(200)["items"].as_array().unwrap().len() };
    let site = Site::of(d).await;
    let mut client = Client::of(language, &site.url, &bob, None).await;
    client.until_open(1).await;
    assert_eq!(sessions().await, 2);
    client.ok(json!({"do": "logout"})).await;
    assert_eq!(sessions().await, 1);
    client.until("the end", |line| line["ended"].is_i64()).await;
    assert!(client.close().await.success());
}

async fn a_bad_token_is_not_tried_again(d: &Deployment, language: Language) {
    let site = Site::of(d).await;
    let mut client = Client::open(language, &site.url, None).await;
    client.ok(json!({"do": "adopt", "access_token": "bad", "refresh_token": null, "expires_in": 900})).await;
    client.ok(json!({"do": "listen"})).await;
    let ended = client.until("the end", |line| line.get("ended").is_some()).await;
    assert_eq!(ended["ended"], 4501);
    assert_eq!(client.states("connecting").len(), 1);
    assert!(client.close().await.success());
}

async fn calls_at_once_get_their_turns_and_all_end(d: &Deployment, language: Language) {
    let bob = d.user().await;
    let chat = bob.group_id(&[]).await;
    for text in ["one", "two", "three"] {
        bob.say(chat, text).await;
    }
    let site = Site::of(d).await;
    let mut client = Client::open(language, &site.url, None).await;
    client.ok(json!({"do": "login", "username": bob.username, "password": bob.password})).await;
    client.subscribe(chat, Some(0)).await;
    let taken = client.ok(json!({"do": "take", "count": 3})).await;
    let texts: Vec<_> = taken.as_array().unwrap().iter().map(|event| &event["message"]["text"]).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    let waiting = client.begin(json!({"do": "take", "count": 2})).await;
    client.ok(json!({"do": "close"})).await;
    assert_eq!(client.answer(waiting, SOON).await["ok"], json!([null, null]));
    assert!(client.ended().await.success());
}

/// Without its scheme a server would count as away, and each message would be tried for minutes.
async fn an_address_that_is_none_is_refused_at_once(_: &Deployment, language: Language) {
    for url in ["localhost:8000", "chat.example.org", "ws://127.0.0.1:8000", ""] {
        let mut client = Client::start(language).await;
        let open =
            json!({"do": "open", "url": url, "store": null, "heartbeat_seconds": 1, "longest_backoff_seconds": 1});
        let refused = client.call(open).await;
        assert!(refused["error"].as_str().is_some_and(|error| error.contains("http://")), "{url}: {refused}");
    }
}

async fn each_close_code_has_the_contracts_plan(d: &Deployment, language: Language) {
    let site = Site::of(d).await;
    let mut client = Client::open(language, &site.url, None).await;
    for (plan, codes) in [
        ("reconnect", &[1001, 1006, 1011, 1012, 4000, 4408, 4409, 4429, 4499][..]),
        ("refresh", &[4401]),
        ("stop", &[1000, 1003, 1007, 1009, 4500, 4501, 4502, 4503, 4504, 4999]),
    ] {
        for code in codes {
            let planned = client.ok(json!({"do": "plan", "code": code, "reason": ""})).await;
            assert_eq!(planned, json!([plan, null]), "{code}");
        }
    }
    for (reason, delay) in [
        ("{\"reconnect_after_ms\": 1500}", Some(1500.0)),
        ("not JSON", None),
        ("null", None),
        ("{\"reconnect_after_ms\": -1}", None),
        ("{\"reconnect_after_ms\": 1e12}", Some(300_000.0)),
    ] {
        let planned = client.ok(json!({"do": "plan", "code": 1012, "reason": reason})).await;
        assert_eq!(planned[1].as_f64(), delay, "{reason}");
    }
    // Random over the whole range, which doubles up to half a minute.
    for (attempt, random, wait) in [(0, 0.0, 0.0), (0, 0.5, 250.0), (3, 0.5, 2000.0), (50, 0.5, 15_000.0)] {
        let waits = client.ok(json!({"do": "backoff", "attempt": attempt, "random": random})).await;
        assert_eq!(waits.as_f64(), Some(wait), "{attempt}");
    }
    assert!(client.close().await.success());
}
