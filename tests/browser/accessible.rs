//! axe in every state of the pages: nobody is kept out by how they see, hear or point.

use std::path::Path;
use std::sync::OnceLock;

use serde_json::json;

use super::{Page, Site, chat_page, open_chat, phone, window_in};
use crate::support::{Deployment, User, npm};

one_form!(embedded: nobody_is_kept_out, nobody_is_kept_out_on_a_phone);

const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";
const CONTROL: &str = "\u{e009}";
const RELEASE: &str = "\u{e000}";

/// The source of axe, fetched once. Blocks.
pub(super) fn axe() -> &'static str {
    static SOURCE: OnceLock<String> = OnceLock::new();
    SOURCE.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("axe");
        let package = npm::package(&dir, "axe-core", "4.10.3").unwrap();
        std::fs::read_to_string(package.join("axe.min.js")).unwrap()
    })
}

async fn escape(page: &Page) {
    page.press(ESCAPE).await;
    page.until("no dialog", "!document.querySelector('dialog[open]')", &[]).await;
}

async fn talk(ann: &User, bob: &User) {
    let chat = ann.group("Hike", &[bob]).await["id"].as_i64().unwrap();
    let question = bob.say(chat, "Who comes? See https://example.org").await;
    ann.say(chat, "I do").await;
    for (user, emoji) in [(ann, "👍"), (bob, "👍"), (bob, "🎉")] {
        let reaction = format!("/messages/{}/reactions/{emoji}", question["id"]);
        user.rest.put_nothing(&reaction).await.ok(204);
    }
    let reply = json!({"chat_id": chat, "text": "Fine", "reply_to_id": question["id"]});
    bob.rest.post("/messages/send", reply).await.ok(201);
    let private = json!({"is_group": false, "member_ids": [bob.id]});
    ann.rest.post("/chats/create", private).await.ok(201);
}

async fn nobody_is_kept_out(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    talk(&ann, &bob).await;
    let site = Site::of(d).await;
    let stranger = window_in("ru-RU").await;
    stranger.goto(&format!("{}/", site.url)).await;
    stranger.until_text("#entrance-title", "Вход").await;
    stranger.assert_accessible("entrance in Russian").await;
    stranger.click("#entrance-switch").await;
    stranger.assert_accessible("registering").await;

    let page = chat_page(&site, &ann).await;
    page.assert_accessible("list").await;
    open_chat(&page, "Hike").await;
    page.until_text(".message .quote", "Who comes?").await;
    page.assert_accessible("chat").await;
    page.click("#show-details").await;
    page.until_text("#members", &bob.username).await;
    page.assert_accessible("details").await;
    page.click("#leave").await;
    page.assert_accessible("a question").await;
    escape(&page).await;
    page.click("#hide-details").await;
    page.keys("#text", "half a word @").await;
    page.until_text("#mention-list", &bob.username).await;
    page.assert_accessible("members to mention").await;
    page.press(ESCAPE).await;
    page.click(".message .text").await;
    page.assert_accessible("tools of a message").await;
    page.click(".message:focus-within .tools [aria-label^=React]").await;
    page.assert_accessible("emoji").await;
    page.keys("#emoji-search", "nothing of the kind").await;
    page.until_text("#emoji-none", "Nothing found.").await;
    page.assert_accessible("no emoji found").await;
    page.press(ESCAPE).await; // the words alone, as in every field to search in
    escape(&page).await;
    page.click("#new-chat").await;
    page.until_text("#person-results .person", "").await;
    page.assert_accessible("people").await;
    page.click("#tab-group").await;
    page.assert_accessible("new group").await;
    page.click("#tab-join").await;
    page.assert_accessible("joining").await;
    escape(&page).await;
    page.press(&format!("{CONTROL}k{RELEASE}")).await;
    page.until_text("#switcher-list", "Hike").await;
    page.assert_accessible("switcher").await;
    escape(&page).await;
    page.click("#me").await;
    page.until_text("#account-sessions li", "this one").await;
    page.js("for (const part of document.querySelectorAll('#account details')) part.open = true", vec![]).await;
    page.assert_accessible("account").await;
    escape(&page).await;
    page.click("#show-settings").await;
    page.assert_accessible("settings").await;
    page.keys("#theme", "Dark").await;
    page.assert_accessible("settings in the dark").await;
    escape(&page).await;
    page.assert_accessible("chat in the dark").await;
    page.assert_clean(&site.url).await;
}

async fn nobody_is_kept_out_on_a_phone(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    talk(&ann, &bob).await;
    let site = Site::of(d).await;
    let page = phone().await;
    page.goto(&format!("{}/", site.url)).await;
    page.assert_accessible("entrance on a phone").await;
    let keys = format!("{}\u{e004}{}{ENTER}", ann.username, ann.password);
    page.keys("#entrance-form [name=username]", &keys).await;
    page.until_connected().await;
    page.assert_accessible("list on a phone").await;
    page.click("#me").await;
    page.until_text("#account-sessions li", "this one").await;
    page.until("nothing to stand out", "document.documentElement.scrollWidth <= innerWidth", &[]).await;
    page.assert_accessible("account on a phone").await;
    escape(&page).await;
    page.click("#new-chat").await;
    page.until_text("#person-results .person", "").await;
    page.assert_accessible("people on a phone").await;
    escape(&page).await;
    page.click_text(".chat-link", "Hike").await;
    page.until_text(".message .quote", "Who comes?").await;
    page.assert_accessible("chat on a phone").await;
    page.click(".message .text").await;
    page.click(".message:focus-within .tools [aria-label^=React]").await;
    page.until("nothing to stand out", "document.documentElement.scrollWidth <= innerWidth", &[]).await;
    page.assert_accessible("emoji on a phone").await;
    escape(&page).await;
    page.click("#show-details").await;
    page.until_text("#members", &bob.username).await;
    page.assert_accessible("details on a phone").await;
    page.assert_clean(&site.url).await;
}
