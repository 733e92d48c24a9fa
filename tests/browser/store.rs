//! What the chat page knows, by itself and run where it runs: its store and its outbox with a
//! server that does in an instant what a real one does in a bad hour.

use serde_json::{Value, json};

use super::{Site, window};
use crate::support::Deployment;

both_forms!(
    one_chats_messages_keep_their_order_over_an_outage,
    what_a_closed_tab_left_goes_first,
    what_another_tab_has_not_sent_counts,
    a_chat_between_two_pages_of_the_list_is_kept,
    a_history_that_went_back_is_counted_from_there,
    a_crowd_of_joins_is_one_question,
);

/// Runs the body of an async function on a page of the server's own, after [`TOOLS`].
pub(super) async fn outcome(d: &Deployment, body: &str) -> Value {
    let site = Site::of(d).await;
    let page = window().await;
    page.goto(&format!("{}/websocket_test.html", site.url)).await;
    let outcome = page.js_async(&format!("{TOOLS}\n{body}")).await;
    page.assert_clean(&site.url).await;
    outcome
}

/// `until` waits for a condition; `server` answers by the longest beginning of `METHOD path` that
/// it knows, and notes in `asked` what it was asked; `started` is a store that follows it.
const TOOLS: &str = r"
    const { ApiError, Emitter } = await import('/static/messenger.js');
    const { Outbox } = await import('/static/outbox.js');
    const { Store } = await import('/static/store.js');
    const turn = (ms = 0) => new Promise((done) => setTimeout(done, ms));
    const until = async (what, holds) => {
      for (const end = Date.now() + 20_000; !holds(); await turn(5)) if (Date.now() > end) throw new Error(`not ${what}`);
    };
    const away = () => { throw new ApiError(503, 'unavailable', 'away'); };
    const server = (answers) => {
      const asked = [];
      const request = async (method, path, body) => {
        const call = `${method} ${path}`;
        asked.push({ call, body, at: performance.now() });
        const [known] = Object.keys(answers).filter((one) => call.startsWith(one)).sort((a, b) => b.length - a.length);
        if (!known) throw new Error(call);
        return answers[known](path, body);
      };
      return { asked, request, signedIn: true };
    };
    const started = async (answers) => {
      const session = server({
        'GET /auth/me': () => ({ id: 1, username: 'ann', display_name: null }),
        'GET /users/blocked': () => ({ items: [], next_cursor: null }),
        'GET /messages/chat/': () => ({ items: [], next_cursor: null, seq: 0 }),
        ...answers,
      });
      const connection = Object.assign(new Emitter(), { subscribe() {}, unsubscribe() {}, prefer() {} });
      const store = new Store(session, connection);
      await store.start();
      return { store, connection, asked: session.asked };
    };
    const group = (id, more = {}) => ({ id, name: `chat ${id}`, is_group: true, role: 'member', member_count: 2, seq: 1, unread_count: 0, mention_count: 0,
      last_message: null, created_at: '2026-01-01T00:00:00Z', settings: {}, ...more });
    const message = (id, seq, author_id = 2) => ({ id, seq, chat_id: 7, author_id, author_username: `user${author_id}`, author_display_name: null,
      text: `message ${id}`, created_at: '2026-01-01T00:00:00Z', is_edited: false, client_message_id: null, reply_to_id: null, reactions: [], mentions: [] });
";

/// One that waits for the server holds up those behind it, also once it is given up; one that was
/// refused does not.
async fn one_chats_messages_keep_their_order_over_an_outage(d: &Deployment) {
    let script = r"
        const texts = [];
        let there = false;
        const session = server({ 'POST /messages/send': (_, body) => {
          texts.push(body.text);
          if (body.text === 'refused') throw new ApiError(422, 'invalid', 'refused', { errors: [{ field: 'text', message: 'must not be blank' }] });
          if (there) return { ...body, id: texts.length };
          // What waits is tried at once, until it is given up.
          if (texts.length % 6 !== 0) setTimeout(() => outbox.again());
          away();
        } });
        const outbox = new Outbox(session, () => {}, () => {});
        outbox.resume(1);
        const outage = async (...words) => {
          there = false;
          texts.length = 0;
          for (const text of words) outbox.send(7, text);
          await until('given up', () => outbox.of(7).some((one) => one.state === 'failed'));
          await turn();
          const during = texts.splice(0);
          there = true;
          return during;
        };
        const sent = async () => { await until('all sent', () => outbox.size === 0); return texts.splice(0); };
        const ends = {};
        ends.during = await outage('first', 'second');
        outbox.again();
        ends.again = await sent();
        await outage('third', 'fourth');
        outbox.settled(7, outbox.of(7)[0].client_message_id);
        ends.discarded = await sent();
        await outage('fifth', 'sixth');
        outbox.send(7, 'seventh');
        ends.more = await sent();
        outbox.send(7, 'refused');
        outbox.send(7, 'eighth');
        await until('one left', () => outbox.size === 1);
        ends.refused = texts.splice(0);
        outbox.clear();
        outbox.close();
        return ends;";
    let ends = outcome(d, script).await;
    assert_eq!(ends["during"], json!(vec!["first"; 6]), "what is behind it waits");
    assert_eq!(ends["again"], json!(["first", "second"]));
    assert_eq!(ends["discarded"], json!(["fourth"]));
    assert_eq!(ends["more"], json!(["fifth", "sixth", "seventh"]));
    assert_eq!(ends["refused"], json!(["refused", "eighth"]));
}

/// A tab that stays open sends what a tab that was closed could not, in the order of writing.
async fn what_a_closed_tab_left_goes_first(d: &Deployment) {
    let script = r"
        const texts = [];
        let there = false;
        const session = server({ 'POST /messages/send': (_, body) => {
          if (!there) away();
          texts.push(body.text);
          return { ...body, id: texts.length };
        } });
        const tab = () => { const outbox = new Outbox(session, () => {}, () => {}); outbox.resume(1); return outbox; };
        const [stays, closed] = [tab(), tab()];
        closed.send(7, 'of the closed tab');
        await turn(1);
        stays.send(7, 'of the other');
        await turn(1);
        closed.send(7, 'of the closed tab as well');
        closed.close();
        there = true;
        stays.again();
        await until('all sent', () => texts.length === 3 && stays.size === 0);
        const kept = Object.keys(localStorage).filter((key) => key.includes('unsent'));
        stays.close();
        return { texts, kept };";
    let ends = outcome(d, script).await;
    assert_eq!(ends["texts"], json!(["of the closed tab", "of the other", "of the closed tab as well"]));
    assert_eq!(ends["kept"], json!([]));
}

/// A logout throws it all away, and asks before it does.
async fn what_another_tab_has_not_sent_counts(d: &Deployment) {
    let script = r"
        const session = server({ 'POST /messages/send': away });
        const tab = () => { const outbox = new Outbox(session, () => {}, () => {}); outbox.resume(1); return outbox; };
        const [one, other] = [tab(), tab()];
        one.send(7, 'of one tab');
        other.send(7, 'of the other');
        other.send(8, 'and to another chat');
        const ends = [one.size, other.size];
        one.clear();
        one.close();
        other.clear();
        other.close();
        return [...ends, other.size];";
    assert_eq!(outcome(d, script).await, json!([3, 3, 0]));
}

/// A chat that becomes active while the list is read page by page is on none of them. The server
/// is asked for it before anything of it is thrown away, and not for all at once.
async fn a_chat_between_two_pages_of_the_list_is_kept(d: &Deployment) {
    let script = r"
        let listed = Array.from({ length: 40 }, (_, n) => group(n + 1));
        const { store, connection, asked } = await started({
          'GET /chats/?': () => ({ items: listed, next_cursor: null }),
          'GET /chats/': () => { throw new ApiError(403, 'not_a_member', 'gone'); },
          'GET /chats/2': (path) => { if (path !== '/chats/2') throw new ApiError(404, 'chat_not_found', 'gone'); return group(2); },
          'POST /messages/send': away,
        });
        const gone = [];
        store.on('gone', ({ id }) => gone.push(id));
        store.outbox.send(2, 'kept');
        listed = [group(1)];
        connection.emit('event', { type: 'welcome', user_id: 1 });
        await until('all asked for', () => asked.some(({ call }) => call === 'GET /chats/2') && gone.length >= 38);
        await turn();
        const times = asked.filter(({ call }) => /^GET .chats.[0-9]+$/.test(call)).map(({ at }) => at);
        const ends = { left: [...store.chats.keys()], unsent: store.outbox.of(2).length, asked: times.length, tookMs: Math.max(...times) - Math.min(...times) };
        store.forgetAll();
        store.close();
        return ends;";
    let ends = outcome(d, script).await;
    assert_eq!((&ends["left"], &ends["unsent"], &ends["asked"]), (&json!([1, 2]), &json!(1), &json!(39)), "{ends}");
    assert!(ends["tookMs"].as_f64().unwrap() > 1000.0, "{ends}");
}

/// After a standby that lacked the last commits was promoted, or a backup restored, numbers and ids
/// come once more.
async fn a_history_that_went_back_is_counted_from_there(d: &Deployment) {
    let script = r"
        let now = group(7, { seq: 80, unread_count: 1, last_message: message(90, 80) });
        let items = [message(90, 80)];
        const { store, connection, asked } = await started({
          'GET /chats/?': () => ({ items: [now], next_cursor: null }),
          'GET /chats/7': () => now,
          'GET /chats/7/pins': () => ({ items: [], next_cursor: null }),
          'GET /messages/chat/7': () => ({ items, next_cursor: null, seq: now.seq }),
          'POST /chats/7/read': () => null,
        });
        const marks = () => asked.filter(({ call }) => call === 'POST /chats/7/read').map(({ body }) => body.seq);
        const told = [];
        store.on('message', (event) => told.push(event.message.id));
        await store.look(7);
        store.pages.read(7, 80);
        await until('read', () => marks().length === 1);
        connection.emit('event', { type: 'new_message', chat_id: 7, seq: 81, message: message(91, 81) });
        connection.emit('event', { type: 'message_deleted', chat_id: 7, seq: 82, message_id: 91 });

        now = group(7, { seq: 50, last_message: message(60, 50) });
        items = [message(60, 50)];
        connection.emit('resync', { chat_id: 7, seq: 50 });
        const chat = store.chats.get(7);
        await until('the last message of now', () => chat.last?.id === 60 && chat.loaded);
        connection.emit('event', { type: 'new_message', chat_id: 7, seq: 51, message: message(91, 51) });
        const ends = { unread: chat.unread, last: chat.last.id, here: chat.messages.map(({ id }) => id), told };
        store.pages.read(7, 51);
        await until('read anew', () => marks().length === 2);
        ends.marks = marks();
        store.close();
        return ends;";
    let ends = outcome(d, script).await;
    let wanted = json!({"unread": 1, "last": 91, "here": [60, 91], "told": [91, 91], "marks": [80, 51]});
    assert_eq!(ends, wanted);
}

/// The whole list is asked for once after a crowd, an older answer does not come after a newer, and
/// what is shown stays while the server is away.
async fn a_crowd_of_joins_is_one_question(d: &Deployment) {
    let script = r"
        let people = ['ann'];
        let answer = async () => ({ items: people.map((username, n) => ({ user_id: n + 1, username, role: 'member' })), next_cursor: null });
        const real = answer;
        const { store, connection, asked } = await started({
          'GET /chats/?': () => ({ items: [group(7)], next_cursor: null }),
          'GET /chats/7': () => group(7),
          'GET /chats/7/members': () => answer(),
        });
        const lists = () => asked.filter(({ call }) => call.startsWith('GET /chats/7/members')).length;
        const shown = () => store.chats.get(7).members?.map(({ username }) => username).join();
        const join = (seq) => connection.emit('event', { type: 'member_joined', chat_id: 7, seq, user_id: seq, username: `user${seq}`, role: 'member' });
        await store.people.members(7);
        people = ['ann', 'bob'];
        for (let seq = 2; seq < 302; seq += 1) join(seq);
        await until('both', () => shown() === 'ann,bob');
        await turn();
        const ends = { lists: lists() };

        answer = away;
        people = ['ann', 'bob', 'carl'];
        join(302);
        await until('asked', () => lists() === 3);
        await turn();
        ends.away = shown();
        answer = real;
        await until('all three', () => shown() === 'ann,bob,carl');

        let late;
        answer = () => { const old = real(); return new Promise((done) => { late = () => done(old); }); };
        const older = store.people.members(7, true);
        await until('asked', () => late);
        answer = real;
        people = ['ann'];
        await store.people.members(7, true);
        late();
        await older;
        ends.late = shown();
        store.close();
        return ends;";
    let ends = outcome(d, script).await;
    assert_eq!(ends, json!({"lists": 2, "away": "ann,bob", "late": "ann"}));
}
