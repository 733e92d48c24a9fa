//! Mentions: completed while one types, marked in the text, counted in the list.

use serde_json::json;

use super::{Site, chat_page, open_chat, until_field};
use crate::support::Deployment;

both_forms!(
    a_member_is_mentioned_by_a_few_letters,
    mentions_are_counted_until_they_are_read,
    a_mention_is_marked_as_the_server_reads_it,
);

const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";
const TAB: &str = "\u{e004}";
const ARROW_UP: &str = "\u{e013}";

async fn a_member_is_mentioned_by_a_few_letters(d: &Deployment) {
    let (ann, bob, boris) = (d.user_named("ann").await, d.user_named("bob").await, d.user_named("boris").await);
    boris.rest.patch("/auth/me", json!({"display_name": "Борис Иванов"})).await.ok(200);
    let chat = ann.group("Hike", &[&bob, &boris]).await["id"].as_i64().unwrap();
    boris.say(chat, "hello").await;
    let site = Site::of(d).await;
    let (page, bobs) = (chat_page(&site, &ann).await, chat_page(&site, &bob).await);
    bobs.until_text(".chat-link", "Hike").await;
    open_chat(&page, "Hike").await;
    page.until_text(".message .author", "Борис Иванов").await;
    page.keys("#text", "mail me@b").await;
    page.until("no list within a word", "document.querySelector('#mention-list').hidden", &[]).await;
    page.keys("#text", " @b").await;
    let offered = "[...document.querySelectorAll('#mention-list .who')].map((e) => e.textContent)";
    let both = json!(["Борис Иванов", bob.username]);
    page.until("both", &format!("JSON.stringify({offered}) === JSON.stringify(arguments[0])"), &[both]).await;
    page.picture("mention-list").await;
    // the list goes, the words stay, and it comes for the next name only
    page.press(ESCAPE).await;
    page.press("o").await;
    let hidden = "document.querySelector('#mention-list').hidden";
    page.until("no list", hidden, &[]).await;
    until_field(&page, "mail me@b @bo").await;
    page.press(" @ива").await;
    page.until_text("#mention-list", "Борис").await;
    page.press(TAB).await;
    until_field(&page, &format!("mail me@b @bo @{} ", boris.username)).await;
    page.press("@b").await;
    page.until_text("#mention-list", &bob.username).await;
    page.press(ARROW_UP).await;
    let selected = "document.querySelector('#mention-list [aria-selected=true]').id === document.querySelector('#text').getAttribute('aria-activedescendant')";
    page.until("the last one", selected, &[]).await;
    page.press(ENTER).await;
    until_field(&page, &format!("mail me@b @bo @{} @{} ", boris.username, bob.username)).await;
    page.press(ENTER).await;
    page.until_text(".message.mine .mention", &format!("@{}", bob.username)).await;
    bobs.until_text(".chat-link .at", "@").await;
    page.assert_clean(&site.url).await;
    bobs.assert_clean(&site.url).await;
}

async fn mentions_are_counted_until_they_are_read(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let chat = ann.group("Hike", &[&bob]).await["id"].as_i64().unwrap();
    let other = ann.group("Other", &[&bob]).await["id"].as_i64().unwrap();
    ann.say(other, &format!("@{} before", bob.username)).await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &bob).await;
    let marked = "[...document.querySelectorAll('.chat-link')].filter((e) => e.checkVisibility() && !e.querySelector('.at').hidden).map((e) => e.querySelector('.name').textContent + ': ' + e.lastChild.textContent)";
    let wait = async |wanted: serde_json::Value| {
        let what = format!("{wanted} in the list");
        page.until(&what, &format!("JSON.stringify({marked}) === JSON.stringify(arguments[0])"), &[wanted]).await;
    };
    wait(json!(["Other: unread, 1 mention of you"])).await;
    let message = ann.say(chat, "no mention").await;
    page.until_text(".chat-link .preview", "no mention").await;
    wait(json!(["Other: unread, 1 mention of you"])).await;
    ann.say(chat, &format!("a mention of @{}.", bob.username.to_uppercase())).await;
    wait(json!(["Hike: unread, 1 mention of you", "Other: unread, 1 mention of you"])).await;
    // an edit mentions too, and takes it back
    let edit = format!("/messages/edit/{}", message["id"]);
    ann.rest.put(&edit, json!({"text": format!("now @{}", bob.username)})).await.ok(200);
    wait(json!(["Hike: unread, 2 mentions of you", "Other: unread, 1 mention of you"])).await;
    ann.rest.put(&edit, json!({"text": "now nobody"})).await.ok(200);
    wait(json!(["Hike: unread, 1 mention of you", "Other: unread, 1 mention of you"])).await;
    page.picture("mentions-in-the-list").await;
    open_chat(&page, "Hike").await;
    wait(json!(["Other: unread, 1 mention of you"])).await;
    page.until_text(".message.to-me mark.mention", &bob.username.to_uppercase()).await;
    page.picture("mentions").await;
    // read on another device
    bob.rest.post(&format!("/chats/{other}/read"), json!({"seq": 1})).await.ok(204);
    wait(json!([])).await;
    page.assert_clean(&site.url).await;
}

async fn a_mention_is_marked_as_the_server_reads_it(d: &Deployment) {
    let (ann, bob, eve) = (d.user_named("ann").await, d.user_named("bob").await, d.user_named("eve").await);
    let chat = ann.group("Hike", &[&bob]).await["id"].as_i64().unwrap();
    let (a, b, e) = (&ann.username, &bob.username, &eve.username);
    let text = format!("(@{b}) @{a}... @{e} x@{b} https://example.org/@{b} @{b}@{a} <b>@{b}</b>");
    let sent = ann.say(chat, &text).await;
    assert_eq!(sent["mentions"], json!([ann.id, bob.id]));
    // whom it mentions has left, and never wrote
    ann.rest.delete(&format!("/chats/{chat}/members/{}", bob.id)).await.ok(204);
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    open_chat(&page, "Hike").await;
    page.until_text(".message .text", "@").await;
    let wanted = json!([format!("@{b}"), format!("@{a}"), format!("@{b}"), format!("@{b}")]);
    let marked = "JSON.stringify([...document.querySelectorAll('.text .mention')].map((e) => e.textContent)) === JSON.stringify(arguments[0])";
    page.until("these and no others", marked, &[wanted]).await;
    assert_eq!(page.texts(".message .text").await, [text]);
    assert_eq!(page.texts(".text mark.mention").await, [format!("@{a}")]);
    page.assert_clean(&site.url).await;
}
