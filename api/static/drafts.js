// @ts-check
/**
 * The words that were typed and not sent, for each chat. They are kept at every key, so that no
 * reload, crash or log-in loses it.
 * @module
 */
import { ours } from './site.js';
import { shared } from './storage.js';

/**
 * `text` is the message in the making, `replyTo` the message that it answers. A half-done edit
 * stands beside it.
 * @typedef {{text: string, replyTo: number|null, edit: {id: number, text: string, was:
 *   string}|null}} Draft
 */

const KEY = `${ours('messenger.draft')}.`;

/** @type {Readonly<Draft>} */
export const NONE = Object.freeze({ text: '', replyTo: null, edit: null });

export class Drafts {
  #prefix;

  /** @param {number} userId */
  constructor(userId) {
    this.#prefix = `${KEY}${userId}.`;
  }

  /** @param {number} chatId @returns {Draft} */
  of(chatId) {
    return { ...NONE, ...shared.read(this.#prefix + chatId) };
  }

  /** @param {number} chatId @param {Partial<Draft>} more what changes */
  set(chatId, more) {
    const draft = { ...this.of(chatId), ...more };
    const key = this.#prefix + chatId;
    if (draft.text === '' && !draft.edit && !draft.replyTo) {
      if (shared.getItem(key) !== null) shared.removeItem(key);
    } else {
      shared.setItem(key, JSON.stringify(draft));
    }
  }

  /**
   * What another tab has just changed in this chat: as it was and as it is, or nothing.
   * @param {number} chatId @param {StorageEvent} event @returns {[Draft, Draft]|null}
   */
  changed(chatId, { key, oldValue }) {
    if (key !== this.#prefix + chatId) return null;
    try {
      return [{ ...NONE, ...JSON.parse(oldValue ?? 'null') }, this.of(chatId)];
    } catch {
      return null;
    }
  }

  /** The words that the list shows of it. @param {number} chatId */
  preview(chatId) {
    const { text, edit } = this.of(chatId);
    return (edit?.text ?? text).trim();
  }

  /** The user logs out: a shared machine keeps none of it. */
  clear() {
    for (const key of shared.keys(this.#prefix)) shared.removeItem(key);
  }
}
