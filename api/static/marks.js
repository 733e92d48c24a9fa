// @ts-check
/** What hangs on messages: reactions and pins. Part of `store.js`. @module */
import { change } from './history.js';
import { pause } from './pages.js';

/** Several changes at once are one question. */
const SOON_MS = 100;

/** Whether the reader may pin in this chat. @param {import('./history.js').Entry} chat */
export const mayPin = ({ info }) => !info.is_group || info.role === 'owner';

export class Marks {
  #store;
  /** What is on its way to the server: a second touch of it is no second wish. */
  #asked = new Set();
  /** The lists of pins that are to be asked for. @type {Map<number, any>} */
  #due = new Map();

  /** @param {import('./store.js').Store} store */
  constructor(store) {
    this.#store = store;
  }

  /**
   * Adds an emoji of the user's to a message, or takes it back.
   * @param {import('./history.js').Message} message @param {string} emoji @param {boolean} add
   */
  async react({ id, chat_id }, emoji, add) {
    const key = `${id} ${emoji}`;
    if (this.#asked.has(key)) return;
    this.#asked.add(key);
    try {
      await this.#store.call(add ? 'PUT' : 'DELETE', `/messages/${id}/reactions/${encodeURIComponent(emoji)}`);
    } finally {
      this.#asked.delete(key);
    }
    // The event may be behind a connection that is away.
    const chat = this.#store.chats.get(chat_id);
    const known = chat?.messages.find((one) => one.id === id)?.reactions?.find((one) => one.emoji === emoji);
    if (!chat || Boolean(known?.me) === add) return;
    change(chat, { type: add ? 'reaction_added' : 'reaction_removed', message_id: id, user_id: chat.me, emoji, count: (known?.count ?? 0) + (add ? 1 : -1) });
    this.#store.emit('chat', chat_id);
  }

  /** Fetches the pins of a chat unless they are there. @param {number} id */
  async openPins(id) {
    const chat = this.#store.chats.get(id);
    if (chat && !chat.pins) await this.#load(chat);
  }

  /**
   * Somebody pinned or unpinned: the list is asked for soon and once.
   * @param {import('./history.js').Entry} chat
   */
  pinsChanged(chat) {
    if (!chat.loaded && !chat.pins) return;
    clearTimeout(this.#due.get(chat.id));
    this.#due.set(chat.id, setTimeout(() => this.#load(chat), SOON_MS));
  }

  /** @param {import('./history.js').Entry} chat @param {number} [attempt] */
  async #load(chat, attempt = 0) {
    clearTimeout(this.#due.get(chat.id));
    const mine = {};
    this.#due.set(chat.id, mine);
    try {
      const page = await this.#store.call('GET', `/chats/${chat.id}/pins?limit=100`);
      if (this.#due.get(chat.id) !== mine) return; // it has changed since
      chat.pins = page.items.filter((message) => !chat.dropped.has(message.id));
      for (const message of page.items) this.#store.people.meet(message);
      this.#store.emit('chat', chat.id);
    } catch (error) {
      if (this.#due.get(chat.id) !== mine) return;
      if (error.transient && chat.id === this.#store.looked) this.#due.set(chat.id, setTimeout(() => this.#load(chat, attempt + 1), pause(error, attempt)));
      else chat.pins = null; // asked for again when the chat is next opened
    }
  }

  /** @param {import('./history.js').Message} message @param {boolean} add */
  async pin({ id, chat_id }, add) {
    await this.#store.call(add ? 'PUT' : 'DELETE', `/chats/${chat_id}/pins/${id}`);
    const chat = this.#store.chats.get(chat_id);
    if (chat) await this.#load(chat);
  }

  close() {
    for (const timer of this.#due.values()) clearTimeout(timer);
  }
}
