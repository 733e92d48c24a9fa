//! The pages' protocol client by itself, run where it runs: what it makes of each close code, and
//! its back-off.

use serde_json::json;

use super::{Site, window};
use crate::support::Deployment;

both_forms!(
    the_client_module_keeps_the_close_codes_rules,
    after_a_sleep_dead_connections_cost_little,
    the_package_works_in_a_browser,
);

async fn the_client_module_keeps_the_close_codes_rules(d: &Deployment) {
    let site = Site::of(d).await;
    let page = window().await;
    page.goto(&format!("{}/websocket_test.html", site.url)).await;

    let plans = page
        .js_async(
            "const { closePlan } = await import('/static/messenger.js');
             return Object.fromEntries([1000, 1001, 1003, 1006, 1007, 1009, 1011, 1012, 4000, 4401, 4408, 4409, 4429, 4499, 4500, 4501, 4502, 4503, 4504, 4999]
               .map((code) => [code, closePlan(code).action]));",
        )
        .await;
    let reconnect = ["1001", "1006", "1011", "1012", "4000", "4408", "4409", "4429", "4499"];
    let stop = ["1000", "1003", "1007", "1009", "4500", "4501", "4502", "4503", "4504", "4999"];
    for code in reconnect {
        assert_eq!(plans[code], "reconnect", "{code}");
    }
    for code in stop {
        assert_eq!(plans[code], "stop", "{code}");
    }
    assert_eq!(plans["4401"], "refresh");

    let told = page
        .js_async(
            "const { closePlan } = await import('/static/messenger.js');
             return ['{\"reconnect_after_ms\": 1234}', '', 'not JSON', '{\"reconnect_after_ms\": -1}', '{\"reconnect_after_ms\": 1e12}']
               .map((reason) => closePlan(1012, reason).delayMs);",
        )
        .await;
    assert_eq!(told, json!([1234, null, null, null, 300_000]));

    // random over the whole range, which doubles up to half a minute
    let delays = page
        .js_async(
            "const { backoff } = await import('/static/messenger.js');
             return [[0, 0], [0, 0.5], [3, 0.5], [9, 0.999], [50, 0.5]].map(([attempt, random]) => backoff(attempt, () => random));",
        )
        .await;
    assert_eq!(delays, json!([0, 250, 2000, 29_970, 15_000]));

    let sequence = page.js_async(FAKE_SOCKET).await;
    assert_eq!(sequence["told"], json!([1, 2, 3, 7]), "each once and in order: {sequence}");
    assert_eq!(
        sequence["sent"],
        json!([
            {"type": "subscribe_chat", "chat_id": 7, "after_seq": 0},
            {"type": "unsubscribe_chat", "chat_id": 7},
            {"type": "subscribe_chat", "chat_id": 7, "after_seq": 2}
        ]),
        "a gap is healed by asking from the cursor, and what a newer server sends is no gap"
    );
    page.assert_clean(&site.url).await;
}

/// The steps of an application's own page with the package.
async fn the_package_works_in_a_browser(d: &Deployment) {
    let site = Site::of(d).await;
    let user = d.user().await;
    let chat = user.group_id(&[]).await;
    user.say(chat, "before").await;
    let page = window().await;
    page.goto(&format!("{}/websocket_test.html", site.url)).await;
    let script = format!(
        "const {{ Messenger, WebStore }} = await import('/static/client.js');
         const chat = new Messenger(location.origin, {{ store: new WebStore(localStorage) }});
         await chat.login('{}', '{}');
         chat.subscribe({chat}, 0);
         await chat.send({chat}, 'after');
         const texts = [];
         for await (const event of chat) {{
           if (event.type === 'new_message') texts.push(event.message.text);
           if (texts.includes('after')) chat.close();
         }}
         return {{ texts, kept: new WebStore(localStorage).load().get({chat}).seq }};",
        user.username, user.password
    );
    let outcome = page.js_async(&script).await;
    assert_eq!(outcome["texts"], json!(["before", "after"]));
    assert_eq!(outcome["kept"], user.chat(chat).await["seq"]);
    page.assert_clean(&site.url).await;
}

/// The six connections that a browser keeps may all be dead after a sleep: a refresh must not wait
/// for each of them.
async fn after_a_sleep_dead_connections_cost_little(d: &Deployment) {
    let site = Site::of(d).await;
    let page = window().await;
    page.goto(&format!("{}/websocket_test.html", site.url)).await;
    let outcome = page
        .js_async(
            "const { Session } = await import('/static/messenger.js');
             let dead = 6;
             globalThis.fetch = async (_url, { signal }) => {
               if (dead > 0) {
                 dead -= 1;
                 await new Promise((_, fail) => signal.addEventListener('abort', () => fail(signal.reason)));
               }
               return new Response(JSON.stringify({ access_token: 'new', refresh_token: 'next', expires_in: 900 }));
             };
             const asleep = { access: 'old', refresh: 'once', expiresAt: Date.now() - 60_000, ttl: 900, id: 'x' };
             const kept = new Map([['try-out', JSON.stringify(asleep)]]);
             const storage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value), removeItem: (key) => kept.delete(key) };
             const begun = performance.now();
             const session = new Session({ key: 'try-out', storage });
             await session.refresh();
             return { token: session.accessToken, took: performance.now() - begun };",
        )
        .await;
    assert_eq!(outcome["token"], "new");
    assert!(outcome["took"].as_f64().unwrap() < 10_000.0, "{outcome}");
    page.assert_clean(&site.url).await;
}

/// A server that doubles an event, leaves one out, and sends what this client does not know: the
/// client tells each event once, and asks for what is missing.
const FAKE_SOCKET: &str = r"
    const { Connection, Session } = await import('/static/messenger.js');
    const sent = [];
    let fake;
    class Fake {
      constructor() { fake = this; }
      send(text) {
        const { request_id, ...command } = JSON.parse(text);
        sent.push(command);
        if (command.type === 'subscribe_chat') this.tell({ type: 'subscribed', chat_id: 7, seq: 3, recovered: 0, request_id });
        if (command.after_seq === 2) {
          this.tell({ type: 'message_deleted', chat_id: 7, seq: 3, message_id: 3 });
          this.tell({ type: 'unknown', chat_id: 7, seq: 4 });
          for (const seq of [5, 6, 7]) this.tell({ type: 'of_a_newer_server', chat_id: 7, seq });
          this.tell({ type: 'message_deleted', chat_id: 7, seq: 7, message_id: 7 });
        }
      }
      close() {}
      tell(frame) { setTimeout(() => this.onmessage({ data: JSON.stringify(frame) })); }
    }
    const session = new Session({ key: 'try-out', storage: { getItem: () => null, setItem() {}, removeItem() {} } });
    session.adopt('a-token');
    const connection = new Connection(session, { WebSocket: Fake });
    const told = [];
    const all = new Promise((done) => connection.on('event', (frame) => {
      if (frame.type === 'message_deleted') told.push(frame.seq);
      if (frame.seq === 7 && frame.type === 'message_deleted') done();
      if (frame.type === 'subscribed' && told.length === 0) for (const seq of [1, 2, 2, 1, 4]) fake.tell({ type: 'message_deleted', chat_id: 7, seq, message_id: seq });
    }));
    connection.subscribe(7, 0);
    connection.start();
    fake.tell({ type: 'welcome', user_id: 1, connection_id: 'x', heartbeat_seconds: 25 });
    await all;
    connection.stop();
    return { told, sent };
";
