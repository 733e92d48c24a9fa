// @ts-check
/** The part of a group's details for its owners: invitations by a link. @module */
import { Attempt } from './attempt.js';
import { el, moment } from './dom.js';
import { t } from './i18n.js';
import { BASE } from './site.js';
import { wordsFor } from './words.js';

const DAY_S = 86_400;
/** What the form last said, kept while the panel is drawn anew. */
const wanted = { expires: String(7 * DAY_S), uses: '' };
const attempt = new Attempt();

/** The link also where the page lives under a path of its host. @param {string} code */
const linkOf = (code) => new URL(`invite/${encodeURIComponent(code)}`, BASE).href;

/**
 * Asks for a group's invitations: no event says that they changed.
 * @param {import('./store.js').Store} store @param {number} id
 */
export async function loadInvites(store, id) {
  const chat = store.chats.get(id);
  if (!chat?.info.is_group || chat.info.role !== 'owner') return;
  chat.invites = (await store.call('GET', `/chats/${id}/invites?limit=100`)).items;
  store.emit('chat', id);
}

/**
 * @param {import('./store.js').Store} store @param {import('./history.js').Entry} chat
 * @param {(text: string) => void} say tells a fault
 */
export function inviteSection(store, chat, say) {
  const done = el('p', { role: 'status', class: 'done' });
  const run = async (work) => {
    try {
      await work();
    } catch (error) {
      say(wordsFor(error));
    }
    await loadInvites(store, chat.id).catch((error) => say(wordsFor(error)));
  };
  const copy = async (input) => {
    done.textContent = '';
    input.select();
    const copied = await (navigator.clipboard?.writeText(input.value).then(() => true, () => false) ?? false) || document.execCommand('copy');
    done.textContent = copied ? t('invites.copied') : '';
  };
  const revoke = (code) => run(() => store.call('DELETE', `/chats/${chat.id}/invites/${encodeURIComponent(code)}`));
  const make = (body) => attempt.make([chat.id, store.me.id, body], (idempotencyKey) => store.call('POST', `/chats/${chat.id}/invites`, body, { idempotencyKey }));
  const list = el('ul', { class: 'invites', id: 'invites' }, ...(chat.invites ?? []).map((invite) => row(invite, copy, revoke)));
  return el('section', {}, el('h3', {}, t('invites')), list, form((body) => run(() => make(body))), done);
}

function row(invite, copy, revoke) {
  const input = el('input', { readonly: true, value: linkOf(invite.code), 'aria-label': t('invites.link'), onfocus: () => input.select() });
  const about = [
    invite.expires_at ? t('invites.until', { when: moment(invite.expires_at) }) : t('invites.for_ever'),
    invite.max_uses ? t('invites.used_of', { uses: invite.uses, count: invite.max_uses }) : t('invites.used', { count: invite.uses }),
  ];
  return el('li', {}, input, el('p', { class: 'about' }, about.join(' · ')), el('div', { class: 'invite-do' },
    el('button', { type: 'button', id: `copy-${invite.code}`, onclick: () => copy(input) }, t('invites.copy')),
    el('button', { type: 'button', class: 'link', onclick: () => revoke(invite.code) }, t('invites.revoke'))));
}

function form(make) {
  const option = (value, text, chosen) => el('option', { value, selected: value === chosen }, text);
  const days = (count) => option(String(count * DAY_S), t('invites.days', { count }), wanted.expires);
  const expires = el('select', { id: 'invite-expires', onchange: () => { wanted.expires = expires.value; } }, days(1), days(7), days(30), option('', t('invites.for_ever'), wanted.expires));
  const times = (count) => option(String(count), t('invites.times', { count }), wanted.uses);
  const uses = el('select', { id: 'invite-uses', onchange: () => { wanted.uses = uses.value; } }, option('', t('invites.any'), wanted.uses), times(1), times(10), times(100));
  const node = el('form', {}, el('label', {}, t('invites.expires'), expires), el('label', {}, t('invites.uses'), uses), el('button', { id: 'make-invite' }, t('invites.make')));
  node.addEventListener('submit', (event) => {
    event.preventDefault();
    make({ expires_in: Number(expires.value) || null, max_uses: Number(uses.value) || null });
  });
  return el('details', { id: 'invite-new' }, el('summary', {}, t('invites.new')), node);
}
