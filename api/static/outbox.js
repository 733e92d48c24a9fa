// @ts-check
/**
 * Messages on their way. Each has its `client_message_id` from the start, so trying again, also after a reload, can
 * never send twice. One chat's messages go one after the other, so they keep their order.
 * @module
 */
import { backoff, randomId } from './messenger.js';

const TRIES = 6;
const KEY = 'messenger.outbox';

/** @typedef {{client_message_id: string, chat_id: number, author_id: number, text: string, created_at: string, state: 'sending'|'failed', fault: string, transient?: boolean}} Pending */

export class Outbox {
  /** @type {Map<number, Pending[]>} */
  #pending = new Map();
  #running = new Set();
  #session;
  #sent;
  #changed;
  #author = 0;
  /** @type {Set<() => void>} */
  #waiting = new Set();
  #closed = false;

  /**
   * @param {import('./messenger.js').Session} session
   * @param {(chatId: number, message: any) => void} sent the server's message
   * @param {(chatId: number) => void} changed something here looks different
   */
  constructor(session, sent, changed) {
    this.#session = session;
    this.#sent = sent;
    this.#changed = changed;
  }

  /** @param {number} chatId @returns {Pending[]} oldest first */
  of(chatId) {
    return this.#pending.get(chatId) ?? [];
  }

  /** Takes up what a reload interrupted; another user's is thrown away. @param {number} author */
  resume(author) {
    this.#author = author;
    /** @type {Pending[]} */
    let kept = [];
    try {
      kept = JSON.parse(sessionStorage.getItem(KEY) ?? '[]');
    } catch {
      sessionStorage.removeItem(KEY);
    }
    for (const pending of kept.filter((one) => one.author_id === author)) this.#add({ ...pending, state: 'sending' });
    for (const chatId of this.#pending.keys()) this.#run(chatId);
  }

  /** @param {number} chatId @param {string} text */
  send(chatId, text) {
    this.#add({ client_message_id: randomId(), chat_id: chatId, author_id: this.#author, text, created_at: new Date().toISOString(), state: 'sending', fault: '' });
    this.#run(chatId);
  }

  /** Tries a failed message again, with the same id. @param {Pending} pending */
  retry(pending) {
    pending.state = 'sending';
    this.#changed(pending.chat_id);
    this.#run(pending.chat_id);
  }

  /** The server is there again: whatever only its absence held up is tried now. */
  again() {
    for (const pending of [...this.#pending.values()].flat()) if (pending.state === 'failed' && pending.transient) this.retry(pending);
    for (const go of this.#waiting) go();
  }

  /** The server has this one, as an answer or an event says. @param {number} chatId @param {string} clientMessageId */
  settled(chatId, clientMessageId) {
    const left = this.of(chatId).filter((one) => one.client_message_id !== clientMessageId);
    if (left.length !== this.of(chatId).length) this.#set(chatId, left);
  }

  /** @param {number} chatId */
  forget(chatId) { this.#set(chatId, []); }

  /** Forgets everything, for the user logs out. */
  clear() {
    this.#pending.clear();
    sessionStorage.removeItem(KEY);
  }

  /** Stops; what is unsent stays kept for the same user's next visit. */
  close() { this.#closed = true; }

  #add(pending) { this.#set(pending.chat_id, [...this.of(pending.chat_id), pending]); }

  #set(chatId, list) {
    if (list.length > 0) this.#pending.set(chatId, list);
    else this.#pending.delete(chatId);
    sessionStorage.setItem(KEY, JSON.stringify([...this.#pending.values()].flat()));
    this.#changed(chatId);
  }

  async #run(chatId) {
    if (this.#running.has(chatId)) return;
    this.#running.add(chatId);
    for (;;) {
      const next = this.of(chatId).find((one) => one.state === 'sending');
      if (!next || !this.#session.signedIn || this.#closed) break;
      await this.#deliver(next);
    }
    this.#running.delete(chatId);
  }

  async #deliver(pending) {
    const { chat_id, text, client_message_id } = pending;
    for (let attempt = 0; ; attempt += 1) {
      try {
        const message = await this.#session.request('POST', '/messages/send', { chat_id, text, client_message_id });
        this.#sent(chat_id, message);
        return this.settled(chat_id, client_message_id);
      } catch (error) {
        if (this.#closed || !this.of(chat_id).includes(pending)) return;
        if (!error.transient || attempt + 1 >= TRIES || !this.#session.signedIn) {
          pending.state = 'failed';
          pending.fault = error.message;
          pending.transient = error.transient;
          return this.#changed(chat_id);
        }
        await this.#pause(Math.max(error.retryAfterMs, 300 + backoff(attempt + 1)), error.retryAfterMs > 0);
      }
    }
  }

  /** Waits; unless the server has set the time, no longer than until it is there {@link again}. */
  async #pause(ms, set) {
    let go = () => {};
    await new Promise((done) => {
      go = () => done(null);
      setTimeout(go, ms);
      if (!set) this.#waiting.add(go);
    });
    this.#waiting.delete(go);
  }
}
