// @ts-check
/**
 * The reader's own view of a chat: muted, put away, kept above the others. It is the same on all
 * the reader's devices. Part of `store.js`.
 * @module
 */

/** @typedef {import('./history.js').Entry} Entry */

/** Muted until it is turned on again. */
export const FOREVER = '9999-12-31T23:59:59Z';
/** A timer takes no longer time. */
const LONGEST_MS = 86_400_000;

const until = (/** @type {Entry} */ chat) => Date.parse(chat.info.settings?.muted_until ?? '') || 0;

/** Nothing of a muted chat makes a sound or a notification. @param {Entry} chat */
export const isMuted = (chat) => until(chat) > Date.now();
/** @param {Entry} chat */
export const isArchived = (chat) => Boolean(chat.info.settings?.archived);
/** @param {Entry} chat */
export const isOnTop = (chat) => Boolean(chat.info.settings?.pinned);

export class Views {
  #store;
  #timer = 0;

  /** @param {import('./store.js').Store} store */
  constructor(store) {
    this.#store = store;
  }

  /**
   * @param {number} id
   * @param {{muted_until?: string|null, archived?: boolean, pinned?: boolean}} patch
   */
  async set(id, patch) {
    const { settings } = await this.#store.call('PATCH', `/chats/${id}/settings`, patch);
    const chat = this.#store.chats.get(id);
    if (chat) chat.info = { ...chat.info, settings };
    this.changed(id);
  }

  /** Shows the view of now, and again when the next chat is no longer muted. @param {number} id */
  changed(id) {
    this.watch();
    this.#store.emit('chats');
    this.#store.emit('chat', id);
  }

  watch() {
    clearTimeout(this.#timer);
    const next = Math.min(...[...this.#store.chats.values()].filter(isMuted).map(until));
    if (!Number.isFinite(next)) return;
    this.#timer = setTimeout(() => { this.watch(); this.#store.emit('chats'); }, Math.min(next - Date.now() + 1, LONGEST_MS));
  }

  close() { clearTimeout(this.#timer); }
}
