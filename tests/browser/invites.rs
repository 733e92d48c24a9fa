//! A friend follows the link of an invitation.

use serde_json::json;

use super::{Browser, Site, open_chat};
use crate::support::Deployment;
use crate::support::user::{PASSWORD, fresh_name};

both_forms!(a_friend_registers_by_a_link_and_is_in, an_old_user_follows_a_link_and_is_in,);

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
    let browser = Browser::start().await;
    let page = browser.window().await;
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
    let browser = Browser::start().await;
    let page = super::chat_page(&browser, &site, &bob).await;
    open_chat(&page, "Other").await;
    page.goto(&link).await;
    page.until_text("#chat-name", "Quiet room").await;
    page.goto(&format!("{}/invite/AAAAAAAAAAAAAAAAAAAAAA", site.url)).await;
    page.until_text("#toast", "This invitation has ended.").await;
    page.assert_own_host(&site.url).await;
}
