//! Subscribing: the answer, replay after a number, and what is no longer or not yet there.

use std::time::Duration;

use crate::support::deployment::Builder;
use crate::support::user::id;
use crate::support::{Deployment, Value, Ws, json};

both_forms!(
    subscribing_is_answered_and_live_events_follow,
    only_members_subscribe,
    subscribing_again_is_answered_and_replays_nothing,
    after_unsubscribing_no_event_comes,
    what_was_missed_is_replayed_in_order_on_any_gateway,
    a_replayed_message_bears_its_text_of_now,
    a_number_beyond_the_head_means_fetching_anew,
    at_the_head_nothing_is_replayed,
    those_online_are_told,
    every_subscriber_sees_each_number_once,
    several_chats_are_answered_in_order_as_if_each_were_asked_alone,
    a_list_of_chats_that_cannot_be_read_is_refused_whole,
);

both_forms_alone!(what_is_no_longer_kept_means_fetching_anew);

/// Reads `count` sequenced events of the chat, which must be numbered from `from` without a gap.
pub async fn numbered(ws: &mut Ws, chat_id: i64, from: i64, count: i64) -> Vec<Value> {
    let mut events = Vec::new();
    for seq in from..from + count {
        let sequenced =
            |frame: &Value| frame["chat_id"] == chat_id && frame["seq"].is_i64() && frame["request_id"].is_null();
        let event = ws.expect_where(&format!("event {seq} of chat {chat_id}"), crate::support::SOON, sequenced).await;
        assert_eq!(event["seq"], seq, "{event}");
        events.push(event);
    }
    events
}

async fn subscribing_is_answered_and_live_events_follow(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    ann.say(chat_id, "before").await;
    let head = ann.chat(chat_id).await["seq"].as_i64().unwrap();
    let mut ws = bob.connect().await;
    let subscribed = ws.subscribe(chat_id).await;
    assert_eq!((&subscribed["chat_id"], &subscribed["seq"]), (&json!(chat_id), &json!(head)));
    assert_eq!(subscribed["recovered"], 0);
    assert!(subscribed["online_user_ids"].as_array().unwrap().contains(&json!(bob.id)), "{subscribed}");
    assert!(!subscribed["resync"].as_bool().unwrap_or(false), "{subscribed}");

    let sent = ann.say(chat_id, "live").await;
    let event = ws.expect("new_message").await;
    assert_eq!((&event["chat_id"], &event["seq"]), (&json!(chat_id), &json!(head + 1)));
    assert_eq!(event["message"], sent, "the same Message as over REST");
}

async fn only_members_subscribe(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let group = ann.group_id(&[]).await;
    let private = ann.private_chat_id(&bob).await;
    let mut ws = eve.connect().await;
    let subscribe = |chat_id: Value| json!({"type": "subscribe_chat", "chat_id": chat_id});
    ws.refused(subscribe(json!(group)), "not_a_member").await;
    ws.refused(subscribe(json!(private)), "chat_not_found").await;
    ws.refused(subscribe(json!(999_999_999)), "chat_not_found").await;
    ws.refused(subscribe(json!("x")), "invalid").await;
    ws.refused(subscribe(Value::Null), "invalid").await;
    let command = json!({"type": "subscribe_chat", "chat_id": group, "after_seq": -1});
    ws.refused(command, "invalid").await;
    eve.join(group).await;
    ws.subscribe(group).await;
    ann.say(group, "welcome").await;
    ws.expect("new_message").await;
}

async fn subscribing_again_is_answered_and_replays_nothing(d: &Deployment) {
    let ann = d.user().await;
    let chat_id = ann.group_id(&[]).await;
    let mut ws = ann.connect().await;
    ws.subscribe(chat_id).await;
    let sent = ann.say(chat_id, "one").await;
    ws.expect("new_message").await;
    let again = ws.subscribe_after(chat_id, 0).await;
    assert_eq!(again["chat_id"], chat_id);
    assert_eq!(again["recovered"], 0, "{again}");
    ws.none_of(&["new_message"]).await;
    // and it is one subscription still
    ann.say(chat_id, "two").await;
    let event = ws.expect("new_message").await;
    assert_eq!(event["seq"], sent["seq"].as_i64().unwrap() + 1);
    ann.say(chat_id, "three").await;
    assert_eq!(ws.expect("new_message").await["seq"], sent["seq"].as_i64().unwrap() + 2);
}

async fn after_unsubscribing_no_event_comes(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let (chat_id, other) = (ann.group_id(&[&bob]).await, ann.group_id(&[]).await);
    let mut ws = ann.connect_to(0).await;
    ws.subscribe(chat_id).await;
    ws.subscribe(other).await;
    let answer = ws.command(json!({"type": "unsubscribe_chat", "chat_id": chat_id})).await;
    assert_eq!((&answer["type"], &answer["chat_id"]), (&json!("unsubscribed"), &json!(chat_id)));
    // The node follows the chat still, for others.
    let mut others = bob.connect_to(0).await;
    others.subscribe(chat_id).await;
    let unheard = bob.say(chat_id, "unheard").await;
    ann.rest.post(&format!("/chats/{chat_id}/read"), json!({"seq": unheard["seq"]})).await.ok(204);
    others.expect("message_read").await;
    ann.say(other, "heard").await;
    let event = ws.expect("new_message").await;
    assert_eq!(event["chat_id"], other);
    ws.none_of(&["new_message", "message_read"]).await;
    let again = ws.command(json!({"type": "unsubscribe_chat", "chat_id": chat_id})).await;
    assert!(["unsubscribed", "error"].contains(&again["type"].as_str().unwrap()), "{again}");
    // coming back with the last number seen brings what was missed
    let head = ann.chat(chat_id).await["seq"].as_i64().unwrap();
    assert_eq!(ws.subscribe_after(chat_id, head - 1).await["recovered"], 1);
    assert_eq!(ws.expect("new_message").await["message"]["text"], "unheard");
}

async fn what_was_missed_is_replayed_in_order_on_any_gateway(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let mut ws = bob.connect_to(0).await;
    let seen = ws.subscribe(chat_id).await["seq"].as_i64().unwrap();
    ws.close().await;
    for n in 0..120 {
        ann.say(chat_id, &n.to_string()).await;
    }
    for gateway in 0..2 {
        let mut ws = bob.connect_to(gateway).await;
        let subscribed = ws.subscribe_after(chat_id, seen).await;
        assert_eq!((&subscribed["recovered"], &subscribed["seq"]), (&json!(120), &json!(seen + 120)));
        let events = numbered(&mut ws, chat_id, seen + 1, 120).await;
        for (n, event) in events.iter().enumerate() {
            assert_eq!(event["type"], "new_message");
            assert_eq!(event["message"]["text"], n.to_string());
        }
        ws.none_of(&["new_message", "resync"]).await;
        ws.close().await;
    }
    let mut ws = bob.connect_to(1).await;
    assert_eq!(ws.subscribe_after(chat_id, seen + 118).await["recovered"], 2);
    ann.say(chat_id, "live").await;
    let events = numbered(&mut ws, chat_id, seen + 119, 3).await;
    assert_eq!(events[2]["message"]["text"], "live");
}

async fn a_replayed_message_bears_its_text_of_now(d: &Deployment) {
    let ann = d.user().await;
    let chat_id = ann.group_id(&[]).await;
    let head = ann.chat(chat_id).await["seq"].as_i64().unwrap();
    let (kept, gone) = (ann.say(chat_id, "frist").await, ann.say(chat_id, "a secret").await);
    let path = format!("/messages/edit/{}", id(&kept));
    ann.rest.put(&path, json!({"text": "first"})).await.ok(200);
    ann.rest.delete(&format!("/messages/delete/{}", id(&gone))).await.ok(204);

    let mut ws = ann.connect().await;
    assert_eq!(ws.subscribe_after(chat_id, head).await["recovered"], 4);
    let events = numbered(&mut ws, chat_id, head + 1, 4).await;
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["new_message", "new_message", "message_edited", "message_deleted"]);
    assert_eq!(events[0]["message"]["text"], "first");
    assert_eq!(events[1]["message"]["is_deleted"], true);
    assert_eq!(events[1]["message"]["text"], "", "what was deleted is told to nobody again");
    assert_eq!(events[2]["message"]["text"], "first");
    assert_eq!(events[3]["message_id"], gone["id"]);
}

async fn a_number_beyond_the_head_means_fetching_anew(d: &Deployment) {
    let ann = d.user().await;
    let chat_id = ann.group_id(&[]).await;
    let head = ann.say(chat_id, "one").await["seq"].as_i64().unwrap();
    let mut ws = ann.connect().await;
    let subscribed = ws.subscribe_after(chat_id, head + 1).await;
    assert_eq!((&subscribed["resync"], &subscribed["seq"]), (&json!(true), &json!(head)));
    ws.none_of(&["new_message"]).await;
    ann.say(chat_id, "two").await;
    assert_eq!(ws.expect("new_message").await["seq"], head + 1, "live ones from there on");
}

async fn at_the_head_nothing_is_replayed(d: &Deployment) {
    let ann = d.user().await;
    let chat_id = ann.group_id(&[]).await;
    let head = ann.say(chat_id, "one").await["seq"].as_i64().unwrap();
    let mut ws = ann.connect().await;
    let subscribed = ws.subscribe_after(chat_id, head).await;
    assert_eq!((&subscribed["recovered"], &subscribed["seq"]), (&json!(0), &json!(head)));
    assert!(!subscribed["resync"].as_bool().unwrap_or(false), "{subscribed}");
    ws.none_of(&["new_message", "resync"]).await;
}

async fn those_online_are_told(d: &Deployment) {
    let (ann, bob, eve) = (d.user().await, d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob, &eve]).await;
    let _bob = bob.connect_to(0).await;
    let mut ws = ann.connect_to(1).await;
    let subscribed = ws.subscribe(chat_id).await;
    let mut online: Vec<i64> =
        subscribed["online_user_ids"].as_array().unwrap().iter().map(|user| user.as_i64().unwrap()).collect();
    online.sort_unstable();
    assert_eq!(online, [ann.id, bob.id], "eve is away");
}

async fn every_subscriber_sees_each_number_once(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let head = ann.chat(chat_id).await["seq"].as_i64().unwrap();
    let mut sockets = Vec::new();
    for n in 0..4 {
        let mut ws = [&ann, &bob][n % 2].connect_to(n / 2).await;
        ws.subscribe(chat_id).await;
        sockets.push(ws);
    }
    let users = [&ann, &bob];
    let sends = (0..40).map(|n| users[n % 2].say(chat_id, "x"));
    futures_util::future::join_all(sends).await;
    for ws in &mut sockets {
        numbered(ws, chat_id, head + 1, 40).await;
        ws.none_of(&["new_message"]).await;
    }
}

async fn what_is_no_longer_kept_means_fetching_anew(builder: Builder) {
    // kept for less than a second; what is older goes when a program starts, and now and then
    let d = builder.env("EVENT_RETENTION_DAYS", "0.00001").start().await;
    let ann = d.user().await;
    let chat_id = ann.group_id(&[]).await;
    let first = ann.say(chat_id, "one").await["seq"].as_i64().unwrap();
    let head = ann.say(chat_id, "two").await["seq"].as_i64().unwrap();
    let limit = Duration::from_mins(1);
    let mut ws = crate::support::eventually("a resync", limit, async || {
        d.api(0).restart().await;
        let mut ws = ann.connect_to(0).await;
        let subscribed = ws.subscribe_after(chat_id, first - 1).await;
        assert_eq!(subscribed["seq"], head);
        (subscribed["resync"] == true).then_some(ws)
    })
    .await;
    ws.none_of(&["new_message"]).await;
    ann.say(chat_id, "three").await;
    assert_eq!(ws.expect("new_message").await["seq"], head + 1);
    let history = ann.history(chat_id).await;
    assert_eq!(history["items"].as_array().unwrap().len(), 3, "messages are kept");
}

async fn several_chats_are_answered_in_order_as_if_each_were_asked_alone(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let (mut chats, closed) = (Vec::new(), bob.group_id(&[]).await);
    for n in 0..40 {
        let chat_id = ann.group_id(&[&bob]).await;
        if n % 2 == 0 {
            ann.say(chat_id, "missed").await;
        }
        chats.push(chat_id);
    }
    let mut ws = ann.connect().await;
    let live = ws.subscribe(chats[3]).await;
    let asked: Vec<Value> = chats.iter().map(|chat_id| json!({"chat_id": chat_id, "after_seq": 0})).collect();
    let asked = [&asked[..20], &[json!({"chat_id": closed}), json!({"chat_id": chats[3]})], &asked[20..]].concat();
    ws.send(json!({"type": "subscribe_chats", "chats": asked, "request_id": "all"})).await;
    for (n, one) in asked.iter().enumerate() {
        let answers = |frame: &Value| frame["request_id"] == "all";
        let answer = ws.expect_where(&format!("answer {n}"), crate::support::SOON, answers).await;
        assert_eq!(answer["chat_id"], one["chat_id"], "the {n}th of {asked:?}");
        if one["chat_id"] == closed {
            assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("not_a_member")));
        } else if one["chat_id"] == chats[3] {
            assert_eq!((&answer["seq"], &answer["recovered"]), (&live["seq"], &json!(0)), "a second time");
        } else {
            assert_eq!((&answer["type"], &answer["recovered"]), (&json!("subscribed"), &answer["seq"]));
        }
    }
    for chat_id in chats.iter().step_by(2) {
        assert_eq!(ws.expect_in("new_message", *chat_id).await["message"]["text"], "missed");
    }
    ann.say(chats[1], "live").await;
    assert_eq!(ws.expect_in("new_message", chats[1]).await["message"]["text"], "live");
}

async fn a_list_of_chats_that_cannot_be_read_is_refused_whole(d: &Deployment) {
    let ann = d.user().await;
    let chat_id = ann.group_id(&[]).await;
    let mut ws = ann.connect().await;
    let many = vec![json!({"chat_id": chat_id}); 101];
    for chats in [
        json!([]),
        json!(many),
        json!([chat_id]),
        json!("x"),
        json!([{"chat_id": chat_id}, {}]),
        json!([{"chat_id": chat_id}, {"chat_id": "x"}]),
    ] {
        ws.refused(json!({"type": "subscribe_chats", "chats": chats}), "invalid").await;
    }
    // Which of two chats is meant?
    let twice =
        format!(r#"{{"type":"subscribe_chats","request_id":"two","chats":[{{"chat_id":1,"chat_id":{chat_id}}}]}}"#);
    ws.send_text(&twice).await;
    let refused = ws.expect_where("an answer", crate::support::SOON, |frame| frame["request_id"] == "two").await;
    assert_eq!((&refused["code"], &refused["errors"][0]["field"]), (&json!("invalid"), &json!("chat_id")), "{refused}");
    ws.refused(json!({"type": "typing", "chat_id": chat_id}), "not_subscribed").await;
    // One that names its chat is answered by itself, and the others as ever.
    let faulty = [json!({"chat_id": 7, "after_seq": -1}), json!({"chat_id": 8, "epoch": 1})];
    let chats = json!([faulty[0], {"chat_id": chat_id}, faulty[1]]).to_string();
    let chats = chats.replace(']', r#",{"chat_id":9,"after_seq":0,"after_seq":5}]"#);
    ws.send_text(&format!(r#"{{"type":"subscribe_chats","chats":{chats},"request_id":"some"}}"#)).await;
    let mut answers = Vec::new();
    for n in 0..4 {
        let frame =
            ws.expect_where(&format!("answer {n}"), crate::support::SOON, |frame| frame["request_id"] == "some").await;
        answers.push((frame["type"].clone(), frame["code"].clone(), frame["chat_id"].clone()));
    }
    let [error, invalid] = [json!("error"), json!("invalid")];
    let subscribed = (json!("subscribed"), Value::Null, json!(chat_id));
    let refused = |chat: i64| (error.clone(), invalid.clone(), json!(chat));
    assert_eq!(answers, [refused(7), subscribed, refused(8), refused(9)]);
}
