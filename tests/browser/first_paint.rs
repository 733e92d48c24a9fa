//! The way to the first paint, and the page without a server.

use std::time::Duration;

use serde_json::json;

use super::recovery::{kill_all, restart_all};
use super::{Page, Site, chat_page, open_chat, until_field, window};
use crate::support::deployment::Builder;
use crate::support::{Deployment, SOON, eventually};

both_forms!(
    a_visit_costs_few_round_trips,
    the_page_can_be_installed_and_opens_offline_under_a_path,
    what_is_kept_stands_back_for_what_the_server_has,
);
both_forms_alone!(the_page_opens_without_a_server,);

/// Contract: painted within a second where each request takes 300 ms.
const LATENCY_MS: u64 = 300;
const FIRST_PAINT_MS: f64 = 1000.0;

/// Waits until the browser has the page for a visit without a network, and its worker answers.
async fn until_kept(page: &Page) {
    let look = "const cached = await caches.match(new URL('websocket_test_new.html', document.baseURI));
        return Boolean(cached && navigator.serviceWorker.controller)";
    eventually("the page kept", SOON, async || (page.js_async(look).await == json!(true)).then_some(())).await;
}

/// The page is painted soon; its scripts are asked for once, together and compressed.
async fn a_visit_costs_few_round_trips(d: &Deployment) {
    let ann = d.user_named("ann").await;
    let site = Site::of(d).await;
    let page = window().await;
    // The browser itself is awake before it is measured.
    page.goto(&format!("{}/asyncapi.json", site.url)).await;
    let slow = json!({"offline": false, "latency": LATENCY_MS, "downloadThroughput": -1, "uploadThroughput": -1});
    page.devtools("Network.emulateNetworkConditions", slow).await;
    page.goto(&format!("{}/", site.url)).await;
    page.until_text("#entrance-title", "Log in").await;
    let visit = page
        .js(
            "const paint = performance.getEntriesByName('first-contentful-paint')[0].startTime;
             const scripts = performance.getEntriesByType('resource').filter((e) => e.name.endsWith('.js') && e.name.includes('/static/'));
             return {
                 paint,
                 scripts: scripts.length,
                 first: Math.min(...scripts.map((e) => e.responseEnd)),
                 lastAsked: Math.max(...scripts.map((e) => e.startTime)),
                 plain: scripts.filter((e) => e.decodedBodySize > 2000 && e.encodedBodySize >= e.decodedBodySize).map((e) => e.name),
                 bytes: scripts.reduce((sum, e) => sum + e.encodedBodySize, 0),
                 styles: performance.getEntriesByType('resource').filter((e) => e.name.endsWith('.css')).length,
             }",
            vec![],
        )
        .await;
    println!("first paint after {} ms, {visit}", visit["paint"]);
    let number = |name: &str| visit[name].as_f64().unwrap();
    assert!(number("paint") < FIRST_PAINT_MS, "{visit}");
    assert!(number("scripts") > 20.0, "{visit}");
    assert!(number("lastAsked") < number("first"), "each is asked for without waiting for another: {visit}");
    assert_eq!((&visit["plain"], &visit["styles"]), (&json!([]), &json!(0)), "{visit}");

    // the next visit asks for none of them
    until_kept(&page).await;
    page.fill("#entrance-form [name=username]", &ann.username).await;
    page.fill("#entrance-form [name=password]", &ann.password).await;
    page.click("#entrance-submit").await;
    page.until_connected().await;
    page.reload().await;
    page.until_connected().await;
    let asked = "return performance.getEntriesByType('resource').filter((e) => e.name.includes('/static/') && e.transferSize > 0 && e.deliveryType !== 'cache' && !e.workerStart).map((e) => e.name)";
    assert_eq!(page.js(asked, vec![]).await, json!([]));
    page.assert_clean(&site.url).await;
}

async fn the_page_can_be_installed_and_opens_offline_under_a_path(d: &Deployment) {
    let site = Site::under(d, "/talk").await;
    let url = site.url.clone();
    let page = window().await;
    page.goto(&format!("{url}/")).await;
    page.until_text("#entrance-title", "Log in").await;
    until_kept(&page).await;
    let errors = page.devtools("Page.getInstallabilityErrors", json!({})).await["installabilityErrors"].take();
    assert_eq!(errors, json!([]), "Chromium would install it");
    let manifest = page.devtools("Page.getAppManifest", json!({})).await;
    assert_eq!(manifest["errors"], json!([]), "{manifest}");
    assert_eq!(manifest["manifest"]["startUrl"], format!("{url}/"), "{manifest}");
    let names = page.js_async("return await caches.keys()").await;
    assert!(names.as_array().unwrap().iter().all(|name| name.as_str().unwrap().contains("@/talk/#")), "{names}");
    page.assert_clean(&url).await;

    drop(site);
    page.reload().await;
    page.until_text("#entrance-title", "Log in").await;
    let under = "return performance.getEntriesByType('resource').every((e) => e.name.includes('/talk/'))";
    assert_eq!(page.js(under, vec![]).await, json!(true));
}

/// A page of an older release is shown to nobody while there is a server, and what it kept goes
/// with it. Nothing of a user is kept for a visit without a network.
async fn what_is_kept_stands_back_for_what_the_server_has(d: &Deployment) {
    let ann = d.user_named("ann").await;
    let secret = "only for those in here";
    let chat = ann.group("Steady", &[]).await["id"].as_i64().unwrap();
    ann.say(chat, secret).await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    open_chat(&page, "Steady").await;
    page.until_text(".message .text", secret).await;
    until_kept(&page).await;
    // As a release before would have left it.
    let age = "for (const name of await caches.keys()) {
            const cache = await caches.open(name);
            await cache.put(new URL('websocket_test_new.html', document.baseURI), new Response('<h1>An old page</h1>', { headers: { 'content-type': 'text/html' } }));
        }
        await caches.open('messenger.files@/#a-release-before');
        await caches.open('messenger.files@/talk/#of-another-messenger');
        const kept = await navigator.serviceWorker.getRegistration();
        await kept.unregister();";
    page.js_async(age).await;
    page.reload().await;
    page.until_text("#chat-name", "Steady").await;
    page.until_connected().await;
    until_kept(&page).await;
    let gone = "return !(await caches.has('messenger.files@/#a-release-before')) && await caches.has('messenger.files@/talk/#of-another-messenger')";
    eventually("the old files gone", SOON, async || (page.js_async(gone).await == json!(true)).then_some(())).await;

    let found = format!(
        "const found = [];
         for (const name of await caches.keys()) {{
             const cache = await caches.open(name);
             for (const request of await cache.keys()) {{
                 const text = await (await cache.match(request)).text();
                 if (text.includes({}) || text.includes({})) found.push(request.url);
             }}
         }}
         return found",
        json!(secret),
        json!(ann.username),
    );
    assert_eq!(page.js_async(&found).await, json!([]));
    page.click("#logout").await;
    page.until_text("#entrance-title", "Log in").await;
    let url = site.url.clone();
    page.assert_clean(&url).await;
    if d.is_cluster() {
        drop(site);
        page.reload().await;
        page.until_text("#entrance-title", "Log in").await;
        assert_eq!(page.texts("#chats .name").await, Vec::<String>::new());
    }
}

async fn the_page_opens_without_a_server(builder: Builder) {
    let d = builder.start().await;
    let ann = d.user_named("ann").await;
    ann.group("Steady", &[]).await;
    let site = Site::of(&d).await;
    let page = chat_page(&site, &ann).await;
    open_chat(&page, "Steady").await;
    page.keys("#text", "half a thought").await;
    until_kept(&page).await;
    kill_all(&d);
    page.reload().await;
    page.until_text("#connection", "Trying again").await;
    page.picture("without-a-server").await;
    restart_all(&d).await;
    let open = "document.documentElement.dataset.connection === 'open'";
    page.until_within(Duration::from_secs(60), "the connection", open, &[]).await;
    page.until_text("#chat-name", "Steady").await;
    until_field(&page, "half a thought").await;
    page.assert_own_host(&site.url).await;
}
