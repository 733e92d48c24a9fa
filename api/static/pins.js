// @ts-check
/**
 * The pinned messages of the open chat: the last one above its messages, and a list of all.
 * @module
 */
import { avatar, byId, el, iconButton, moment, setText } from './dom.js';
import { t } from './i18n.js';
import { line } from './letters.js';
import { mayPin } from './marks.js';
import { shortOf } from './message_view.js';
import { wordsFor } from './words.js';

/**
 * @typedef {{jump: (id: number) => void, say: (text: string) => void,
 *   store: import('./store.js').Store}} Way
 */

const bar = byId('pinned');
const dialog = byId('pins');
const list = byId('pins-list');
/** @type {import('./history.js').Entry} */
let chat;
/** @type {Way} */
let way;
let shown = '';

/** @param {import('./history.js').Entry} inChat @param {Way} inWay */
export function pinnedBar(inChat, inWay) {
  [chat, way] = [inChat, inWay];
  const pins = chat.pins ?? [];
  bar.hidden = pins.length === 0;
  if (pins.length > 0) {
    setText(byId('pinned-words'), line(pins[0].text, 200));
    setText(byId('pinned-all'), t('pins.all', { count: pins.length }));
  }
  if (dialog.open) render();
}

function render() {
  const pins = chat.pins ?? [];
  const signature = JSON.stringify([chat.id, chat.info.role, pins.map(({ id, text }) => [id, text]), t('pins.none')]);
  byId('pins-none').hidden = pins.length > 0;
  if (signature === shown && list.childElementCount === pins.length) return;
  shown = signature;
  const focused = list.contains(document.activeElement);
  list.replaceChildren(...pins.map(row));
  if (focused) (list.querySelector('button') ?? dialog.querySelector('header button')).focus();
}

/** @param {import('./history.js').Message} message */
function row(message) {
  const name = way.store.people.nameOf(message.author_id, message.author_username);
  const unpin = async () => {
    setText(byId('pins-fault'), '');
    await way.store.marks.pin(message, false).catch((error) => setText(byId('pins-fault'), wordsFor(error)));
  };
  return el('li', {},
    el('button', { type: 'button', class: 'person', onclick: () => { dialog.close(); way.jump(message.id); } },
      avatar(name, message.author_id, { class: 'avatar small' }),
      el('span', { class: 'found-message' }, el('span', { class: 'found-top' }, el('bdi', {}, name), el('time', {}, moment(message.created_at))), el('span', { class: 'found-words', dir: 'auto' }, line(message.text, 200)))),
    mayPin(chat) ? iconButton('unpin', t('pins.unpin', { words: shortOf(message) }), unpin) : null);
}

byId('pinned-jump').addEventListener('click', () => { if (chat.pins?.[0]) way.jump(chat.pins[0].id); });
byId('pinned-all').addEventListener('click', () => {
  setText(byId('pins-fault'), '');
  shown = '';
  render();
  dialog.showModal();
});
