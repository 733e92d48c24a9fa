// @ts-check
/** Looking for messages by their words, in the open chat or in all of the reader's. @module */
import { avatar, byId, el, moment, setText } from './dom.js';
import { onLanguage, t } from './i18n.js';
import { wordsFor } from './words.js';

const PAGE = 20;
/** A page may be empty before the last: so many are asked for at once. */
const PAGES = 5;
/** The same at each pause in typing: a page costs what several requests cost. */
const PAGES_TYPING = 2;
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

/**
 * The next messages that were found; an empty page before the last is passed over, unless another
 * question was asked meanwhile.
 * @param {string} question @param {string|null} from a cursor @param {number} pages at most
 */
async function ask(question, from, pages) {
  const mine = asked;
  let page = { items: [], next_cursor: from };
  for (let left = pages; left > 0 && mine === asked; left -= 1) {
    const { next_cursor: cursor } = page;
    page = await store.call('GET', `/messages/search?${question}&limit=${PAGE}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
    if (page.items.length > 0 || !page.next_cursor) break;
  }
  return page;
}

/** @param {boolean} more after those that are shown @param {number} [pages] at most */
async function search(more, pages = PAGES) {
  clearTimeout(timer);
  const mine = asked += 1;
  const words = input.value.trim();
  setText(fault, '');
  if (!words) return show([], '');
  if (!more) next = null;
  const before = more ? list.childElementCount : 0;
  try {
    const found = await ask(`q=${encodeURIComponent(words)}${here.checked && chatId ? `&chat_id=${chatId}` : ''}`, next, pages);
    if (mine !== asked) return;
    next = found.next_cursor;
    for (const message of found.items) store.people.meet(message);
    const rows = found.items.map(row);
    if (more) list.append(...rows);
    else show(rows, '');
    setText(status, list.childElementCount > 0 ? '' : t(next ? 'search.none_yet' : 'find.none'));
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

const soon = () => { asked += 1; clearTimeout(timer); timer = setTimeout(() => search(false, PAGES_TYPING), PAUSE_MS); };
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
 * @param {(chatId: number, id: number) => void} whenChosen
 * @param {string} [words] all chats' messages by these
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
