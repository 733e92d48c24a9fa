//! Nothing that was typed is lost: over reloads, in half-done edits, and where the browser keeps
//! nothing.

use serde_json::json;

use super::{Site, chat_page, open_chat, until_field, window_that_keeps_nothing};
use crate::support::Deployment;

both_forms!(
    drafts_and_half_done_edits_are_kept,
    an_edit_of_a_deleted_message_becomes_a_draft,
    a_browser_that_keeps_nothing_is_served_and_told,
    a_full_storage_loses_no_message,
    a_message_that_is_too_long_comes_back,
);

const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";
const ARROW_UP: &str = "\u{e013}";

async fn drafts_and_half_done_edits_are_kept(d: &Deployment) {
    let ann = d.user_named("ann").await;
    let first = ann.group("First", &[]).await["id"].as_i64().unwrap();
    ann.group("Second", &[]).await;
    ann.say(first, "as it was").await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    open_chat(&page, "Second").await;
    page.keys("#text", "half a thought").await;
    open_chat(&page, "First").await;
    page.until_text(".chat-link .preview", "Draft: half a thought").await;
    page.until_text(".message .text", "as it was").await;
    page.keys("#text", ARROW_UP).await;
    until_field(&page, "as it was").await;
    page.keys("#text", ", and as it").await;

    page.reload().await;
    page.until_text("#chat-name", "First").await;
    until_field(&page, "as it was, and as it").await;
    page.until_text("#editing", "Editing a message").await;
    page.until_text(".message.being-edited .text", "as it was").await;
    page.keys("#text", &format!(" is{ENTER}")).await;
    page.until_text(".message:not(.being-edited) .text", "as it was, and as it is").await;
    open_chat(&page, "Second").await;
    until_field(&page, "half a thought").await;
    // a session that ends keeps them, a logout does not
    page.js("sessionStorage.clear()", vec![]).await;
    page.reload().await;
    until_field(&page, "half a thought").await;
    page.click("#logout").await;
    page.until_text("#entrance-title", "Log in").await;
    let kept = page.js("return Object.keys(localStorage).filter((key) => key.includes('draft'))", vec![]).await;
    assert_eq!(kept, json!([]));
    page.assert_clean(&site.url).await;
}

async fn an_edit_of_a_deleted_message_becomes_a_draft(d: &Deployment) {
    let ann = d.user_named("ann").await;
    let chat = ann.group("First", &[]).await["id"].as_i64().unwrap();
    let message = ann.say(chat, "a slip").await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    open_chat(&page, "First").await;
    page.until_text(".message .text", "a slip").await;
    page.keys("#text", &format!("{ARROW_UP} of the pen")).await;
    let path = format!("/messages/delete/{}", message["id"]);
    ann.rest.delete(&path).await.ok(204);
    page.until("no editing", "document.querySelector('#editing').hidden", &[]).await;
    until_field(&page, "a slip of the pen").await;
    page.until_text("#composer [role=alert]", "Your words are kept here.").await;
    page.assert_clean(&site.url).await;
}

async fn a_browser_that_keeps_nothing_is_served_and_told(d: &Deployment) {
    let ann = d.user_named("ann").await;
    ann.group("First", &[]).await;
    let site = Site::of(d).await;
    let page = window_that_keeps_nothing().await;
    page.goto(&format!("{}/", site.url)).await;
    page.fill("#entrance-form [name=username]", &ann.username).await;
    page.fill("#entrance-form [name=password]", &ann.password).await;
    page.click("#entrance-submit").await;
    page.until_connected().await;
    page.until_text("#not-kept", "This browser keeps nothing").await;
    open_chat(&page, "First").await;
    page.keys("#text", &format!("all the same{ENTER}")).await;
    page.until_text(".message.mine:not(.sending, .failed) .text", "all the same").await;
    page.assert_own_host(&site.url).await;
}

async fn a_full_storage_loses_no_message(d: &Deployment) {
    let ann = d.user_named("ann").await;
    let chat = ann.group("First", &[]).await["id"].as_i64().unwrap();
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    open_chat(&page, "First").await;
    page.js(
        "for (let size = 1 << 22; size >= 1; size >>= 1) { try { for (;;) localStorage.setItem('full' + Math.random(), 'x'.repeat(size)); } catch {} }",
        vec![],
    )
    .await;
    page.keys("#text", "not lost").await;
    page.until_text("#not-kept", "This browser keeps nothing").await;
    page.keys("#text", ENTER).await;
    page.until_text(".message.mine:not(.sending, .failed) .text", "not lost").await;
    assert_eq!(ann.history(chat).await["items"][0]["text"], "not lost");
    page.assert_clean(&site.url).await;
}

async fn a_message_that_is_too_long_comes_back(d: &Deployment) {
    let ann = d.user_named("ann").await;
    ann.group("First", &[]).await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    open_chat(&page, "First").await;
    page.js(
        "const field = document.querySelector('#text'); field.value = 'x'.repeat(5000); field.dispatchEvent(new Event('input'))",
        vec![],
    )
    .await;
    page.keys("#text", ENTER).await;
    page.until_text("#composer [role=alert]", "Message: ").await;
    until_field(&page, &"x".repeat(5000)).await;
    page.until("nothing on its way", "!document.querySelector('.message')", &[]).await;
    page.keys("#text", ESCAPE).await;
    page.assert_own_host(&site.url).await;
}
