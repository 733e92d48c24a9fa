//! The chat page while single requests of it fail: it asks again by itself, with pauses, and throws
//! nothing away that it cannot replace.

use serde_json::json;

use super::store::outcome;
use super::{Site, chat_page};
use crate::support::Deployment;

both_forms!(
    a_page_that_begins_in_an_outage_waits_as_it_is_told,
    a_lost_answer_makes_nothing_twice,
    an_older_page_that_fails_is_asked_for_with_pauses,
    a_chat_whose_first_page_failed_is_there_later,
    what_is_shown_stays_until_it_can_be_replaced,
    what_was_read_is_told_until_the_server_hears_it,
    what_came_meanwhile_is_asked_for_until_it_is_there,
    many_chats_are_asked_for_one_by_one,
);

async fn a_page_that_begins_in_an_outage_waits_as_it_is_told(d: &Deployment) {
    let ann = d.user_named("ann").await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    let source = "window.asked = [];
        window.away = true;
        const real = window.fetch;
        window.fetch = async (at, ...more) => {
          if (!away || !String(at).endsWith('/auth/me')) return real(at, ...more);
          asked.push(performance.now());
          return new Response('{\"code\": \"unavailable\"}', { status: 503, headers: { 'retry-after': '3' } });
        };";
    page.devtools("Page.addScriptToEvaluateOnNewDocument", json!({"source": source})).await;
    page.reload().await;
    page.until_text("#connection", "Trying again").await;
    let waited = page.until("the second try", "asked.length > 1 && asked[1] - asked[0]", &[]).await;
    assert!(waited.as_f64().unwrap() >= 2990.0, "{waited}");
    page.js("away = false", vec![]).await;
    page.until_text("#me", &ann.username).await;
    page.until_connected().await;
    page.assert_clean(&site.url).await;
}

/// A form that is sent again after its answer was lost, and once more after it was answered.
async fn a_lost_answer_makes_nothing_twice(d: &Deployment) {
    let ann = d.user_named("ann").await;
    let site = Site::of(d).await;
    let page = chat_page(&site, &ann).await;
    let source = "window.lose = true;
        window.answers = 0;
        const real = window.fetch;
        window.fetch = async (at, options) => {
          const answer = await real(at, options);
          if (options?.method !== 'POST' || !/(create|invites)$/.test(String(at))) return answer;
          answers += 1;
          if (lose) throw new TypeError('lost');
          return answer;
        };";
    page.js(source, vec![]).await;
    page.click("#new-chat").await;
    page.click("#tab-group").await;
    page.fill("#pane-group [name=name]", "Quiet room").await;
    page.click("#pane-group button.primary").await;
    page.until_text("#pane-group [role=alert]", "cannot be reached").await;
    page.js("lose = false", vec![]).await;
    page.click("#pane-group button.primary").await;
    page.until_text("#chat-name", "Quiet room").await;
    let chats = ann.rest.get("/chats/").await.ok(200);
    assert_eq!(chats["items"].as_array().unwrap().len(), 1, "{chats}");

    let invites = format!("/chats/{}/invites", chats["items"][0]["id"]);
    page.click("#show-details").await;
    page.click("#invite-new summary").await;
    for (answers, wanted) in [(3, 1), (4, 1), (5, 2)] {
        page.js("lose = arguments[0]", vec![json!(answers == 3)]).await;
        page.click("#make-invite").await;
        page.until("the answer", "answers === arguments[0]", &[json!(answers)]).await;
        let listed = format!("document.querySelectorAll('#invites li').length === {wanted}");
        page.until("the list", &listed, &[]).await;
        let made = ann.rest.get(&invites).await.ok(200);
        assert_eq!(made["items"].as_array().unwrap().len(), wanted, "{made}");
    }
    page.assert_clean(&site.url).await;
}

/// A list at its edge asks whenever it is drawn, and it is drawn after each failure.
async fn an_older_page_that_fails_is_asked_for_with_pauses(d: &Deployment) {
    let script = r"
        let fault = { retryAfterMs: 0 };
        const { store, asked } = await started({
          'GET /chats/?': () => ({ items: [group(7)], next_cursor: null }),
          'GET /messages/chat/7': async (path) => {
            await turn();
            if (!path.includes('cursor=')) return { items: [message(60, 60)], next_cursor: 'next', seq: 60 };
            if (fault) throw new ApiError(503, 'unavailable', 'away', fault);
            return { items: [message(59, 59)], next_cursor: null, seq: 60 };
          },
        });
        const times = () => asked.filter(({ call }) => call.includes('cursor=')).map(({ at }) => at);
        store.on('chat', () => store.pages.older(7));
        await store.look(7);
        await turn(1400);
        const ends = { early: times().length };
        fault = { retryAfterMs: 4000 };
        await until('told to wait', () => times().length > ends.early);
        const told = times().length;
        await turn(100);
        fault = null;
        await until('the older page', () => store.chats.get(7).older === null);
        ends.waitedMs = times()[told] - times()[told - 1];
        ends.here = store.chats.get(7).messages.map(({ id }) => id);
        store.close();
        return ends;";
    let ends = outcome(d, script).await;
    assert!((1..=3).contains(&ends["early"].as_u64().unwrap()), "{ends}");
    assert!(ends["waitedMs"].as_f64().unwrap() >= 3990.0, "the server's word counts: {ends}");
    assert_eq!(ends["here"], json!([59, 60]));
}

/// The connection is fine, so nothing but the page itself asks again. Messages that are sent
/// meanwhile, and while the page is on its way, are there in the end.
async fn a_chat_whose_first_page_failed_is_there_later(d: &Deployment) {
    let script = r"
        const items = [message(60, 60)];
        let fails = 2;
        let slow = null;
        const { store, asked } = await started({
          'GET /chats/?': () => ({ items: [group(7), group(8)], next_cursor: null }),
          'GET /messages/chat/': async () => {
            if (fails > 0) { fails -= 1; away(); }
            const page = { items: [...items], next_cursor: null, seq: items.at(-1).seq };
            await slow;
            return page;
          },
          'POST /messages/send': (_, body) => {
            items.push({ ...message(items.at(-1).id + 1, items.at(-1).seq + 1, 1), ...body });
            return items.at(-1);
          },
        });
        const sent = () => until('sent', () => store.outbox.size === 0);
        await store.look(7);
        store.outbox.send(7, 'to a blank chat');
        await sent();
        let go;
        slow = new Promise((done) => { go = done; });
        await until('on its way', () => fails === 0 && store.chats.get(7).loading);
        store.outbox.send(7, 'beside the page');
        await sent();
        go();
        await until('it is there', () => store.chats.get(7).loaded);
        await turn();
        const ends = { here: store.chats.get(7).messages.map(({ text }) => text) };

        // One that is no longer looked at is not asked for.
        fails = 1;
        await store.look(8);
        store.looked = 7;
        const before = asked.length;
        await turn(1200);
        ends.asked = asked.length - before;
        store.close();
        return ends;";
    let ends = outcome(d, script).await;
    assert_eq!(ends, json!({"here": ["message 60", "to a blank chat", "beside the page"], "asked": 0}));
}

/// After a `resync`, and where a long session lets go of its old messages.
async fn what_is_shown_stays_until_it_can_be_replaced(d: &Deployment) {
    let script = r"
        let there = true;
        const page = (from, to) => Array.from({ length: to - from }, (_, n) => message(from + n, from + n));
        let items = page(1, 51);
        const { store, connection, asked } = await started({
          'GET /chats/?': () => ({ items: [group(7), group(8)], next_cursor: null }),
          'GET /chats/7': () => group(7, { seq: items.at(-1).seq }),
          'GET /chats/8': () => group(8),
          'GET /chats/7/pins': () => ({ items: [], next_cursor: null }),
          'GET /messages/chat/': () => { if (!there) away(); return { items, next_cursor: null, seq: items.at(-1).seq }; },
        });
        const chat = store.chats.get(7);
        await store.look(8);
        await store.look(7);
        const ends = {};
        there = false;
        connection.emit('resync', { chat_id: 7, seq: 50 });
        await until('a failure', () => chat.failures > 0);
        ends.reloading = chat.messages.length;
        items = page(1000, 1050);
        there = true;
        await until('anew', () => chat.loaded);
        ends.reloaded = [chat.messages.length, chat.messages[0].id];

        for (const more of page(1050, 1650)) connection.emit('event', { type: 'new_message', chat_id: 7, seq: more.seq, message: more });
        there = false;
        store.pages.trim(7);
        await until('a failure', () => chat.failures > 0);
        store.pages.trim(7);
        ends.trimming = chat.messages.length;
        items = page(1600, 1650);
        there = true;
        await until('trimmed', () => { store.pages.trim(7); return chat.messages.length === 50; });

        const asks = () => asked.filter(({ call }) => call.startsWith('GET /messages/chat/8')).length;
        connection.emit('resync', { chat_id: 8, seq: 50 });
        await until('its counts', () => asked.some(({ call }) => call === 'GET /chats/8'));
        ends.other = [asks(), store.chats.get(8).messages.length];
        store.close();
        return ends;";
    let ends = outcome(d, script).await;
    let wanted = json!({"reloading": 50, "reloaded": [50, 1000], "trimming": 650, "other": [1, 0]});
    assert_eq!(ends, wanted);
}

/// It is unread for nobody any more, so nothing else has the server told of it again.
async fn what_was_read_is_told_until_the_server_hears_it(d: &Deployment) {
    let script = r"
        let answer = away;
        let unread = 1;
        let seq = 80;
        const now = () => group(7, { seq, unread_count: unread, last_message: message(90, 80) });
        const { store, connection, asked } = await started({
          'GET /chats/?': () => ({ items: [now()], next_cursor: null }),
          'GET /chats/7': now,
          'GET /messages/chat/7': () => ({ items: [message(90, 80)], next_cursor: null, seq: 80 }),
          'POST /chats/7/read': () => answer(),
        });
        const marks = () => asked.filter(({ call }) => call === 'POST /chats/7/read').map(({ body }) => body.seq);
        const chat = store.chats.get(7);
        await store.look(7);
        store.pages.read(7, 80);
        await until('one failure', () => marks().length === 1);
        // Its own count is older than what was read here.
        await store.loadChats();
        const ends = { listed: chat.unread };
        await until('told again', () => marks().length === 2);
        answer = () => { throw new ApiError(429, 'rate_limited', 'slower', { retryAfterMs: 60_000 }); };
        await until('told to wait', () => marks().length === 3);
        await turn(20);
        answer = () => { unread = 0; return null; };
        connection.emit('event', { type: 'welcome', user_id: 1 });
        await until('told at once', () => marks().length === 4);
        await turn(20);
        ends.marks = marks();

        [unread, seq] = [1, 81];
        connection.emit('event', { type: 'new_message', chat_id: 7, seq, message: message(91, 81) });
        answer = () => { throw new ApiError(422, 'invalid', 'no'); };
        store.pages.read(7, seq);
        ends.shown = chat.unread;
        await until('the count of the server', () => chat.unread === 1);
        store.close();
        return ends;";
    let ends = outcome(d, script).await;
    assert_eq!(ends, json!({"listed": 0, "marks": [80, 80, 80, 80], "shown": 0}));
}

/// The list after a reconnect, a chat that is not known yet, and the pins of the open chat.
async fn what_came_meanwhile_is_asked_for_until_it_is_there(d: &Deployment) {
    let script = r"
        let fails = 0;
        const answer = (value) => { if (fails > 0) { fails -= 1; away(); } return value; };
        let listed = [group(7)];
        const { store, connection, asked } = await started({
          'GET /chats/?': () => answer({ items: listed, next_cursor: null }),
          'GET /chats/9': () => answer(group(9)),
          'GET /chats/7/pins': () => answer({ items: [message(60, 60)], next_cursor: null }),
        });
        await store.look(7);
        await store.marks.openPins(7);
        fails = 2;
        listed = [group(7), group(8)];
        connection.emit('event', { type: 'welcome', user_id: 1 });
        await until('a group of meanwhile', () => store.chats.has(8));
        fails = 2;
        connection.emit('event', { type: 'new_message', chat_id: 9, seq: 2, message: { ...message(61, 2), chat_id: 9 } });
        await until('a group that is new', () => store.chats.has(9));
        fails = 2;
        connection.emit('event', { type: 'message_pinned', chat_id: 7, seq: 2 });
        await until('asked for', () => fails === 1);
        await turn();
        const ends = { shown: store.chats.get(7).pins?.length ?? null };
        const pins = () => asked.filter(({ call }) => call.startsWith('GET /chats/7/pins')).length;
        await until('the pins', () => pins() === 4);

        fails = Infinity;
        connection.emit('event', { type: 'welcome', user_id: 1 });
        store.refresh(9);
        await until('both failed', () => asked.at(-1).call === 'GET /chats/9');
        const faults = [];
        store.on('fault', (words) => faults.push(words));
        store.close();
        const before = asked.length;
        await turn(1600);
        return { ...ends, asked: asked.length - before, faults: faults.length };";
    let ends = outcome(d, script).await;
    assert_eq!(ends, json!({"shown": 1, "asked": 0, "faults": 0}));
}

/// A resync of all chats must not use up what the server grants.
async fn many_chats_are_asked_for_one_by_one(d: &Deployment) {
    let script = r"
        const { store, connection, asked } = await started({
          'GET /chats/?': () => ({ items: Array.from({ length: 41 }, (_, n) => group(n + 1)), next_cursor: null }),
          'GET /chats/': (path) => group(Number(path.slice('/chats/'.length))),
        });
        for (const id of store.chats.keys()) connection.emit('resync', { chat_id: id, seq: 1 });
        const times = () => asked.filter(({ call }) => /^GET .chats.[0-9]+$/.test(call)).map(({ at }) => at);
        await until('all asked for', () => times().length === 41);
        store.close();
        return Math.max(...times()) - Math.min(...times());";
    let took_ms = outcome(d, script).await;
    assert!(took_ms.as_f64().unwrap() > 1000.0, "{took_ms}");
}
