// @ts-check
/**
 * The chat page: which chat is open (by the address's `#/chat/ID`, so that back and forward work),
 * and what the parts of the page do together. The login: `entrance.js`. The parts:
 * `chat_list.js`, `chat_thread.js`, `chat_details.js`, `chat_new.js`, `connection_bar.js`.
 * @module
 */
import { Connection, Session, backoff } from './messenger.js';
import { batched, byId, confirmed, name, onNewDay, setText } from './dom.js';
import { showAccount } from './account.js';
import { BASE, ours } from './site.js';
import { Store } from './store.js';
import { shared } from './storage.js';
import { ChatList } from './chat_list.js';
import { Thread } from './chat_thread.js';
import { Details } from './chat_details.js';
import { newChatDialog } from './chat_new.js';
import { connectionBar, longestMs, say } from './connection_bar.js';
import { entrance, invited } from './entrance.js';
import { pageKeys } from './keys.js';
import { showProfile } from './profile.js';
import { notifyOf } from './notify.js';
import { searchMessages } from './search.js';
import { showSettings } from './settings.js';
import { quickSwitcher } from './switcher.js';
import { onLanguage, parts, t } from './i18n.js';
import { wordsFor, wordsForClose, wordsForEnd } from './words.js';

const session = new Session({ base: BASE, key: ours('messenger.session'), storage: shared });
const connection = new Connection(session, { longestMs });
/** @type {Store} */
let store;
/** @type {ChatList} */
let list;
/** @type {Thread} */
let thread;
/** @type {Details} */
let details;

const showEntrance = entrance(session);
// Also where another tab logged in.
session.on('signed_in', () => enter());

async function enter(attempt = 0) {
  byId('entrance').hidden = true;
  byId('app').hidden = false;
  const mine = store = new Store(session, connection);
  list = new ChatList(store);
  thread = new Thread(store, connection, toast);
  details = new Details(store, toast);
  const render = batched(() => {
    if (store !== mine || !store.me) return;
    list.render(openId());
    thread.render();
    details.render();
  });
  store.on('chats', render);
  store.on('people', render);
  store.on('chat', render);
  store.on('fault', toast);
  store.on('message', (event) => notifyOf(event, mine, go).catch(() => {})); // the browser shows none
  store.on('profile', (id) => showProfile(mine, id, go, toast));
  store.on('gone', ({ id, name: gone }) => {
    if (id !== addressed()) return;
    location.hash = '';
    route();
    toast(...parts('chats.gone', { name: name(gone) }));
  });
  try {
    await store.start();
  } catch (error) {
    if (store !== mine) return;
    // The server is away: say so, and come back when it does.
    say(`${wordsFor(error)} ${t('trying_again')}`);
    const waitMs = Math.max(error.retryAfterMs ?? 0, 500 + backoff(attempt, Math.random, longestMs()));
    setTimeout(() => { if (store === mine) { leaveStore(); enter(attempt + 1); } }, waitMs);
    return;
  }
  if (store !== mine) return; // the session ended meanwhile
  showMe();
  byId('connection').hidden = true;
  connection.start();
  route();
  if (invited()) return accept();
  list.reveal(openId());
  if (openId()) thread.focus();
  else list.focusFirst();
}

function showMe() {
  setText(byId('me'), store.me.username);
  byId('me').setAttribute('aria-label', t('account.of', { name: store.me.username }));
}

function leaveStore() {
  store?.close();
  store = /** @type {any} */ (undefined);
}

const addressed = () => Number(/^#\/chat\/(\d+)$/.exec(location.hash)?.[1] ?? 0);

function openId() {
  const id = addressed();
  return store?.chats.has(id) ? id : 0;
}

/** The chat that is shown. */
let shown = 0;

function route() {
  if (!store?.me) return;
  const id = openId();
  const before = shown;
  shown = id;
  byId('app').classList.toggle('chat-open', id > 0);
  thread.show(id);
  details.show(id);
  list.render(id);
  // The chat went, and what had the focus in it: keys go on from the list.
  if (!id && before && !document.querySelector('dialog[open]')) list.focus(before);
}

/** Enters the group of the invitation that the address names. */
async function accept() {
  const code = invited();
  location.hash = '';
  try {
    const chat = await store.call('POST', `/invites/${code}/accept`);
    store.enter(chat);
    go(chat.id);
  } catch (error) {
    // Of the server's own invitation nothing is left but the account.
    if (/** @type {any} */ (error).code !== 'invite_not_found' || store.chats.size > 0) toast(wordsFor(error));
  }
}

window.addEventListener('hashchange', () => { if (store?.me && invited()) return accept(); route(); thread?.focus(); });
const go = (id) => { location.hash = `#/chat/${id}`; route(); thread.focus(); };
/** A message, wherever in its chat's history it is. */
const reveal = (id, messageId) => { go(id); thread.jump(messageId); };

// A link to the chat that is open changes no address, and means the same: to write there.
byId('chats').addEventListener('click', (event) => {
  const link = event.target.closest('.chat-link');
  if (link && !event.defaultPrevented && link.hash === location.hash && !event.ctrlKey && !event.metaKey && !event.shiftKey) thread.focus();
});
byId('back').addEventListener('click', () => { location.hash = ''; });
byId('new-chat').addEventListener('click', () => newChatDialog(store, go));
const find = () => quickSwitcher(store, go, (words) => searchMessages(store, openId(), reveal, words));
byId('find-chat').addEventListener('click', find);
byId('search-chat-messages').addEventListener('click', () => searchMessages(store, openId(), reveal));
byId('me').addEventListener('click', () => showAccount(store, session));
byId('show-settings').addEventListener('click', showSettings);
byId('show-details').addEventListener('click', () => details.toggle());
byId('hide-details').addEventListener('click', () => details.toggle(false));
byId('details-body').addEventListener('leave', async () => {
  const chat = store.chats.get(openId());
  if (!chat || !await confirmed(parts('details.leave_sure', { name: name(chat.info.name) }), t('details.leave_do'))) return;
  await store.leave(chat.id).catch((error) => toast(wordsFor(error)));
});

pageKeys({
  ready: () => Boolean(store?.me),
  open: () => openId() > 0,
  focusField: () => thread.composer.focus(),
  insert: (text) => thread.composer.insert(text),
  escape: () => {
    if (thread.composer.cancel()) return;
    if (!byId('details').hidden) return details.toggle(false);
    if (!openId()) return;
    if (document.activeElement === byId('text')) thread.toEnd();
    thread.focus();
  },
  beside: (step) => {
    const id = list.beside(openId(), step);
    if (!id) return;
    go(id);
    list.reveal(id);
  },
  find,
});

byId('logout').addEventListener('click', async () => {
  const unsent = store?.outbox.size ?? 0;
  if (unsent > 0 && !await confirmed(t('logout.unsent', { count: unsent }), t('logout'))) return;
  store?.forgetAll();
  session.logout().catch(() => {}); // it is ended here in any case
});

session.on('ended', (text) => {
  connection.stop();
  leaveStore();
  for (const dialog of document.querySelectorAll('dialog[open]')) /** @type {HTMLDialogElement} */ (dialog).close();
  byId('chats').replaceChildren();
  showEntrance(wordsForEnd(text));
});

connectionBar(connection, (code) => {
  if (code < 4501 || code > 4503) return false;
  // The end that was asked for may come before the answer to it.
  if (store?.leaving) store.forgetAll();
  session.end(store?.leaving ? t('account.deleted') : wordsForClose(code));
  return true;
});

onLanguage(() => {
  if (!store?.me) return;
  showMe();
  list.render(openId());
  thread.rewrite();
  details.rewrite();
});

onNewDay(() => store?.emit('chats'));

let toastTimer = 0;

/** @param {...(string|Node)} words */
function toast(...words) {
  clearTimeout(toastTimer);
  byId('toast').replaceChildren(...words);
  toastTimer = setTimeout(() => byId('toast').replaceChildren(), 6000);
}

// ---- What cannot be kept is said, and not lost without a question

const note = byId('not-kept');
shared.whenRefused = () => { note.hidden = false; };
note.hidden = shared.durable;
window.addEventListener('beforeunload', (event) => { if (!shared.durable && store?.me && (store.outbox.size > 0 || byId('text').value !== '')) event.preventDefault(); });

if (session.signedIn) enter();
else showEntrance();

// Without a network the page opens all the same. A browser may have no such workers, or refuse.
const trusted = /** @type {any} */ (window).trustedTypes?.createPolicy('messenger', { createScriptURL: (/** @type {string} */ url) => url });
const worker = `${BASE}sw.js`;
navigator.serviceWorker?.addEventListener('message', ({ data }) => { if (store?.chats.has(data.chat)) go(data.chat); });
navigator.serviceWorker?.register(trusted?.createScriptURL(worker) ?? worker).catch(() => {});
