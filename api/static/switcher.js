// @ts-check
/** The quick switcher: a chat or a person by a few letters. @module */
import { avatar, byId, el, icon } from './dom.js';
import { t } from './i18n.js';
import { wordsFor } from './words.js';

const SHOWN = 12;
const dialog = byId('switcher');
const input = byId('switcher-input');
const list = byId('switcher-list');
const fault = byId('switcher-fault');

/** @type {import('./store.js').Store} */
let store;
let opened = (/** @type {number} */ _id) => {};
let messages = (/** @type {string} */ _words) => {};
/** @type {{node: any, choose: () => void}[]} */
let choices = [];
let at = 0;
let asked = 0;

/** A name without case and accents. @param {string} text */
export const plain = (text) => text.normalize('NFKD').replace(/\p{M}/gu, '').toLocaleLowerCase();

/** How well a name fits: 0 by its beginning, 1 by that of a word, 2 anywhere, -1 not at all. */
function fits(name, wanted) {
  const found = plain(name).indexOf(wanted);
  if (found <= 0) return found;
  return /[\s._-]/.test(plain(name)[found - 1]) ? 1 : 2;
}

/** The better of two fits. @param {number} a @param {number} b */
const best = (a, b) => (a < 0 || b < 0 ? Math.max(a, b) : Math.min(a, b));

function chats(wanted) {
  const sorted = store.sorted();
  if (!wanted) return [...sorted].sort((a, b) => Number(b.unread > 0) - Number(a.unread > 0));
  return sorted.map((chat) => ({ chat, fit: best(fits(chat.info.name, wanted), fits(store.people.chatName(chat), wanted)) })).filter(({ fit }) => fit >= 0).sort((a, b) => a.fit - b.fit).map(({ chat }) => chat);
}

async function search() {
  const mine = asked += 1;
  const wanted = plain(input.value.trim());
  const own = chats(wanted).slice(0, SHOWN).map((chat) => choice(store.people.chatName(chat), chat.info.peer?.id ?? chat.id, chat.unread > 0 ? t('chats.unread_count', { count: chat.unread }) : '', () => go(chat.id)));
  const byWords = choice(t('find.messages', { words: input.value.trim() }), 0, '', () => { const words = input.value.trim(); dialog.close(); messages(words); });
  show(wanted ? [...own, byWords] : own);
  if (!wanted) return;
  try {
    const known = new Set([...store.chats.values()].map((chat) => chat.info.peer?.id));
    const people = (await store.people.find(input.value.trim())).people.filter((user) => !known.has(user.id));
    if (mine !== asked) return;
    show([...own, ...people.slice(0, SHOWN).map((user) => choice(user.display_name || user.username, user.id, t('new'), () => begin(user))), byWords]);
  } catch (error) {
    if (mine === asked) fault.textContent = wordsFor(error);
  }
}

/** @param {number} id 0: no person and no chat */
function choice(name, id, note, choose) {
  const node = el('li', { role: 'option', 'aria-selected': 'false', onclick: choose },
    id ? avatar(name, id, { class: 'avatar small' }) : el('span', { class: 'avatar small' }, icon('search')), el('span', { class: 'who', dir: 'auto' }, name), el('span', { class: 'role' }, note));
  return { node, choose };
}

function show(all) {
  choices = all;
  fault.textContent = '';
  all.forEach(({ node }, index) => { node.id = `switcher-${index}`; });
  list.replaceChildren(...all.map(({ node }) => node));
  byId('switcher-none').hidden = all.length > 0;
  select(Math.min(at, Math.max(0, all.length - 1)));
}

function select(index) {
  at = index;
  choices.forEach(({ node }, other) => node.setAttribute('aria-selected', String(other === at)));
  if (choices[at]) input.setAttribute('aria-activedescendant', choices[at].node.id);
  else input.removeAttribute('aria-activedescendant');
  choices[at]?.node.scrollIntoView({ block: 'nearest' });
}

function go(id) {
  dialog.close();
  opened(id);
}

async function begin(user) {
  try {
    go(await store.create({ is_group: false, member_ids: [user.id] }));
  } catch (error) {
    fault.textContent = wordsFor(error);
  }
}

input.addEventListener('input', () => { at = 0; search(); });
input.addEventListener('keydown', (event) => {
  if (event.isComposing) return;
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && choices.length > 0) {
    event.preventDefault();
    select((at + step + choices.length) % choices.length);
  } else if (event.key === 'Enter') {
    event.preventDefault();
    choices[at]?.choose();
  } else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
    event.preventDefault();
    dialog.close();
  }
});

/**
 * @param {import('./store.js').Store} inStore
 * @param {(id: number) => void} whenOpened
 * @param {(words: string) => void} whenMessages
 */
export function quickSwitcher(inStore, whenOpened, whenMessages) {
  store = inStore;
  opened = whenOpened;
  messages = whenMessages;
  input.value = '';
  at = 0;
  dialog.showModal();
  input.focus();
  search();
}
