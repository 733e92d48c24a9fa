// @ts-check
/** What is known of other people: who is in a chat, who is here at all, who was here when. @module */

/** Beyond this a list is of no use to a person. */
const MEMBERS = 1000;

export class People {
  #store;
  /** When users who are offline were last online. @type {Map<number, string|null>} */
  lastSeen = new Map();

  /** @param {import('./store.js').Store} store */
  constructor(store) {
    this.#store = store;
  }

  /** Asks once when a user was last online. @param {number} userId */
  async askLastSeen(userId) {
    if (this.lastSeen.has(userId)) return;
    this.lastSeen.set(userId, null);
    try {
      const user = await this.#store.call('GET', `/users/${userId}`);
      this.lastSeen.set(userId, user.last_seen_at ?? null);
      this.#store.emit('people');
    } catch {
      this.lastSeen.delete(userId); // asked again when the chat is next opened
    }
  }

  /** @param {number} id @param {boolean} [again] */
  async members(id, again = false) {
    const chat = this.#store.chats.get(id);
    if (!chat || (chat.members && !again)) return;
    const items = [];
    let cursor = null;
    do {
      const page = await this.#store.call('GET', `/chats/${id}/members${cursor ? `?cursor=${encodeURIComponent(cursor)}` : ''}`);
      items.push(...page.items);
      cursor = page.next_cursor;
    } while (cursor && items.length < MEMBERS);
    chat.members = items;
    this.#store.emit('chat', id);
  }

  /**
   * Other users whose names begin so; all of them without a beginning.
   * @param {string} prefix @param {string|null} [cursor] where an earlier page ended
   * @returns {Promise<{people: any[], next: string|null}>}
   */
  async find(prefix, cursor = null) {
    const page = await this.#store.call('GET', `/users?q=${encodeURIComponent(prefix)}&limit=20${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
    return { people: page.items.filter((user) => user.id !== this.#store.me.id && user.is_active !== false), next: page.next_cursor };
  }
}
