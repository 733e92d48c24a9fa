//! The chat page by keys: one types at once, wherever the focus is, and gets everywhere without a
//! mouse.

use serde_json::json;

use super::{Site, chat_page, open_chat, until_field, until_focused};
use crate::support::Deployment;

both_forms!(
    typing_goes_into_the_field,
    chats_are_changed_by_keys,
    a_chat_that_goes_leaves_the_focus_to_the_list,
    who_stops_typing_is_seen_to_stop,
);

const ENTER: &str = "\u{e007}";
const TAB: &str = "\u{e004}";
const SHIFT: &str = "\u{e008}";
const CONTROL: &str = "\u{e009}";
const ALT: &str = "\u{e00a}";
const ESCAPE: &str = "\u{e00c}";
const BACKSPACE: &str = "\u{e003}";
const UP: &str = "\u{e013}";
const DOWN: &str = "\u{e015}";
const RELEASE: &str = "\u{e000}";

async fn typing_goes_into_the_field(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let chat = ann.group("Hike", &[&bob]).await["id"].as_i64().unwrap();
    for n in 0..10 {
        bob.say(chat, &format!("message {n}")).await;
    }
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    page.until("the focus on the first chat", "document.activeElement.matches('.chat-link')", &[]).await;
    open_chat(&page, "Hike").await;
    until_focused(&page).await;
    page.press("at once").await;
    until_field(&page, "at once").await;

    // the messages are one stop of the Tab key, and what is typed there goes into the field
    page.press(&format!("{SHIFT}{TAB}{TAB}{RELEASE}")).await;
    page.until("the focus outside the field", "document.activeElement !== document.querySelector('#text')", &[]).await;
    let stops = "[...document.querySelectorAll('#messages [tabindex=\"0\"]')].every((e) => e.closest('.message') === document.querySelector('.message[tabindex=\"0\"]'))";
    page.until("one message that Tab reaches", stops, &[]).await;
    page.js("document.querySelector('.message[tabindex=\"0\"]').focus()", vec![]).await;
    page.press(UP).await;
    page.until("the message above", "document.activeElement.textContent.includes('message 8')", &[]).await;
    page.press("!").await;
    until_field(&page, "at once!").await;
    until_focused(&page).await;
    page.press(ENTER).await;
    page.until_text(".message.mine:not(.sending) .text", "at once!").await;
    page.assert_clean(&site.url).await;
}

async fn chats_are_changed_by_keys(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    for name in ["First", "Second", "Third"] {
        ann.group(name, &[&bob]).await;
    }
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    // the newest stands first
    page.press(&format!("{DOWN}{ENTER}")).await;
    page.until_text("#chat-name", "Second").await;
    until_focused(&page).await;
    page.press(&format!("{ALT}{DOWN}{RELEASE}")).await;
    page.until_text("#chat-name", "First").await;
    page.press(&format!("{ALT}{UP}{UP}{RELEASE}")).await;
    page.until_text("#chat-name", "Third").await;

    page.press(&format!("{CONTROL}k{RELEASE}")).await;
    page.until_text("#switcher-list", "First").await;
    page.press("sec").await;
    let found = "document.querySelectorAll('#switcher-list [role=option]').length === 2";
    page.until("one chat found, and the way to messages", found, &[]).await;
    page.picture("switcher").await;
    page.press(ENTER).await;
    page.until_text("#chat-name", "Second").await;
    until_focused(&page).await;
    // a person with whom there is no chat yet
    page.press(&format!("{CONTROL}k{RELEASE}")).await;
    page.press(&bob.username).await;
    page.until_text("#switcher-list", "New chat").await;
    page.press(ENTER).await;
    page.until_text("#chat-name", &bob.username).await;
    until_focused(&page).await;
    page.click("#show-details").await;
    page.press(ESCAPE).await;
    page.until("no details", "document.querySelector('#details').hidden", &[]).await;
    page.press(ESCAPE).await;
    until_focused(&page).await;
    page.assert_clean(&site.url).await;
}

/// The element that had the focus is gone with the chat, and the keys must not start from the top.
async fn a_chat_that_goes_leaves_the_focus_to_the_list(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    bob.group("Stays", &[&ann]).await;
    let gone = bob.group("Goes", &[&ann]).await["id"].as_i64().unwrap();
    ann.group("Left", &[]).await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    let on =
        "document.activeElement.matches('.chat-link') && document.activeElement.textContent.includes(arguments[0])";
    open_chat(&page, "Left").await;
    page.click("#show-details").await;
    page.click("#leave").await;
    page.click("#confirm [value=yes]").await;
    page.until("the focus on the first chat", on, &[json!("Goes")]).await;
    page.press(ENTER).await;
    page.until_text("#chat-name", "Goes").await;
    until_focused(&page).await;
    bob.rest.delete(&format!("/chats/{gone}")).await.ok(204);
    page.until("the focus on what is left", on, &[json!("Stays")]).await;
    page.press(ENTER).await;
    page.until_text("#chat-name", "Stays").await;
    page.js("history.back()", vec![]).await;
    page.until("the focus on the chat that was open", on, &[json!("Stays")]).await;
    page.assert_clean(&site.url).await;
}

async fn who_stops_typing_is_seen_to_stop(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    ann.group("Hike", &[&bob]).await;
    let site = Site::of(d).await;
    let anns = chat_page(&site, &ann).await;
    let bobs = chat_page(&site, &bob).await;
    open_chat(&anns, "Hike").await;
    open_chat(&bobs, "Hike").await;
    anns.until_text("#chat-about", "2 online").await;
    until_focused(&bobs).await;
    // the page forgets after six seconds by itself: what takes it away is noted
    anns.js(
        "window.seen = []; const typing = document.querySelector('#typing');
         new MutationObserver(() => seen.push([typing.textContent !== '', performance.now()])).observe(typing, { childList: true, characterData: true, subtree: true })",
        vec![],
    )
    .await;
    bobs.press("x").await;
    anns.until_text("#typing", "is typing").await;
    bobs.press(BACKSPACE).await;
    anns.until_no_text("#typing", "is typing").await;
    let seen = anns.until("begun and ended", "seen.length >= 2 && seen", &[]).await;
    let lasted = seen[1][1].as_f64().unwrap() - seen[0][1].as_f64().unwrap();
    assert!(lasted < 5000.0, "{lasted} ms: {seen}");
    // who sends and goes on typing is seen again
    bobs.press(&format!("hello{ENTER}more")).await;
    anns.until_text(".message .text", "hello").await;
    anns.until_text("#typing", "is typing").await;
    assert_eq!(anns.texts(".message .text").await, ["hello"]);
    anns.until(
        "seen in the list too",
        "document.querySelector('.chat-link .preview').textContent.includes('typing…')",
        &[json!(0)],
    )
    .await;
    anns.assert_clean(&site.url).await;
    bobs.assert_clean(&site.url).await;
}
