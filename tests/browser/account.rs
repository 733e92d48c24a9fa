//! One's own account, and the people whom one may write to.

use serde_json::json;

use super::{Site, chat_page};
use crate::support::Deployment;

both_forms!(
    the_account_is_changed_in_its_place,
    sessions_are_seen_and_ended,
    an_account_is_deleted,
    everybody_is_found_without_a_name,
);

async fn the_account_is_changed_in_its_place(d: &Deployment) {
    let ann = d.user_named("ann").await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    page.click("#me").await;
    page.until_text("#account-name", &ann.username).await;
    page.click("#account details:has(#account-email) summary").await;
    let address = format!("{}@elsewhere.example", ann.username);
    page.fill("#account-email [name=email]", &address).await;
    page.fill("#account-email [name=current_password]", "not the password").await;
    page.click("#account-email button").await;
    page.until_text("#account-email [role=alert]", "The current password is wrong.").await;
    page.fill("#account-email [name=current_password]", &ann.password).await;
    page.click("#account-email button").await;
    page.until_text("#account-email [role=status]", "Saved.").await;
    page.until_text("#account-about", &address).await;
    assert_eq!(ann.rest.get("/auth/me").await.ok(200)["email"], json!(address));

    page.click("#account details:has(#account-password) summary").await;
    page.fill("#account-password [name=current_password]", &ann.password).await;
    page.fill("#account-password [name=password]", "short").await;
    page.click("#account-password button").await;
    page.until_text("#account-password [role=alert]", "Password: must have 8 to 128 characters").await;
    page.fill("#account-password [name=current_password]", &ann.password).await;
    page.fill("#account-password [name=password]", "another good password").await;
    page.click("#account-password button").await;
    page.until_text("#account-password [role=status]", "Your other sessions have ended.").await;
    // this one goes on
    page.reload().await;
    page.until_connected().await;
    let login = json!({"username": ann.username, "password": "another good password"});
    d.rest().post("/auth/login", login).await.ok(200);
    page.assert_own_host(&site.url).await;
}

async fn sessions_are_seen_and_ended(d: &Deployment) {
    let ann = d.user_named("ann").await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    let other = chat_page(&site, &ann).await;
    page.click("#me").await;
    page.until_text("#account-sessions li:first-child", "Chrome on Linux").await;
    page.until_text("#account-sessions li:first-child", "this one").await;
    page.until("three of them", "document.querySelectorAll('#account-sessions li').length === 3", &[]).await;
    // the newest of the others
    page.click("#account-sessions li:nth-child(2) button").await;
    other.until_text("#entrance-note", "This session has ended").await;
    page.click("#account-end-others").await;
    page.until("one left", "document.querySelectorAll('#account-sessions li').length === 1", &[]).await;
    page.until("nothing more to end", "document.querySelector('#account-end-others').hidden", &[]).await;
    page.assert_clean(&site.url).await;
}

async fn an_account_is_deleted(d: &Deployment) {
    let ann = d.user_named("ann").await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    page.click("#me").await;
    page.click("#account-delete").await;
    page.until_text("#confirm", "Delete your account?").await;
    page.click("#confirm [value=no]").await;
    ann.rest.get("/auth/me").await.ok(200);
    page.click("#account-delete").await;
    page.click("#confirm [value=yes]").await;
    page.until_text("#entrance-note", "Your account is deleted.").await;
    let login = json!({"username": ann.username, "password": ann.password});
    assert_eq!(d.rest().post("/auth/login", login).await.status, 403);
    let kept =
        page.js("return Object.keys(localStorage).filter((key) => key !== 'messenger.session.lock')", vec![]).await;
    assert_eq!(kept, json!([]), "nothing of hers stays here");
    page.assert_clean(&site.url).await;
}

async fn everybody_is_found_without_a_name(d: &Deployment) {
    let ann = d.user_named("ann").await;
    // More than a page of them, whatever other tests have made.
    for _ in 0..21 {
        d.user_named("crowd").await;
    }
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    page.click("#new-chat").await;
    let shown = "document.querySelectorAll('#person-results .person').length";
    let first = page.until("people", shown, &[]).await.as_i64().unwrap();
    page.click_text("#person-results button", "More people").await;
    page.until("more people", &format!("{shown} > arguments[0]"), &[json!(first)]).await;
    page.until("the focus on the next", "document.activeElement.matches('#person-results .person')", &[]).await;
    page.click("#tab-group").await;
    page.until_text("#group-results .person", "").await;
    page.assert_clean(&site.url).await;
}
