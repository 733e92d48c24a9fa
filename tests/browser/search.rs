//! Messages are found by their words, and the page leads to them.

use serde_json::json;

use super::{Site, chat_page, log_in, open_chat, phone, until_field};
use crate::support::Deployment;

both_forms!(a_message_is_found_in_its_chat_and_in_all, what_is_found_is_text_and_pages, typing_asks_for_few_pages,);

const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";
const CONTROL: &str = "\u{e009}";
const RELEASE: &str = "\u{e000}";
const ARROW_DOWN: &str = "\u{e015}";
const ARROW_UP: &str = "\u{e013}";

async fn a_message_is_found_in_its_chat_and_in_all(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let long = ann.group("Long", &[&bob]).await["id"].as_i64().unwrap();
    let other = ann.group("Other", &[&bob]).await["id"].as_i64().unwrap();
    bob.say(long, "where is the Lighthouse, anybody?").await;
    for n in 0..150 {
        bob.say(long, &format!("message {n}.")).await;
    }
    bob.say(other, "a lighthouse elsewhere").await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    open_chat(&page, "Long").await;
    page.until_text(".message .text", "message 149.").await;
    page.keys("#text", "half a word").await;
    page.click("#search-chat-messages").await;
    page.press("light").await;
    page.until_text("#search-list mark", "Lighthouse").await;
    assert_eq!(page.texts("#search-list mark").await.len(), 1, "in this chat only");
    page.assert_accessible("messages found").await;
    page.press(ARROW_DOWN).await;
    page.press(ENTER).await;
    let there = "document.activeElement.querySelector('.text')?.textContent.startsWith('where is')";
    page.until("the message, with the focus", there, &[]).await;
    page.until_text(".message .text", "message 3.").await;
    until_field(&page, "half a word").await;

    // in all chats, by the quick switcher
    page.press(&format!("{CONTROL}k{RELEASE}")).await;
    page.press("lighthouse").await;
    page.until_text("#switcher-list", "Messages with “lighthouse”").await;
    page.press(ARROW_UP).await;
    page.press(ENTER).await;
    page.until("both", "document.querySelectorAll('#search-list mark').length === 2", &[]).await;
    page.until_text("#search-list", "Other").await;
    page.click_text("#search-list button", "elsewhere").await;
    page.until_text("#chat-name", "Other").await;
    page.until_text(".message .text", "a lighthouse elsewhere").await;
    page.click("#search-chat-messages").await;
    page.press("nothing of the kind").await;
    page.until_text("#search-status", "Nothing found.").await;
    page.press(ESCAPE).await;
    page.assert_clean(&site.url).await;
}

async fn what_is_found_is_text_and_pages(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let chat = ann.group("Many", &[&bob]).await["id"].as_i64().unwrap();
    for n in 0..45 {
        bob.say(chat, &format!("\u{1f600} {} <b>Ещё</b> карта {n}.", "слово ".repeat(20))).await;
    }
    let site = Site::of(d).await;
    let page = phone().await;
    log_in(&page, &site, &ann).await;
    open_chat(&page, "Many").await;
    page.click("#search-chat-messages").await;
    page.keys("#search-input", "еще карта").await;
    page.until("a page", "document.querySelectorAll('#search-list li').length === 20", &[]).await;
    // the words are marked, counted in characters, with what is around them
    let first = page.texts("#search-list li:first-child .found-words").await.remove(0);
    assert!(first.starts_with('…') && first.ends_with("<b>Ещё</b> карта 44."), "{first}");
    let marked = page.texts("#search-list li:first-child mark").await.concat();
    assert!(marked.starts_with("Ещё") && marked.ends_with("карта"), "{marked}");
    page.until("nothing to stand out", "document.documentElement.scrollWidth <= innerWidth", &[]).await;
    page.assert_accessible("messages found on a phone").await;
    for wanted in [40, 45] {
        page.click("#search-more").await;
        let all = "document.querySelectorAll('#search-list li').length === arguments[0]";
        page.until("one more page", all, &[json!(wanted)]).await;
    }
    page.until("no more", "document.querySelector('#search-more').hidden", &[]).await;
    let focus = "return document.activeElement.textContent.includes('карта 4.')";
    assert_eq!(page.js(focus, vec![]).await, json!(true), "the first of the new ones");
    page.assert_clean(&site.url).await;
}

/// A page may be empty before the last, and each has its price.
async fn typing_asks_for_few_pages(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let chat = ann.group("Many", &[&bob]).await["id"].as_i64().unwrap();
    for n in 0..105 {
        bob.say(chat, &format!("c {n}.")).await;
    }
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    open_chat(&page, "Many").await;
    page.click("#search-chat-messages").await;
    // Of what is found, the page sees the oldest five alone.
    let hide = "const real = window.fetch; window.searches = 0;
        window.fetch = async (...call) => {
            const answer = await real(...call);
            if (!String(call[0]).includes('/messages/search?')) return answer;
            window.searches += 1;
            const found = await answer.json();
            if (found.next_cursor) found.items = [];
            return new Response(JSON.stringify(found), { headers: { 'content-type': 'application/json' } });
        };";
    page.js(hide, vec![]).await;
    let searches = async || page.js("return window.searches", vec![]).await;
    page.keys("#search-input", "c").await;
    page.until_text("#search-status", "Nothing among the newer messages.").await;
    assert_eq!(searches().await, json!(2), "one more by itself");
    page.assert_accessible("nothing found yet").await;
    page.click("#search-more").await;
    page.until("the oldest", "document.querySelectorAll('#search-list li').length === 5", &[]).await;
    assert_eq!(searches().await, json!(6), "all the others, once asked for");
    page.until("no more", "document.querySelector('#search-more').hidden", &[]).await;
    assert_eq!(page.texts("#search-status").await.concat(), "");
    page.assert_clean(&site.url).await;
}
