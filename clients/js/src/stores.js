// @ts-check
/** Where a client keeps how far it has read, so that a restart loses nothing. @module */

/** @typedef {{seq: number, epoch: any}} Cursor `epoch` is the server's word for that history */

/** Forgets all with the process. */
export class MemoryStore {
  /** @type {Map<number, Cursor>} */
  cursors = new Map();

  /** @returns {Map<number, Cursor>} all cursors by chat id */
  load() { return new Map(this.cursors); }

  /** @param {number} chatId @param {Cursor|null} cursor null: forget it */
  save(chatId, cursor) {
    if (cursor) this.cursors.set(chatId, cursor);
    else this.cursors.delete(chatId);
  }
}

/** Keeps all in one item of a `localStorage` or the like. */
export class WebStore extends MemoryStore {
  #storage;
  #key;

  /**
   * @param {{getItem(key: string): string|null, setItem(key: string, value: string): void}} storage
   * @param {string} [key]
   */
  constructor(storage, key = 'messenger.cursors') {
    super();
    this.#storage = storage;
    this.#key = key;
    this.cursors = new Map(JSON.parse(storage.getItem(key) ?? '[]'));
  }

  /** @param {number} chatId @param {Cursor|null} cursor */
  save(chatId, cursor) {
    super.save(chatId, cursor);
    this.#storage.setItem(this.#key, JSON.stringify([...this.cursors]));
  }
}
