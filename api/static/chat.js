// @ts-check
/**
 * The chat page: who is logged in, which chat is open (by the address's `#/chat/ID`, so that back and forward work),
 * and the state of the connection. What is shown of it: `chat_list.js`, `chat_thread.js`, `chat_details.js`, `chat_new.js`.
 * @module
 */
import { Connection, Session, closePlan, randomId } from './messenger.js';
import { batched, byId, confirmed, onSubmit, setText } from './dom.js';
import { Store } from './store.js';
import { ChatList } from './chat_list.js';
import { Thread } from './chat_thread.js';
import { Details } from './chat_details.js';
import { newChatDialog } from './chat_new.js';

const session = new Session();
const connection = new Connection(session);
/** @type {Store} */
let store;
/** @type {ChatList} */
let list;
/** @type {Thread} */
let thread;
/** @type {Details} */
let details;

// ---- Entrance

let registering = false;

function showEntrance(note = '') {
  byId('app').hidden = true;
  byId('entrance').hidden = false;
  setText(byId('entrance-note'), note);
  setMode(false);
  document.title = 'Messenger';
  byId('entrance-form').elements.username.focus();
}

function setMode(register) {
  registering = register;
  const form = byId('entrance-form');
  setText(byId('entrance-title'), register ? 'Create an account' : 'Log in');
  setText(byId('entrance-submit'), register ? 'Create account' : 'Log in');
  setText(byId('entrance-question'), register ? 'Have an account?' : 'New here?');
  setText(byId('entrance-switch'), register ? 'Log in' : 'Create an account');
  setText(form.querySelector('[role=alert]'), '');
  for (const part of form.querySelectorAll('[data-for]')) part.hidden = part.dataset.for !== (register ? 'register' : 'login');
  form.elements.email.disabled = !register;
  form.elements.password.autocomplete = register ? 'new-password' : 'current-password';
}

byId('entrance-switch').addEventListener('click', () => {
  setText(byId('entrance-note'), '');
  setMode(!registering);
  byId('entrance-form').elements.username.focus();
});

onSubmit(byId('entrance-form'), async () => {
  const { username, email, password } = byId('entrance-form').elements;
  if (registering) await session.register(username.value.trim(), email.value.trim(), password.value);
  await session.login(username.value.trim(), password.value);
  byId('entrance-form').reset();
  await enter();
});

// ---- The chats

async function enter() {
  byId('entrance').hidden = true;
  byId('app').hidden = false;
  const mine = store = new Store(session, connection);
  list = new ChatList(store);
  thread = new Thread(store, connection);
  details = new Details(store, (text) => toast(text));
  const render = batched(() => {
    list.render(openId());
    thread.render();
    details.render();
  });
  store.on('chats', render);
  store.on('people', render);
  store.on('chat', render);
  store.on('fault', toast);
  store.on('gone', (id) => { if (id === addressed()) { location.hash = ''; route(); toast('This chat is no longer among yours.'); } });
  try {
    await store.start();
  } catch (error) {
    if (store !== mine) return;
    // The server is away: say so, and come back when it does.
    say(`${error.message} Trying again…`);
    setTimeout(() => { if (store === mine) { leaveStore(); enter(); } }, 1000 + Math.random() * 2000);
    return;
  }
  if (store !== mine) return; // the session ended meanwhile
  setText(byId('me'), store.me.username);
  connection.start();
  route();
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

function route() {
  if (!store?.me) return;
  const id = openId();
  byId('app').classList.toggle('chat-open', id > 0);
  thread.show(id);
  details.show(id);
  list.render(id);
}

window.addEventListener('hashchange', route);
const go = (id) => { location.hash = `#/chat/${id}`; route(); thread.focus(); };

byId('back').addEventListener('click', () => { location.hash = ''; });
byId('new-chat').addEventListener('click', () => newChatDialog(store, go));
byId('show-details').addEventListener('click', () => details.toggle());
byId('hide-details').addEventListener('click', () => details.toggle(false));
byId('details-body').addEventListener('leave', async () => {
  const chat = store.chats.get(openId());
  if (!chat || !await confirmed(`Leave “${chat.info.name}”? You will no longer receive its messages.`, 'Leave')) return;
  await store.leave(chat.id).catch((error) => toast(error.message));
});

byId('logout').addEventListener('click', () => {
  store.outbox.clear();
  session.logout().catch(() => {}); // it is ended here in any case
});

session.on('ended', (text) => {
  connection.stop();
  leaveStore();
  for (const dialog of document.querySelectorAll('dialog[open]')) /** @type {HTMLDialogElement} */ (dialog).close();
  if (location.hash) history.replaceState(null, '', location.pathname);
  byId('chats').replaceChildren();
  showEntrance(text);
});

// ---- The connection

const bar = byId('connection');
const [barText, barButton] = bar.children;
let slow = 0;

barButton.addEventListener('click', () => connection.start());

connection.on('state', ({ state, delayMs, plan, code }) => {
  document.documentElement.dataset.connection = state;
  clearTimeout(slow);
  if (state === 'open') { bar.hidden = true; return; }
  if (state === 'connecting') {
    // A connection is there in a moment as a rule: only a slow one is worth a word.
    slow = setTimeout(() => say('Connecting…'), 1000);
  } else if (state === 'waiting') {
    document.documentElement.dataset.closeCode = String(code);
    const seconds = Math.ceil(delayMs / 1000);
    const show = () => say(`${code === 1006 ? 'The connection was lost.' : plan.meaning} Trying again${seconds > 1 ? ` in ${seconds} s` : ''}…`, 'Try now');
    if (plan.action === 'refresh' || delayMs < 300) slow = setTimeout(show, 1000);
    else show();
  } else if (state === 'stopped') {
    stopped(code, plan);
  }
});

function say(text, button = '') {
  setText(barText, text);
  setText(barButton, button);
  barButton.hidden = button === '';
  bar.hidden = false;
}

/** @param {number} code @param {ReturnType<typeof closePlan>} plan */
function stopped(code, plan) {
  if (code >= 4501 && code <= 4503) session.end(`${plan.meaning} ${plan.advice}`);
  else if (code !== 1000) say(`${plan.meaning} ${plan.advice}`, 'Connect again');
}

let toastTimer = 0;

function toast(text) {
  clearTimeout(toastTimer);
  setText(byId('toast'), text);
  toastTimer = setTimeout(() => setText(byId('toast'), ''), 6000);
}

// ---- A duplicated tab copies the tokens too. A refresh token is good for one use, so the copy logs in anew.

const born = `${Date.now()}`.padStart(15, '0') + randomId();
const tabs = new BroadcastChannel('messenger.tabs');
tabs.onmessage = ({ data }) => {
  if (!session.signedIn || data.tabId !== session.tabId) return;
  if (data.ask && born < data.born) tabs.postMessage({ tabId: data.tabId, held: data.born });
  else if (data.held === born) session.end('This tab is a copy of another one. Log in here again, as the same user or as another.');
};

if (session.signedIn) {
  tabs.postMessage({ ask: true, tabId: session.tabId, born });
  enter();
} else {
  showEntrance();
}
