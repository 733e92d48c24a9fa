//! Reactions: two people at one message, by pointer and by key, and after an outage.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Page, Site, chat_page, open_chat, phone, window};
use crate::support::deployment::Builder;
use crate::support::{Deployment, User};

both_forms!(
    two_people_react,
    emoji_are_chosen_by_key_and_by_name,
    the_server_takes_every_emoji_of_the_picker,
    what_hangs_on_messages_is_right_after_a_resync,
);
both_forms_alone!(reactions_are_right_after_an_outage);

const ENTER: &str = "\u{e007}";
const TAB: &str = "\u{e004}";
const ARROW_DOWN: &str = "\u{e015}";
const ARROW_RIGHT: &str = "\u{e014}";

/// The longest back-off after a few seconds' outage, and some.
const BACK: Duration = Duration::from_secs(60);

/// Waits until the messages bear these reactions, the reader's own with a star.
async fn until_reactions(page: &Page, wanted: &[&str]) {
    page.until_within(
        BACK,
        &format!("the reactions {wanted:?}"),
        "JSON.stringify([...document.querySelectorAll('.reaction')].map((e) => e.getAttribute('aria-label') + (e.getAttribute('aria-pressed') === 'true' ? '*' : ''))) === JSON.stringify(arguments[0])",
        &[json!(wanted)],
    )
    .await;
}

async fn react(user: &User, message: &Value, emoji: &str) {
    user.rest.put_nothing(&format!("/messages/{}/reactions/{emoji}", message["id"])).await.ok(204);
}

async fn take_back(user: &User, message: &Value, emoji: &str) {
    user.rest.delete(&format!("/messages/{}/reactions/{emoji}", message["id"])).await.ok(204);
}

async fn two_people_react(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let chat = ann.group("Hike", &[&bob]).await["id"].as_i64().unwrap();
    let question = bob.say(chat, "Who comes?").await;
    react(&bob, &question, "👍").await;
    let site = Site::of(d).await;
    let (anns, bobs) = (chat_page(&site, &ann).await, phone().await);
    super::log_in(&bobs, &site, &bob).await;
    open_chat(&anns, "Hike").await;
    open_chat(&bobs, "Hike").await;
    until_reactions(&anns, &["👍 1"]).await;
    until_reactions(&bobs, &["👍 1*"]).await;

    // one more, and taken back again
    anns.click(".reaction").await;
    until_reactions(&anns, &["👍 2*"]).await;
    until_reactions(&bobs, &["👍 2*"]).await;
    bobs.click(".reaction").await;
    until_reactions(&bobs, &["👍 1"]).await;
    until_reactions(&anns, &["👍 1*"]).await;
    assert_eq!(anns.js("return document.activeElement.className", vec![]).await, "reaction", "the focus stays");
    anns.press(ENTER).await;
    until_reactions(&anns, &[]).await;
    let focus = "return document.activeElement.matches('.message')";
    assert_eq!(anns.js(focus, vec![]).await, json!(true), "the button is gone, the message is there");

    // an edit keeps them, with whose they are
    react(&ann, &question, "🎉").await;
    react(&bob, &question, "👀").await;
    until_reactions(&anns, &["🎉 1*", "👀 1"]).await;
    let edit = format!("/messages/edit/{}", question["id"]);
    bob.rest.put(&edit, json!({"text": "Who comes on Sunday?"})).await.ok(200);
    anns.until_text(".message .text", "Sunday").await;
    until_reactions(&anns, &["🎉 1*", "👀 1"]).await;
    until_reactions(&bobs, &["🎉 1", "👀 1*"]).await;
    bobs.until("nothing to stand out", "document.documentElement.scrollWidth <= innerWidth", &[]).await;
    anns.picture("reactions").await;
    bobs.picture("reactions-phone").await;
    // what a reader copies are the words
    let copied =
        "getSelection().selectAllChildren(document.querySelector('#messages')); return getSelection().toString()";
    let copied = anns.js(copied, vec![]).await;
    assert!(!copied.as_str().unwrap().contains('🎉'), "{copied}");
    anns.assert_clean(&site.url).await;
    bobs.assert_clean(&site.url).await;
}

async fn emoji_are_chosen_by_key_and_by_name(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let chat = ann.group("Hike", &[&bob]).await["id"].as_i64().unwrap();
    bob.say(chat, "Who comes?").await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    open_chat(&page, "Hike").await;
    page.until_text(".message .text", "Who comes?").await;
    page.js("document.querySelector('.message').focus()", vec![]).await;
    // the author's card, then what can be done
    page.press(TAB).await;
    page.press(TAB).await;
    page.press(ENTER).await;
    page.until("the picker", "document.activeElement.id === 'emoji-search'", &[]).await;
    page.press("HEART").await;
    page.until("hearts alone", "document.querySelector('.emoji')?.title === 'in love'", &[]).await;
    page.press("zzz").await;
    page.until_text("#emoji-none", "Nothing found.").await;
    page.press(&"\u{e003}".repeat(8)).await;
    page.press("thumbs u").await;
    page.until("one", "document.querySelectorAll('.emoji').length === 1", &[]).await;
    page.press(ENTER).await;
    until_reactions(&page, &["👍 1*"]).await;
    page.until("the focus back", "document.activeElement.matches('.tools button')", &[]).await;

    // what was chosen last comes first
    page.press(ENTER).await;
    page.press(ARROW_DOWN).await;
    page.press(ARROW_RIGHT).await;
    let at = "return [document.activeElement.title, document.querySelectorAll('.emoji[tabindex=\"0\"]').length]";
    assert_eq!(page.js(at, vec![]).await, json!(["red heart", 1]));
    page.press(ARROW_DOWN).await;
    assert_eq!(page.js(at, vec![]).await, json!(["big smile", 1]));
    page.press(ENTER).await;
    until_reactions(&page, &["👍 1*", "😃 1*"]).await;

    // in the reader's language, also where that changes
    page.click("#show-settings").await;
    page.keys("#settings select.language", "Русский").await;
    page.press("\u{e00c}").await;
    page.js("document.querySelector('.message').focus()", vec![]).await;
    for _ in 0..4 {
        page.press(TAB).await;
    }
    page.press(ENTER).await;
    page.until("the picker", "document.activeElement.id === 'emoji-search'", &[]).await;
    page.press("огонь").await;
    page.until("fire", "document.querySelector('.emoji')?.title === 'огонь'", &[]).await;
    page.picture("emoji-russian").await;
    page.press(ENTER).await;
    until_reactions(&page, &["👍 1*", "😃 1*", "🔥 1*"]).await;

    // a message takes so many: the page says so
    for emoji in ["🍎", "🍌", "🍓", "🍉", "🥕", "🍞", "🧀", "🍕", "🍔", "🍟", "🍣", "🍜", "🍦", "🍰", "🎂", "🍫", "🍿"]
    {
        let message = bob.history(chat).await["items"][0].clone();
        react(&bob, &message, emoji).await;
    }
    page.until("twenty", "document.querySelectorAll('.reaction').length === 20", &[]).await;
    page.js("document.querySelector('.tools button').click()", vec![]).await;
    page.press("лев").await;
    page.press(ENTER).await;
    page.until_text("#toast", "Больше разных реакций").await;
    page.picture("reactions-twenty").await;
}

async fn the_server_takes_every_emoji_of_the_picker(d: &Deployment) {
    let ann = d.user_named("ann").await;
    let chat = ann.group("Hike", &[]).await["id"].as_i64().unwrap();
    let message = ann.say(chat, "hello").await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    let all = page
        .js_async(
            "const { GROUPS } = await import('/static/emoji_list.js');
             return Object.values(GROUPS).flat().map(({ emoji, words }) => [emoji, words.en, words.ru]);",
        )
        .await;
    let all: Vec<[String; 3]> = serde_json::from_value(all).unwrap();
    assert!(all.len() > 150);
    let mut seen = std::collections::HashSet::new();
    for [emoji, english, russian] in &all {
        assert!(seen.insert(emoji) && !english.is_empty() && !russian.is_empty(), "{emoji}");
        react(&ann, &message, emoji).await;
        let shown = ann.rest.get(&format!("/messages/{}", message["id"])).await.ok(200)["reactions"][0].clone();
        assert_eq!(shown["emoji"], json!(emoji), "spelled as the server spells it");
        take_back(&ann, &message, emoji).await;
    }
}

async fn reactions_are_right_after_an_outage(builder: Builder) {
    let d = builder.start().await;
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let chat = ann.group("Steady", &[&bob]).await["id"].as_i64().unwrap();
    let first = bob.say(chat, "first").await;
    react(&ann, &first, "👍").await;
    react(&bob, &first, "🎉").await;
    let site = Site::of(&d).await;
    let page = chat_page(&site, &ann).await;
    open_chat(&page, "Steady").await;
    until_reactions(&page, &["👍 1*", "🎉 1"]).await;

    for node in d.nodes() {
        node.kill_9();
    }
    page.until_text("#connection", "Trying again").await;
    for node in d.nodes() {
        node.restart().await;
    }
    react(&bob, &first, "👍").await;
    take_back(&bob, &first, "🎉").await;
    let second = bob.say(chat, "second").await;
    // Ann's other device
    react(&ann, &second, "👀").await;
    react(&bob, &second, "👀").await;
    react(&ann, &second, "🔥").await;
    take_back(&ann, &second, "🔥").await;
    let wanted = ["👍 2*", "👀 2*"];
    until_reactions(&page, &wanted).await;
    page.reload().await;
    page.until_text("#chat-name", "Steady").await;
    until_reactions(&page, &wanted).await;
    page.assert_own_host(&site.url).await;
}

/// The server says that it cannot replay what was lost: the page fetches it.
async fn what_hangs_on_messages_is_right_after_a_resync(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let chat = ann.group("Steady", &[&bob]).await["id"].as_i64().unwrap();
    let first = bob.say(chat, "first").await;
    react(&ann, &first, "👍").await;
    react(&bob, &first, "🎉").await;
    let site = Site::of(d).await;
    let page = window().await;
    // Frames are lost on their way while the test says so.
    let source = "const Real = window.WebSocket;
        window.WebSocket = class extends Real {
            constructor(...more) { super(...more); window.socket = this; }
            set onmessage(hear) { this.hear = hear; super.onmessage = (message) => { if (!window.lossy) hear?.(message); else window.lost = true; }; }
        };";
    page.devtools("Page.addScriptToEvaluateOnNewDocument", json!({"source": source})).await;
    super::log_in(&page, &site, &ann).await;
    open_chat(&page, "Steady").await;
    until_reactions(&page, &["👍 1*", "🎉 1"]).await;
    page.js("window.lossy = true", vec![]).await;
    take_back(&ann, &first, "👍").await;
    react(&bob, &first, "👍").await;
    ann.rest.put_nothing(&format!("/chats/{chat}/pins/{}", first["id"])).await.ok(204);
    page.until("frames lost", "window.lost", &[]).await;
    let head = ann.chat(chat).await["seq"].clone();
    let resync = json!({"type": "resync", "chat_id": chat, "seq": head}).to_string();
    page.js("window.lossy = false; window.socket.hear({ data: arguments[0] })", vec![json!(resync)]).await;
    until_reactions(&page, &["🎉 1", "👍 1"]).await;
    page.until_text("#pinned-words", "first").await;
    page.assert_clean(&site.url).await;
}
