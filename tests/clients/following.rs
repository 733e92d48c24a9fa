//! The chats that each client follows by itself, and those that it does not.

use serde_json::{Value, json};

use super::fake::{Fake, Link};
use super::{Client, Language, each_client_faked};

each_client_faked!(
    a_chat_that_moves_while_the_list_is_read_is_followed,
    a_list_that_is_read_over_a_reconnect_is_read_anew,
    an_unsubscribed_chat_is_not_followed_by_itself,
    an_unsubscribed_chat_is_not_refused,
    a_notice_is_of_a_group_or_of_a_private_chat,
);

const LIST: &str = "get /chats/?limit=100";

/// A client of all chats, before the server has answered for the list.
async fn following(fake: &Fake, language: Language) -> (Client, Link) {
    let mut client = Client::open(language, &fake.url(), None).await;
    client.ok(json!({"do": "adopt", "access_token": "any", "refresh_token": null, "expires_in": 900})).await;
    client.ok(json!({"do": "subscribe_all"})).await;
    client.ok(json!({"do": "listen"})).await;
    let mut link = fake.next().await;
    link.welcome().await;
    (client, link)
}

fn chat(id: i64, is_group: bool, seq: i64) -> Value {
    json!({"id": id, "is_group": is_group, "seq": seq, "role": "member"})
}

fn page(items: &[Value], next_cursor: Option<&str>) -> Value {
    json!({"items": items, "next_cursor": next_cursor})
}

fn message(chat: i64, seq: i64) -> Value {
    json!({"type": "new_message", "chat_id": chat, "seq": seq, "message": {"id": seq, "text": "one"}})
}

async fn a_chat_that_moves_while_the_list_is_read_is_followed(language: Language) {
    let fake = Fake::start().await;
    let (client, mut link) = following(&fake, language).await;
    fake.call(LIST).await.answer(200, page(&[chat(1, true, 5), chat(2, true, 5)], Some("c"))).await;
    // The third, which stood on the second page, becomes active.
    fake.call(&format!("{LIST}&cursor=c")).await.answer(200, page(&[chat(4, true, 5)], None)).await;
    // All of the front have moved, so the next page is read too, and then the front once more.
    let moved = [chat(3, true, 6), chat(2, true, 6)];
    fake.call(LIST).await.answer(200, page(&moved, Some("d"))).await;
    fake.call(&format!("{LIST}&cursor=d")).await.answer(200, page(&[chat(1, true, 5)], Some("e"))).await;
    fake.call(LIST).await.answer(200, page(&[chat(5, true, 7), chat(3, true, 6)], Some("f"))).await;
    let followed = [(1, Some(5)), (2, Some(5)), (3, Some(6)), (4, Some(5)), (5, Some(7))];
    assert_eq!(link.subscriptions(5).await, followed);
    drop(link);
    assert!(client.close().await.success());
}

async fn a_list_that_is_read_over_a_reconnect_is_read_anew(language: Language) {
    let fake = Fake::start().await;
    let (client, mut link) = following(&fake, language).await;
    let early = fake.call(LIST).await;
    link.close(4000).await;
    // Nobody was notified of chats that were entered since the list was asked for.
    let mut link = fake.next().await;
    link.welcome().await;
    client.until_open(2).await;
    early.answer(200, page(&[], None)).await;
    fake.call(LIST).await.answer(200, page(&[chat(7, true, 2)], None)).await;
    assert_eq!(link.subscriptions(1).await, [(7, Some(2))]);
    drop(link);
    assert!(client.close().await.success());
}

async fn an_unsubscribed_chat_is_not_followed_by_itself(language: Language) {
    let fake = Fake::start().await;
    let (mut client, mut link) = following(&fake, language).await;
    fake.call(LIST).await.answer(200, page(&[chat(1, false, 3)], None)).await;
    let (command, id) = link.command("subscribe_chat").await;
    assert_eq!((&command["chat_id"], &command["after_seq"]), (&json!(1), &json!(0)));
    let subscribed = json!({"type": "subscribed", "chat_id": 1, "seq": 3, "recovered": 3, "request_id": id});
    link.say(subscribed).await;
    link.say(message(1, 1)).await;
    client.until_text("one").await;
    client.ok(json!({"do": "unsubscribe", "chat_id": 1})).await;
    // One that is not followed stays so, too.
    client.ok(json!({"do": "unsubscribe", "chat_id": 2})).await;
    link.command("unsubscribe_chat").await;

    // A notice that was under way, and one that you are added again.
    link.say(message(1, 2)).await;
    link.say(json!({"type": "resync", "chat_id": 1, "seq": 3})).await;
    link.say(json!({"type": "chat_added", "chat": chat(1, false, 4)})).await;
    link.say(message(1, 4)).await;
    client.until_event("it was added", |event| event["type"] == "chat_added").await;
    link.close(4000).await;
    let mut link = fake.next().await;
    link.welcome().await;
    let listed = [chat(1, false, 4), chat(2, true, 8), chat(3, true, 9)];
    fake.call(LIST).await.answer(200, page(&listed, None)).await;
    assert_eq!(link.subscriptions(1).await, [(3, Some(9))]);

    client.subscribe(1, Some(4)).await;
    assert_eq!(link.subscriptions(1).await, [(1, Some(4))]);
    assert_eq!(client.sequence(1), [(1, "one".to_owned())]);
    assert!(!client.has_event(|event| event["type"] == "resync"));
    drop(link);
    assert!(client.close().await.success());
}

async fn an_unsubscribed_chat_is_not_refused(language: Language) {
    let fake = Fake::start().await;
    let (mut client, mut link) = following(&fake, language).await;
    fake.call(LIST).await.answer(200, page(&[chat(1, true, 3)], None)).await;
    let (_, id) = link.command("subscribe_chat").await;
    client.ok(json!({"do": "unsubscribe", "chat_id": 1})).await;
    link.say(json!({"type": "error", "code": "not_a_member", "detail": "", "chat_id": 1, "request_id": id})).await;
    link.say(json!({"type": "chat_removed", "chat_id": 1})).await;
    client.until_event("it was removed", |event| event["type"] == "chat_removed").await;
    assert!(!client.has_event(|event| event["type"] == "refused"));
    drop(link);
    assert!(client.close().await.success());
}

async fn a_notice_is_of_a_group_or_of_a_private_chat(language: Language) {
    let fake = Fake::start().await;
    let (client, mut link) = following(&fake, language).await;
    fake.call(LIST).await.answer(200, page(&[], None)).await;
    link.say(message(8, 5)).await;
    link.say(message(8, 6)).await;
    let asked = fake.call("get /chats/8").await;
    link.say(message(9, 7)).await;
    asked.answer(200, chat(8, true, 6)).await;
    assert_eq!(link.subscriptions(1).await, [(8, Some(6))]);
    fake.call("get /chats/9").await.answer(200, chat(9, false, 7)).await;
    assert_eq!(link.subscriptions(1).await, [(9, Some(0))]);
    // A public group is visible to those who are not in it.
    link.say(message(10, 1)).await;
    fake.call("get /chats/10").await.answer(200, json!({"id": 10, "is_group": true, "seq": 1, "role": null})).await;
    link.say(json!({"type": "chat_added", "chat": chat(11, true, 1)})).await;
    assert_eq!(link.subscriptions(1).await, [(11, Some(1))]);
    drop(link);
    assert!(client.close().await.success());
}
