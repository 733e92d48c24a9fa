//! The pages where a proxy gives the messenger a path of its host, and takes it away again.

use serde_json::json;

use super::{Site, chat_page, open_chat, window};
use crate::support::Deployment;

both_forms!(the_chat_page_works_under_a_path, the_other_pages_work_under_a_path,);

const ENTER: &str = "\u{e007}";

async fn the_chat_page_works_under_a_path(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    ann.group("Talk", &[&bob]).await;
    let site = Site::under(d, "/talk").await;
    let anns = chat_page(&site, &ann).await;
    let bobs = chat_page(&site, &bob).await;
    for page in [&anns, &bobs] {
        open_chat(page, "Talk").await;
    }
    anns.fill("#text", "under a path").await;
    anns.keys("#text", ENTER).await;
    bobs.until_text(".message .text", "under a path").await;
    // another messenger under another path of the host has sessions and drafts of its own
    anns.until("a draft's key", "document.querySelector('#text').value === ''", &[]).await;
    anns.fill("#text", "half a thought").await;
    let kept =
        "Object.keys(localStorage).filter((key) => !key.includes('@/talk/')).length === 0 && localStorage.length > 1";
    anns.until("keys of this path only", kept, &[]).await;
    anns.js("location.reload()", vec![]).await;
    anns.until_connected().await;
    open_chat(&anns, "Talk").await;
    super::until_field(&anns, "half a thought").await;
    for page in [&anns, &bobs] {
        page.assert_clean(&site.url).await;
    }
}

async fn the_other_pages_work_under_a_path(d: &Deployment) {
    let ann = d.user().await;
    let site = Site::under(d, "/talk").await;
    let page = window().await;
    page.goto(&format!("{}/websocket_test.html", site.url)).await;
    page.fill("#account-form [name=username]", &ann.username).await;
    page.fill("#account-form [name=password]", &ann.password).await;
    page.click("#login").await;
    page.until_text("#account", &format!("{} (user ", ann.username)).await;
    page.click("#connect").await;
    page.until_text(".frame.in", "welcome").await;
    page.assert_clean(&site.url).await;

    page.goto(&format!("{}/docs", site.url)).await;
    page.until_text(".opblock-summary-path", "/auth/login").await;
    let server = "new URL(document.querySelector('.servers select').value, location.href).pathname";
    page.until("requests go under the path", &format!("{server} === arguments[0]"), &[json!("/talk/")]).await;
    page.assert_own_host(&site.url).await;

    page.goto(&format!("{}/redoc", site.url)).await;
    page.until("Redoc's list", "document.body.innerText.includes('Send a message')", &[]).await;
    page.assert_own_host(&site.url).await;
}
