//! The documents in a browser: calls are tried with a name and a password, and the WebSocket has a
//! page for people.

use super::{Site, window};
use crate::support::Deployment;

one_form!(
    embedded:
    calls_are_tried_with_a_name_and_a_password,
    a_link_leads_to_one_call,
    the_websocket_has_a_page_for_people,
);

async fn calls_are_tried_with_a_name_and_a_password(d: &Deployment) {
    let ann = d.user_named("ann").await;
    let site = Site::under(d, "/talk").await;
    let page = window().await;
    page.goto(&format!("{}/docs", site.url)).await;
    page.click(".auth-wrapper .authorize").await;
    page.fill("#oauth_username", &ann.username).await;
    page.fill("#oauth_password", &ann.password).await;
    let authorize = "const form = document.querySelector('#oauth_password').closest('.auth-container');
        [...form.querySelectorAll('button')].find((one) => one.textContent === 'Authorize').click()";
    page.js(authorize, vec![]).await;
    page.until("the token", "document.querySelector('.modal-ux').innerText.includes('Logout')", &[]).await;
    page.click(".modal-ux .btn-done").await;
    // The token outlives the page.
    page.reload().await;
    for path in ["#operations-auth-me .opblock-summary-control", "#operations-auth-me .try-out__btn"] {
        page.click(path).await;
    }
    page.click("#operations-auth-me .execute").await;
    page.until_text("#operations-auth-me .live-responses-table .response-col_status", "200").await;
    page.until_text("#operations-auth-me .live-responses-table .response-col_description", &ann.email).await;
    page.assert_clean(&site.url).await;
}

async fn a_link_leads_to_one_call(d: &Deployment) {
    let site = Site::of(d).await;
    let page = window().await;
    page.goto(&format!("{}/docs#/messages/send_message", site.url)).await;
    page.until_text("#operations-messages-send_message.is-open .opblock-summary-path", "/messages/send").await;
    page.assert_clean(&site.url).await;
}

async fn the_websocket_has_a_page_for_people(d: &Deployment) {
    let site = Site::of(d).await;
    let page = window().await;
    page.goto(&format!("{}/docs", site.url)).await;
    page.until_text(".opblock-summary-path", "/auth/login").await;
    page.click_text("nav.documents a", "WebSocket").await;
    page.until_text("h1", "The WebSocket").await;
    page.click_text(".index a", "subscribe_chats").await;
    page.until("the place of the command", "location.hash === '#command-subscribe_chats'", &[]).await;
    page.until_text("#close-1012", "reconnect_after_ms").await;
    page.assert_accessible("websocket reference").await;
    page.assert_own_host(&site.url).await;
    page.click_text("nav.documents a", "Reference of the calls").await;
    page.until("Redoc's list", "document.body.innerText.includes('Send a message')", &[]).await;
    assert!(page.console().await.is_empty());
}
