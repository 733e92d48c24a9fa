// @ts-check
/** The members who are offered while one types `@` and the beginning of a name. @module */
import { avatar, byId, el } from './dom.js';
import { typedName } from './mentions.js';
import { plain } from './switcher.js';

const SHOWN = 6;
const list = byId('mention-list');

/** @typedef {import('./store.js').Store} Store */

export class MentionList {
  #store;
  /** @type {HTMLTextAreaElement} */
  #field;
  #changed;
  #id = 0;
  /** @type {any[]} */
  #offered = [];
  #at = 0;
  /** Where the `@` stands that the reader wants no names for. */
  #refused = -1;

  /**
   * @param {Store} store
   * @param {HTMLTextAreaElement} field
   * @param {() => void} changed the field's text was changed
   */
  constructor(store, field, changed) {
    this.#store = store;
    this.#field = field;
    this.#changed = changed;
    field.onblur = () => this.close();
    // The caret may leave the name; it opens no list by coming to one.
    field.onselectionchange = () => { if (!list.hidden) this.update(); };
    list.onmousedown = (event) => event.preventDefault(); // the focus stays in the field
  }

  /** @param {number} id the chat that is open */
  show(id) {
    this.#id = id;
    this.#refused = -1;
    this.close();
  }

  close() {
    if (list.hidden) return;
    list.hidden = true;
    list.replaceChildren();
    this.#offered = [];
    for (const name of ['aria-controls', 'aria-activedescendant']) this.#field.removeAttribute(name);
  }

  /** What is before the caret has changed. */
  update() {
    const { selectionStart, selectionEnd, value } = this.#field;
    const name = selectionStart === selectionEnd ? typedName(value.slice(0, selectionStart)) : null;
    if (name === null) this.#refused = -1;
    const chat = this.#store.chats.get(this.#id);
    if (name === null || !chat || this.#refused === selectionStart - name.length) return this.close();
    if (!chat.members) this.#store.people.members(chat.id).then(() => { if (this.#field.matches(':focus') && chat.members) this.update(); }, () => {});
    this.#offer(this.#fitting(chat, plain(name)));
  }

  /** The members whose names begin so: those who wrote last come first. */
  #fitting(chat, wanted) {
    const { people } = this.#store;
    const wrote = new Map(chat.messages.map((message, at) => [message.author_id, at]));
    return (chat.members ?? [])
      .filter(({ user_id }) => user_id !== chat.me)
      .map((member) => ({ ...member, name: people.nameOf(member.user_id, member.username) }))
      .filter(({ username, name }) => [username, ...name.split(/\s+/), name].some((one) => plain(one).startsWith(wanted)))
      .sort((a, b) => (wrote.get(b.user_id) ?? -1) - (wrote.get(a.user_id) ?? -1) || a.username.localeCompare(b.username))
      .slice(0, SHOWN);
  }

  #offer(members) {
    if (members.length === 0) return this.close();
    const before = this.#offered[this.#at]?.user_id;
    this.#offered = members;
    this.#at = Math.max(0, members.findIndex((one) => one.user_id === before));
    list.replaceChildren(...members.map((one, index) => el('li', { role: 'option', id: `mention-${index}`, onclick: () => { this.#at = index; this.#choose(); } },
      avatar(one.name, one.user_id, { class: 'avatar small' }), el('span', { class: 'who', dir: 'auto' }, one.name), el('span', { class: 'role' }, one.name === one.username ? '' : `@${one.username}`))));
    list.hidden = false;
    this.#field.setAttribute('aria-controls', list.id);
    this.#select();
  }

  #select() {
    [...list.children].forEach((node, index) => node.setAttribute('aria-selected', String(index === this.#at)));
    this.#field.setAttribute('aria-activedescendant', `mention-${this.#at}`);
    list.children[this.#at].scrollIntoView({ block: 'nearest' });
  }

  #choose() {
    const { username } = this.#offered[this.#at];
    const { selectionStart: end, value } = this.#field;
    const name = typedName(value.slice(0, end));
    if (name === null) return this.close();
    const start = end - name.length;
    const blank = /\s/.test(value[end] ?? '') ? '' : ' ';
    this.#field.setRangeText(username + blank, start, end, 'end');
    this.close();
    this.#changed();
  }

  /** @param {KeyboardEvent} event @returns {boolean} whether it was the list's */
  key(event) {
    if (list.hidden || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const { length } = this.#offered;
    if (step) {
      this.#at = (this.#at + step + length) % length;
      this.#select();
    } else if (event.key === 'Enter' || event.key === 'Tab') {
      this.#choose();
    } else if (event.key === 'Escape') {
      const { selectionStart, value } = this.#field;
      this.#refused = selectionStart - (typedName(value.slice(0, selectionStart)) ?? '').length;
      this.close();
    } else {
      return false;
    }
    event.preventDefault();
    return true;
  }
}
