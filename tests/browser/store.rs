//! What the chat page knows, by itself and run where it runs: its store and its outbox with a
//! server that does in an instant what a real one does in a bad hour.

use serde_json::{Value, json};

use super::{Browser, Site};
use crate::support::Deployment;

both_forms!(
    one_chats_messages_keep_their_order_over_an_outage,
    what_a_closed_tab_left_goes_first,
);

/// Runs the body of an async function on a page of the server's own, after [`TOOLS`].
async fn outcome(d: &Deployment, body: &str) -> Value {
    let site = Site::of(d).await;
    let browser = Browser::start().await;
    let page = browser.window().await;
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
