// @ts-check
/**
 * The chats that a client follows by itself: those of its list, and those that a notice names. Part
 * of `client.js`.
 * @module
 */
import { backoff } from './random.js';

/** So often a list that moves while it is read is read again from its front. */
const LIST_ROUNDS = 10;

/**
 * @typedef {{request: (path: string) => Promise<any>, follow: (chat: any) => void, pause: (ms:
 *   number) => Promise<void>, ended: () => boolean, random: () => number}} Way
 */

export class Following {
  #way;
  /** Whether the list is wanted, also once more while it is read. */
  #wanted = false;
  #listing = false;
  /** @type {Set<number>} chats of notices, asked for at this moment */
  #lookedUp = new Set();

  /** @param {Way} way */
  constructor(way) {
    this.#way = way;
  }

  /**
   * Follows the chat of a notice, which does not say whether it is a group.
   * @param {number} chatId
   */
  async lookUp(chatId) {
    if (this.#lookedUp.has(chatId)) return;
    this.#lookedUp.add(chatId);
    const chat = await this.#get(`/chats/${chatId}`);
    this.#lookedUp.delete(chatId);
    if (chat?.role) this.#way.follow(chat);
  }

  /** Chats that were entered while the connection was away are found by the list. */
  async list() {
    this.#wanted = true;
    if (this.#listing) return;
    this.#listing = true;
    while (this.#wanted && !this.#way.ended()) {
      this.#wanted = false;
      await this.#readList();
    }
    this.#listing = false;
  }

  /**
   * The last active come first, so a chat that becomes active while the list is read moves past the
   * pages that are left. Several pages are therefore read again, up to a chat that has not moved:
   * those behind it have not either.
   */
  async #readList() {
    const seen = new Map();
    for (let [round, pages] = [0, 0]; round < LIST_ROUNDS && pages !== 1; round += 1) {
      pages = 0;
      for (let [cursor, met] = ['', false]; cursor !== null && !met; pages += 1) {
        const page = await this.#get(`/chats/?limit=100${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
        if (!page) return;
        for (const chat of page.items) {
          met ||= seen.get(chat.id) === chat.seq;
          seen.set(chat.id, chat.seq);
          this.#way.follow(chat);
        }
        cursor = page.next_cursor;
      }
    }
  }

  /** Asks until the server answers; null where it refuses. @param {string} path */
  async #get(path) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#way.request(path);
      } catch (error) {
        if (!error.transient || this.#way.ended()) return null;
        await this.#way.pause(Math.max(error.retryAfterMs, backoff(attempt, this.#way.random)));
      }
    }
  }
}
