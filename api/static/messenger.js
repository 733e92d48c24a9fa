// @ts-check
/**
 * The messenger's protocol for browsers: accounts with rotating tokens, REST calls, and a WebSocket
 * that reconnects as the close codes say and recovers what it missed by `after_seq`.
 * No dependency and no DOM, so that any page may use it.
 * @module
 */
import { CLOSE_CODES, closePlan } from './close.js';
import { ApiError, Emitter, Session, backoff, randomId } from './session.js';

export { ApiError, CLOSE_CODES, Emitter, Session, backoff, closePlan, randomId };

/** Beyond this an open connection is asked for a sign of life when somebody comes back to it. */
const SILENT_MS = 40_000;
/** Somebody who does something has the connection tried at most so often. */
const NUDGE_MS = 1000;

/** Between two subscriptions: half the rate at which a server answers `rate_limited`. */
const PACE_MS = 35;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** The kinds of event that bear the chat's consecutive `seq`; a test holds them against the server's. */
export const SEQUENCED = new Set(['new_message', 'message_edited', 'message_deleted', 'member_joined', 'member_left', 'member_updated', 'chat_updated', 'chat_deleted', 'unknown']);

/** The other frames that bear a chat and a `seq`. A frame of neither list may be a newer server's event. */
const NOT_SEQUENCED = new Set(['message_read']);

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
  #subscriptions = new Map();
  #queue = [];
  #preferred = 0;
  #paceMs = PACE_MS;
  #restUntil = 0;
  #pumping = false;
  #heardAt = 0;
  /** @type {'idle'|'connecting'|'open'|'waiting'|'stopped'} */
  state = 'idle';

  /**
   * @param {Session} session
   * @param {{way?: 'subprotocol'|'path', reconnect?: boolean, WebSocket?: typeof WebSocket,
   *   random?: () => number, longestMs?: () => number}} [options] `subprotocol` keeps the token out
   *   of the address, so it is the default; `longestMs` caps the back-off
   */
  constructor(session, options = {}) {
    super();
    this.#session = session;
    this.#options = { way: 'subprotocol', reconnect: true, WebSocket: globalThis.WebSocket, random: Math.random, longestMs: () => 30_000, ...options };
    session.on('refreshed', () => this.send({ type: 'authenticate', token: session.accessToken }));
    session.on('reached', () => this.nudge());
    globalThis.addEventListener?.('online', () => { if (this.state === 'waiting') this.#retry(backoff(1, this.#options.random)); });
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
   */
  subscribe(chatId, afterSeq = null) {
    if (this.#subscriptions.has(chatId)) return;
    this.#subscriptions.set(chatId, { seq: afterSeq, live: false, skipped: new Set() });
    this.#queue.push(chatId);
    this.#toFront();
    this.#pump();
  }

  /**
   * Subscribes to this chat before all others, now and after every reconnect: somebody looks at it.
   * @param {number} chatId
   */
  prefer(chatId) {
    this.#preferred = chatId;
    this.#toFront();
  }

  #toFront() {
    const at = this.#queue.indexOf(this.#preferred);
    if (at > 0) this.#queue.unshift(...this.#queue.splice(at, 1));
  }

  /** @param {number} chatId */
  unsubscribe(chatId) {
    if (this.#subscriptions.delete(chatId)) this.send({ type: 'unsubscribe_chat', chat_id: chatId });
  }

  #set(state, more = {}) {
    this.state = state;
    this.emit('state', { state, ...more });
  }

  /**
   * Lets go of the socket without waiting for its close, which a dead network may hold back for
   * minutes.
   */
  #drop() {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
      socket.close(1000);
    }
    for (const id of [...this.#asked.keys()]) this.#settle(id, (w) => w.reject(new ApiError(0, 'offline', 'The connection was lost.')));
  }

  #open() {
    if (!this.#session.signedIn) return this.#set('stopped', { plan: closePlan(4501), code: 4501, reason: '' });
    this.#triedAt = Date.now();
    this.#set('connecting');
    const token = this.#session.accessToken;
    const url = new URL('/ws/chat', this.#session.base);
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
    const wanted = this.#sequence(frame);
    if (frame.type === 'chat_removed') this.#subscriptions.delete(frame.chat_id);
    if (frame.request_id) {
      const failed = frame.type === 'error';
      this.#settle(frame.request_id, (w) => (failed ? w.reject(new ApiError(frame.code === 'rate_limited' ? 429 : frame.code === 'unavailable' ? 503 : 400, frame.code, frame.detail, { retryAfterMs: frame.retry_after_ms })) : w.resolve(frame)));
    }
    if (wanted && socket === this.#socket) this.emit('event', frame);
  }

  #welcome(frame) {
    clearTimeout(this.#timers.connect);
    this.#timers.steady = setTimeout(() => { this.#attempt = 0; }, 10_000);
    this.#set('open', { connectionId: frame.connection_id });
    for (const subscription of this.#subscriptions.values()) subscription.live = false;
    this.#queue = [...this.#subscriptions.keys()];
    this.#toFront();
    this.#watch((frame.heartbeat_seconds ?? 25) * 1000);
    this.#pump();
  }

  /**
   * Scripts see no WebSocket pings, and a broken network is silent: ask when nothing was heard, and
   * give up without an answer.
   */
  #watch(everyMs) {
    this.#timers.watch = setTimeout(async () => {
      if (Date.now() - this.#heardAt >= everyMs) await this.check();
      if (this.state === 'open') this.#watch(everyMs);
    }, everyMs);
  }

  /** Asks whether the server still hears, and connects anew where it does not answer in time. */
  async check(timeoutMs = 10_000) {
    const socket = this.#socket;
    const askedAt = Date.now();
    await this.request({ type: 'ping' }, timeoutMs).catch(() => { if (socket && socket === this.#socket && this.#heardAt < askedAt) this.#lost(1006); });
  }

  /** The cursor of each subscription. @returns {boolean} whether the frame is to be told on */
  #sequence(frame) {
    const subscription = this.#subscriptions.get(frame.chat_id);
    if (!subscription) return true;
    if (frame.type === 'subscribed' || frame.type === 'resync') {
      if (frame.type === 'subscribed') subscription.live = true;
      if (frame.resync || frame.type === 'resync') this.emit('resync', { chat_id: frame.chat_id, seq: frame.seq });
      if (frame.resync || frame.type === 'resync' || subscription.seq === null) subscription.seq = frame.seq;
    } else if (subscription.live && SEQUENCED.has(frame.type)) {
      if (frame.seq <= subscription.seq) return false;
      // Numbers of frames that this client does not know are no gap.
      while (frame.seq > subscription.seq + 1 && subscription.skipped.has(subscription.seq + 1)) subscription.seq += 1;
      subscription.skipped.clear();
      if (frame.seq > subscription.seq + 1) {
        // A gap is against the contract; asking anew from the cursor heals it whatever its cause.
        subscription.live = false;
        this.send({ type: 'unsubscribe_chat', chat_id: frame.chat_id });
        this.#queue.push(frame.chat_id);
        this.#pump();
        return false;
      }
      subscription.seq = frame.seq;
    } else if (subscription.live && Number.isInteger(frame.seq) && !NOT_SEQUENCED.has(frame.type)) {
      subscription.skipped.add(frame.seq);
    }
    return true;
  }

  /** Subscribes one after the other. */
  async #pump() {
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.state === 'open' && this.#queue.length > 0) {
      const chatId = this.#queue.shift();
      const subscription = this.#subscriptions.get(chatId);
      if (!subscription || subscription.live) continue;
      const command = { type: 'subscribe_chat', chat_id: chatId };
      if (subscription.seq !== null) command.after_seq = subscription.seq;
      this.request(command).catch((error) => this.#notSubscribed(chatId, error));
      await sleep(this.#paceMs);
      while (Date.now() < this.#restUntil) await sleep(this.#restUntil - Date.now());
    }
    this.#paceMs = PACE_MS;
    this.#pumping = false;
  }

  async #notSubscribed(chatId, error) {
    if (!error.transient) {
      this.#subscriptions.delete(chatId);
      return this.emit('refused', { chat_id: chatId, error });
    }
    if (error.code === 'rate_limited') {
      // The rate is the user's, whose other devices subscribe too: all wait, and each then asks
      // less often.
      this.#restUntil = Math.max(this.#restUntil, Date.now() + Math.max(error.retryAfterMs, 100) + backoff(0));
      this.#paceMs = Math.min(this.#paceMs * 1.5, 500);
    } else {
      await sleep(1000 + backoff(1));
    }
    if (this.state !== 'open' || this.#queue.includes(chatId)) return;
    this.#queue.push(chatId);
    this.#toFront();
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

/** @param {string} text @returns {any} the parsed object, or null */
function parse(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
}
