// @ts-check
/**
 * Where the page keeps what must outlive it. A browser may refuse to keep anything (blocked
 * cookies, a full disk): everything then works from memory, and {@link Keeper.durable} says so.
 * @module
 */

/** A `localStorage` or `sessionStorage` that never throws. */
export class Keeper {
  #memory = new Map();
  #store;
  /** Told when the browser begins to refuse. */
  whenRefused = () => {};
  /** Whether all that was given to it outlives the page. */
  durable = true;

  /** @param {'localStorage'|'sessionStorage'|'memory'} name */
  constructor(name) {
    try {
      this.#store = globalThis[name] ?? null;
    } catch {
      this.#store = null; // a browser that blocks cookies throws at the mere mention
    }
    if (!this.#store) this.durable = false;
  }

  /** @param {string} key @returns {string|null} */
  getItem(key) {
    if (this.#memory.has(key)) return this.#memory.get(key);
    try {
      return this.#store?.getItem(key) ?? null;
    } catch {
      return null;
    }
  }

  /**
   * The value parsed, null where there is none or it is damaged.
   * @param {string} key
   * @returns {any}
   */
  read(key) {
    try {
      return JSON.parse(this.getItem(key) ?? 'null');
    } catch {
      this.removeItem(key);
      return null;
    }
  }

  /** @param {string} key @param {string} value */
  setItem(key, value) {
    try {
      if (!this.#store) throw new Error('no storage');
      this.#store.setItem(key, value);
      this.#memory.delete(key);
    } catch {
      // An older value must not come back after a reload in the place of this one.
      this.#remove(key);
      this.#memory.set(key, value);
      this.durable = false;
      this.whenRefused();
    }
  }

  /** @param {string} key */
  removeItem(key) {
    this.#memory.delete(key);
    this.#remove(key);
  }

  #remove(key) {
    try {
      this.#store?.removeItem(key);
    } catch { /* it was never kept */ }
  }

  /** All keys that begin so. @param {string} prefix @returns {string[]} */
  keys(prefix) {
    const all = new Set(this.#memory.keys());
    try {
      for (let index = 0; index < (this.#store?.length ?? 0); index += 1) all.add(this.#store?.key(index) ?? '');
    } catch { /* nothing was ever kept */ }
    return [...all].filter((key) => key.startsWith(prefix));
  }
}

/** Shared by every tab of this browser, over restarts. */
export const shared = new Keeper('localStorage');
