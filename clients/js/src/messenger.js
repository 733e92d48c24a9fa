// @ts-check
/**
 * The messenger's protocol for browsers: accounts with rotating tokens, REST calls, and a WebSocket
 * that reconnects as the close codes say and recovers what it missed by `after_seq`.
 * No dependency and no DOM, so that any page may use it.
 * @module
 */
import { CLOSE_CODES, closePlan } from './close.js';
import { failure, parse } from './frames.js';
import { ApiError, ENDINGS, Emitter, Session, backoff, randomId, sleep } from './session.js';
import { SEQUENCED, Subscriptions } from './subscriptions.js';

export { ApiError, CLOSE_CODES, ENDINGS, Emitter, SEQUENCED, Session, backoff, closePlan, randomId };

/** Beyond this an open connection is asked for a sign of life when somebody comes back to it. */
const SILENT_MS = 40_000;
/** Somebody who does something has the connection tried at most so often. */
const NUDGE_MS = 1000;
/**
 * Between two subscriptions: half the rate at which a server answers `rate_limited`. A full batch
 * counts as five commands there; a thousand chats fit into its burst, and beyond that its word
 * counts.
 */
const PACE_MS = 35;
/** A server takes so many chats at once. */
const BATCH = 100;
/** So long the answers to a `subscribe_chats` may take. */
const ANSWERS_MS = 30_000;
/** The wait for the answer to a sign of life. */
const CHECK_MS = 10_000;

/**
 * One live connection that comes back by itself.
 *
 * Emits `state` ({state, delayMs, plan, code, reason}), `frame` ({direction: 'in'|'out', text,
 * data}), `event` (each frame of the server; sequenced events of a subscription consecutive and
 * once), `resync` ({chat_id, seq}: fetch by REST), and `refused` ({chat_id, error}: the
 * subscription is given up).
 */
export class Connection extends Emitter {
  #session;
  #options;
  #socket = null;
  #attempt = 0;
  #triedAt = 0;
  #dueAt = 0;
  /** Whether the server has set the time of the next attempt. */
  #told = false;
  #refreshFirst = false;
  #timers = {};
  #asked = new Map();
  #subscriptions = new Subscriptions();
  /** @type {Map<string, {chats: Set<number>, timer: any}>} */
  #batches = new Map();
  /** Whether the server knows `subscribe_chats`, as far as is known. */
  #inBatches = true;
  /** Takes the listeners off again. */
  #off = new AbortController();
  #paceMs = PACE_MS;
  #restUntil = 0;
  #pumping = false;
  #heardAt = 0;
  /** @type {'idle'|'connecting'|'open'|'waiting'|'stopped'} */
  state = 'idle';

  /**
   * @param {Session} session
   * @param {{way?: 'subprotocol'|'path', reconnect?: boolean, WebSocket?: typeof WebSocket,
   *   random?: () => number, longestMs?: () => number, heartbeatMs?: number}} [options]
   *   `subprotocol` keeps the token out of the address, so it is the default; `longestMs` caps the
   *   back-off; after `heartbeatMs` of silence the server is asked, by default as often as it says
   */
  constructor(session, options = {}) {
    super();
    this.#session = session;
    this.#options = { way: 'subprotocol', reconnect: true, WebSocket: globalThis.WebSocket, random: Math.random, longestMs: () => 30_000, ...options };
    const offs = [
      session.on('refreshed', () => this.send({ type: 'authenticate', token: session.accessToken })),
      session.on('reached', () => this.nudge()),
    ];
    const { signal } = this.#off;
    signal.addEventListener('abort', () => { for (const off of offs) off(); });
    globalThis.addEventListener?.('online', () => { if (this.state === 'waiting') this.#retry(backoff(1, this.#options.random)); }, { signal });
  }

  /** Connects now, whatever was planned. */
  start() {
    this.#drop();
    this.#open();
  }

  /**
   * Tries at once if it was waiting: somebody is there, or the server answers again. Not oftener
   * than once a second, and not before a time that the server itself has set.
   */
  nudge() {
    if (this.state === 'open' && Date.now() - this.#heardAt > SILENT_MS) this.check(3000);
    const due = Math.max(Date.now(), this.#triedAt + NUDGE_MS);
    if (this.state !== 'waiting' || this.#told || due >= this.#dueAt) return;
    this.#retry(due - Date.now(), this.#refreshFirst);
  }

  /** Closes and stays closed; the subscriptions' cursors are kept for the next {@link start}. */
  stop() {
    this.#drop();
    this.#set('idle');
  }

  /** Stops for good. */
  close() {
    this.#off.abort();
    this.stop();
  }

  /**
   * @param {object|string} command an object, or the very text to send
   * @returns {boolean} whether it was handed to the socket
   */
  send(command) {
    if (this.state !== 'open') return false;
    const text = typeof command === 'string' ? command : JSON.stringify(command);
    this.emit('frame', { direction: 'out', text, data: typeof command === 'string' ? parse(text) : command });
    this.#socket.send(text);
    return true;
  }

  /**
   * Sends a command and waits for the answer that carries its `request_id`.
   * @param {object} command
   * @param {number} [timeoutMs]
   */
  request(command, timeoutMs = 10_000) {
    const request_id = randomId();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#settle(request_id, (w) => w.reject(new ApiError(0, 'timeout', 'No answer in time.'))), timeoutMs);
      this.#asked.set(request_id, { resolve, reject, timer });
      if (!this.send({ ...command, request_id })) this.#settle(request_id, (w) => w.reject(new ApiError(0, 'offline', 'Not connected.')));
    });
  }

  /**
   * Follows a chat over every reconnect, until {@link unsubscribe}.
   * @param {number} chatId
   * @param {number|null} [afterSeq] what is known already; null: from now on
   * @param {any} [epoch] the server's word for the history that `afterSeq` is of
   */
  subscribe(chatId, afterSeq = null, epoch = null) {
    if (this.#subscriptions.add(chatId, afterSeq, epoch)) this.#pump();
  }

  /** This chat comes before all others, now and after every reconnect. @param {number} chatId */
  prefer(chatId) { this.#subscriptions.prefer(chatId); }

  /** How far a chat was received. @param {number} chatId */
  cursor(chatId) { return this.#subscriptions.cursor(chatId); }

  /** Follows it no longer. @param {number} chatId */
  unsubscribe(chatId) {
    if (this.#subscriptions.drop(chatId)) this.send({ type: 'unsubscribe_chat', chat_id: chatId });
  }

  #set(state, more = {}) {
    this.state = state;
    this.emit('state', { state, ...more });
  }

  /** Lets go of the socket at once: a dead network may hold its close back for minutes. */
  #drop() {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    const socket = this.#socket;
    this.#socket = null;
    if (socket) socket.onmessage = socket.onclose = socket.onopen = null;
    socket?.close(1000);
    for (const id of [...this.#asked.keys()]) this.#settle(id, (w) => w.reject(new ApiError(0, 'offline', 'The connection was lost.')));
    for (const { timer } of this.#batches.values()) clearTimeout(timer);
    this.#batches.clear();
  }

  #open() {
    if (!this.#session.signedIn) return this.#set('stopped', { plan: closePlan(4501), code: 4501, reason: '' });
    this.#triedAt = Date.now();
    this.#set('connecting');
    const token = this.#session.accessToken;
    const url = this.#session.url('/ws/chat');
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const byPath = this.#options.way === 'path';
    if (byPath) url.pathname += `/${encodeURIComponent(token)}`;
    let socket;
    try {
      socket = byPath ? new this.#options.WebSocket(url) : new this.#options.WebSocket(url, ['bearer', token]);
    } catch {
      return this.#closed(4501, ''); // a token with characters that no subprotocol may have
    }
    this.#socket = socket;
    this.#timers.connect = setTimeout(() => this.#lost(1006), 15_000);
    socket.onmessage = (message) => this.#receive(socket, message.data);
    socket.onclose = (close) => this.#lost(close.code, close.reason);
    // The close says it all, but with some libraries an error that nobody listens for, also one
    // after the close, ends the process.
    socket.onerror = () => {};
  }

  #lost(code, reason = '') {
    this.#drop();
    this.#closed(code, reason);
  }

  async #closed(code, reason) {
    const plan = closePlan(code, reason);
    if (plan.action === 'stop' || !this.#options.reconnect) return this.#set('stopped', { plan, code, reason });
    const delayMs = plan.delayMs ?? (plan.action === 'refresh' && this.#attempt === 0 ? 0 : backoff(this.#attempt, this.#options.random, this.#options.longestMs()));
    this.#attempt += 1;
    this.#told = plan.delayMs !== null;
    this.#refreshFirst = plan.action === 'refresh';
    this.#retry(delayMs, this.#refreshFirst);
    this.#set('waiting', { delayMs, plan, code, reason });
  }

  #retry(delayMs, refresh = false) {
    clearTimeout(this.#timers.retry);
    this.#dueAt = Date.now() + delayMs;
    this.#timers.retry = setTimeout(async () => {
      if (!refresh) return this.#open();
      try {
        await this.#session.refresh();
        if (this.state === 'waiting') this.#open();
      } catch (error) {
        if (this.state !== 'waiting') return;
        if (error.transient) await this.#closed(4401, '');
        else this.#set('stopped', { plan: closePlan(4501), code: 4501, reason: '' });
      }
    }, delayMs);
  }

  #receive(socket, text) {
    const frame = parse(text);
    this.#heardAt = Date.now();
    this.emit('frame', { direction: 'in', text, data: frame });
    if (!frame) return;
    if (frame.type === 'welcome') this.#welcome(frame);
    const { wanted, resync, gap } = this.#subscriptions.take(frame);
    if (resync) this.emit('resync', { chat_id: frame.chat_id, seq: frame.seq });
    if (gap && this.send({ type: 'unsubscribe_chat', chat_id: frame.chat_id })) this.#pump();
    const error = frame.type === 'error' ? failure(frame) : null;
    if (frame.request_id) this.#settle(frame.request_id, (w) => (error ? w.reject(error) : w.resolve(frame)));
    if (this.#batches.has(frame.request_id)) this.#answered(frame, error);
    if (wanted && socket === this.#socket) this.emit('event', frame);
  }

  #welcome(frame) {
    clearTimeout(this.#timers.connect);
    this.#timers.steady = setTimeout(() => { this.#attempt = 0; }, 10_000);
    this.#set('open', { connectionId: frame.connection_id });
    this.#subscriptions.restart();
    this.#watch(this.#options.heartbeatMs ?? (frame.heartbeat_seconds ?? 25) * 1000);
    this.#pump();
  }

  /**
   * Scripts see no WebSocket pings, and a broken network is silent: ask when nothing was heard, and
   * give up without an answer.
   */
  #watch(everyMs) {
    this.#timers.watch = setTimeout(async () => {
      if (Date.now() - this.#heardAt >= everyMs) await this.check(Math.min(CHECK_MS, everyMs));
      if (this.state === 'open') this.#watch(everyMs);
    }, everyMs);
  }

  /** Asks whether the server still hears, and connects anew where it does not answer in time. */
  async check(timeoutMs = CHECK_MS) {
    const socket = this.#socket;
    const askedAt = Date.now();
    await this.request({ type: 'ping' }, timeoutMs).catch(() => { if (socket && socket === this.#socket && this.#heardAt < askedAt) this.#lost(1006); });
  }

  /** Subscribes to many at once, or one after the other where the server knows no better. */
  async #pump() {
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.state === 'open') {
      const chats = this.#subscriptions.next(this.#inBatches ? BATCH : 1);
      if (chats.length === 0) break;
      if (chats.length === 1) this.request({ type: 'subscribe_chat', ...chats[0] }).catch((error) => this.#notSubscribed([chats[0].chat_id], error));
      else this.#askForMany(chats);
      await sleep(this.#paceMs);
      while (this.state === 'open' && Date.now() < this.#restUntil) await sleep(Math.min(this.#restUntil - Date.now(), 1000));
    }
    this.#paceMs = PACE_MS;
    this.#pumping = false;
  }

  #askForMany(chats) {
    const request_id = randomId();
    const late = () => this.#answered({ request_id }, new ApiError(0, 'timeout', 'No answer in time.'));
    this.#batches.set(request_id, { chats: new Set(chats.map((fields) => fields.chat_id)), timer: setTimeout(late, ANSWERS_MS) });
    this.send({ type: 'subscribe_chats', chats, request_id });
  }

  /**
   * @param {{request_id: string, chat_id?: number}} answer without a chat: of all
   * @param {ApiError|null} error
   */
  #answered({ request_id, chat_id }, error) {
    const batch = this.#batches.get(request_id);
    if (!batch) return;
    const chats = chat_id === undefined ? [...batch.chats] : [chat_id];
    for (const chatId of chats) batch.chats.delete(chatId);
    if (batch.chats.size === 0) {
      clearTimeout(batch.timer);
      this.#batches.delete(request_id);
    }
    if (error?.code === 'unknown_type') {
      // A server of an earlier release.
      this.#inBatches = false;
      this.#subscriptions.again(chats);
      this.#pump();
    } else if (error) {
      this.#notSubscribed(chats, error);
    }
  }

  async #notSubscribed(chats, error) {
    if (!error.transient) {
      for (const chatId of chats) {
        if (this.#subscriptions.drop(chatId)) this.emit('refused', { chat_id: chatId, error });
      }
      return;
    }
    if (error.code === 'rate_limited') {
      // The rate is the user's, whose other devices subscribe too: all wait, and each then asks
      // less often.
      this.#restUntil = Math.max(this.#restUntil, Date.now() + Math.max(error.retryAfterMs, 100) + backoff(0));
      this.#paceMs = Math.min(this.#paceMs * 1.5, 500);
    } else {
      await sleep(1000 + backoff(1));
    }
    if (this.state !== 'open') return;
    this.#subscriptions.again(chats);
    this.#pump();
  }

  #settle(requestId, how) {
    const waiter = this.#asked.get(requestId);
    if (!waiter) return;
    this.#asked.delete(requestId);
    clearTimeout(waiter.timer);
    how(waiter);
  }
}
