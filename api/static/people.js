// @ts-check
/**
 * What is known of other people: who is in a chat, who is here at all, who was here when.
 * @module
 */
import { backoff } from './messenger.js';
import { pause } from './pages.js';

/** Beyond this a list is of no use to a person. */
const MEMBERS = 1000;

export class People {
  #store;
  /** The lists of members that are on their way, or to be asked for. @type {Map<number, any>} */
  #due = new Map();
  /** When users who are offline were last online. @type {Map<number, string|null>} */
  lastSeen = new Map();
  /** The names for people of users who have one. @type {Map<number, string>} */
  #names = new Map();
  /** The users whom the reader has blocked, as the server last said. @type {Set<number>} */
  blocked = new Set();
  /** '' while it is asked for. @type {Map<number, string>} */
  #usernames = new Map();
  /** Whose a username is, in lower case. @type {Map<string, number>} */
  ids = new Map();

  /** @param {import('./store.js').Store} store */
  constructor(store) {
    this.#store = store;
  }

  /** What a message says of its author. @param {import('./history.js').Message} message */
  meet({ author_id, author_username, author_display_name }) { this.learn(author_id, author_username, author_display_name); }

  /**
   * @param {number} id
   * @param {string} username
   * @param {string|null} [name] undefined: not known
   */
  learn(id, username, name) {
    this.ids.set(username.toLowerCase(), id);
    this.#usernames.set(id, username);
    if (name) this.#names.set(id, name);
    else if (name === null) this.#names.delete(id);
  }

  /** What people call a user. @param {number} id @param {string} username */
  nameOf(id, username) { return this.#names.get(id) ?? username; }

  /** What a chat is called. @param {import('./history.js').Entry} chat */
  chatName({ info }) { return info.peer ? this.nameOf(info.peer.id, info.name) : info.name; }

  /** Asks whom the reader has blocked. @returns {Promise<any[]>} the users */
  async loadBlocked() {
    const items = [];
    let cursor = null;
    do {
      const page = await this.#store.call('GET', `/users/blocked?limit=100${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
      items.push(...page.items);
      cursor = page.next_cursor;
    } while (cursor && items.length < MEMBERS);
    this.blocked = new Set(items.map((user) => user.id));
    this.#store.emit('people');
    return items;
  }

  /** @param {number} id @param {boolean} block or no longer */
  async block(id, block) {
    await this.#store.call(block ? 'PUT' : 'DELETE', `/users/${id}/block`);
    if (block) this.blocked.add(id);
    else this.blocked.delete(id);
    this.#store.emit('people');
  }

  /**
   * The usernames of these, as far as they are known. The others are asked for, one after the
   * other.
   * @param {number[]} [ids]
   */
  usernames(ids = []) {
    return ids.map((id) => {
      if (!this.#usernames.has(id)) {
        this.#usernames.set(id, '');
        this.#asking = this.#asking.then(() => this.#ask(id));
      }
      return this.#usernames.get(id);
    });
  }

  #asking = Promise.resolve();

  async #ask(id) {
    if (this.#usernames.get(id)) return;
    try {
      const user = await this.#store.call('GET', `/users/${id}`);
      this.learn(user.id, user.username, user.display_name);
      this.#store.emit('people');
    } catch (error) {
      if (error.status !== 404) this.#usernames.delete(id); // asked again when it is next shown
    }
  }

  /** Asks once when a user was last online. @param {number} userId */
  async askLastSeen(userId) {
    if (this.lastSeen.has(userId)) return;
    this.lastSeen.set(userId, null);
    try {
      const user = await this.#store.call('GET', `/users/${userId}`);
      this.lastSeen.set(userId, user.last_seen_at ?? null);
      this.learn(user.id, user.username, user.display_name);
      this.#store.emit('people');
    } catch {
      this.lastSeen.delete(userId); // asked again when the chat is next opened
    }
  }

  /** @param {number} id @param {boolean} [again] */
  async members(id, again = false) {
    const chat = this.#store.chats.get(id);
    if (!chat || (chat.members && !again)) return;
    clearTimeout(this.#due.get(id)?.timer);
    const mine = { changed: false };
    this.#due.set(id, mine);
    try {
      const items = [];
      let cursor = null;
      do {
        const page = await this.#store.call('GET', `/chats/${id}/members?limit=100${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
        items.push(...page.items);
        cursor = page.next_cursor;
      } while (cursor && items.length < MEMBERS);
      if (this.#due.get(id) !== mine) return; // asked for again since
      chat.members = items;
      for (const { user_id, username } of items) this.learn(user_id, username);
      this.#store.emit('chat', id);
    } finally {
      if (this.#due.get(id) === mine) this.#due.delete(id);
      if (mine.changed) this.membersChanged(chat);
    }
  }

  /**
   * Somebody came, left or has another role: the list is asked for soon, and a crowd is one
   * question.
   * @param {import('./history.js').Entry} chat @param {number} [attempt] @param {number} [waitMs]
   */
  membersChanged(chat, attempt = 0, waitMs = 200 + backoff(0)) {
    const due = this.#due.get(chat.id);
    if (due) due.changed = true;
    if (due || !chat.members) return;
    const timer = setTimeout(() => {
      this.#due.delete(chat.id);
      this.members(chat.id, true).catch((error) => {
        // What is shown stays while only the server is away.
        if (error.transient) this.membersChanged(chat, attempt + 1, pause(error, attempt));
        else chat.members = null;
      });
    }, waitMs);
    this.#due.set(chat.id, { timer });
  }

  close() { for (const { timer } of this.#due.values()) clearTimeout(timer); }

  /**
   * Other users whose names begin so; all of them without a beginning.
   * @param {string} prefix @param {string|null} [cursor] where an earlier page ended
   * @returns {Promise<{people: any[], next: string|null}>}
   */
  async find(prefix, cursor = null) {
    const page = await this.#store.call('GET', `/users?q=${encodeURIComponent(prefix)}&limit=20${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
    for (const user of page.items) this.learn(user.id, user.username, user.display_name);
    return { people: page.items.filter((user) => user.id !== this.#store.me.id && user.is_active !== false), next: page.next_cursor };
  }
}
