//! The protocol console: every command by its form, every frame in the log, every close explained.

use serde_json::json;

use super::{Page, Site, window};
use crate::support::Deployment;
use crate::support::user::{PASSWORD, fresh_name};

both_forms!(every_command_is_sent_and_its_answer_seen, a_pasted_token_opens_the_path_way, what_went_wrong_is_said,);

/// Sends the command's form with these fields and waits for a frame of the type `answer` after it.
async fn command(page: &Page, kind: &str, fields: &[(&str, &str)], answer: &str) {
    let frames = format!(".frame.in[data-type={answer}]");
    let before = page.texts(&frames).await.len();
    for (name, value) in fields {
        page.fill(&format!("#command-{kind} [name={name}]"), value).await;
    }
    page.click(&format!("#command-{kind} button")).await;
    page.until(
        &format!("{answer} after {kind}"),
        "document.querySelectorAll(arguments[0]).length > arguments[1]",
        &[json!(frames), json!(before)],
    )
    .await;
}

async fn every_command_is_sent_and_its_answer_seen(d: &Deployment) {
    let other = d.user().await;
    let site = Site::of(d).await;
    let page = window().await;
    page.goto(&format!("{}/websocket_test.html", site.url)).await;

    let name = fresh_name("console");
    page.fill("#account-form [name=username]", &name).await;
    page.fill("#account-form [name=password]", PASSWORD).await;
    page.fill("#account-form [name=email]", &format!("{name}@example.org")).await;
    page.click("#register").await;
    page.until_text("#account", &format!("{name} (user ")).await;
    page.click("#logout").await;
    page.until_text("#account", "Not logged in.").await;
    page.click("#login").await;
    page.until_text("#account", &format!("{name} (user ")).await;

    page.click("#connect").await;
    page.until_text("#state", "Connected as connection").await;
    page.until_text(".frame.in", "welcome").await;

    // a chat to talk in, by the console's own REST form
    page.click_text("#rest-form button", "New group").await;
    page.until_text(".frame.in", "chat_added").await;
    let chat = page
        .js(
            "return JSON.parse(document.querySelector('.frame.in[data-type=chat_added] pre').textContent).chat.id",
            vec![],
        )
        .await
        .to_string();

    command(&page, "ping", &[], "pong").await;
    command(&page, "subscribe_chat", &[("chat_id", &chat), ("after_seq", "0")], "subscribed").await;
    command(
        &page,
        "send_message",
        &[("chat_id", &chat), ("text", "from the console"), ("client_message_id", "once")],
        "message_sent",
    )
    .await;
    page.until_text(".frame.in[data-type=new_message]", "from the console").await;
    command(
        &page,
        "private_message",
        &[("recipient_id", &other.id.to_string()), ("text", "between us")],
        "message_sent",
    )
    .await;
    page.until_text(".frame.in[data-type=new_message]", "between us").await;
    command(&page, "read", &[("chat_id", &chat), ("seq", "1")], "message_read").await;
    command(&page, "authenticate", &[], "authenticated").await;
    // typing has no answer; that it was taken shows by the next command's
    page.fill("#command-typing [name=chat_id]", &chat).await;
    page.click("#command-typing button").await;
    command(&page, "unsubscribe_chat", &[("chat_id", &chat)], "unsubscribed").await;
    command(&page, "typing", &[("chat_id", &chat)], "error").await;
    page.until_text(".frame.error", "not_subscribed").await;
    page.fill("#raw-form [name=raw]", "not JSON at all").await;
    page.click("#send-raw").await;
    page.until_text(".frame.error", "bad_json").await;

    // every command that went out bore a request_id, which came back; the token stands nowhere in
    // the log
    let log = page.texts(".frame pre").await.join("\n");
    assert!(log.contains("request_id"), "{log}");
    let token = page.js("return JSON.parse(sessionStorage.getItem('messenger.console')).access", vec![]).await;
    assert!(!log.contains(token.as_str().unwrap()), "a token in the log");
    page.picture(&format!("console-{}", form(d))).await;

    // the log: filtered, paused, cleared
    page.js("const s = document.querySelector('#filter-type'); s.value = 'pong'; s.dispatchEvent(new Event('input', { bubbles: true }))", vec![]).await;
    page.until("only pongs", "document.querySelectorAll('.frame').length === 1", &[]).await;
    page.js("const s = document.querySelector('#filter-type'); s.value = ''; s.dispatchEvent(new Event('input', { bubbles: true }))", vec![]).await;
    page.click("#pause").await;
    page.click("#command-ping button").await;
    page.until_text("#count", "paused, 2 more").await;
    page.click("#pause").await;
    page.until("the held frames", "document.querySelectorAll('.frame.in[data-type=pong]').length === 2", &[]).await;
    page.click("#clear").await;
    page.until("an empty log", "document.querySelectorAll('.frame').length === 0", &[]).await;

    // a binary frame ends it, and the page says what that means
    page.click("#send-binary").await;
    page.until_text("#close-code", "1003").await;
    page.until_text("#close-advice", "Do not reconnect").await;
    page.until_text("#state", "Closed.").await;
    page.assert_clean(&site.url).await;
}

async fn a_pasted_token_opens_the_path_way(d: &Deployment) {
    let user = d.user().await;
    let site = Site::of(d).await;
    let page = window().await;
    page.goto(&format!("{}/websocket_test.html", site.url)).await;
    page.fill("#token-form [name=token]", &user.access).await;
    page.click("#use-token").await;
    page.until_text("#account", &user.username).await;
    page.click("[name=way][value=path]").await;
    page.click("#connect").await;
    page.until_text("#state", "Connected").await;
    page.click("#disconnect").await;
    page.until_text("#state", "Not connected.").await;

    // the session's end closes with 4502, after which a client must not come back
    page.click("#reconnect").await;
    page.click("#connect").await;
    page.until_text("#state", "Connected").await;
    user.rest.post_nothing("/auth/logout").await.ok(204);
    page.until_text("#close-code", "4502").await;
    page.until_text("#close-meaning", "This session has ended").await;
    page.until_text("#state", "Closed.").await;
    page.assert_own_host(&site.url).await;
}

async fn what_went_wrong_is_said(d: &Deployment) {
    let site = Site::of(d).await;
    let page = window().await;
    page.goto(&format!("{}/websocket_test.html", site.url)).await;
    page.fill("#token-form [name=token]", "no-token-of-ours").await;
    page.click("#use-token").await;
    page.click("#connect").await;
    page.until_text("#close-code", "4501").await;
    page.until_text("#close-advice", "Log in again.").await;
}

fn form(d: &Deployment) -> &'static str {
    if d.is_cluster() { "cluster" } else { "embedded" }
}
