//! Names for people, cards, and blocks.

use serde_json::json;

use super::{Site, chat_page, log_in, open_chat, phone};
use crate::support::Deployment;

both_forms!(people_are_shown_by_their_names, a_person_is_blocked_by_their_card_and_unblocked_in_the_account,);

const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";

async fn people_are_shown_by_their_names(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let name = "Bob <i>the</i> Builder \u{5d1}\u{5d5}\u{5d1}";
    bob.rest.patch("/auth/me", json!({"display_name": name, "bio": "I build.\nAlways."})).await.ok(200);
    let chat = ann.group("Hike", &[&bob]).await["id"].as_i64().unwrap();
    let private = ann.private_chat_id(&bob).await;
    let first = bob.say(chat, &format!("hello @{}", ann.username)).await;
    bob.say(private, "in private").await;
    let reply = json!({"chat_id": chat, "text": "hello yourself", "reply_to_id": first["id"]});
    ann.rest.post("/messages/send", reply).await.ok(201);
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    page.until_text(".chat-link .name", name).await;
    open_chat(&page, "Hike").await;
    page.until_text(".message .author", name).await;
    page.until_text(".quote-author", name).await;

    // the card, by key, and back
    page.js("document.querySelector('.message .author').focus()", vec![]).await;
    page.press(ENTER).await;
    page.until_text("#profile-name", name).await;
    page.until_text("#profile-username", &format!("@{}", bob.username)).await;
    page.until_text("#profile-bio", "Always.").await;
    page.assert_accessible("a card").await;
    page.press(ESCAPE).await;
    page.until("the focus back", "document.activeElement.matches('.author')", &[]).await;
    page.click(".mention button").await;
    page.until_text("#profile-username", &ann.username).await;
    page.until("nothing to do to oneself", "document.querySelector('#profile-block').hidden", &[]).await;
    page.press(ESCAPE).await;
    page.click("#show-details").await;
    page.click_text("#members .card-name", name).await;
    page.click("#profile-write").await;
    page.until_text("#chat-name", name).await;
    page.until_text(".message .text", "in private").await;
    page.until(
        "nothing to stand out",
        "document.querySelector('#details').scrollWidth <= document.querySelector('#details').clientWidth",
        &[],
    )
    .await;
    page.picture("names").await;

    // a new name comes with the next message
    bob.rest.patch("/auth/me", json!({"display_name": "Bobby"})).await.ok(200);
    bob.say(private, "again").await;
    page.until_text("#chat-name", "Bobby").await;
    page.until_text(".chat-link .name", "Bobby").await;
    page.click("#new-chat").await;
    page.fill("#person-search", &bob.username).await;
    page.until_text("#person-results", &format!("Bobby @{}", bob.username)).await;
    page.assert_clean(&site.url).await;
}

async fn a_person_is_blocked_by_their_card_and_unblocked_in_the_account(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let private = ann.private_chat_id(&bob).await;
    bob.say(private, "hello").await;
    let site = Site::of(d).await;
    let (anns, bobs) = (phone().await, chat_page(&site, &bob).await);
    log_in(&anns, &site, &ann).await;
    open_chat(&anns, &bob.username).await;
    anns.click("#show-details").await;
    anns.click_text("#details-body .card-name", &bob.username).await;
    anns.click("#profile-block").await;
    anns.until_text("#confirm", &format!("Block {}?", bob.username)).await;
    anns.click("#confirm [value=yes]").await;
    anns.until_text("#profile-blocked", "You have blocked this person.").await;
    anns.assert_accessible("a blocked person on a phone").await;
    anns.press(ESCAPE).await;
    anns.click("#hide-details").await;
    anns.until_text("#chat-about", "blocked").await;

    // Bob's words do not come, and are not lost
    open_chat(&bobs, &ann.username).await;
    bobs.keys("#text", &format!("do you hear me?{ENTER}")).await;
    bobs.until_text(".message.failed", "This person does not want to hear from you.").await;
    anns.click("#back").await;
    anns.click("#me").await;
    anns.until_text("#account-blocked", &bob.username).await;
    anns.assert_accessible("the blocked in the account").await;
    anns.click("#account-blocked button").await;
    anns.until("nobody", "document.querySelector('#account-blocked').children.length === 0 && document.querySelector('#account-blocked-title').hidden", &[]).await;
    anns.press(ESCAPE).await;
    bobs.click(".retry button").await;
    anns.until_text(".chat-link .preview", "do you hear me?").await;
    anns.assert_clean(&site.url).await;
}
