// @ts-check
/**
 * How far others have read a chat. The server says so only while one listens, so it is kept for the
 * next visit.
 * @module
 */
import { ours } from './site.js';
import { shared } from './storage.js';

const KEY = `${ours('messenger.read')}.`;

export class Ticks {
  #prefix;
  /** @type {Map<number, number>} */
  #known = new Map();

  /** @param {number} userId */
  constructor(userId) {
    this.#prefix = `${KEY}${userId}.`;
  }

  /** Somebody else has read all up to this number. @param {number} chatId */
  of(chatId) {
    const known = this.#known.get(chatId);
    if (known !== undefined) return known;
    const kept = Number(shared.getItem(this.#prefix + chatId)) || 0;
    this.#known.set(chatId, kept);
    return kept;
  }

  /** @param {number} chatId @param {number} seq @returns {boolean} whether it is news */
  reach(chatId, seq) {
    if (seq <= this.of(chatId)) return false;
    this.#known.set(chatId, seq);
    shared.setItem(this.#prefix + chatId, String(seq));
    return true;
  }

  /** The history went back or the user logs out. @param {number} [chatId] only of this chat */
  clear(chatId) {
    const keys = chatId === undefined ? shared.keys(this.#prefix) : [this.#prefix + chatId];
    for (const key of keys) shared.removeItem(key);
    if (chatId === undefined) this.#known.clear();
    else this.#known.delete(chatId);
  }
}
