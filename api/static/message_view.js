// @ts-check
/** How one message looks. @module */
import { avatar, clock, el, icon, iconButton, setText } from './dom.js';
import { t } from './i18n.js';
import { cut, line } from './letters.js';
import { mayPin } from './marks.js';
import { withLinks } from './links.js';
import { withMentions } from './mentions.js';

/**
 * @typedef {{first: boolean, last: boolean, mine: boolean, edited: boolean, pinned: boolean,
 *   author: string, people: import('./people.js').People}} Look
 * @typedef {'reply'|'edit'|'remove'|'jump'|'retry'|'discard'|'pick'|'pin'} Act
 * @typedef {Record<Act, () => void> & {profile: (id: number) => void}} Acts
 */

/** All that a message's look depends on: with the same it need not be built anew. */
export const signatureOf = (message, look, original) =>
  JSON.stringify([message.text, message.is_edited, message.id, message.pending?.state, message.pending?.fault, { ...look, people: look.people.usernames(message.mentions) }, message.reply_to_id && (original ? [original.text, look.people.nameOf(original.author_id, original.author_username)] : original === null)]);

/**
 * @param {any} chat
 * @param {any} message
 * @param {Look} look
 * @param {any} original of a reply: null where it is deleted
 * @param {Acts} acts
 */
export function messageView(chat, message, look, original, acts) {
  const { pending } = message;
  const bubble = el('div', { class: 'bubble' },
    look.first && !look.mine && chat.info.is_group ? el('button', { type: 'button', class: 'author', dir: 'auto', title: `@${message.author_username}`, onclick: () => acts.profile(message.author_id) }, look.author) : el('span', { class: 'hidden-label' }, `${look.mine ? t('you') : look.author}: `),
    message.reply_to_id ? quote(original, look, acts) : null,
    el('div', { class: 'body', dir: 'auto' }, el('span', { class: 'text' }, ...withMentions(withLinks(message.text), message, look.people, chat.me, acts.profile)), el('span', { class: 'stamp' }, look.pinned ? el('span', { class: 'pinned' }, icon('pin'), el('span', { class: 'hidden-label' }, t('pins.pinned'))) : null, el('bdi', {}, stamp(message)), look.mine && !pending ? tick() : null)),
    pending ? null : el('div', { class: 'reactions', role: 'group', 'aria-label': t('react.all'), 'aria-live': 'off', hidden: true }));
  const state = pending ? ` ${pending.state}` : '';
  const item = el('li', { class: `message${look.mine ? ' mine' : ''}${look.first ? ' first' : ''}${look.last ? ' last' : ''}${look.edited ? ' being-edited' : ''}${message.mentions?.includes(chat.me) ? ' to-me' : ''}${state}`, tabindex: -1, 'data-id': message.id });
  const tools = pending ? null : toolsOf(chat, message, look, acts);
  if (look.mine) item.append(tools ?? el('span'), bubble);
  else item.append(look.last ? avatar(look.author, message.author_id, { class: 'avatar small' }) : el('span'), bubble, ...(tools ? [tools] : []));
  for (const part of item.querySelectorAll('a, button')) part.tabIndex = -1;
  if (pending?.state === 'failed') {
    item.append(el('div', { class: 'retry' }, el('span', {}, pending.fault),
      el('button', { type: 'button', class: 'link', onclick: acts.retry }, t('message.retry')),
      el('button', { type: 'button', class: 'link', onclick: acts.discard }, t('message.discard'))));
  }
  return item;
}

/** One tick: the server has it. Two: somebody else has read it. */
const tick = () => el('span', { class: 'tick', 'aria-live': 'off' }, el('span', { 'aria-hidden': 'true' }, '✓'), el('span', { class: 'hidden-label' }, t('message.sent')));

/**
 * Changes the tick in place: a message that was read is no new one.
 * @param {any} node
 * @param {boolean} read
 */
export function showRead(node, read) {
  const mark = node.querySelector('.tick');
  if (!mark || mark.classList.contains('read') === read) return;
  mark.classList.toggle('read', read);
  setText(mark.firstChild, read ? '✓✓' : '✓');
  setText(mark.lastChild, t(read ? 'message.read' : 'message.sent'));
}

function stamp({ pending, is_edited, created_at }) {
  if (pending) return t(pending.state === 'failed' ? 'message.not_sent' : 'message.sending');
  return is_edited ? t('message.edited', { time: clock(created_at) }) : clock(created_at);
}

function quote(original, look, acts) {
  const known = original ?? null;
  const words = known ? line(known.text, 160) : original === null ? t('message.deleted') : '…';
  return el('button', { type: 'button', class: 'quote', onclick: acts.jump, disabled: original === null },
    el('span', { class: 'hidden-label' }, t('message.in_reply')),
    known ? el('span', { class: 'quote-author', dir: 'auto' }, look.people.nameOf(known.author_id, known.author_username)) : null,
    el('span', { class: 'quote-text', dir: 'auto' }, words));
}

/** The first words of a message, to name it by. @param {{text: string}} message */
export const shortOf = ({ text }) => cut(text, 40);

function toolsOf(chat, message, look, acts) {
  const words = shortOf(message);
  const buttons = [iconButton('smile', t('react.to', { words }), acts.pick), iconButton('reply', t('message.reply', { words }), acts.reply)];
  if (mayPin(chat)) buttons.push(iconButton(look.pinned ? 'unpin' : 'pin', look.pinned ? t('pins.unpin', { words }) : t('pins.pin', { words }), acts.pin));
  if (look.mine) buttons.push(iconButton('edit', t('message.edit', { words }), acts.edit));
  if (look.mine || (chat.info.is_group && chat.info.role === 'owner')) buttons.push(iconButton('trash', t('message.delete', { words }), acts.remove));
  return el('div', { class: 'tools' }, ...buttons);
}
