//! The chat page while servers go and come: it returns by itself and shows what it missed, each
//! message once.

use std::time::Duration;

use serde_json::json;

use super::{Page, Site, chat_page};
use crate::support::deployment::Builder;
use crate::support::{Deployment, SOON};

both_forms_alone!(
    after_a_crash_the_page_shows_what_was_sent_meanwhile,
    after_a_drain_the_page_comes_back_when_told,
    the_page_lives_longer_than_its_token,
    two_tabs_live_longer_than_their_token,
);

const ENTER: &str = "\u{e007}";

const CONNECTED: &str = "document.documentElement.dataset.connection === 'open'";

/// How long the page may take to come back: the longest back-off after a few seconds' outage, and
/// some.
const BACK: Duration = Duration::from_secs(60);

async fn shown_once(page: &Page, texts: &[&str]) {
    page.until_within(
        BACK,
        &format!("{texts:?} shown, and nothing else"),
        "JSON.stringify([...document.querySelectorAll('.message:not(.sending, .failed) .text')].map((e) => e.textContent)) === JSON.stringify(arguments[0])",
        &[json!(texts)],
    )
    .await;
}

pub(super) fn kill_all(d: &Deployment) {
    for node in d.nodes() {
        node.kill_9();
    }
}

pub(super) async fn restart_all(d: &Deployment) {
    for node in d.nodes() {
        node.restart().await;
    }
}

async fn after_a_crash_the_page_shows_what_was_sent_meanwhile(builder: Builder) {
    let d = builder.start().await;
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let chat = ann.group("Steady", &[&bob]).await["id"].as_i64().unwrap();
    let site = Site::of(&d).await;
    let page = chat_page(&site, &ann).await;
    page.click_text(".chat-link", "Steady").await;
    page.until_text("#beginning", "No messages yet").await;
    bob.say(chat, "before").await;
    shown_once(&page, &["before"]).await;
    page.assert_clean(&site.url).await;

    kill_all(&d);
    page.until_text("#connection", "Trying again").await;
    // written while nobody is there to take it: kept, and sent when it can be
    page.fill("#text", "into the void").await;
    page.keys("#text", ENTER).await;
    page.until_text(".message.sending .text", "into the void").await;
    restart_all(&d).await;
    // somebody who does something need not wait for the back-off
    page.press("still here").await;
    page.until_within(Duration::from_secs(3), "the connection", CONNECTED, &[]).await;
    bob.say(chat, "meanwhile").await;
    page.until_within(BACK, "the message kept to be sent", "!document.querySelector('.message.sending')", &[]).await;

    // whichever came first, the page has what the server has
    let history = ann.history(chat).await;
    let items = history["items"].as_array().unwrap();
    let texts: Vec<&str> = items.iter().map(|m| m["text"].as_str().unwrap()).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    for text in ["before", "into the void", "meanwhile"] {
        assert!(texts.contains(&text), "{texts:?}");
    }
    shown_once(&page, &texts).await;
    bob.say(chat, "after").await;
    shown_once(&page, &[&texts[..], &["after"]].concat()).await;
    page.until("the notice to go", "document.querySelector('#connection').hidden", &[]).await;
    page.assert_own_host(&site.url).await;
}

async fn after_a_drain_the_page_comes_back_when_told(builder: Builder) {
    let d = builder.env("DRAIN_SECONDS", 1).start().await;
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let chat = ann.group("Steady", &[&bob]).await["id"].as_i64().unwrap();
    let site = Site::of(&d).await;
    let page = chat_page(&site, &ann).await;
    page.click_text(".chat-link", "Steady").await;
    page.until_text("#beginning", "No messages yet").await;
    // A client may be told to come back in a tenth of a second: what the page goes through is noted
    // while it happens.
    page.js(
        "window.noted = [];
         const bar = document.querySelector('#connection');
         const note = () => noted.push([document.documentElement.dataset.closeCode ?? '', bar.hidden ? '' : bar.innerText]);
         const observer = new MutationObserver(note);
         observer.observe(document.documentElement, { attributeFilter: ['data-close-code'] });
         observer.observe(bar, { attributes: true, childList: true, characterData: true, subtree: true });",
        vec![],
    )
    .await;
    for node in d.gateways() {
        node.sigterm();
    }
    for node in d.gateways() {
        node.wait_exit(SOON).await;
    }
    let noted = page.until("a close", "noted.length > 0 && noted", &[]).await;
    let noted: Vec<(String, String)> = serde_json::from_value(noted).unwrap();
    assert_eq!(noted[0].0, "1012", "{noted:?}");
    let said = noted.iter().filter(|(code, _)| code == "1012").map(|(_, text)| text.trim());
    for text in said {
        // nothing at all where the wait is too short to be worth a word
        let fits =
            ["", "This server asked to connect anew.", "Connecting…"].iter().any(|start| text.starts_with(start));
        assert!(fits, "{noted:?}");
    }
    for node in d.gateways() {
        node.restart().await;
    }
    bob.say(chat, "meanwhile").await;
    shown_once(&page, &["meanwhile"]).await;
    page.until_connected().await;
}

async fn the_page_lives_longer_than_its_token(builder: Builder) {
    let d = builder.env("ACCESS_TOKEN_TTL_SECONDS", 4).start().await;
    let ann = d.user_named("ann").await;
    let chat = ann.group("Steady", &[]).await["id"].as_i64().unwrap();
    let site = Site::of(&d).await;
    let page = chat_page(&site, &ann).await;
    page.click_text(".chat-link", "Steady").await;
    // the connection must not have been lost once, so any loss is noted
    page.js(
        "window.lost = 0; new MutationObserver(() => { if (document.documentElement.dataset.connection !== 'open') window.lost += 1; }).observe(document.documentElement, { attributes: true })",
        vec![],
    )
    .await;
    page.until(
        "three refreshed tokens",
        "performance.getEntriesByType('resource').filter((e) => e.name.endsWith('/auth/refresh')).length >= 3",
        &[],
    )
    .await;
    let fresh = ann.second_session().await;
    fresh.say(chat, "still here").await;
    shown_once(&page, &["still here"]).await;
    let lost = page.js("return window.lost", vec![]).await;
    assert_eq!(lost, json!(0), "`authenticate` keeps the connection");
    page.assert_clean(&site.url).await;
}

/// A refresh token is good for one use: one tab refreshes, and the other goes on with what it got.
async fn two_tabs_live_longer_than_their_token(builder: Builder) {
    let d = builder.env("ACCESS_TOKEN_TTL_SECONDS", 4).start().await;
    let ann = d.user_named("ann").await;
    let chat = ann.group("Steady", &[]).await["id"].as_i64().unwrap();
    let site = Site::of(&d).await;
    let page = chat_page(&site, &ann).await;
    let first = page.open_window(&format!("/#/chat/{chat}")).await;
    page.until_text("#chat-name", "Steady").await;
    page.until_connected().await;
    page.js(
        "window.pairs = new Set(); addEventListener('storage', (e) => { if (e.key === 'messenger.session') pairs.add(e.newValue); });
         const set = Storage.prototype.setItem;
         Storage.prototype.setItem = function (key, value) { if (key === 'messenger.session') pairs.add(value); return set.call(this, key, value); };",
        vec![],
    )
    .await;
    page.until("four pairs of tokens", "pairs.size >= 4", &[]).await;
    let fresh = ann.second_session().await;
    fresh.say(chat, "still here").await;
    shown_once(&page, &["still here"]).await;
    page.back_to(first).await;
    page.until_text("#me", &ann.username).await;
    page.until_text(".chat-link .words, .chat-link .preview", "still here").await;
    page.assert_clean(&site.url).await;
}
