// @ts-check
/**
 * A screen reader reads out what comes at the end of the messages, and no page of the history, of
 * which it would read fifty. Part of `chat_thread.js`.
 * @module
 */

/** So long after a page was drawn a screen reader may still look at it. */
const QUIET_MS = 200;

export class Quiet {
  #log;
  #loading;
  /** The last page that was drawn. */
  #paged = -1;
  #timer = 0;

  /** @param {HTMLElement} log @param {() => boolean} loading whether more of the history comes */
  constructor(log, loading) {
    this.#log = log;
    this.#loading = loading;
  }

  /** All is drawn anew the next time. */
  anew() { this.#paged = -1; }

  /** Called before the messages are drawn. @param {number} paged how many pages came so far */
  draw(paged) {
    if (paged !== this.#paged || this.#loading()) this.#keep();
    this.#paged = paged;
  }

  #keep() {
    this.#log.setAttribute('aria-busy', 'true');
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#loading()) this.#keep();
      else this.#log.setAttribute('aria-busy', 'false');
    }, QUIET_MS);
  }
}
