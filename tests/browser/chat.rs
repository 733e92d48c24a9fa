//! The chat page: two people in two browsers, and what each sees of the other.

use serde_json::json;

use super::{Page, Site, chat_page, open_chat, phone, window};
use crate::support::user::{PASSWORD, fresh_name};
use crate::support::{Deployment, User};

both_forms!(
    a_newcomer_registers_and_is_told_what_does_not_fit,
    two_people_talk_in_a_group,
    a_private_chat_counts_what_is_unread,
    a_group_is_joined_by_its_number_and_left,
    old_messages_come_when_scrolled_to,
    it_fits_a_phone_and_the_keyboard,
    the_end_of_a_session_is_told,
);

const ENTER: &str = "\u{e007}";
const ARROW_UP: &str = "\u{e013}";

/// Writes into the open chat and waits until the message is there, sent.
async fn write(page: &Page, text: &str) {
    page.fill("#text", text).await;
    page.keys("#text", ENTER).await;
    page.until_text(".message.mine:not(.sending, .failed) .text", text).await;
}

/// Ann's group with Bob, made by its dialog.
async fn make_group(page: &Page, name: &str, other: &User) {
    page.click("#new-chat").await;
    page.click("#tab-group").await;
    page.fill("#pane-group [name=name]", name).await;
    page.fill("#group-search", &other.username).await;
    page.click_text("#group-results button", &other.username).await;
    page.click("#pane-group button.primary").await;
    page.until_text("#chat-name", name).await;
}

async fn a_newcomer_registers_and_is_told_what_does_not_fit(d: &Deployment) {
    let taken = d.user().await;
    let site = Site::of(d).await;
    let page = window().await;
    page.goto(&format!("{}/", site.url)).await;
    page.click("#entrance-switch").await;
    let name = fresh_name("newcomer");
    page.fill("#entrance-form [name=email]", &format!("{name}@example.org")).await;
    page.fill("#entrance-form [name=username]", &taken.username).await;
    page.fill("#entrance-form [name=password]", PASSWORD).await;
    page.click("#entrance-submit").await;
    page.until("a fault", "document.querySelector('#entrance-form [role=alert]').textContent", &[]).await;
    page.fill("#entrance-form [name=username]", "a b").await;
    page.fill("#entrance-form [name=password]", "short").await;
    page.click("#entrance-submit").await;
    page.until_text("#entrance-form [role=alert]", "Username: ").await;
    page.until_text("#entrance-form [role=alert]", "Password: ").await;
    page.fill("#entrance-form [name=username]", &name).await;
    page.fill("#entrance-form [name=password]", PASSWORD).await;
    page.click("#entrance-submit").await;
    page.until_text("#me", &name).await;
    page.until_text("#no-chats", "No chats yet").await;
    page.click("#logout").await;
    page.until_text("#entrance-title", "Log in").await;
    page.fill("#entrance-form [name=username]", &name).await;
    page.fill("#entrance-form [name=password]", "not the password").await;
    page.click("#entrance-submit").await;
    page.until("a fault", "document.querySelector('#entrance-form [role=alert]').textContent", &[]).await;
    page.assert_own_host(&site.url).await;
}

async fn two_people_talk_in_a_group(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let site = Site::of(d).await;
    let anns = chat_page(&site, &ann).await;
    let bobs = chat_page(&site, &bob).await;
    make_group(&anns, "Hike", &bob).await;
    // it comes to Bob by itself
    open_chat(&bobs, "Hike").await;
    anns.until_text("#chat-about", "2 members, 2 online").await;
    bobs.until_text("#chat-about", "2 members, 2 online").await;

    write(&anns, "Good morning <b>Bob</b> & all").await;
    bobs.until_text(".message .text", "Good morning <b>Bob</b> & all").await;
    bobs.keys("#text", "Go").await;
    anns.until_text("#typing", &format!("{} is typing", bob.username)).await;
    write(&bobs, "Good day").await;
    anns.until_text(".message .text", "Good day").await;
    anns.until_no_text("#typing", "is typing").await;

    // by the arrow key, in place
    anns.keys("#text", ARROW_UP).await;
    anns.until_text("#editing", "Editing a message").await;
    write(&anns, "Good evening").await;
    bobs.until_text(".message .text", "Good evening").await;
    bobs.until_text(".message .stamp", "edited").await;
    anns.picture("chat-edited").await;

    write(&anns, "A slip").await;
    bobs.until_text(".message .text", "A slip").await;
    anns.click(".message.mine:last-child .bubble").await;
    anns.click(".message.mine:last-child .tools [aria-label^=Delete]").await;
    anns.until_text("#confirm", "Delete this message").await;
    anns.click("#confirm [value=yes]").await;
    bobs.until_no_text(".message .text", "A slip").await;
    anns.until_no_text(".message .text", "A slip").await;

    // a reload keeps who one is and where
    bobs.reload().await;
    bobs.until_connected().await;
    bobs.until_text("#chat-name", "Hike").await;
    bobs.until_text(".message .text", "Good evening").await;
    bobs.until_no_text(".message .text", "A slip").await;
    write(&bobs, "Back again").await;
    anns.until_text(".message .text", "Back again").await;

    // who goes is seen to go
    bobs.click("#logout").await;
    bobs.until_text("#entrance-title", "Log in").await;
    anns.until_text("#chat-about", "2 members, 1 online").await;

    // each once, as the server has it
    let chat = ann.rest.get("/chats/").await.ok(200)["items"][0]["id"].as_i64().unwrap();
    let history = ann.history(chat).await;
    let sent: Vec<&str> =
        history["items"].as_array().unwrap().iter().map(|message| message["text"].as_str().unwrap()).collect();
    assert_eq!(sent, ["Good evening", "Good day", "Back again"]);
    assert_eq!(anns.texts(".message .text").await, sent);
    anns.assert_clean(&site.url).await;
    bobs.assert_clean(&site.url).await;
}

async fn a_private_chat_counts_what_is_unread(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let site = Site::of(d).await;
    let anns = chat_page(&site, &ann).await;
    anns.click("#new-chat").await;
    anns.fill("#person-search", &bob.username).await;
    anns.click_text("#person-results button", &bob.username).await;
    anns.until_text("#chat-name", &bob.username).await;
    anns.until_text("#chat-about", "offline").await;
    write(&anns, "one").await;
    write(&anns, "two").await;

    let bobs = chat_page(&site, &bob).await;
    anns.until_text("#chat-about", "online").await;
    bobs.until_text(".chat-link .unread", "2").await;
    bobs.until_text(".chat-link .preview", "two").await;
    write(&anns, "three").await;
    bobs.until_text(".chat-link .unread", "3").await;
    bobs.until("the title", "document.title.startsWith('(3)')", &[]).await;
    open_chat(&bobs, &ann.username).await;
    bobs.until_text(".message .text", "three").await;
    bobs.until("nothing unread", "document.title === 'Messenger'", &[]).await;
    bobs.until(
        "the server to know",
        "performance.getEntriesByType('resource').some((e) => e.name.endsWith('/read'))",
        &[],
    )
    .await;
    bobs.reload().await;
    bobs.until_text(".chat-link .preview", "three").await;
    bobs.until("nothing unread", "document.title === 'Messenger'", &[]).await;
    bobs.click("#logout").await;
    anns.until_text("#chat-about", "last seen ").await;
    anns.assert_clean(&site.url).await;
    bobs.assert_clean(&site.url).await;
}

async fn a_group_is_joined_by_its_number_and_left(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let group = ann.group("Open house", &[]).await;
    let number = group["id"].to_string();
    let site = Site::of(d).await;
    let anns = chat_page(&site, &ann).await;
    open_chat(&anns, "Open house").await;
    anns.click("#show-details").await;
    anns.until_text("#group-number", &number).await;
    anns.until_text("#members", &format!("{} (you)", ann.username)).await;

    let bobs = chat_page(&site, &bob).await;
    bobs.click("#new-chat").await;
    bobs.click("#tab-join").await;
    bobs.fill("#pane-join [name=id]", "999999999").await;
    bobs.click("#pane-join button.primary").await;
    bobs.until("a fault", "document.querySelector('#pane-join [role=alert]').textContent", &[]).await;
    bobs.fill("#pane-join [name=id]", &number).await;
    bobs.click("#pane-join button.primary").await;
    bobs.until_text("#chat-name", "Open house").await;
    anns.until_text("#members", &bob.username).await;
    anns.picture("chat-members").await;
    write(&bobs, "May I come in?").await;
    anns.until_text(".message .text", "May I come in?").await;

    bobs.click("#show-details").await;
    bobs.click("#leave").await;
    bobs.until_text("#confirm", "Leave").await;
    bobs.click("#confirm [value=yes]").await;
    bobs.until_text("#no-chats", "No chats yet").await;
    bobs.until_text("#nothing-open", "Choose a chat").await;
    anns.until_no_text("#members", &bob.username).await;
    anns.assert_clean(&site.url).await;
    bobs.assert_own_host(&site.url).await;
}

async fn old_messages_come_when_scrolled_to(d: &Deployment) {
    let ann = d.user_named("ann").await;
    let chat = ann.group("Long", &[]).await["id"].as_i64().unwrap();
    for n in 0..120 {
        ann.say(chat, &format!("message number {n}.")).await;
    }
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    open_chat(&page, "Long").await;
    page.until_text(".message .text", "message number 119.").await;
    let at_end = "(() => { const l = document.querySelector('#log'); return l.scrollHeight - l.scrollTop - l.clientHeight < 5; })()";
    page.until("the newest in sight", at_end, &[]).await;
    // up and up, as with a wheel, until the first is there; what was in sight stays where it was
    page.until(
        "the beginning",
        "(() => { const l = document.querySelector('#log'); if (l.scrollTop > 0) l.scrollTop = 0; else if (document.querySelector('#beginning').hidden) l.scrollTop = 1; return !document.querySelector('#beginning').hidden; })()",
        &[],
    )
    .await;
    let texts = page.texts(".message .text").await;
    let wanted: Vec<String> = (0..120).map(|n| format!("message number {n}.")).collect();
    assert_eq!(texts, wanted, "all, each once and in order");
    page.click("#to-end").await;
    page.until("the newest in sight", at_end, &[]).await;
    page.assert_clean(&site.url).await;
}

async fn it_fits_a_phone_and_the_keyboard(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let group = ann.group("A group with a long name for a small screen", &[&bob]).await;
    bob.say(group["id"].as_i64().unwrap(), &"long".repeat(300)).await;
    let site = Site::of(d).await;
    let page = phone().await;
    page.goto(&format!("{}/", site.url)).await;
    // by keys alone: the name field has the focus, Tab goes on, Enter sends
    let keys = format!("{}\u{e004}{}{ENTER}", ann.username, ann.password);
    page.keys("#entrance-form [name=username]", &keys).await;
    page.until_text("#me", &ann.username).await;
    page.until_connected().await;
    page.keys(".chat-link", ENTER).await;
    page.until_text("#chat-name", "A group with").await;
    page.until("the list to make room", "!document.querySelector('#sidebar').checkVisibility()", &[]).await;
    page.until_text(".message .text", "longlong").await;
    write(&page, "from a phone").await;
    page.until("nothing to stand out", "document.documentElement.scrollWidth <= innerWidth && document.querySelector('#log').scrollWidth <= document.querySelector('#log').clientWidth", &[])
        .await;
    page.picture("chat-phone").await;
    page.keys("#back", ENTER).await;
    page.until_text(".chat-link", "A group with").await;
    // every control has a name, every field a label
    let nameless = page
        .js(
            "return [...document.querySelectorAll('button, a, input, textarea, select')].filter((e) => !e.hidden && !e.closest('#confirm'))
               .filter((e) => !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length))
               .map((e) => e.outerHTML)",
            vec![],
        )
        .await;
    assert_eq!(nameless, json!([]));
    page.assert_clean(&site.url).await;
}

async fn the_end_of_a_session_is_told(d: &Deployment) {
    let ann = d.user_named("ann").await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    let body = json!({"password": "another good password", "current_password": ann.password});
    ann.rest.patch("/auth/me", body).await.ok(200);
    page.until_text("#entrance-note", "This session has ended").await;
    let kept = page.js("return localStorage.getItem('messenger.session')", vec![]).await;
    assert_eq!(kept, json!(null), "the tokens are forgotten");
    page.assert_own_host(&site.url).await;
}
