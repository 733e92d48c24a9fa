//! A friend follows the link of an invitation.

use serde_json::json;

use super::{Site, open_chat, window};
use crate::support::Deployment;
use crate::support::user::{PASSWORD, fresh_name};

both_forms!(
    a_friend_registers_by_a_link_and_is_in,
    an_old_user_follows_a_link_and_is_in,
    an_owner_makes_copies_and_revokes_links,
    what_is_typed_in_the_details_stays,
    a_chat_that_comes_while_the_list_is_fetched_stays,
);

async fn link(d: &Deployment, site: &Site) -> String {
    let ann = d.user_named("ann").await;
    let group = json!({"name": "Quiet room", "is_public": false});
    let chat = ann.rest.post("/chats/create", group).await.ok(201)["id"].as_i64().unwrap();
    let made = ann.rest.post(&format!("/chats/{chat}/invites"), json!({})).await.ok(201);
    // as a proxy that keeps the host would have it
    format!("{}/invite/{}", site.url, made["code"].as_str().unwrap())
}

async fn a_friend_registers_by_a_link_and_is_in(d: &Deployment) {
    let site = Site::under(d, "/talk").await;
    let link = link(d, &site).await;
    let page = window().await;
    page.goto(&link).await;
    page.until_text("#entrance-note", "You are invited to “Quiet room” by ann").await;
    let name = fresh_name("friend");
    page.fill("#entrance-form [name=username]", &name).await;
    page.fill("#entrance-form [name=email]", &format!("{name}@example.org")).await;
    page.fill("#entrance-form [name=password]", PASSWORD).await;
    page.click("#entrance-submit").await;
    page.until_text("#chat-name", "Quiet room").await;
    page.assert_clean(&site.url).await;
}

async fn an_old_user_follows_a_link_and_is_in(d: &Deployment) {
    let site = Site::of(d).await;
    let (link, bob) = (link(d, &site).await, d.user_named("bob").await);
    bob.group("Other", &[]).await;
    let page = super::chat_page(&site, &bob).await;
    open_chat(&page, "Other").await;
    page.goto(&link).await;
    page.until_text("#chat-name", "Quiet room").await;
    page.goto(&format!("{}/invite/AAAAAAAAAAAAAAAAAAAAAA", site.url)).await;
    page.until_text("#toast", "This invitation has ended.").await;
    page.assert_own_host(&site.url).await;
}

async fn an_owner_makes_copies_and_revokes_links(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let site = Site::under(d, "/talk").await;
    let page = super::chat_page(&site, &ann).await;
    // closed, unless one says otherwise
    page.click("#new-chat").await;
    page.click("#tab-group").await;
    page.fill("#pane-group [name=name]", "Quiet room").await;
    page.click("#pane-group button.primary").await;
    page.until_text("#chat-name", "Quiet room").await;
    let chats = ann.rest.get("/chats/").await.ok(200);
    assert_eq!(chats["items"][0]["is_public"], json!(false));
    page.click("#show-details").await;
    page.until_text("#details-body", "A closed group").await;
    page.click("#invite-new summary").await;
    page.keys("#invite-expires", "in 1 day").await;
    page.keys("#invite-uses", "1 person").await;
    page.click("#make-invite").await;
    page.until_text("#invites", "0 of 1 came in").await;
    page.until("the focus where it was", "document.activeElement.id === 'make-invite'", &[]).await;
    page.assert_accessible("invitations").await;
    page.js("window.copied = ''; navigator.clipboard.writeText = async (text) => { copied = text; }", vec![]).await;
    page.click("#invites li:first-child button").await;
    page.until_text("#details-body .done", "The link is copied.").await;
    let link = page.js("return copied", vec![]).await;
    assert_eq!(link, page.js("return document.querySelector('#invites input').value", vec![]).await);
    let link = link.as_str().unwrap();
    assert!(link.starts_with(&format!("{}/invite/", site.url)), "{link}");

    let friend = super::chat_page(&site, &bob).await;
    friend.goto(link).await;
    friend.until_text("#chat-name", "Quiet room").await;
    page.until_text("#members", &bob.username).await;
    // used up, it is gone from the list; another one is revoked
    page.keys("#invite-uses", "any number").await;
    page.click("#make-invite").await;
    page.until_text("#invites", "0 came in").await;
    let second = page.js("return document.querySelector('#invites input').value", vec![]).await;
    page.click_text("#invites li:first-child button", "Revoke").await;
    page.until_no_text("#invites", "0 came in").await;
    let eve = d.user_named("eve").await;
    let stranger = super::chat_page(&site, &eve).await;
    stranger.goto(second.as_str().unwrap()).await;
    stranger.until_text("#no-chats", "No chats yet").await;
    // who is no owner sees none of it
    friend.click("#show-details").await;
    friend.until_text("#members", &ann.username).await;
    assert_eq!(friend.js("return document.querySelector('#invites')", vec![]).await, json!(null));
    page.assert_clean(&site.url).await;
    friend.assert_clean(&site.url).await;
}

/// The panel keeps what its reader has typed and opened, and when somebody comes the list of
/// members alone is drawn anew.
async fn what_is_typed_in_the_details_stays(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let chat = ann.group("Walk", &[]).await["id"].as_i64().unwrap();
    let site = Site::of(d).await;
    let page = super::chat_page(&site, &ann).await;
    open_chat(&page, "Walk").await;
    page.click("#show-details").await;
    page.click("#rename summary").await;
    page.fill("#rename-description", "half a description").await;
    page.click("#hide-details").await;
    page.click("#show-details").await;
    page.js("window.mute = document.querySelector('#view-muted')", vec![]).await;
    bob.join(chat).await;
    page.until_text("#members", &bob.username).await;
    assert_eq!(page.js("return window.mute.isConnected", vec![]).await, true, "a list that is open stays so");
    let kept = "return [document.querySelector('#rename').open, document.querySelector('#rename-description').value, document.querySelector('#rename-name').value]";
    assert_eq!(page.js(kept, vec![]).await, json!([true, "half a description", "Walk"]));
    page.click("#rename button").await;
    page.until_text("#details-body .about", "half a description").await;
    page.assert_clean(&site.url).await;
}

/// The list was made before the chat was: it does not say that the chat is gone.
async fn a_chat_that_comes_while_the_list_is_fetched_stays(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    bob.group("Other", &[]).await;
    let site = Site::of(d).await;
    let page = window().await;
    page.goto(&format!("{}/", site.url)).await;
    // The second list, which the page fetches once it is connected, is held.
    let hold = "const real = window.fetch; let lists = 0;
        window.fetch = async (...call) => {
            const answer = await real(...call);
            if (!String(call[0]).includes('/chats/?') || (lists += 1) !== 2) return answer;
            await new Promise((go) => { window.letGo = go; });
            return answer;
        };";
    page.js(hold, vec![]).await;
    page.fill("#entrance-form [name=username]", &bob.username).await;
    page.fill("#entrance-form [name=password]", &bob.password).await;
    page.click("#entrance-submit").await;
    page.until("the list is held", "window.letGo", &[]).await;
    ann.group("Late", &[&bob]).await;
    open_chat(&page, "Late").await;
    page.js_async("window.letGo(); for (let n = 0; n < 20; n += 1) await new Promise(requestAnimationFrame);").await;
    let shown = "return [...document.querySelectorAll('.chat-link')].some((e) => e.textContent.includes('Late')) && location.hash !== ''";
    assert_eq!(page.js(shown, vec![]).await, json!(true), "it is listed and open");
    page.assert_clean(&site.url).await;
}
