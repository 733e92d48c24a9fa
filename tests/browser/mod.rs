//! The two pages in a real headless Chromium: what a person sees and does, on both forms of the
//! messenger, or on one where it is the page's own doing.
//!
//! The cluster is reached through [`Site`], since a page knows one address only.

mod accessible;
mod account;
mod chat;
mod client;
mod console;
mod documents;
mod driver;
mod first_paint;
mod invites;
mod kept;
mod keyboard;
mod languages;
mod long_sessions;
mod looks;
mod mentions;
mod notifications;
mod outages;
mod page;
mod pins;
mod profiles;
mod reactions;
mod reading;
mod recovery;
mod search;
mod store;
mod tabs;
mod under_a_path;
mod views;

use driver::{phone, window, window_in, window_that_keeps_nothing};
use page::Page;

use crate::support::{Site, User};

/// Logs `user` in on the chat page of a window of its own.
async fn chat_page(site: &Site, user: &User) -> Page {
    let page = window().await;
    log_in(&page, site, user).await;
    page.until_text("#me", &user.username).await;
    page
}

/// Logs `user` in on the chat page.
async fn log_in(page: &Page, site: &Site, user: &User) {
    page.goto(&format!("{}/", site.url)).await;
    page.fill("#entrance-form [name=username]", &user.username).await;
    page.fill("#entrance-form [name=password]", &user.password).await;
    page.click("#entrance-submit").await;
    page.until_connected().await;
}

/// Opens the chat by a click in the list.
async fn open_chat(page: &Page, name: &str) {
    page.click_text(".chat-link", name).await;
    page.until_text("#chat-name", name).await;
}

/// Waits until the field has exactly this in it.
async fn until_field(page: &Page, text: &str) {
    let what = format!("`{text}` in the field");
    page.until(&what, "document.querySelector('#text').value === arguments[0]", &[serde_json::json!(text)]).await;
}

/// Waits until the field has the focus, as it has a moment after a chat is opened.
async fn until_focused(page: &Page) {
    page.until("the focus in the field", "document.activeElement === document.querySelector('#text')", &[]).await;
}
