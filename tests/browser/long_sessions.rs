//! A tab that stays open for days: it keeps what one looks at, and no more.

use serde_json::json;

use super::store::outcome;
use super::{Site, chat_page, open_chat};
use crate::support::Deployment;

both_forms!(a_chat_that_nobody_looks_at_is_let_go_of, a_hidden_tab_lets_go_of_old_messages,);

/// So many of one chat are kept.
const KEPT: usize = 600;

async fn a_chat_that_nobody_looks_at_is_let_go_of(d: &Deployment) {
    let script = r"
        let items = [{ ...message(60, 60), chat_id: 8 }];
        const { store, connection } = await started({
          'GET /chats/?': () => ({ items: [group(7), group(8)], next_cursor: null }),
          'GET /messages/chat/8': () => ({ items, next_cursor: null, seq: items.at(-1).seq }),
        });
        const chat = store.chats.get(8);
        const counts = [];
        const come = (from, to) => {
          for (let n = from; n < to; n += 1) {
            const one = { ...message(n, n), chat_id: 8 };
            connection.emit('event', { type: 'new_message', chat_id: 8, seq: n, message: one });
            items = [...items, one].slice(-50);
          }
          counts.push(chat.messages.length);
        };
        await store.look(8);
        come(61, 661);
        await store.look(7);
        come(661, 662);
        come(662, 670);
        const ends = { unread: chat.unread, last: chat.last.id };
        await store.look(8);
        come(670, 671);
        ends.here = [chat.messages.length, chat.messages[0].id, chat.messages.at(-1).id];
        store.close();
        return { ...ends, counts };";
    let ends = outcome(d, script).await;
    let wanted = json!({"unread": KEPT + 9, "last": 669, "here": [51, 620, 670], "counts": [KEPT + 1, 0, 0, 51]});
    assert_eq!(ends, wanted);
}

/// Its end is what one comes back to, with a line above what is unread.
async fn a_hidden_tab_lets_go_of_old_messages(d: &Deployment) {
    let (ann, bob) = (d.user_named("ann").await, d.user_named("bob").await);
    let chat = ann.group("Busy", &[&bob]).await["id"].as_i64().unwrap();
    let said = bob.say(chat, "the first").await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    let source = "window.WebSocket = class extends WebSocket { constructor(...more) { super(...more); window.socket = this; } };";
    page.devtools("Page.addScriptToEvaluateOnNewDocument", json!({"source": source})).await;
    page.reload().await;
    page.until_connected().await;
    open_chat(&page, "Busy").await;
    page.until_text(".message .text", "the first").await;
    page.until("it is read", "document.title === 'Messenger'", &[]).await;
    let come = "const [said, count] = arguments;
        for (const [key, value] of [['hidden', true], ['visibilityState', 'hidden']]) Object.defineProperty(document, key, { get: () => value });
        for (let n = 1; n <= count; n += 1) {
          const message = { ...said, id: said.id + n, seq: said.seq + n, text: `news ${n}.`, client_message_id: null };
          socket.onmessage({ data: JSON.stringify({ type: 'new_message', chat_id: said.chat_id, seq: message.seq, message }) });
        }";
    page.js(come, vec![said, json!(KEPT + 20)]).await;
    let counted = format!("document.title.startsWith('({}')", KEPT + 20);
    page.until("all counted", &counted, &[]).await;
    page.until("the page of the server", "document.querySelectorAll('.message').length === 1", &[]).await;
    page.until("a line above it", "document.querySelectorAll('.unread-line').length === 1", &[]).await;
}
