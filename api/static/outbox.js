// @ts-check
/**
 * Messages on their way. Each has its `client_message_id` from the start, so trying again, also
 * after a reload, can never send twice. One chat's messages go one after the other, so they keep
 * their order.
 * @module
 */
import { backoff, randomId } from './messenger.js';
import { ours } from './site.js';
import { shared } from './storage.js';
import { wordsFor } from './words.js';

const TRIES = 6;
const KEY = `${ours('messenger.unsent')}.`;

/**
 * @typedef {{client_message_id: string, chat_id: number, author_id: number, text: string,
 * reply_to_id: number|null, created_at: string, order: number, state: 'sending'|'failed', fault:
 * string, code?: string, transient?: boolean}} Pending
 */

export class Outbox {
  /** @type {Map<number, Pending[]>} */
  #pending = new Map();
  #running = new Set();
  #session;
  #sent;
  #changed;
  #author = 0;
  #last = 0;
  #stop = new AbortController();
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
    globalThis.addEventListener('storage', (event) => this.#elsewhere(event), { signal: this.#stop.signal });
  }

  /** @param {number} chatId @returns {Pending[]} oldest first */
  of(chatId) {
    return this.#pending.get(chatId) ?? [];
  }

  /** Takes up what this user's earlier visit left unsent. @param {number} author */
  resume(author) {
    this.#author = author;
    /** @type {Pending[]} */
    const kept = shared.keys(this.#prefix).map((key) => shared.read(key)).filter(Boolean);
    for (const pending of kept.sort((a, b) => a.order - b.order)) this.#add({ ...pending, state: 'sending' });
    for (const chatId of this.#pending.keys()) this.#run(chatId);
  }

  get #prefix() { return `${KEY}${this.#author}.`; }

  /** Another tab has sent or discarded it. @param {StorageEvent} event */
  #elsewhere({ key, newValue }) {
    if (newValue !== null || !key?.startsWith(this.#prefix)) return;
    const id = key.slice(this.#prefix.length);
    for (const one of [...this.#pending.values()].flat()) if (one.client_message_id === id) this.settled(one.chat_id, id);
  }

  /** How many messages the server does not have yet. */
  get size() { return [...this.#pending.values()].flat().length; }

  /**
   * @param {number} chatId
   * @param {string} text
   * @param {number|null} [replyTo] the message that it answers
   */
  send(chatId, text, replyTo = null) {
    /** @type {Pending} */
    const pending = {
      client_message_id: randomId(), chat_id: chatId, author_id: this.#author, text, reply_to_id: replyTo,
      created_at: new Date().toISOString(), order: this.#order(), state: 'sending', fault: '',
    };
    this.#add(pending);
    shared.setItem(this.#prefix + pending.client_message_id, JSON.stringify(pending));
    this.#run(chatId);
  }

  /** Two messages of one millisecond keep their order over a reload too. */
  #order() {
    this.#last = Math.max(this.#last + 1, Date.now() * 100);
    return this.#last;
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

  /**
   * The server has this one, as an answer or an event says.
   * @param {number} chatId
   * @param {string} clientMessageId
   */
  settled(chatId, clientMessageId) {
    const left = this.of(chatId).filter((one) => one.client_message_id !== clientMessageId);
    if (left.length === this.of(chatId).length) return;
    shared.removeItem(this.#prefix + clientMessageId);
    this.#set(chatId, left);
  }

  /** @param {number} chatId */
  forget(chatId) {
    for (const one of this.of(chatId)) shared.removeItem(this.#prefix + one.client_message_id);
    this.#set(chatId, []);
  }

  /** Forgets everything, for the user logs out. */
  clear() {
    this.#pending.clear();
    for (const key of shared.keys(this.#prefix)) shared.removeItem(key);
  }

  /** Stops; what is unsent stays kept for the same user's next visit. */
  close() {
    this.#closed = true;
    this.#stop.abort();
  }

  #add(pending) { this.#set(pending.chat_id, [...this.of(pending.chat_id), pending]); }

  #set(chatId, list) {
    if (list.length > 0) this.#pending.set(chatId, list);
    else this.#pending.delete(chatId);
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
    const answered = () => (pending.reply_to_id ? { reply_to_id: pending.reply_to_id } : {});
    for (let attempt = 0; ; attempt += 1) {
      try {
        const message = await this.#session.request('POST', '/messages/send', { chat_id, text, client_message_id, ...answered() });
        this.#sent(chat_id, message);
        return this.settled(chat_id, client_message_id);
      } catch (error) {
        if (this.#closed || !this.of(chat_id).includes(pending)) return;
        // The message that it answers is gone by now: the words go out all the same.
        if (pending.reply_to_id && (error.code === 'message_not_found' || error.errors.some((one) => one.field === 'reply_to_id'))) {
          pending.reply_to_id = null;
          continue;
        }
        if (!error.transient || attempt + 1 >= TRIES || !this.#session.signedIn) {
          pending.state = 'failed';
          pending.fault = wordsFor(error);
          pending.code = error.code;
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
