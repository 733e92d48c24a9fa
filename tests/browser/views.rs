//! A chat as its reader wants it: muted, put away, kept on top; the same in every tab.

use serde_json::{Value, json};

use super::{Page, Site, chat_page, open_chat, phone};
use crate::support::Deployment;

both_forms!(chats_are_put_away_and_kept_on_top_in_every_tab, a_muted_chat_makes_no_notification,);

const SPACE: &str = " ";

/// Waits until the list shows these chats, each with what is said of it.
async fn until_listed(page: &Page, wanted: &[&str]) {
    let shown = "JSON.stringify([...document.querySelectorAll('.chat-link')].map((e) => `${e.querySelector('.name').textContent}: ${e.lastChild.textContent}`)) === JSON.stringify(arguments[0])";
    page.until(&format!("{wanted:?} in the list"), shown, &[json!(wanted)]).await;
}

async fn chats_are_put_away_and_kept_on_top_in_every_tab(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let mut ids = Vec::new();
    for name in ["First", "Second", "Third"] {
        ids.push(ann.group(name, &[&bob]).await["id"].as_i64().unwrap());
        ann.say(*ids.last().unwrap(), "hello").await;
    }
    let site = Site::of(d).await;
    let (page, other) = (chat_page(&site, &ann).await, phone().await);
    super::log_in(&other, &site, &ann).await;
    until_listed(&page, &["Third: ", "Second: ", "First: "]).await;
    open_chat(&page, "First").await;
    page.click("#show-details").await;
    page.js("document.querySelector('#view-pinned').focus()", vec![]).await;
    page.press(SPACE).await;
    for one in [&page, &other] {
        until_listed(one, &["First: on top", "Third: ", "Second: "]).await;
    }
    assert_eq!(page.js("return document.activeElement.id", vec![]).await, "view-pinned", "the focus stays");
    // who writes does not come above it
    bob.say(ids[1], "news").await;
    until_listed(&other, &["First: on top", "Second: unread", "Third: "]).await;
    page.keys("#view-muted", "Mute for 8").await;
    page.until_text("#view-muted", "Muted until").await;
    page.picture("view").await;
    until_listed(&other, &["First: muted, on top", "Second: unread", "Third: "]).await;

    // put away: a list of its own
    open_chat(&page, "Second").await;
    page.js("document.querySelector('#view-archived').focus()", vec![]).await;
    page.press(SPACE).await;
    until_listed(&page, &["First: muted, on top", "Third: "]).await;
    page.until_text("#archive", "Archived (1)").await;
    page.until_text("#chat-name", "Second").await;
    open_chat(&page, "Third").await;
    bob.say(ids[1], "more news").await;
    other.until_text("#archive", "unread").await;
    until_listed(&other, &["First: muted, on top", "Third: "]).await;
    other.assert_accessible("an archive on a phone").await;
    other.click("#archive").await;
    until_listed(&other, &["Second: unread"]).await;
    other.assert_accessible("the archive on a phone").await;
    let title = other.js("return document.title", vec![]).await;
    assert_eq!(title, "Messenger", "what is put away is not counted");
    open_chat(&other, "Second").await;
    other.click("#show-details").await;
    other.click("#view-archived").await;
    until_listed(&page, &["First: muted, on top", "Second: ", "Third: "]).await;
    other.until("no archive", "document.querySelector('#archive').hidden", &[]).await;

    // after a reload, and a mute that ends by itself
    page.reload().await;
    page.until_connected().await;
    until_listed(&page, &["First: muted, on top", "Second: ", "Third: "]).await;
    let soon = page.js("return new Date(Date.now() + 1500).toISOString()", vec![]).await;
    ann.rest.patch(&format!("/chats/{}/settings", ids[2]), json!({"muted_until": soon})).await.ok(200);
    until_listed(&page, &["First: muted, on top", "Second: ", "Third: muted"]).await;
    until_listed(&page, &["First: muted, on top", "Second: ", "Third: "]).await;
    page.assert_clean(&site.url).await;
    other.assert_clean(&site.url).await;
}

async fn a_muted_chat_makes_no_notification(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let chat = ann.group("First", &[&bob]).await["id"].as_i64().unwrap();
    let muted = ann.group("Muted", &[&bob]).await["id"].as_i64().unwrap();
    let forever = json!({"muted_until": "9999-12-31T23:59:59Z"});
    ann.rest.patch(&format!("/chats/{muted}/settings"), forever).await.ok(200);
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    page.js(
        "window.shown = [];
         window.Notification = class { static permission = 'granted'; constructor(title, more) { shown.push([title, more.body]); } close() {} };

         document.hasFocus = () => false;
         localStorage.setItem('messenger.notify', 'on');",
        vec![],
    )
    .await;
    bob.say(muted, &format!("@{} in a muted chat", ann.username)).await;
    page.until_text(".chat-link .preview", "in a muted chat").await;
    let message = bob.say(chat, "in another one").await;
    let mention = format!("hello @{}", ann.username);
    page.until("a notification", "shown.length === 1", &[]).await;
    bob.say(chat, &mention).await;
    page.until("another", "shown.length === 2", &[]).await;
    // an edit that mentions notifies as well
    let edit = format!("/messages/edit/{}", message["id"]);
    bob.rest.put(&edit, json!({"text": format!("{mention}!")})).await.ok(200);
    let shown = page.until("a third", "shown.length === 3 && shown", &[]).await;
    let titles: Vec<&Value> = shown.as_array().unwrap().iter().map(|one| &one[0]).collect();
    let (plain, mentioned) = (format!("{} in First", bob.username), format!("{} mentioned you in First", bob.username));
    assert_eq!(titles, [&json!(plain), &json!(mentioned), &json!(mentioned)]);
    assert_eq!(shown[2][1], json!(format!("{mention}!")));
    page.until("one is counted in the title", "document.title === '(2) Messenger'", &[]).await;
    page.assert_clean(&site.url).await;
}
