// @ts-check
/**
 * Messages on their way. Each has its `client_message_id` from the start, so trying again, also
 * after a reload, can never send twice. One chat's messages go one after the other, so they keep
 * their order: one that waits for the server holds up those behind it, one that was refused does
 * not.
 * @module
 */
import { backoff, randomId } from './messenger.js';
import { ours } from './site.js';
import { shared } from './storage.js';
import { wordsFor } from './words.js';

/** So many failures are told. While only the server is away the next try comes all the same. */
const TOLD_TRIES = 6;
const KEY = `${ours('messenger.unsent')}.`;

/**
 * @typedef {{client_message_id: string, chat_id: number, author_id: number, text: string,
 * reply_to_id: number|null, created_at: string, order: number, state: 'sending'|'failed', fault:
 * string, code?: string, tries?: number, transient?: boolean}} Pending
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
  /** What ends the pause of a chat's next message. @type {Map<number, () => void>} */
  #waiting = new Map();
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
    this.#takeUp();
  }

  /**
   * Takes up what is kept and not here, of an earlier visit or of a tab that is closed. A tab that
   * still lives may send the same: each sends all of a chat in one order, and no id twice.
   */
  #takeUp() {
    const here = new Set(this.#all.map((one) => one.client_message_id));
    for (const key of shared.keys(this.#prefix)) {
      /** @type {Pending|null} */
      const kept = shared.read(key);
      if (kept && !here.has(kept.client_message_id)) this.#add({ ...kept, state: 'sending' });
    }
    for (const chatId of this.#pending.keys()) this.#run(chatId);
  }

  get #prefix() { return `${KEY}${this.#author}.`; }

  /** Another tab has sent or discarded it. @param {StorageEvent} event */
  #elsewhere({ key, newValue }) {
    if (newValue !== null || !key?.startsWith(this.#prefix)) return;
    const id = key.slice(this.#prefix.length);
    for (const one of this.#all) if (one.client_message_id === id) this.settled(one.chat_id, id);
  }

  get #all() { return [...this.#pending.values()].flat(); }

  /** How many messages the server does not have yet, those of other tabs too. */
  get size() {
    const kept = shared.keys(this.#prefix).map((key) => key.slice(this.#prefix.length));
    return new Set([...kept, ...this.#all.map((one) => one.client_message_id)]).size;
  }

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
    const held = this.#next(chatId);
    if (held?.state === 'failed') this.retry(held);
    else this.#run(chatId);
  }

  /** Two messages of one millisecond keep their order over a reload too. */
  #order() {
    this.#last = Math.max(this.#last + 1, Date.now() * 100);
    return this.#last;
  }

  /** Tries a failed message again, with the same id. @param {Pending} pending */
  retry(pending) {
    Object.assign(pending, { state: 'sending', tries: 0 });
    this.#changed(pending.chat_id);
    this.#go(pending.chat_id);
  }

  /** The server is there again: whatever only its absence held up is tried now. */
  again() {
    this.#takeUp();
    for (const pending of this.#all) if (pending.state === 'failed' && pending.transient) this.retry(pending);
    for (const chatId of this.#pending.keys()) this.#go(chatId);
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
    this.#go(chatId);
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

  #add(pending) { this.#set(pending.chat_id, [...this.of(pending.chat_id), pending].sort((a, b) => a.order - b.order)); }

  #set(chatId, list) {
    if (list.length > 0) this.#pending.set(chatId, list);
    else this.#pending.delete(chatId);
    this.#changed(chatId);
  }

  /** Whatever is due in this chat waits no longer. @param {number} chatId */
  #go(chatId) {
    this.#waiting.get(chatId)?.();
    this.#run(chatId);
  }

  async #run(chatId) {
    if (this.#running.has(chatId)) return;
    this.#running.add(chatId);
    for (;;) {
      const next = this.#next(chatId);
      if (!next || !this.#session.signedIn || this.#closed) break;
      await this.#deliver(next);
    }
    this.#running.delete(chatId);
  }

  /** The first that was not refused: it holds up those behind it. @param {number} chatId */
  #next(chatId) { return this.of(chatId).find((one) => one.state === 'sending' || one.transient); }

  /** Tries until the server has it or refuses it, or another one is due before it. */
  async #deliver(pending) {
    const { chat_id, text, client_message_id } = pending;
    const answered = () => (pending.reply_to_id ? { reply_to_id: pending.reply_to_id } : {});
    for (;;) {
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
        pending.tries = (pending.tries ?? 0) + 1;
        pending.transient = error.transient && this.#session.signedIn;
        if (!pending.transient || pending.tries >= TOLD_TRIES) {
          Object.assign(pending, { state: 'failed', fault: wordsFor(error), code: error.code });
          this.#changed(chat_id);
        }
        if (!pending.transient) return;
        await this.#pause(chat_id, Math.max(error.retryAfterMs, 300 + backoff(pending.tries)), error.retryAfterMs > 0);
        if (this.#closed || this.#next(chat_id) !== pending) return;
      }
    }
  }

  /** Waits; unless the server has set the time, no longer than until the chat is to {@link #go}. */
  async #pause(chatId, ms, set) {
    await new Promise((done) => {
      setTimeout(done, ms);
      if (!set) this.#waiting.set(chatId, () => done(null));
    });
    this.#waiting.delete(chatId);
  }
}
