//! G4: a send retried under its `client_message_id`, anywhere and at the same instant, makes one
//! message.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Method;

use crate::support::user::id;
use crate::support::{Answer, Deployment, Rest, Value, Ws, json, limited};

/// Messages, each sent eight times at once.
const MESSAGES: usize = 30;

/// Sends over REST, beginning at the nth api, until it is answered; the status and the message.
async fn send(rest: &Rest, n: usize, body: &Value) -> (u16, Value) {
    for api in n..n + 100 {
        let request = rest.on(api).request(Method::POST, "/messages/send").json(body);
        match Answer::try_of(request).await {
            Ok(answer) if matches!(answer.status, 200 | 201) => return (answer.status, answer.json),
            Ok(answer) => panic!("{} answered {}: {}", answer.request, answer.status, answer.body),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    panic!("nobody answers")
}

/// Sends over a socket; the message.
async fn send_ws(ws: &mut Ws, body: &Value) -> Value {
    let mut command = body.clone();
    command["type"] = json!("send_message");
    let mut answer = ws.command(command).await;
    assert_eq!(answer["type"], "message_sent", "{answer}");
    answer["message"].take()
}

/// The events of this type that came, up to the `count`th.
async fn events(ws: &mut Ws, chat_id: i64, count: usize) -> Vec<Value> {
    let mut events = Vec::new();
    while events.len() < count {
        events.push(ws.expect_in("new_message", chat_id).await);
    }
    ws.none_of(&["new_message", "resync"]).await;
    events
}

#[tokio::test]
async fn tries_through_all_nodes_at_once_are_one_message() {
    limited(async {
        let d = Deployment::cluster(2, 2).start().await;
        let (ann, bob) = (d.user().await, d.user().await);
        let chat_id = ann.group_id(&[&bob]).await;
        let (mut reader, mut one, mut other) =
            (bob.connect_to(1).await, ann.connect_to(0).await, ann.connect_to(1).await);
        reader.subscribe(chat_id).await;
        let mut made = Vec::new();
        for n in 0..MESSAGES {
            let body =
                json!({"chat_id": chat_id, "text": format!("text {n}"), "client_message_id": format!("key {n}")});
            let (rest, body) = (&ann.rest, &body);
            let kill = async {
                if n == MESSAGES / 2 {
                    // in the middle of the tries
                    tokio::task::yield_now().await;
                    d.api(0).kill_9();
                }
            };
            let (a, b, c, e, f, g, ws_a, ws_b, ()) = tokio::join!(
                send(rest, 0, body),
                send(rest, 1, body),
                send(rest, 0, body),
                send(rest, 1, body),
                send(rest, 0, body),
                send(rest, 1, body),
                send_ws(&mut one, body),
                send_ws(&mut other, body),
                kill,
            );
            let over_rest = [a, b, c, e, f, g];
            let created = over_rest.iter().filter(|(status, _)| *status == 201).count();
            assert!(created <= 1, "{over_rest:?}");
            let ids: BTreeSet<i64> =
                over_rest.iter().map(|(_, message)| id(message)).chain([id(&ws_a), id(&ws_b)]).collect();
            assert_eq!(ids.len(), 1, "one message, one id everywhere: {ids:?}");
            made.extend(ids);
        }

        let told: Vec<i64> =
            events(&mut reader, chat_id, MESSAGES).await.iter().map(|event| id(&event["message"])).collect();
        assert_eq!(told, made, "one event each");
        let stored = all_ids(&ann.rest.on(1), chat_id).await;
        assert_eq!(stored, made, "one in history each");
        // much later, with another text
        let body = json!({"chat_id": chat_id, "text": "another", "client_message_id": "key 0"});
        ann.rest.on(1).post("/messages/send", body.clone()).await.problem(409, "client_message_id_reused");
        let mut command = body;
        command["type"] = json!("send_message");
        one.refused(command, "client_message_id_reused").await;
        println!(
            "{MESSAGES} messages, each sent 8 times at once, an api killed meanwhile: stored {}, told {}",
            stored.len(),
            told.len()
        );
    })
    .await;
}

async fn all_ids(rest: &Rest, chat_id: i64) -> Vec<i64> {
    rest.get(&format!("/messages/chat/{chat_id}")).await.ok(200)["items"].as_array().unwrap().iter().map(id).collect()
}

/// The first words between two users, said on both gateways at once: one chat, one message.
#[tokio::test]
async fn a_private_message_sent_twice_at_once_makes_one_chat_and_one_message() {
    limited(async {
        let d = crate::support::shared::cluster().await;
        for n in 0..10 {
            let (ann, bob) = (d.user().await, d.user().await);
            let mut reader = bob.connect_to(n).await;
            let (mut one, mut other) = (ann.connect_to(0).await, ann.connect_to(1).await);
            let command = json!({"type": "private_message", "recipient_id": bob.id, "text": "hello", "client_message_id": "first"});
            let (a, b) = tokio::join!(one.command(command.clone()), other.command(command));
            assert_eq!((&a["type"], &b["type"]), (&json!("message_sent"), &json!("message_sent")), "{a} {b}");
            assert_eq!(a["message"], b["message"]);
            let chat_id = a["message"]["chat_id"].as_i64().unwrap();
            assert_eq!(events(&mut reader, chat_id, 1).await[0]["message"], a["message"]);
            assert_eq!(all_ids(&ann.rest, chat_id).await.len(), 1);
        }
    })
    .await;
}
