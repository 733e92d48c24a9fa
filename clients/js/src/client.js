// @ts-check
/**
 * The client that an application holds: a login, its live connection, and the events of the chats
 * that it follows.
 * @module
 */
import { ApiError, CLOSE_CODES, Connection, Emitter, SEQUENCED, Session, backoff, closePlan, randomId } from './messenger.js';
import { Following } from './following.js';
import { Keeper } from './storage.js';
import { MemoryStore, WebStore } from './stores.js';

export { ApiError, CLOSE_CODES, Connection, Emitter, MemoryStore, Session, WebStore, backoff, closePlan, randomId };

/** Received and not yet asked for; beyond it the client disconnects until you have caught up. */
const QUEUE_EVENTS = 1000;
/** A message is tried for so long. */
const SEND_MS = 300_000;
/** Between two tries of one message, at most. */
const SEND_BACKOFF_MS = 5000;
const TOKEN_REFUSED = 4501;

/** These answer the client's own commands, and are no event of a chat. */
const ANSWERS = new Set(['welcome', 'subscribed', 'unsubscribed', 'pong', 'authenticated', 'error', 'message_sent', 'resync']);

/** The server closed the connection for good, or refused to refresh the token (code 4501). */
export class SessionEnded extends Error {
  /** @param {number} code the close code @param {string} reason */
  constructor(code, reason) {
    super(`${code}: ${reason}`);
    this.name = 'SessionEnded';
    this.code = code;
    this.reason = reason;
  }
}

/**
 * `for await (const event of messenger)` gives each event of a followed chat once and in order,
 * over every reconnect. The cursor of an event is saved when you ask for the next one, so an event
 * whose handling was cut off comes again after a restart.
 */
export class Messenger {
  #store;
  #cursors;
  #connection;
  #sendBackoffMs;
  #random;
  /** @type {{event: any, chatId: number, cursor?: any, forget?: boolean}[]} */
  #queue = [];
  #handled = null;
  /** @type {{resolve: (step: any) => void, reject: (error: any) => void}[]} */
  #waiting = [];
  /** @type {{error: Error|null}|null} */
  #ended = null;
  #paused = false;
  #followsAll = false;
  #following;
  /** @type {Set<number>} chats that only {@link subscribe} follows again */
  #unsubscribed = new Set();
  /** @type {Map<number, Promise<any>>} the last send of each chat */
  #sending = new Map();
  /** @type {Promise<any>} the last that was asked for */
  #turn = Promise.resolve();
  /** @type {Set<() => void>} */
  #pauses = new Set();

  /**
   * @param {string} url
   * @param {{store?: any, session?: Session, WebSocket?: any, onState?: (state: any) => void,
   *   random?: () => number, longestBackoffMs?: number, heartbeatMs?: number}} [options]
   */
  constructor(url, { store = new MemoryStore(), session = new Session({ base: url, storage: new Keeper('memory') }), WebSocket = globalThis.WebSocket, onState = () => {}, random = Math.random, longestBackoffMs = 30_000, heartbeatMs } = {}) {
    this.session = session;
    this.#store = store;
    this.#cursors = store.load();
    this.#random = random;
    this.#sendBackoffMs = Math.min(SEND_BACKOFF_MS, longestBackoffMs);
    this.#following = new Following({
      request: (path) => this.request('GET', path),
      follow: (chat) => this.#follow(chat),
      pause: (ms) => this.#pause(ms),
      ended: () => this.#ended !== null,
      random,
    });
    this.#connection = new Connection(session, { WebSocket, random, longestMs: () => longestBackoffMs, ...(heartbeatMs ? { heartbeatMs } : {}) });
    this.#connection.on('state', (state) => { onState(state); this.#stateChanged(state); });
    this.#connection.on('event', (frame) => this.#take(frame));
    this.#connection.on('resync', ({ chat_id, seq }) => this.#push({ event: { type: 'resync', chat_id, seq }, chatId: chat_id, cursor: this.#cursor(chat_id) }));
    this.#connection.on('refused', ({ chat_id, error }) => this.#push({ event: { type: 'refused', chat_id, code: error.code, detail: error.message }, chatId: chat_id, forget: true }));
    session.on('ended', (text) => this.#end(new SessionEnded(TOKEN_REFUSED, text)));
  }

  /** @param {string} username or the e-mail address @param {string} password */
  login(username, password) { return this.session.login(username, password); }

  /**
   * Goes on with tokens from elsewhere.
   * @param {string} accessToken
   * @param {string|null} [refreshToken]
   * @param {number} [expiresIn] seconds
   */
  adopt(accessToken, refreshToken = null, expiresIn = 86_400) { this.session.adopt(accessToken, refreshToken, expiresIn); }

  /**
   * A REST call in the name of the login.
   * @param {string} method
   * @param {string} path
   * @param {unknown} [body]
   * @param {{idempotencyKey?: string}} [options]
   */
  request(method, path, body, options) { return this.session.request(method, path, body, options); }

  /**
   * Follows a chat: from the store's cursor, else from `afterSeq`, else from now on.
   * @param {number} chatId @param {number|null} [afterSeq]
   */
  subscribe(chatId, afterSeq = null) {
    const known = this.#cursors.get(chatId);
    this.#unsubscribed.delete(chatId);
    this.#connection.subscribe(chatId, known?.seq ?? afterSeq, known?.epoch ?? null);
    this.#start();
  }

  /**
   * Follows all chats of the login, and those that it comes into. Without a cursor in the store, a
   * private chat is followed from its first event that is still kept, and a group from now on.
   */
  subscribeAll() {
    this.#followsAll = true;
    if (this.#connection.state === 'open') this.#following.list();
    this.#start();
  }

  /**
   * Follows the chat no longer, and forgets its cursor. Nothing but {@link subscribe} follows it
   * again: no message, no reconnect, and not that you come into it anew.
   * @param {number} chatId
   */
  unsubscribe(chatId) {
    this.#unsubscribed.add(chatId);
    this.#connection.unsubscribe(chatId);
    this.#queue = this.#queue.filter((step) => step.chatId !== chatId);
    if (this.#handled?.chatId === chatId) this.#handled = null;
    this.#save(chatId, null);
  }

  /**
   * Sends a message once, however often it has to try. While the server is away the message waits,
   * behind those sent to the chat before it.
   * @param {number} chatId @param {string} text
   * @param {{replyToId?: number, clientMessageId?: string, timeoutMs?: number}} [options] give
   *   `clientMessageId` yourself to make a repeat after a restart harmless
   * @returns {Promise<any>} the stored message
   */
  send(chatId, text, { replyToId, clientMessageId = randomId(), timeoutMs = SEND_MS } = {}) {
    const body = { chat_id: chatId, text, client_message_id: clientMessageId, ...(replyToId ? { reply_to_id: replyToId } : {}) };
    const deadline = Date.now() + timeoutMs;
    const sent = (this.#sending.get(chatId) ?? Promise.resolve()).then(() => this.#deliver(body, deadline));
    const last = sent.catch(() => {}).finally(() => { if (this.#sending.get(chatId) === last) this.#sending.delete(chatId); });
    this.#sending.set(chatId, last);
    return sent;
  }

  /**
   * Shows that you type; lost while there is no connection.
   * @param {number} chatId
   * @param {boolean} [isTyping]
   */
  typing(chatId, isTyping = true) { this.#connection.send({ type: 'typing', chat_id: chatId, is_typing: isTyping }); }

  /**
   * A page of the messages that have all these words, the newest first. `highlights` of a message
   * are pieces of `[...text]`.
   * @param {string} q
   * @param {{chatId?: number, authorId?: number, limit?: number, cursor?: string|null}} [options]
   * @returns {Promise<any>}
   */
  search(q, { chatId, authorId, limit, cursor } = {}) {
    const asked = Object.entries({ q, chat_id: chatId, author_id: authorId, limit, cursor }).flatMap(([name, value]) => (value == null ? [] : [[name, `${value}`]]));
    return this.request('GET', `/messages/search?${new URLSearchParams(asked)}`);
  }

  /** You have read up to this number. @param {number} chatId @param {number} seq */
  read(chatId, seq) { return this.request('POST', `/chats/${chatId}/read`, { seq }); }

  [Symbol.asyncIterator]() {
    this.#start();
    return this;
  }

  /**
   * Calls that are made at once get the events in the order of the calls.
   * @returns {Promise<IteratorResult<any, undefined>>}
   */
  next() {
    this.#start();
    const mine = this.#turn.then(() => this.#next());
    this.#turn = mine.catch(() => {});
    return mine;
  }

  async #next() {
    for (;;) {
      this.#settle();
      const step = this.#queue.shift() ?? await this.#more();
      if (step === null) return { done: true, value: undefined };
      this.#handled = step;
      if (step.event) return { done: false, value: step.event };
    }
  }

  /**
   * A loop that is left early has not handled its last event.
   * @returns {Promise<IteratorResult<any, undefined>>}
   */
  async return() {
    this.#handled = null;
    return { done: true, value: undefined };
  }

  /**
   * Ends everything; nothing of it keeps the process alive. The event at hand counts as handled.
   */
  close() {
    this.#settle();
    this.#queue = [];
    this.#end(null);
  }

  #start() {
    if (this.#connection.state === 'idle' && !this.#paused && !this.#ended) this.#connection.start();
  }

  #end(error) {
    if (this.#ended) return;
    this.#ended = { error };
    this.#connection.close();
    this.session.close();
    for (const go of this.#pauses) go();
    for (const { resolve, reject } of this.#waiting.splice(0)) if (error) reject(error); else resolve(null);
  }

  #more() {
    if (this.#ended?.error) throw this.#ended.error;
    if (this.#ended) return null;
    if (this.#paused) {
      this.#paused = false;
      this.#connection.start();
    }
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  #stateChanged({ state, code, reason }) {
    if (state === 'stopped') this.#end(new SessionEnded(code, reason));
    if (state === 'open' && this.#followsAll) this.#following.list();
  }

  /** @param {any} frame */
  #take(frame) {
    const { type, chat_id: chatId } = frame;
    const cursor = this.#connection.cursor(chatId);
    if (type === 'subscribed' && cursor && !frame.resync) this.#push({ event: null, chatId, cursor: this.#cursor(chatId) });
    if (ANSWERS.has(type)) return;
    if (type === 'chat_removed') return this.#push({ event: frame, chatId, forget: true });
    if (type === 'chat_added' && this.#followsAll) this.#follow(frame.chat);
    if (!SEQUENCED.has(type)) return this.#push({ event: frame, chatId: 0 });
    // Notices, and what was under way when the chat was unsubscribed from.
    if (this.#unsubscribed.has(chatId)) return;
    // A chat that is new: its first message comes by the subscription.
    if (!cursor && type === 'new_message' && this.#followsAll) return this.#following.lookUp(chatId);
    // A notice of a private chat that is not live yet: the replay brings it, unless there is none.
    if (cursor && !cursor.live && cursor.seq !== null) return;
    this.#push({ event: type === 'unknown' ? null : frame, chatId, cursor: cursor?.live ? this.#cursor(chatId) : undefined });
  }

  #cursor(chatId) {
    const { seq, epoch } = this.#connection.cursor(chatId) ?? {};
    return seq === undefined ? undefined : { seq, epoch };
  }

  #push(step) {
    if (this.#ended) return;
    const waiter = this.#waiting.shift();
    if (waiter) return waiter.resolve(step);
    this.#queue.push(step);
    if (this.#queue.length > QUEUE_EVENTS && !this.#paused) {
      // What comes after these is asked for again, from the cursors.
      this.#paused = true;
      this.#connection.stop();
    }
  }

  #settle() {
    const step = this.#handled;
    this.#handled = null;
    if (step?.forget) this.#save(step.chatId, null);
    else if (step?.cursor) this.#save(step.chatId, step.cursor);
  }

  #save(chatId, cursor) {
    const known = this.#cursors.get(chatId);
    if (cursor ? known?.seq === cursor.seq && known.epoch === cursor.epoch : !known) return;
    if (cursor) this.#cursors.set(chatId, cursor);
    else this.#cursors.delete(chatId);
    this.#store.save(chatId, cursor);
  }

  #follow(chat) {
    if (this.#unsubscribed.has(chat.id)) return;
    const known = this.#cursors.get(chat.id);
    this.#connection.subscribe(chat.id, known?.seq ?? (chat.is_group ? chat.seq : 0), known?.epoch ?? null);
  }

  async #deliver(body, deadline) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.session.request('POST', '/messages/send', body);
      } catch (error) {
        const waitMs = Math.max(error.retryAfterMs ?? 0, backoff(attempt, this.#random, this.#sendBackoffMs));
        if (!(error.transient || error.code === 'in_progress') || Date.now() + waitMs > deadline || this.#ended) throw error;
        await this.#pause(waitMs);
      }
    }
  }

  /** Waits, no longer than until the end. @param {number} ms */
  async #pause(ms) {
    let go = () => {};
    await new Promise((done) => {
      const timer = setTimeout(done, ms);
      go = () => { clearTimeout(timer); done(null); };
      this.#pauses.add(go);
    });
    this.#pauses.delete(go);
  }
}
