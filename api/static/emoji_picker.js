// @ts-check
/**
 * The picker of an emoji: groups, and a search by name. It is one tab stop beside the search: the
 * arrow keys go from emoji to emoji.
 * @module
 */
import { byId, el } from './dom.js';
import { GROUPS, find, nameOf } from './emoji_list.js';
import { language, onLanguage, t } from './i18n.js';
import { shared } from './storage.js';

const KEY = 'messenger.emoji';
/** Offered first until the user has chosen others. */
const USUAL = ['👍', '❤️', '😂', '🎉', '😮', '😢', '🙏', '👀'];
/** A row as wide as the dialog. */
const COLUMNS = 8;

const dialog = byId('emoji-picker');
const input = byId('emoji-search');
const list = byId('emoji-list');

let chosen = (/** @type {string} */ _emoji) => {};

/** Those that were chosen last, before the usual ones. @returns {string[]} */
function recent() {
  const kept = shared.read(KEY);
  const own = Array.isArray(kept) ? kept.filter((one) => typeof one === 'string') : [];
  return [...new Set([...own, ...USUAL])].slice(0, COLUMNS);
}

/** @param {string} emoji */
function choose(emoji) {
  shared.setItem(KEY, JSON.stringify([emoji, ...recent().filter((one) => one !== emoji)].slice(0, COLUMNS)));
  dialog.close();
  chosen(emoji);
}

/** @param {string} emoji */
function button(emoji) {
  const name = nameOf(emoji, language());
  return el('button', { type: 'button', class: 'emoji', tabindex: -1, 'aria-label': name, title: name, onclick: () => choose(emoji) }, emoji);
}

/** @param {string} title @param {string[]} emoji */
const group = (title, emoji) => el('div', { class: 'emoji-group', role: 'group', 'aria-label': title }, el('h3', { 'aria-hidden': 'true' }, title), el('div', { class: 'emoji-grid' }, ...emoji.map(button)));

function show() {
  const wanted = input.value.trim();
  const titles = { smileys: t('emoji.smileys'), people: t('emoji.people'), nature: t('emoji.nature'), food: t('emoji.food'), things: t('emoji.things'), signs: t('emoji.signs') };
  const found = wanted ? find(wanted, language()).map(({ emoji }) => emoji) : [];
  const all = wanted ? [group(t('emoji.found'), found)] : [group(t('emoji.recent'), recent()), ...Object.entries(GROUPS).map(([name, some]) => group(titles[name], some.map(({ emoji }) => emoji)))];
  list.replaceChildren(...(wanted && found.length === 0 ? [] : all));
  byId('emoji-none').hidden = !wanted || found.length > 0;
  const first = list.querySelector('.emoji');
  if (first) first.tabIndex = 0;
}

/** The emoji one row up or down: the nearest of the row's places. */
function beside(all, from, down) {
  const { left, top } = from.getBoundingClientRect();
  const rows = all.filter((one) => (down ? one.getBoundingClientRect().top > top + 1 : one.getBoundingClientRect().top < top - 1));
  const edge = (down ? rows[0] : rows.at(-1))?.getBoundingClientRect().top;
  const row = rows.filter((one) => Math.abs(one.getBoundingClientRect().top - edge) < 1);
  return row.toSorted((a, b) => Math.abs(a.getBoundingClientRect().left - left) - Math.abs(b.getBoundingClientRect().left - left))[0];
}

list.addEventListener('focusin', ({ target }) => {
  if (!target.matches('.emoji')) return;
  for (const other of list.querySelectorAll('.emoji[tabindex="0"]')) other.tabIndex = -1;
  target.tabIndex = 0;
});

list.addEventListener('keydown', (event) => {
  const all = [...list.querySelectorAll('.emoji')];
  const at = all.indexOf(event.target);
  if (at < 0) return;
  const forward = getComputedStyle(list).direction === 'rtl' ? 'ArrowLeft' : 'ArrowRight';
  const back = forward === 'ArrowLeft' ? 'ArrowRight' : 'ArrowLeft';
  const to = { [forward]: () => all[at + 1], [back]: () => all[at - 1], Home: () => all[0], End: () => all.at(-1), ArrowDown: () => beside(all, all[at], true), ArrowUp: () => beside(all, all[at], false) ?? input }[event.key]?.();
  if (!to) return;
  event.preventDefault();
  to.focus();
});

input.addEventListener('input', show);
input.addEventListener('keydown', (event) => {
  if (event.isComposing) return;
  const first = list.querySelector('.emoji');
  if (event.key === 'ArrowDown' && first) {
    event.preventDefault();
    first.focus();
  } else if (event.key === 'Enter') {
    event.preventDefault();
    if (input.value.trim()) first?.click();
  }
});
onLanguage(() => { if (dialog.open) show(); });

/**
 * Has the user choose an emoji.
 * @param {string} title what for @param {(emoji: string) => void} whenChosen
 */
export function pickEmoji(title, whenChosen) {
  chosen = whenChosen;
  input.value = '';
  byId('emoji-title').textContent = title;
  show();
  dialog.showModal();
  list.scrollTop = 0;
  if (matchMedia('(pointer: coarse)').matches) list.querySelector('.emoji').focus();
  else input.focus();
}
