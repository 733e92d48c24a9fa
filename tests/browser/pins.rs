//! Pinned messages, and the jump into a chat's history.

use serde_json::{Value, json};

use super::{Page, Site, chat_page, log_in, open_chat, phone, until_field};
use crate::support::Deployment;

both_forms!(
    an_owner_pins_and_everybody_sees_it,
    a_jump_shows_what_is_around_the_message,
    what_is_written_after_a_jump_is_at_the_end,
);

const ENTER: &str = "\u{e007}";

async fn pin_by_menu(page: &Page, text: &str, action: &str) {
    page.click_text(".message .text", text).await;
    page.click(&format!(".message:focus-within .tools [aria-label^={action}]")).await;
}

async fn an_owner_pins_and_everybody_sees_it(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let chat = ann.group("Hike", &[&bob]).await["id"].as_i64().unwrap();
    for text in ["We meet at nine", "Bring water", "Who has a map?"] {
        bob.say(chat, text).await;
    }
    let site = Site::of(d).await;
    let (anns, bobs) = (chat_page(&site, &ann).await, phone().await);
    log_in(&bobs, &site, &bob).await;
    open_chat(&anns, "Hike").await;
    open_chat(&bobs, "Hike").await;
    pin_by_menu(&anns, "We meet at nine", "Pin").await;
    bobs.until_text("#pinned-words", "We meet at nine").await;
    pin_by_menu(&anns, "Bring water", "Pin").await;
    for page in [&anns, &bobs] {
        page.until_text("#pinned-words", "Bring water").await;
        page.until_text("#pinned-all", "All (2)").await;
    }
    bobs.click_text(".message .text", "Bring water").await;
    let tools = bobs.texts(".message:focus-within .tools [aria-label^=Unpin]").await;
    assert!(tools.is_empty(), "a member does not unpin in a group");
    bobs.click("#pinned-all").await;
    bobs.until("two in the list", "document.querySelectorAll('#pins-list li').length === 2", &[]).await;
    assert!(bobs.texts("#pins-list .icon-button").await.is_empty());
    bobs.assert_accessible("pins on a phone").await;
    bobs.until("nothing to stand out", "document.documentElement.scrollWidth <= innerWidth", &[]).await;

    // the list is live: an edit, a deletion, an unpinning
    let items = bob.history(chat).await["items"].clone();
    let edit = format!("/messages/edit/{}", items[1]["id"]);
    bob.rest.put(&edit, json!({"text": "Bring two litres"})).await.ok(200);
    bobs.until_text("#pins-list", "Bring two litres").await;
    bob.rest.delete(&format!("/messages/delete/{}", items[1]["id"])).await.ok(204);
    bobs.until_no_text("#pins-list", "Bring").await;
    anns.click("#pinned-all").await;
    anns.until_text("#pins-list", "We meet at nine").await;
    anns.assert_accessible("pins").await;
    anns.click("#pins-list .icon-button").await;
    anns.until_text("#pins-none", "Nothing is pinned.").await;
    bobs.until_text("#pins-none", "Nothing is pinned.").await;
    bobs.until("no bar", "document.querySelector('#pinned').hidden", &[]).await;
    anns.assert_clean(&site.url).await;
    bobs.assert_clean(&site.url).await;
}

/// A chat of 330 messages of Bob's, the twentieth pinned; all of it is read.
async fn long_chat(ann: &crate::support::User, bob: &crate::support::User) -> (i64, Value) {
    let chat = ann.group("Long", &[bob]).await["id"].as_i64().unwrap();
    let mut pinned = Value::Null;
    for n in 0..330 {
        let message = bob.say(chat, &format!("message {n}.")).await;
        if n == 20 {
            pinned = message;
        }
    }
    ann.rest.put_nothing(&format!("/chats/{chat}/pins/{}", pinned["id"])).await.ok(204);
    ann.rest.post(&format!("/chats/{chat}/read"), json!({"seq": 330})).await.ok(204);
    (chat, pinned)
}

const SHOWN: &str = "[...document.querySelectorAll('.message .text')].map((e) => e.textContent)";

async fn a_jump_shows_what_is_around_the_message(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let (chat, pinned) = long_chat(&ann, &bob).await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    open_chat(&page, "Long").await;
    page.until_text(".message .text", "message 329.").await;
    let few = page.until("a chat that is read opens with one page", &format!("{SHOWN}.length"), &[]).await;
    assert_eq!(few, json!(50));
    page.keys("#text", "half a word").await;
    page.js("document.querySelector('#pinned-jump').focus()", vec![]).await;
    page.press(ENTER).await;
    let there = "document.activeElement.querySelector('.text')?.textContent === 'message 20.'";
    page.until("the message, with the focus", there, &[]).await;
    page.picture("jump").await;
    // What stands below it is what came after it, not the newest.
    let shown = page.js(&format!("return {SHOWN}"), vec![]).await;
    let wanted: Vec<String> = (0..=70).map(|n| format!("message {n}.")).collect();
    assert_eq!(shown, json!(wanted));
    assert_eq!(ann.chat(chat).await["unread_count"], 0);
    // It is live there too: what is new is counted below, what is here changes.
    bob.say(chat, "the newest").await;
    page.until_text("#to-end", "1 new").await;
    let edit = format!("/messages/edit/{}", pinned["id"]);
    bob.rest.put(&edit, json!({"text": "message 20, edited"})).await.ok(200);
    page.until_text(".message .text", "message 20, edited").await;
    page.until_no_text(".message .text", "the newest").await;
    assert_eq!(ann.chat(chat).await["unread_count"], 1, "nothing new was seen");

    // on down to the end, without a gap
    let end = "(() => { const log = document.querySelector('#log'); log.scrollTop = log.scrollHeight; return document.querySelectorAll('.message').length === 331; })()";
    page.until("all of them", end, &[]).await;
    page.until("all read", "document.querySelector('.chat-link .unread').textContent === ''", &[]).await;
    let shown: Vec<String> = page.texts(".message .text").await;
    assert_eq!((shown[19].as_str(), shown[330].as_str()), ("message 19.", "the newest"));
    until_field(&page, "half a word").await;
    bob.say(chat, "live again").await;
    page.until_text(".message .text", "live again").await;
    page.assert_clean(&site.url).await;
}

async fn what_is_written_after_a_jump_is_at_the_end(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    ann.group("Other", &[]).await;
    let (chat, _) = long_chat(&ann, &bob).await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    open_chat(&page, "Long").await;
    page.until_text(".message .text", "message 329.").await;
    page.click("#pinned-jump").await;
    page.until_no_text(".message .text", "message 329.").await;
    bob.say(chat, "meanwhile").await;
    page.fill("#text", "from the past").await;
    page.keys("#text", ENTER).await;
    page.until_text(".message.mine:not(.sending) .text", "from the past").await;
    let shown = page.texts(".message .text").await;
    assert_eq!(shown[shown.len() - 3..], ["message 329.", "meanwhile", "from the past"]);
    // the button leads back, and so does another chat
    page.click("#pinned-jump").await;
    page.until_no_text(".message .text", "from the past").await;
    page.click("#to-end").await;
    page.until_text(".message .text", "from the past").await;
    page.click("#pinned-jump").await;
    page.until_no_text(".message .text", "from the past").await;
    open_chat(&page, "Other").await;
    open_chat(&page, "Long").await;
    page.until_text(".message .text", "from the past").await;
    page.assert_clean(&site.url).await;
}
