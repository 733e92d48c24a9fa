// @ts-check
/** Looking for messages by their words, in the open chat or in all of the reader's. @module */
import { avatar, byId, el, moment, setText } from './dom.js';
import { onLanguage, t } from './i18n.js';
import { wordsFor } from './words.js';

const PAGE = 20;
/** A page may be empty before the last: so many are asked for at once. */
const PAGES = 5;
/** So many characters stand before the first word that was found. */
const BEFORE = 40;
const SHOWN = 220;
const PAUSE_MS = 180;

const dialog = byId('search');
const input = byId('search-input');
const here = byId('search-here');
const list = byId('search-list');
const status = byId('search-status');
const fault = byId('search-fault');

/** @type {import('./store.js').Store} */
let store;
let chatId = 0;
let opened = (/** @type {number} */ _chatId, /** @type {number} */ _id) => {};
/** An answer to an earlier question is none to this. */
let asked = 0;
let timer = 0;
/** @type {string|null} */
let next = null;

/**
 * The part of a text around the first words that were found, these marked.
 * @param {string} text @param {[number, number][]} highlights in Unicode scalar values
 */
export function excerpt(text, highlights) {
  const letters = [...text];
  const first = highlights[0]?.[0] ?? 0;
  const from = first > BEFORE ? first - BEFORE : 0;
  const to = Math.min(letters.length, from + SHOWN);
  const part = (start, end) => letters.slice(Math.max(from, start), Math.min(to, end)).join('').replace(/\s+/g, ' ');
  /** @type {(Node|string)[]} */
  const pieces = [from > 0 ? '…' : ''];
  let at = from;
  for (const [start, end] of highlights) {
    if (start >= to) break;
    pieces.push(part(at, start), el('mark', {}, part(start, end)));
    at = end;
  }
  pieces.push(part(at, to), to < letters.length ? '…' : '');
  return pieces.filter((piece) => piece !== '');
}

function row(message) {
  const name = store.people.nameOf(message.author_id, message.author_username);
  const chat = store.chats.get(message.chat_id);
  const where = chat && message.chat_id !== chatId ? store.people.chatName(chat) : '';
  return el('li', {}, el('button', { type: 'button', class: 'person', onclick: () => { dialog.close(); opened(message.chat_id, message.id); } },
    avatar(name, message.author_id, { class: 'avatar small' }),
    el('span', { class: 'found-message' },
      el('span', { class: 'found-top' }, el('span', {}, el('bdi', {}, name), where && where !== name ? el('small', {}, ' · ', el('bdi', {}, where)) : null), el('time', {}, moment(message.created_at))),
      el('span', { class: 'found-words', dir: 'auto' }, ...excerpt(message.text, message.highlights ?? [])))));
}

/** The next messages that were found; an empty page before the last is passed over. @param {string} question */
async function ask(question) {
  const items = [];
  for (let pages = 0; pages < PAGES && items.length === 0; pages += 1) {
    const page = await store.call('GET', `/messages/search?${question}&limit=${PAGE}${next ? `&cursor=${encodeURIComponent(next)}` : ''}`);
    items.push(...page.items);
    next = page.next_cursor;
    if (!next) break;
  }
  return items;
}

/** @param {boolean} more after those that are shown */
async function search(more) {
  clearTimeout(timer);
  const mine = asked += 1;
  const words = input.value.trim();
  setText(fault, '');
  if (!words) return show([], '');
  if (!more) next = null;
  const before = more ? list.childElementCount : 0;
  try {
    const found = await ask(`q=${encodeURIComponent(words)}${here.checked && chatId ? `&chat_id=${chatId}` : ''}`);
    if (mine !== asked) return;
    for (const message of found) store.people.meet(message);
    const rows = found.map(row);
    if (more) list.append(...rows);
    else show(rows, rows.length === 0 && !next ? t('find.none') : '');
    byId('search-more').hidden = !next;
    if (more) (list.children[before] ?? list.lastElementChild)?.firstElementChild.focus();
  } catch (error) {
    if (mine === asked) setText(fault, wordsFor(error));
  }
}

function show(rows, words) {
  list.replaceChildren(...rows);
  list.scrollTop = 0;
  byId('search-more').hidden = true;
  setText(status, words);
}

const soon = () => { asked += 1; clearTimeout(timer); timer = setTimeout(() => search(false), PAUSE_MS); };
input.addEventListener('input', soon);
here.addEventListener('change', () => search(false));
byId('search-more').addEventListener('click', () => search(true));
input.addEventListener('keydown', (event) => {
  if (event.isComposing || event.key !== 'Enter') return;
  event.preventDefault();
  search(false);
});
dialog.addEventListener('keydown', (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || event.isComposing) return;
  const stops = [input, ...list.querySelectorAll('button')];
  const at = stops.indexOf(document.activeElement);
  if (at < 0 || !stops[at + step]) return;
  event.preventDefault();
  stops[at + step].focus();
});
onLanguage(() => { if (dialog.open) search(false); });

/**
 * @param {import('./store.js').Store} inStore @param {number} inChat the open one, 0 for none
 * @param {(chatId: number, id: number) => void} whenChosen @param {string} [words] all chats' messages by these
 */
export function searchMessages(inStore, inChat, whenChosen, words = '') {
  [store, chatId, opened] = [inStore, inChat, whenChosen];
  const chat = store.chats.get(inChat);
  byId('search-where').hidden = !chat;
  setText(byId('search-chat'), chat ? t('search.here', { name: store.people.chatName(chat) }) : '');
  here.checked = Boolean(chat) && !words;
  input.value = words;
  show([], '');
  setText(fault, '');
  dialog.showModal();
  input.focus();
  search(false);
}
