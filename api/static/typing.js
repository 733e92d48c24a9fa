// @ts-check
/** Tells the others of a chat that one types, and that one has stopped. @module */

/** The server drops what comes faster than every two seconds. */
const PACE_MS = 2100;
/** The others forget after six seconds, so it is said again before. */
const AGAIN_MS = 2500;

export class TypingSignal {
  #connection;
  #id = 0;
  #toldAt = 0;
  /** Whether the others see that one types. */
  #seen = false;
  #timer = 0;

  /** @param {import('./messenger.js').Connection} connection */
  constructor(connection) {
    this.#connection = connection;
  }

  /** @param {number} id the chat that is opened */
  show(id) {
    clearTimeout(this.#timer);
    if (this.#seen) this.#tell(false);
    this.#id = id;
    this.#toldAt = 0;
  }

  /** @param {boolean} writing whether there is something in the field */
  typed(writing) {
    clearTimeout(this.#timer);
    if (writing && this.#seen && Date.now() - this.#toldAt < AGAIN_MS) return;
    if (!writing && !this.#seen) return;
    const wait = this.#toldAt + PACE_MS - Date.now();
    if (wait > 0) this.#timer = setTimeout(() => this.#tell(writing), wait);
    else this.#tell(writing);
  }

  /** A message ends it for the others by itself. */
  sent() {
    clearTimeout(this.#timer);
    this.#seen = false;
  }

  #tell(writing) {
    if (!this.#connection.send({ type: 'typing', chat_id: this.#id, is_typing: writing })) return;
    this.#toldAt = Date.now();
    this.#seen = writing;
  }
}
