//! Notifications: none while the user looks at another tab, and by the page's worker where the
//! browser wants that.

use serde_json::json;

use super::{Page, Site, chat_page, open_chat};
use crate::support::{Deployment, SOON, eventually};

both_forms!(
    several_messages_at_once_ask_the_other_tabs,
    a_browser_that_wants_a_worker_notifies_by_it,
    a_touched_notification_leads_to_its_chat,
);

/// Nobody looks at this window, and it may notify. The desktop is not to be had here, so what
/// would be shown is noted.
async fn unseen(page: &Page, notification: &str) {
    let script = format!(
        "window.shown = [];
         window.Notification = {notification};
         document.hasFocus = () => false;
         localStorage.setItem('messenger.notify', 'on');"
    );
    page.js(&script, vec![]).await;
}

async fn several_messages_at_once_ask_the_other_tabs(d: &Deployment) {
    let ann = d.user_named("ann").await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    unseen(
        &page,
        "class { static permission = 'granted'; constructor(title, more) { shown.push(more.body); } close() {} }",
    )
    .await;
    let shown = page
        .js_async(
            "const { notifyOf } = await import('/static/notify.js');
             const chat = { id: 1, me: 1, info: { name: 'First', is_group: true } };
             const store = { people: { nameOf: (_, name) => name } };
             const tell = (...texts) => Promise.all(texts.map((text) => notifyOf({ chat, message: { author_id: 2, author_username: 'bob', text } }, store, () => {})));
             const other = new BroadcastChannel('messenger.attention');
             other.onmessage = ({ data }) => { if (data === 'anyone?') other.postMessage('looked at'); };
             // However late the other tab answers.
             const [timer, late] = [window.setTimeout, []];
             window.setTimeout = (call) => late.push(call);
             await tell('one', 'two', 'three');
             window.setTimeout = timer;
             for (const call of late) call();
             // An answer that is still on its way would be one to the next question too.
             const last = new BroadcastChannel('messenger.attention');
             await new Promise((done) => { last.onmessage = ({ data }) => { if (data === 'over') done(); }; other.postMessage('over'); });
             other.close();
             await tell('four', 'five');
             return shown;",
        )
        .await;
    assert_eq!(shown, json!(["four", "five"]), "the first three were seen in the other tab");
    page.assert_clean(&site.url).await;
}

/// Chrome on Android has `Notification`, and throws where a page makes one.
async fn a_browser_that_wants_a_worker_notifies_by_it(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let chat = ann.group("First", &[&bob]).await["id"].as_i64().unwrap();
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    unseen(
        &page,
        "class { static permission = 'granted'; constructor() { throw new TypeError('Illegal constructor.'); } }",
    )
    .await;
    page.js(
        "ServiceWorkerRegistration.prototype.showNotification = async function (title, more) { shown.push([title, more.body, more.data]); }",
        vec![],
    )
    .await;
    bob.say(chat, "seen on the phone").await;
    let shown = page.until("a notification", "shown.length === 1 && shown", &[]).await;
    assert_eq!(shown, json!([[format!("{} in First", bob.username), "seen on the phone", chat]]));
    page.assert_clean(&site.url).await;
}

/// The worker is run in the page with browsers' parts of the test's own: no driver touches a
/// notification.
async fn a_touched_notification_leads_to_its_chat(d: &Deployment) {
    let ann = d.user_named("ann").await;
    let chat = ann.group("First", &[]).await["id"].as_i64().unwrap();
    ann.group("Second", &[]).await;
    let site = Site::under(d, "/talk").await;
    let page = chat_page(&site, &ann).await;
    open_chat(&page, "Second").await;
    let worker = page.js_async("return await (await fetch('/talk/sw.js')).text()").await;
    let script = format!(
        "const done = [];
         let pages = [];
         const handlers = {{}};
         const self = {{
             location: {{ href: `${{location.origin}}/talk/sw.js` }},
             addEventListener: (type, handler) => {{ handlers[type] = handler; }},
             clients: {{ matchAll: async () => pages, openWindow: async (address) => done.push(['opened', address]) }},
         }};
         {}
         const client = (path) => ({{
             url: location.origin + path,
             postMessage: (data) => done.push([path, data]),
             focus: async () => done.push([path, 'focused']),
         }});
         const touch = () => new Promise((over) => handlers.notificationclick({{
             notification: {{ data: {chat}, close: () => done.push('closed') }},
             waitUntil: over,
         }}));
         pages = [client('/talk/docs'), client('/talk/#/chat/2'), client('/talk/')];
         await touch();
         pages = [client('/talk/docs')];
         await touch();
         return done;",
        worker.as_str().unwrap()
    );
    let done = page.js_async(&script).await;
    let open = "/talk/#/chat/2";
    let address = format!("{}/#/chat/{chat}", site.url);
    let wanted = json!(["closed", [open, {"chat": chat}], [open, "focused"], "closed", ["opened", address]]);
    assert_eq!(done, wanted);

    // what the page does when it hears of it
    let touched = format!(
        "navigator.serviceWorker.dispatchEvent(new MessageEvent('message', {{ data: {{ chat: {chat} }} }}));
         return location.hash"
    );
    let there = format!("#/chat/{chat}");
    eventually("the chat", SOON, async || (page.js(&touched, vec![]).await == json!(there)).then_some(())).await;
    page.until_text("#chat-name", "First").await;
    page.assert_clean(&site.url).await;
}
