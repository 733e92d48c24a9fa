// @ts-check
/** What hangs on messages: reactions. Part of `store.js`. @module */
import { change } from './history.js';

export class Marks {
  #store;
  /** What is on its way to the server: a second touch of it is no second wish. */
  #asked = new Set();

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
}
