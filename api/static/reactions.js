// @ts-check
/**
 * The reactions under a message: one button an emoji, pressed where it is the reader's too.
 * @module
 */
import { el, setText } from './dom.js';
import { format, t } from './i18n.js';

/**
 * Brings the buttons of a message up to date in place: one that has the focus keeps it.
 * @param {any} node the message @param {import('./history.js').Reaction[]} reactions
 * @param {(emoji: string, add: boolean) => void} react
 */
export function showReactions(node, reactions, react) {
  const box = node.querySelector('.reactions');
  if (!box) return;
  const known = new Map([...box.children].map((chip) => [chip.dataset.emoji, chip]));
  const wanted = reactions.map((one) => shown(known.get(one.emoji) ?? chip(one.emoji, react, node.tabIndex), one));
  const lost = [...known.values()].filter((one) => !wanted.includes(one));
  const focused = lost.some((one) => one === document.activeElement);
  for (const one of lost) one.remove();
  wanted.forEach((one, at) => { if (box.children[at] !== one) box.insertBefore(one, box.children[at] ?? null); });
  box.hidden = wanted.length === 0;
  if (focused) node.focus({ preventScroll: true });
}

const chip = (emoji, react, tabindex) => el('button', {
  type: 'button', class: 'reaction', tabindex, 'data-emoji': emoji,
  onclick: ({ currentTarget }) => react(emoji, currentTarget.getAttribute('aria-pressed') !== 'true'),
}, el('span', { 'aria-hidden': 'true' }, emoji), el('span', { class: 'count', 'aria-hidden': 'true' }));

function shown(node, { emoji, count, me = false }) {
  setText(node.lastChild, format('NumberFormat').format(count));
  const label = t('react.count', { emoji, count });
  if (node.getAttribute('aria-label') !== label) node.setAttribute('aria-label', label);
  if (node.getAttribute('aria-pressed') !== String(me)) node.setAttribute('aria-pressed', String(me));
  return node;
}
