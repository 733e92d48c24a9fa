//! The tabs of one browser are one session: a login, a logout and another login count in all of
//! them.

use serde_json::json;

use super::{Site, chat_page, open_chat, until_field};
use crate::support::Deployment;

both_forms!(
    all_tabs_are_one_session,
    each_tab_has_words_of_its_own,
    the_open_chat_is_subscribed_first,
    a_badge_goes_on_every_device,
);

const ENTER: &str = "\u{e007}";
const ARROW_UP: &str = "\u{e013}";

async fn all_tabs_are_one_session(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    let first = page.open_window("/").await;
    page.until_text("#me", &ann.username).await;
    page.until_connected().await;

    page.click("#logout").await;
    page.until_text("#entrance-title", "Log in").await;
    page.back_to(first.clone()).await;
    page.until_text("#entrance-note", "You are logged out.").await;

    page.fill("#entrance-form [name=username]", &bob.username).await;
    page.fill("#entrance-form [name=password]", &bob.password).await;
    page.click("#entrance-submit").await;
    page.until_text("#me", &bob.username).await;
    page.until_connected().await;
    let kept = page.js("return localStorage.getItem('messenger.session') !== null", vec![]).await;
    assert_eq!(kept, json!(true), "the next visit needs no password");
    let second = page.open_window("/").await;
    page.until_text("#me", &bob.username).await;
    page.back_to(second).await;
    page.assert_clean(&site.url).await;
}

/// A message that one tab edits must not become what is written in another. What is sent in one
/// tab stands in no other any more.
async fn each_tab_has_words_of_its_own(d: &Deployment) {
    let ann = d.user_named("ann").await;
    let chat = ann.group("Hike", &[]).await["id"].as_i64().unwrap();
    ann.say(chat, "as it was").await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    open_chat(&page, "Hike").await;
    page.until_text(".message .text", "as it was").await;
    let first = page.open_window(&format!("/#/chat/{chat}")).await;
    page.until_text(".message .text", "as it was").await;
    let second = page.back_to(first.clone()).await;
    page.keys("#text", ARROW_UP).await;
    page.keys("#text", " once").await;

    page.back_to(second.clone()).await;
    page.keys("#text", &format!("a new one{ENTER}")).await;
    page.until_text(".message.mine:not(.sending):last-child .text", "a new one").await;
    assert_eq!(page.texts(".message .text").await, ["as it was", "a new one"]);
    page.back_to(first.clone()).await;
    until_field(&page, "as it was once").await;
    page.reload().await;
    until_field(&page, "as it was once").await;
    page.keys("#text", ENTER).await;
    page.until_text(".message .text", "as it was once").await;

    page.keys("#text", "in both").await;
    page.back_to(second.clone()).await;
    page.reload().await;
    until_field(&page, "in both").await;
    page.keys("#text", ENTER).await;
    page.until_text(".message.mine:not(.sending) .text", "in both").await;
    page.back_to(first).await;
    until_field(&page, "").await;
    page.keys("#text", "a second thought").await;
    page.back_to(second).await;
    page.keys("#text", &format!("and a third{ENTER}")).await;
    page.until_text(".message.mine:not(.sending) .text", "and a third").await;
    assert_eq!(ann.history(chat).await["items"].as_array().unwrap().len(), 4);
    page.assert_clean(&site.url).await;
}

/// Many chats are subscribed in the order in which they are asked for; the one that is looked at
/// must not wait for the others.
async fn the_open_chat_is_subscribed_first(d: &Deployment) {
    let ann = d.user_named("ann").await;
    let oldest = ann.group("Oldest", &[]).await["id"].as_i64().unwrap();
    for n in 0..20 {
        ann.group(&format!("Newer {n}"), &[]).await;
    }
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    open_chat(&page, "Oldest").await;
    let source = "window.asked = [];
        const send = WebSocket.prototype.send;
        WebSocket.prototype.send = function (text) { asked.push(JSON.parse(text)); return send.call(this, text); };";
    page.devtools("Page.addScriptToEvaluateOnNewDocument", json!({"source": source})).await;
    page.reload().await;
    let asked =
        "asked.flatMap((command) => command.type === 'subscribe_chats' ? command.chats.map((one) => one.chat_id)
        : command.type === 'subscribe_chat' ? [command.chat_id] : [])";
    let first = page.until("the first subscription", &format!("{asked}[0]"), &[]).await;
    assert_eq!(first, json!(oldest));
    page.until("all of them", &format!("new Set({asked}).size === 21"), &[]).await;
    page.assert_clean(&site.url).await;
}

/// A chat read on one device is read on the other, also where the chat's last event is no
/// message.
async fn a_badge_goes_on_every_device(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let chat = ann.group("Devices", &[&bob]).await["id"].as_i64().unwrap();
    let site = Site::of(d).await;
    let one = chat_page(&site, &ann).await;
    let other = chat_page(&site, &ann).await;
    let message = bob.say(chat, "a slip").await;
    let edit = format!("/messages/edit/{}", message["id"]);
    bob.rest.put(&edit, json!({"text": "mended"})).await.ok(200);
    one.until_text(".chat-link .preview", "mended").await;
    other.until_text(".chat-link .preview", "mended").await;
    other
        .until(
            "one unread",
            "document.title === '(1) Messenger' && document.querySelector('link[rel=icon]').href.startsWith('data:')",
            &[],
        )
        .await;
    open_chat(&one, "Devices").await;
    one.until("nothing unread", "document.title === 'Messenger'", &[]).await;
    other
        .until(
            "nothing unread there",
            "document.title === 'Messenger' && document.querySelector('link[rel=icon]').href.endsWith('.svg')",
            &[],
        )
        .await;
    one.assert_clean(&site.url).await;
    other.assert_clean(&site.url).await;
}
