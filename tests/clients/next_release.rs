//! The behaviour of each client at a server that knows more, or less, than today's.

use serde_json::{Value, json};

use super::fake::{Fake, Link};
use super::{Client, Language, each_client_faked};
use crate::support::until;

each_client_faked!(
    many_chats_and_their_epochs,
    a_server_that_takes_one_chat_at_a_time,
    a_number_of_a_lost_history_fills_no_gap,
);

/// A client that follows three chats before the server has welcomed it.
async fn following(language: Language, fake: &Fake) -> (Client, Link) {
    let mut client = Client::open(language, &fake.url(), None).await;
    client.ok(json!({"do": "adopt", "access_token": "any", "refresh_token": null, "expires_in": 900})).await;
    client.ok(json!({"do": "listen"})).await;
    let mut link = fake.next().await;
    for chat in [1, 2, 3] {
        client.subscribe(chat, Some(0)).await;
    }
    link.welcome().await;
    (client, link)
}

fn deleted(chat: i64, seq: i64) -> Value {
    json!({"type": "message_deleted", "chat_id": chat, "seq": seq, "message_id": seq})
}

async fn many_chats_and_their_epochs(language: Language) {
    let fake = Fake::start().await;
    let (client, mut link) = following(language, &fake).await;
    let (command, id) = link.command("subscribe_chats").await;
    let asked = json!([{"chat_id": 1, "after_seq": 0}, {"chat_id": 2, "after_seq": 0}, {"chat_id": 3, "after_seq": 0}]);
    assert_eq!(command["chats"], asked);
    link.say(json!({"type": "subscribed", "chat_id": 1, "seq": 2, "epoch": "e1", "recovered": 2, "request_id": id}))
        .await;
    link.say(deleted(1, 1)).await;
    link.say(deleted(1, 2)).await;
    let busy = json!({"type": "error", "code": "rate_limited", "detail": "", "chat_id": 2, "retry_after_ms": 10, "request_id": id});
    link.say(busy).await;
    link.say(json!({"type": "error", "code": "not_a_member", "detail": "", "chat_id": 3, "request_id": id})).await;
    // The one that was refused for a while is asked for again, by itself.
    let (again, id) = link.command("subscribe_chat").await;
    assert_eq!((&again["chat_id"], &again["after_seq"]), (&json!(2), &json!(0)));
    link.say(json!({"type": "subscribed", "chat_id": 2, "seq": 0, "epoch": "e1", "recovered": 0, "request_id": id}))
        .await;
    let refused = client.until_event("a refusal", |event| event["type"] == "refused").await;
    assert_eq!(refused["chat_id"], 3);
    client.until_event("the second event", |event| event["seq"] == 2).await;
    link.close(4000).await;

    let mut link = fake.next().await;
    link.welcome().await;
    let (command, id) = link.command("subscribe_chats").await;
    let asked = json!([
        {"chat_id": 1, "after_seq": 2, "epoch": "e1"},
        {"chat_id": 2, "after_seq": 0, "epoch": "e1"},
    ]);
    assert_eq!(command["chats"], asked);
    for (chat, more) in [(1, json!({"epoch": "e2", "seq": 1, "resync": true})), (2, json!({"epoch": "e1", "seq": 0}))] {
        let mut frame = json!({"type": "subscribed", "chat_id": chat, "recovered": 0, "request_id": id});
        frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        link.say(frame).await;
    }
    link.say(deleted(1, 2)).await;
    let resync = client.until_event("a resync", |event| event["type"] == "resync").await;
    assert_eq!((&resync["chat_id"], &resync["seq"]), (&json!(1), &json!(1)));
    until("the new history", || async { client.sequence(1).len() == 3 }).await;
    link.close(4000).await;

    let mut link = fake.next().await;
    link.welcome().await;
    let (command, _) = link.command("subscribe_chats").await;
    assert_eq!(command["chats"][0], json!({"chat_id": 1, "after_seq": 2, "epoch": "e2"}));
    drop(link);
    assert!(client.close().await.success());
}

async fn a_server_that_takes_one_chat_at_a_time(language: Language) {
    let fake = Fake::start().await;
    let (client, mut link) = following(language, &fake).await;
    let (_, id) = link.command("subscribe_chats").await;
    link.say(json!({"type": "error", "code": "unknown_type", "detail": "", "request_id": id})).await;
    for chat in [1, 2, 3] {
        let (command, id) = link.command("subscribe_chat").await;
        assert_eq!(command["chat_id"], chat);
        link.say(json!({"type": "subscribed", "chat_id": chat, "seq": 0, "recovered": 0, "request_id": id})).await;
    }
    // A number that stands for an event of a newer release is no gap; a real gap is asked for.
    link.say(json!({"type": "of_a_newer_release", "chat_id": 1, "seq": 1})).await;
    link.say(json!({"type": "unknown", "chat_id": 1, "seq": 2})).await;
    link.say(deleted(1, 3)).await;
    link.say(deleted(1, 3)).await;
    link.say(deleted(1, 5)).await;
    link.command("unsubscribe_chat").await;
    let (command, id) = link.command("subscribe_chat").await;
    assert_eq!((&command["chat_id"], &command["after_seq"]), (&json!(1), &json!(3)));
    link.say(json!({"type": "subscribed", "chat_id": 1, "seq": 5, "recovered": 2, "request_id": id})).await;
    link.say(deleted(1, 4)).await;
    link.say(deleted(1, 5)).await;
    client.until_event("the last", |event| event["seq"] == 5).await;
    let numbers: Vec<_> = client.sequence(1).into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(numbers, [3, 4, 5]);
    drop(link);
    assert!(client.close().await.success());
}

async fn a_number_of_a_lost_history_fills_no_gap(language: Language) {
    let fake = Fake::start().await;
    let (client, mut link) = following(language, &fake).await;
    let (_, id) = link.command("subscribe_chats").await;
    link.say(json!({"type": "subscribed", "chat_id": 1, "seq": 0, "recovered": 0, "request_id": id})).await;
    link.say(deleted(1, 1)).await;
    link.say(json!({"type": "of_a_newer_release", "chat_id": 1, "seq": 2})).await;
    // The history went back, and its second event was never received.
    link.say(json!({"type": "resync", "chat_id": 1, "seq": 1})).await;
    link.say(deleted(1, 3)).await;
    link.command("unsubscribe_chat").await;
    let (command, _) = link.command("subscribe_chat").await;
    assert_eq!((&command["chat_id"], &command["after_seq"]), (&json!(1), &json!(1)));
    drop(link);
    assert!(client.close().await.success());
}
