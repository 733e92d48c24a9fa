// @ts-check
/** The panel beside an open chat: its members, and what a member or an owner may do. @module */
import { avatar, byId, confirmed, el, iconButton, name as nameOf, setText } from './dom.js';
import { parts, t } from './i18n.js';
import { inviteSection, loadInvites } from './invite_section.js';
import { peopleSearch } from './people_search.js';
import { viewOf, viewSection } from './view_section.js';
import { wordsFor } from './words.js';

/** @typedef {import('./store.js').Store} Store */

/**
 * What a section is called, what it shows, and how it is drawn.
 * @typedef {[string, any, () => HTMLElement]} Section
 */

const panel = byId('details');
const body = byId('details-body');

/** A field that is being used is not taken away under the fingers. @param {HTMLElement} section */
const isWrittenIn = (section) => section.contains(document.activeElement) && /** @type {any} */ (document.activeElement).matches('input:not([type=checkbox], [readonly])');

/** The words that one was typing and what one has opened, for the section that takes its place. */
function typedIn(section) {
  const fields = /** @type {any[]} */ ([...body.querySelectorAll('input[id], details[id]')].filter((field) => section.contains(field)));
  return fields.map((field) => (field.matches('details') ? { id: field.id, open: field.open } : field.value !== field.defaultValue ? { id: field.id, value: field.value } : null)).filter(Boolean);
}

export class Details {
  #store;
  #say;
  #id = 0;
  /**
   * The sections as drawn, and what each shows.
   * @type {Map<string, {signature: string, node: HTMLElement}>}
   */
  #sections = new Map();
  /** The chat that the panel was last drawn for. */
  #drawn = 0;

  /** @param {Store} store @param {(text: string) => void} say tells a fault */
  constructor(store, say) {
    this.#store = store;
    this.#say = say;
    this.toggle(false);
  }

  /** @param {boolean} [open] */
  toggle(open = panel.hidden) {
    const had = panel.contains(document.activeElement);
    panel.hidden = !open;
    byId('show-details').setAttribute('aria-expanded', String(open));
    this.#sections.clear();
    if (open) {
      this.#load();
      this.render();
      byId('hide-details').focus();
    } else if (had) {
      byId('show-details').focus();
    }
  }

  /** @param {number} id */
  show(id) {
    if (id === this.#id) return;
    this.#id = id;
    this.#sections.clear();
    if (id === 0) this.toggle(false);
    else if (!panel.hidden) this.#load();
    this.render();
  }

  #load() {
    const work = [this.#store.people.members(this.#id), loadInvites(this.#store, this.#id)];
    Promise.all(work).catch((error) => this.#say(wordsFor(error)));
  }

  /** Writes everything anew, in the language of now. */
  rewrite() {
    this.#sections.clear();
    this.render();
  }

  /**
   * Draws the sections whose content has changed, and leaves the others alone: a list that one
   * has opened stays open while people come online.
   */
  render() {
    const chat = this.#store.chats.get(this.#id);
    if (panel.hidden || !chat) return;
    if (byId('members-count')) setText(byId('members-count'), this.#count(chat));
    const wanted = chat.info.is_group ? this.#group(chat) : this.#person(chat);
    const nodes = wanted.map(([key, shown, make]) => this.#section(key, JSON.stringify([chat.id, shown]), make));
    const focused = document.activeElement?.id;
    const gone = [...body.children].filter((child) => !nodes.includes(/** @type {any} */ (child)));
    const typed = this.#drawn === chat.id ? gone.flatMap(typedIn) : [];
    this.#drawn = chat.id;
    for (const section of gone) section.remove();
    nodes.forEach((node, at) => { if (body.children[at] !== node) body.insertBefore(node, body.children[at] ?? null); });
    for (const { id, ...state } of typed) Object.assign(byId(id) ?? {}, state);
    if (focused && document.activeElement?.id !== focused && body.querySelector(`#${CSS.escape(focused)}`)) byId(focused).focus();
  }

  /** @param {string} key @param {string} signature @param {() => HTMLElement} make */
  #section(key, signature, make) {
    const drawn = this.#sections.get(key);
    if (drawn && (drawn.signature === signature || isWrittenIn(drawn.node))) return drawn.node;
    const node = make();
    this.#sections.set(key, { signature, node });
    return node;
  }

  /** Shows what is so, where a control shows what was wished and refused. @param {string} key */
  #redraw(key) {
    this.#sections.delete(key);
    this.render();
  }

  #isOnline(userId) {
    return this.#store.online.has(userId) || userId === this.#store.me.id;
  }

  /** Runs an owner's call, and shows what became of it. */
  async #do(work) {
    try {
      await work();
      this.#store.refresh(this.#id);
      await this.#store.people.members(this.#id, true);
    } catch (error) {
      this.#say(wordsFor(error));
      this.#redraw('members');
    }
  }

  /** @returns {Section[]} */
  #person(chat) {
    const { peer } = chat.info;
    const name = this.#store.people.chatName(chat);
    const person = () => el('section', {},
      el('ul', { class: 'people' }, el('li', {}, this.#face(name, peer.id), el('span', { class: 'who' }, this.#card(peer.id, peer.username)), el('span', { class: 'role' }, t(this.#isOnline(peer.id) ? 'online' : 'offline')))),
      el('p', { class: 'about' }, t('details.private')));
    return [['person', [name, this.#isOnline(peer.id)], person], this.#view(chat)];
  }

  /** A name that leads to the user's card. */
  #card(id, username) {
    return el('button', { type: 'button', class: 'link card-name', dir: 'auto', title: `@${username}`, onclick: () => this.#store.emit('profile', id) }, this.#store.people.nameOf(id, username));
  }

  /** @returns {Section} */
  #view(chat) {
    const redraw = () => this.#redraw('view');
    return ['view', [viewOf(chat), new Date().toDateString()], () => viewSection(this.#store, chat, this.#say, redraw)];
  }

  #face(name, id) {
    return el('span', { class: 'avatar-box' }, avatar(name, id, { class: 'avatar small' }), this.#isOnline(id) ? el('span', { class: 'dot', title: t('online') }) : null);
  }

  /** @returns {Section[]} */
  #group(chat) {
    const { description, is_public: isPublic, role } = chat.info;
    const isOwner = role === 'owner';
    const members = (chat.members ?? []).map((member) => [member, this.#store.people.nameOf(member.user_id, member.username), this.#isOnline(member.user_id)]);
    /** @type {Section[]} */
    const owners = [['add', '', () => this.#add(chat)], ['invites', [chat.invites ?? [], new Date().toDateString()], () => inviteSection(this.#store, chat, this.#say)]];
    return [
      ['about', [description, isPublic], () => this.#about(chat)],
      this.#view(chat),
      ...(isOwner ? owners : []),
      ['members', [members, role], () => this.#members(chat, isOwner)],
      ...(isOwner ? [/** @type {Section} */ (['rename', [chat.info.name, description], () => this.#rename(chat)])] : []),
      ['last', role, () => this.#last(chat, isOwner)],
    ];
  }

  #about({ id, info }) {
    return el('section', {},
      info.description ? el('p', { class: 'about', dir: 'auto' }, info.description) : null,
      info.is_public === false ? el('p', { class: 'about' }, t('details.closed')) : el('p', { class: 'about' }, ...parts('details.number', { number: el('strong', { id: 'group-number' }, String(id)) })));
  }

  #members(chat, isOwner) {
    const list = el('ul', { class: 'people', id: 'members' }, ...(chat.members ?? []).map((member) => this.#member(chat, member, isOwner)));
    return el('section', {}, el('h3', { id: 'members-count' }, this.#count(chat)), list);
  }

  #last(chat, isOwner) {
    return el('section', {},
      el('button', { type: 'button', id: 'leave', onclick: () => body.dispatchEvent(new CustomEvent('leave')) }, t('details.leave')),
      isOwner ? el('button', { type: 'button', id: 'delete-group', onclick: () => this.#delete(chat) }, t('details.delete')) : null);
  }

  /** Of all members: the list ends before a large group does. */
  #count({ members, info }) {
    return members ? t('details.members_count', { count: info.member_count ?? members.length }) : t('details.members');
  }

  #member(chat, member, owner) {
    const mine = member.user_id === this.#store.me.id;
    const name = this.#store.people.nameOf(member.user_id, member.username);
    const item = el('li', {}, this.#face(name, member.user_id), el('span', { class: 'who' }, ...(mine ? parts('details.me', { name: nameOf(name) }) : [this.#card(member.user_id, member.username)])));
    if (this.#isOnline(member.user_id)) item.append(el('span', { class: 'hidden-label' }, t('online')));
    if (!owner || mine) {
      item.append(el('span', { class: 'role' }, member.role === 'owner' ? t('role.owner') : ''));
      return item;
    }
    const path = `/chats/${chat.id}/members/${member.user_id}`;
    const role = el('select', { 'aria-label': t('details.role', { name }), onchange: () => this.#do(() => this.#store.call('PATCH', path, { role: role.value })) },
      ...['member', 'owner'].map((value) => el('option', { value, selected: member.role === value }, t(`role.${value}`))));
    const remove = async () => {
      if (await confirmed(parts('details.remove_sure', { name: nameOf(name) }), t('remove'))) await this.#do(() => this.#store.call('DELETE', path));
    };
    item.append(role, iconButton('close', t('details.remove', { name }), remove));
    return item;
  }

  #add(chat) {
    const input = el('input', { type: 'search', id: 'add-search', autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', placeholder: t('new.beginning') });
    const found = el('ul', { class: 'people', 'aria-label': t('new.found') });
    const members = () => new Set((this.#store.chats.get(chat.id)?.members ?? []).map((member) => member.user_id));
    const reset = peopleSearch(this.#store, input, found, (user) => {
      reset();
      input.blur();
      this.#do(() => this.#store.call('POST', `/chats/${chat.id}/members`, { user_ids: [user.id] }));
    }, { without: members });
    return el('section', {}, el('label', {}, t('new.people'), input), found);
  }

  #rename(chat) {
    const name = el('input', { id: 'rename-name', value: chat.info.name, maxlength: 128, dir: 'auto', required: true });
    const description = el('input', { id: 'rename-description', value: chat.info.description ?? '', maxlength: 1024, dir: 'auto' });
    const form = el('form', {}, el('label', {}, t('field.name'), name), el('label', {}, t('field.description'), description), el('button', {}, t('save')));
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      /** @type {any} */ (document.activeElement)?.blur();
      await this.#do(() => this.#store.call('PATCH', `/chats/${chat.id}`, { name: name.value.trim(), description: description.value.trim() }));
    });
    return el('details', { id: 'rename' }, el('summary', {}, t('details.rename')), form);
  }

  async #delete(chat) {
    if (!await confirmed(parts('details.delete_sure', { name: nameOf(chat.info.name) }), t('delete'))) return;
    await this.#store.remove(chat.id).catch((error) => this.#say(wordsFor(error)));
  }
}
