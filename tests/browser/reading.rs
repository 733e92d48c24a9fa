//! Reading: where a chat opens, and what answers what.

use serde_json::json;

use super::{Site, chat_page, open_chat, until_focused};
use crate::support::Deployment;

both_forms!(
    a_chat_opens_at_its_first_unread_message,
    replies_show_what_they_answer,
    ticks_show_what_others_have_read,
    a_page_of_the_history_is_not_read_out,
);

const ENTER: &str = "\u{e007}";
const CONTROL: &str = "\u{e009}";
const UP: &str = "\u{e013}";
const RELEASE: &str = "\u{e000}";

async fn a_chat_opens_at_its_first_unread_message(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let chat = ann.group("Busy", &[&bob]).await["id"].as_i64().unwrap();
    ann.group("Quiet", &[]).await;
    ann.say(chat, "the last that Ann knows").await;
    for n in 0..70 {
        bob.say(chat, &format!("news {n}.")).await;
    }
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    page.until("seventy unread", "document.title === '(70) Messenger'", &[]).await;
    open_chat(&page, "Busy").await;
    page.until_text(".unread-line", "New messages").await;
    let seen = "(() => { const log = document.querySelector('#log').getBoundingClientRect(); return [...document.querySelectorAll('.message')].filter((e) => { const r = e.getBoundingClientRect(); return r.top >= log.top && r.bottom <= log.bottom; }).map((e) => e.querySelector('.text').textContent); })()";
    page.until("the first news in sight", &format!("{seen}.includes('news 0.')"), &[]).await;
    page.picture("unread").await;
    // what was in sight is read, the rest is not
    page.until("some of it read", "/^\\((4|5|6)\\d\\) /.test(document.title)", &[]).await;

    // the place is kept
    page.js("const log = document.querySelector('#log'); log.scrollTop += 600", vec![]).await;
    let before = page.until("a message in the middle", &format!("{seen}[1]"), &[]).await;
    open_chat(&page, "Quiet").await;
    open_chat(&page, "Busy").await;
    page.until("the place again", &format!("{seen}.includes(arguments[0])"), &[before]).await;
    page.until_text("#to-end", " new").await;
    page.click("#to-end").await;
    page.until("all read", "document.title === 'Messenger'", &[]).await;
    page.assert_clean(&site.url).await;
}

async fn replies_show_what_they_answer(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let chat = ann.group("Talk", &[&bob]).await["id"].as_i64().unwrap();
    let question = ann.say(chat, "Who comes?").await;
    // ids are given over all chats: the next message of this one does not follow
    let other = ann.group("Other", &[]).await["id"].as_i64().unwrap();
    ann.say(other, "between").await;
    for n in 0..60 {
        ann.say(chat, &format!("meanwhile {n}")).await;
    }
    let reply = json!({"chat_id": chat, "text": "I do", "reply_to_id": question["id"]});
    bob.rest.post("/messages/send", reply).await.ok(201);
    let site = Site::of(d).await;
    let anns = chat_page(&site, &ann).await;
    let bobs = chat_page(&site, &bob).await;
    open_chat(&anns, "Talk").await;
    anns.until_text(".message .quote", "Who comes?").await;
    anns.picture("reply").await;
    // the original lies beyond the first page
    anns.click(".message .quote").await;
    anns.until(
        "the original in sight",
        "document.activeElement.querySelector('.text')?.textContent === 'Who comes?'",
        &[],
    )
    .await;

    // by keys: the newest message is answered
    open_chat(&bobs, "Talk").await;
    bobs.until_text(".message .text", "I do").await;
    until_focused(&bobs).await;
    bobs.press(&format!("{CONTROL}{UP}{RELEASE}")).await;
    bobs.until_text("#replying", "I do").await;
    bobs.press(&format!("gladly{ENTER}")).await;
    anns.until_text(".message .quote", "I do").await;
    let history = ann.history(chat).await;
    let items = history["items"].as_array().unwrap();
    let (last, before) = (&items[items.len() - 1], &items[items.len() - 2]);
    assert_eq!((&last["text"], &last["reply_to_id"]), (&json!("gladly"), &before["id"]));
    bobs.until("no reply any more", "document.querySelector('#replying').hidden", &[]).await;

    // by the button, and what is deleted is said to be
    bobs.click(".message.last:last-child .text").await;
    bobs.click(".message.last:last-child [aria-label^=Reply]").await;
    bobs.until_text("#replying", "gladly").await;
    bobs.press(&format!("indeed{ENTER}")).await;
    bobs.until_text(".message .quote", "gladly").await;
    // Bob's own page shows the answer before the server has it.
    anns.until_text(".message .quote", "gladly").await;
    bob.rest.delete(&format!("/messages/delete/{}", last["id"])).await.ok(204);
    bobs.until_text(".message .quote", "Deleted message").await;
    anns.until_text(".message .quote", "Deleted message").await;
    anns.assert_clean(&site.url).await;
    bobs.assert_clean(&site.url).await;
}

/// One tick: the server has it. Two: somebody has read it, also after a reload.
async fn ticks_show_what_others_have_read(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let chat = ann.group("Ticks", &[&bob]).await["id"].as_i64().unwrap();
    let site = Site::of(d).await;
    let anns = chat_page(&site, &ann).await;
    let bobs = chat_page(&site, &bob).await;
    open_chat(&anns, "Ticks").await;
    until_focused(&anns).await;
    anns.press(&format!("seen?{ENTER}")).await;
    anns.until_text(".message.mine .tick:not(.read)", "sent").await;
    bobs.until_text(".chat-link .preview", "seen?").await;
    // the message is not built anew for it: a screen reader would read it out again
    anns.js("document.querySelector('.message.mine').marked = true", vec![]).await;
    open_chat(&bobs, "Ticks").await;
    anns.until_text(".message.mine .tick.read", "✓✓").await;
    assert_eq!(anns.js("return document.querySelector('.message.mine').marked", vec![]).await, json!(true));
    anns.reload().await;
    anns.until_text(".message.mine .tick.read", "read").await;
    anns.press(&format!("and this?{ENTER}")).await;
    bobs.until_text(".message .text", "and this?").await;
    // an answer shows that all before it was read
    bob.say(chat, "an answer").await;
    anns.until("both read", "document.querySelectorAll('.tick.read').length === 2", &[]).await;
    anns.assert_clean(&site.url).await;
    bobs.assert_clean(&site.url).await;
}

/// A screen reader is told of what is new, and of old messages only where one reads them.
async fn a_page_of_the_history_is_not_read_out(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let chat = ann.group("Old", &[&bob]).await["id"].as_i64().unwrap();
    for n in 0..70 {
        ann.say(chat, &format!("old {n}.")).await;
    }
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    page.js(
        "window.heard = [];
         const log = document.querySelector('#log');
         const ours = (node) => node.classList?.contains('message');
         new MutationObserver((all) => {
           const nodes = all.flatMap((one) => [...one.addedNodes]).filter(ours);
           if (log.ariaBusy !== 'true') heard.push(...nodes.map((node) => node.querySelector('.text').textContent));
         }).observe(log, { childList: true, subtree: true });",
        vec![],
    )
    .await;
    let calm = "document.querySelector('#log').ariaBusy === 'false'";
    open_chat(&page, "Old").await;
    page.until_text(".message .text", "old 69.").await;
    page.until("nothing to come", calm, &[]).await;
    page.js("document.querySelector('#log').scrollTop = 0", vec![]).await;
    page.until_text(".message .text", "old 0.").await;
    page.until("nothing to come", calm, &[]).await;
    bob.say(chat, "a new one").await;
    page.until_text(".message .text", "a new one").await;
    assert_eq!(page.js("return heard", vec![]).await, json!(["a new one"]));
    page.assert_clean(&site.url).await;
}
