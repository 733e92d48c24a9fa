// @ts-check
/** The account: name, e-mail, password, where one is logged in, and the account's end. @module */
import { avatar, byId, confirmed, el, moment, onSubmit, setText } from './dom.js';
import { onLanguage, t } from './i18n.js';
import { wordsFor } from './words.js';

/** @typedef {import('./store.js').Store} Store */

const dialog = byId('account');
const profile = byId('account-profile');
const email = byId('account-email');
const password = byId('account-password');
const list = byId('account-sessions');
const fault = byId('account-fault');

/** @type {Store} */
let store;
/** @type {import('./messenger.js').Session} */
let session;
/** @type {any[]} */
let sessions = [];
/** @type {any[]} */
let blocked = [];

function fill() {
  const { me } = store;
  byId('account-avatar').replaceChildren(avatar(me.display_name || me.username, me.id));
  setText(byId('account-name'), me.display_name || me.username);
  setText(byId('account-about'), me.display_name ? `${me.username}, ${me.email}` : me.email);
  // A server that knows no other name than the username is asked for none.
  profile.hidden = !('display_name' in me);
  profile.elements.display_name.value = me.display_name ?? '';
  profile.elements.bio.value = me.bio ?? '';
}

/** @param {any} form @param {string} words what was done */
const said = (form, words) => setText(form.querySelector('[role=status]'), words);

async function change(form, body, words) {
  said(form, '');
  Object.assign(store.me, await store.call('PATCH', '/auth/me', body));
  store.people.learn(store.me.id, store.me.username, store.me.display_name);
  store.emit('people');
  fill();
  said(form, words);
}

onSubmit(profile, async () => {
  const { display_name, bio } = profile.elements;
  await change(profile, { display_name: display_name.value.trim() || null, bio: bio.value.trim() || null }, t('account.saved'));
});

onSubmit(email, async () => {
  await change(email, { email: email.elements.email.value.trim(), current_password: email.elements.current_password.value }, t('account.saved'));
  email.reset();
});

onSubmit(password, async () => {
  const { current_password, password: wanted } = password.elements;
  await change(password, { password: wanted.value, current_password: current_password.value }, t('account.password_changed'));
  password.reset();
  await loadSessions();
});

// ---- Where one is logged in

const BROWSERS = [[/Edg\//, 'Edge'], [/OPR\//, 'Opera'], [/Firefox\//, 'Firefox'], [/Chrome\//, 'Chrome'], [/Safari\//, 'Safari']];
const SYSTEMS = [[/Windows/, 'Windows'], [/Android/, 'Android'], [/iPhone|iPad/, 'iOS'], [/Mac OS/, 'macOS'], [/Linux/, 'Linux']];

/** What a `User-Agent` says to a person. @param {string|null} agent */
export function device(agent) {
  if (!agent) return t('account.unknown');
  const name = (/** @type {any[][]} */ table) => table.find(([pattern]) => pattern.test(agent))?.[1];
  const [browser, system] = [name(BROWSERS), name(SYSTEMS)];
  if (!browser) return agent.slice(0, 60);
  return system ? t('account.device', { browser, system }) : browser;
}

async function loadSessions() {
  try {
    sessions = (await store.call('GET', '/auth/sessions?limit=100')).items;
  } catch (error) {
    fault.textContent = wordsFor(error);
  }
  showSessions();
}

function showSessions() {
  const sorted = [...sessions].sort((a, b) => Number(b.is_current) - Number(a.is_current));
  list.replaceChildren(...sorted.map((one) => el('li', {},
    el('div', { class: 'who' }, el('span', {}, device(one.user_agent)), el('small', {}, one.is_current ? t('account.this') : t('account.last_used', { when: moment(one.last_used_at) }))),
    one.is_current ? null : el('button', { type: 'button', class: 'link', 'aria-label': t('account.end_of', { device: device(one.user_agent) }), onclick: () => end(`/auth/sessions/${one.id}`) }, t('account.end')))));
  byId('account-end-others').hidden = sessions.length < 2;
}

// ---- Who is blocked

async function loadBlocked() {
  try {
    blocked = await store.people.loadBlocked();
  } catch (error) {
    fault.textContent = wordsFor(error);
  }
  showBlocked();
}

function showBlocked() {
  byId('account-blocked-title').hidden = blocked.length === 0;
  byId('account-blocked').replaceChildren(...blocked.map((user) => {
    const name = user.display_name || user.username;
    return el('li', {}, avatar(name, user.id, { class: 'avatar small' }), el('span', { class: 'who', dir: 'auto' }, name),
      el('button', { type: 'button', class: 'link', 'aria-label': t('profile.unblock_of', { name }), onclick: () => unblock(user) }, t('profile.unblock')));
  }));
}

async function unblock(user) {
  fault.textContent = '';
  try {
    await store.people.block(user.id, false);
    blocked = blocked.filter((one) => one.id !== user.id);
    showBlocked();
    (byId('account-blocked').querySelector('button') ?? byId('account-delete')).focus();
  } catch (error) {
    fault.textContent = wordsFor(error);
  }
}

async function end(path) {
  fault.textContent = '';
  try {
    await store.call('DELETE', path);
  } catch (error) {
    if (error.status !== 404) fault.textContent = wordsFor(error);
  }
  await loadSessions();
}

byId('account-end-others').addEventListener('click', () => end('/auth/sessions'));

byId('account-delete').addEventListener('click', async () => {
  if (!await confirmed(t('account.delete_sure'), t('account.delete'))) return;
  try {
    store.leaving = true;
    await store.call('DELETE', '/auth/me');
    store.forgetAll();
    session.end(t('account.deleted'));
  } catch (error) {
    store.leaving = false;
    fault.textContent = wordsFor(error);
  }
});

onLanguage(() => { if (dialog.open) { fill(); showSessions(); showBlocked(); } });

/** @param {Store} inStore @param {import('./messenger.js').Session} inSession */
export function showAccount(inStore, inSession) {
  store = inStore;
  session = inSession;
  for (const form of dialog.querySelectorAll('form[id]')) {
    form.reset();
    said(form, '');
    form.querySelector('[role=alert]').textContent = '';
  }
  fault.textContent = '';
  sessions = [];
  blocked = [];
  showSessions();
  showBlocked();
  fill();
  dialog.showModal();
  loadSessions();
  loadBlocked();
}
