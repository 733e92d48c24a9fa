// @ts-check
/** The history of chats, fetched page by page by REST. Part of `store.js`. @module */
import { change, put } from './history.js';
import { backoff } from './messenger.js';
import { wordsFor } from './words.js';

const PAGE = 50;
const KEPT_MESSAGES = 600;
/** Before a request that failed is made again, at least. */
const RETRY_MS = 500;
/** Before the server hears of what is read, while more is unread. */
const READ_MS = 300;
/** A chat opens at its first unread message if that is among so many pages. */
const UNREAD_PAGES = 4;

/** @typedef {import('./history.js').Entry} Entry */

/**
 * Before the next try of what failed: as the server says, else longer each time.
 * @param {any} error @param {number} attempt
 */
export const pause = (error, attempt) => Math.max(error.retryAfterMs ?? 0, RETRY_MS + backoff(attempt));

export class Pages {
  #store;

  /** @param {import('./store.js').Store} store */
  constructor(store) {
    this.#store = store;
  }

  /** Fetches the newest messages of a chat unless they are there. @param {number} id */
  open(id) {
    const chat = this.#store.chats.get(id);
    if (chat && !chat.loaded) return this.#load(chat, () => this.#newest(chat));
  }

  /** @param {number} id */
  older(id) {
    const chat = this.#store.chats.get(id);
    if (!chat?.loaded || !chat.older || this.#early(chat)) return;
    return this.#load(chat, async () => {
      const page = await this.#ask(chat, `&cursor=${encodeURIComponent(chat.older ?? '')}`);
      this.#take(chat, page);
      chat.older = page.next_cursor;
      return page.seq;
    });
  }

  /** The messages after those here, where a jump left the newest behind. @param {number} id */
  newer(id) {
    const chat = this.#store.chats.get(id);
    if (!chat?.newer || this.#early(chat)) return;
    return this.#load(chat, async () => {
      const page = await this.#ask(chat, `&cursor=${encodeURIComponent(chat.newer ?? '')}`);
      this.#take(chat, page);
      chat.newer = page.next_cursor;
      return page.seq;
    });
  }

  /** Comes back to the newest messages from where a jump led. @param {number} id */
  async toNewest(id) {
    const chat = this.#store.chats.get(id);
    await chat?.loading;
    if (chat?.newer) await this.#load(chat, () => this.#newest(chat));
  }

  /**
   * What a jump fetched is let go of: the chat opens at its end the next time.
   * @param {number} id
   */
  leave(id) {
    const chat = this.#store.chats.get(id);
    if (chat?.newer) this.#drop(chat);
  }

  /**
   * Nobody looks at it: a tab that stays open must not keep all that is said.
   * @param {Entry} chat
   */
  shed(chat) {
    if (chat.id !== this.#store.looked && !chat.loading && chat.messages.length > KEPT_MESSAGES) this.#drop(chat);
  }

  /** @param {Entry} chat */
  #drop(chat) { Object.assign(chat, { messages: [], newer: null, loaded: false }); }

  /** @param {Entry} chat */
  async #newest(chat) {
    const page = await this.#ask(chat, '');
    chat.messages = [];
    this.#take(chat, page);
    Object.assign(chat, { older: page.next_cursor, newer: null, loaded: true });
    return page.seq;
  }

  /**
   * The messages around one, in place of those here; none where it is gone. The three answers are
   * of three moments, so all events of meanwhile are applied again.
   * @param {Entry} chat @param {number} id
   */
  async #around(chat, id) {
    const message = await this.#store.call('GET', `/messages/${id}`).catch((error) => {
      if (error.code === 'message_not_found') return null;
      throw error;
    });
    if (message?.chat_id !== chat.id) return 0;
    const before = await this.#ask(chat, `&before=${id}`);
    const after = await this.#ask(chat, `&after=${id}`);
    chat.messages = [];
    this.#take(chat, { items: [...before.items, message, ...after.items] });
    Object.assign(chat, { older: before.next_cursor, newer: after.next_cursor, loaded: true });
    return 0;
  }

  /** @param {Entry} chat @param {string} more */
  #ask(chat, more) { return this.#store.call('GET', `/messages/chat/${chat.id}?limit=${PAGE}${more}`); }

  /** @param {Entry} chat @param {{items: any[]}} page */
  #take(chat, { items }) {
    for (const message of items) {
      put(chat, message);
      this.#store.people.meet(message);
      this.#store.arrived(chat, message);
    }
  }

  /**
   * Fetches history. Events that arrive meanwhile are newer than the answer may be, so they are
   * applied again after it.
   * @param {Entry} chat
   * @param {() => Promise<number>} work gives the number up to which it is whole
   */
  #load(chat, work) {
    chat.loading ??= (async () => {
      chat.missed = [];
      try {
        const seq = await work();
        for (const frame of chat.missed) if (frame.seq > seq) change(chat, frame);
        Object.assign(chat, { failures: 0, retryAt: 0, paged: chat.paged + 1 });
      } catch (error) {
        this.#failed(chat, error);
      } finally {
        chat.loading = null;
        this.#store.emit('chat', chat.id);
      }
    })();
    return chat.loading;
  }

  /** The next try of each chat that failed. @type {Map<number, any>} */
  #later = new Map();

  /** Whether it is too early to ask by itself again. @param {Entry} chat */
  #early(chat) { return Date.now() < chat.retryAt; }

  /**
   * The page asks again by itself, but not at once: a chat that is looked at must not stay blank,
   * and a list that is at its edge asks whenever it is drawn.
   * @param {Entry} chat @param {any} error
   */
  #failed(chat, error) {
    this.#store.emit('fault', wordsFor(error));
    const waitMs = pause(error, chat.failures);
    Object.assign(chat, { failures: chat.failures + 1, retryAt: Date.now() + waitMs });
    clearTimeout(this.#later.get(chat.id));
    this.#later.set(chat.id, setTimeout(() => {
      chat.retryAt = 0;
      if (chat.id !== this.#store.looked) return;
      if (chat.loaded) this.#store.emit('chat', chat.id);
      else if (error.transient) this.open(chat.id);
    }, waitMs));
  }

  /**
   * The server no longer keeps what was missed: what is here may be wrong, so it is fetched anew.
   * The history may have gone back too: numbers and ids that were counted may come once more.
   * @param {number} id
   */
  async reload(id) {
    const chat = this.#store.chats.get(id);
    if (!chat) return;
    await chat.loading;
    const looked = id === this.#store.looked;
    // The open chat's stay until others can replace them; another is fetched when it is opened.
    if (!looked) chat.messages = [];
    this.#store.ticks.clear(id);
    chat.originals.clear();
    chat.dropped.clear();
    Object.assign(chat, { loaded: false, newer: null, pins: null, countedSeq: 0, readSeq: 0 });
    if (!looked) chat.members = null;
    this.#store.people.membersChanged(chat);
    if (looked) await Promise.all([this.open(id), this.#store.marks.openPins(id)]);
    this.#store.refresh(id);
  }

  /**
   * Lets go of old messages of a long session; they are fetched again when scrolled to.
   * @param {number} id
   */
  trim(id) {
    const chat = this.#store.chats.get(id);
    if (!chat || chat.newer || chat.loading || chat.messages.length <= KEPT_MESSAGES || this.#early(chat)) return;
    this.#load(chat, () => this.#newest(chat));
  }

  /**
   * The message that another one answers, as far as it is known: undefined while it is being
   * fetched, null where it is deleted.
   * @param {Entry} chat
   * @param {number} id
   */
  original(chat, id) {
    const here = chat.messages.find((message) => message.id === id);
    if (here) return here;
    if (chat.dropped.has(id)) return null;
    if (!chat.originals.has(id)) {
      chat.originals.set(id, undefined);
      // One after the other: a page full of replies must not use up what the server grants.
      this.#fetching = this.#fetching.then(() => this.#fetchOriginal(chat, id));
    }
    return chat.originals.get(id);
  }

  #fetching = Promise.resolve();

  async #fetchOriginal(chat, id) {
    try {
      chat.originals.set(id, await this.#store.call('GET', `/messages/${id}`));
    } catch (error) {
      if (error.code !== 'message_not_found') {
        chat.originals.delete(id);
        return; // asked for again when the chat is next shown
      }
      chat.originals.set(id, null);
    }
    this.#store.emit('chat', chat.id);
  }

  /**
   * Fetches this message with those around it, unless it is here.
   * @param {number} chatId
   * @param {number} id
   * @returns {Promise<boolean>} whether it is
   */
  async reach(chatId, id) {
    const chat = this.#store.chats.get(chatId);
    const here = () => Boolean(chat?.messages.some((message) => message.id === id));
    while (chat?.loading) await chat.loading;
    if (!chat || chat.dropped.has(id)) return false;
    if (!here()) await this.#load(chat, () => this.#around(chat, id));
    return here();
  }

  /** Fetches older pages until all unread messages are there, within reason. @param {Entry} chat */
  async reachUnread(chat) {
    await chat.loading;
    for (let pages = 0; pages < UNREAD_PAGES && chat.unread > 0 && chat.older && !this.firstUnread(chat); pages += 1) await this.older(chat.id);
  }

  /**
   * The first of the unread messages, null where it is not among those here.
   * @param {Entry} chat @param {boolean} [ofThese] then the first of those that are here instead
   */
  firstUnread(chat, ofThese = false) {
    if (chat.newer) return null;
    let left = chat.unread;
    for (let at = chat.messages.length - 1; at >= 0 && left > 0; at -= 1) {
      const message = chat.messages[at];
      if (message.author_id === this.#store.me.id) continue;
      left -= 1;
      if (left === 0) return message;
    }
    return (ofThese && left > 0 && chat.messages[0]) || null;
  }

  /**
   * The user has seen everything up to `seq`: what is unread after it is counted from the messages
   * here, which reach to the newest.
   * @param {number} id
   * @param {number} seq
   */
  read(id, seq) {
    const chat = this.#store.chats.get(id);
    if (!chat || chat.newer || chat.unread === 0 || seq <= chat.readSeq) return;
    const after = chat.messages.filter((message) => message.seq > seq && message.author_id !== this.#store.me.id).length;
    if (after >= chat.unread) return;
    chat.readSeq = seq;
    chat.unread = after;
    chat.mentions = Math.min(chat.mentions, chat.messages.filter((message) => message.seq > seq && message.mentions?.includes(this.#store.me.id)).length);
    this.#store.emit('chats');
    this.#tell(chat);
  }

  /** Marks that the server is to hear of. @type {Map<number, {timer: any, tell: () => void}>} */
  #told = new Map();
  #telling = new Set();

  /**
   * Whether the server has yet to hear what was read here: its own count is older.
   * @param {number} id
   */
  telling(id) { return this.#told.has(id) || this.#telling.has(id); }

  /**
   * The server hears of it soon and once, however fast one scrolls, and again until it answers.
   * @param {Entry} chat @param {number} [attempt] @param {number} [waitMs]
   */
  #tell(chat, attempt = 0, waitMs = chat.unread === 0 ? 0 : READ_MS) {
    if (this.#told.has(chat.id)) return;
    const tell = async () => {
      clearTimeout(this.#told.get(chat.id)?.timer);
      this.#told.delete(chat.id);
      // Fetched anew since: what is shown of it is read again. Or the chat went.
      if (chat.readSeq === 0 || this.#store.chats.get(chat.id) !== chat) return;
      this.#telling.add(chat.id);
      try {
        await this.#store.call('POST', `/chats/${chat.id}/read`, { seq: chat.readSeq });
      } catch (error) {
        if (error.transient) this.#tell(chat, attempt + 1, pause(error, attempt));
        else this.#store.refresh(chat.id);
      } finally {
        this.#telling.delete(chat.id);
      }
    };
    this.#told.set(chat.id, { timer: setTimeout(tell, waitMs), tell });
  }

  /** The server is there again: it hears at once what was read meanwhile. */
  again() { for (const { tell } of [...this.#told.values()]) tell(); }

  close() {
    for (const timer of [...[...this.#told.values()].map((one) => one.timer), ...this.#later.values()]) clearTimeout(timer);
  }
}
