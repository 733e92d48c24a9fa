// @ts-check
/**
 * The messenger's protocol for browsers: accounts with rotating tokens, REST calls, and a WebSocket
 * that reconnects as the close codes say and recovers what it missed by `after_seq`.
 * No dependency and no DOM, so that any page may use it.
 * @module
 */
import { ApiError, Emitter, Session, backoff, randomId } from './session.js';

export { ApiError, Emitter, Session, backoff, randomId };

/** What each close code means, for people. The range decides what a client does: see {@link closePlan}. */
export const CLOSE_CODES = Object.freeze({
  1000: 'Closed normally.',
  1001: 'The server or the page is going away.',
  1002: 'A frame broke the WebSocket protocol.',
  1003: 'A binary frame was sent; this protocol is text only.',
  1005: 'Closed without a code.',
  1006: 'The connection broke without a close frame.',
  1007: 'A frame was not UTF-8.',
  1009: 'A frame was larger than the server takes.',
  1011: 'The server failed.',
  1012: 'This server is being restarted.',
  4401: 'The access token has expired.',
  4408: 'No sign of life from this client in time.',
  4409: 'This client read nothing for too long.',
  4429: 'Too many commands.',
  4501: 'The token is missing or not valid.',
  4502: 'This session has ended: logged out, password changed, or its refresh token was used twice.',
  4503: 'This account is disabled.',
  4504: 'This user has too many connections open.',
});

/**
 * What to do after a close.
 * @param {number} code
 * @param {string} [reason]
 * @returns {{action: 'reconnect'|'refresh'|'stop', delayMs: number|null, meaning: string, advice: string}}
 *   `delayMs` is the delay the server asked for, null where the back-off decides.
 */
export function closePlan(code, reason = '') {
  const meaning = CLOSE_CODES[code] ?? `Close code ${code}${reason ? `: ${reason}` : '.'}`;
  const plan = (action, advice, delayMs = null) => ({ action, delayMs, meaning, advice });
  if (code === 1012) {
    const told = reconnectAfter(reason);
    return plan('reconnect', told === null ? 'Reconnect after a random back-off.' : `Reconnect after ${told} ms, as the server asks.`, told);
  }
  if (code === 4401) return plan('refresh', 'Refresh the token, then reconnect.');
  if (code >= 4000 && code <= 4499) return plan('reconnect', 'Reconnect after a random back-off.');
  const final = [1000, 1002, 1003, 1007, 1008, 1009, 1010];
  if ((code >= 4500 && code <= 4999) || final.includes(code)) {
    const advice = { 1000: 'Nothing to do.', 4501: 'Log in again.', 4502: 'Log in again.', 4503: 'Ask whoever runs this server.', 4504: 'Close other windows, then connect again.' };
    return plan('stop', advice[code] ?? 'Do not reconnect: the same would happen again.');
  }
  return plan('reconnect', 'Reconnect after a random back-off.');
}

/** @param {string} reason @returns {number|null} `reconnect_after_ms` of a 1012, at most five minutes */
function reconnectAfter(reason) {
  try {
    const ms = JSON.parse(reason).reconnect_after_ms;
    return Number.isFinite(ms) && ms >= 0 ? Math.min(ms, 300_000) : null;
  } catch {
    return null;
  }
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** The kinds of event that bear the chat's consecutive `seq`; a test holds them against the server's. */
export const SEQUENCED = new Set(['new_message', 'message_edited', 'message_deleted', 'member_joined', 'member_left', 'member_updated', 'chat_updated', 'chat_deleted', 'unknown']);

/** The other frames that bear a chat and a `seq`. A frame of neither list may be a newer server's event. */
const NOT_SEQUENCED = new Set(['message_read']);

/**
 * One live connection that comes back by itself.
 *
 * Emits `state` ({state, delayMs, plan, code, reason}), `frame` ({direction: 'in'|'out', text, data}), `event` (each
 * frame of the server; sequenced events of a subscription consecutive and once), `resync` ({chat_id, seq}: fetch by
 * REST), and `refused` ({chat_id, error}: the subscription is given up).
 */
export class Connection extends Emitter {
  #session;
  #options;
  #socket = null;
  #attempt = 0;
  #timers = {};
  #asked = new Map();
  #subscriptions = new Map();
  #queue = [];
  #pumping = false;
  #heardAt = 0;
  /** @type {'idle'|'connecting'|'open'|'waiting'|'stopped'} */
  state = 'idle';

  /**
   * @param {Session} session
   * @param {{way?: 'subprotocol'|'path', reconnect?: boolean, WebSocket?: typeof WebSocket, random?: () => number}} [options]
   *   `subprotocol` keeps the token out of the address, so it is the default
   */
  constructor(session, options = {}) {
    super();
    this.#session = session;
    this.#options = { way: 'subprotocol', reconnect: true, WebSocket: globalThis.WebSocket, random: Math.random, ...options };
    session.on('refreshed', () => this.send({ type: 'authenticate', token: session.accessToken }));
    globalThis.addEventListener?.('online', () => { if (this.state === 'waiting') this.#retry(backoff(1, this.#options.random)); });
  }

  /** Connects now, whatever was planned. */
  start() {
    this.#drop();
    this.#open();
  }

  /** Closes and stays closed; the subscriptions' cursors are kept for the next {@link start}. */
  stop() {
    this.#drop();
    this.#set('idle');
  }

  /** @param {object|string} command an object, or the very text to send @returns {boolean} whether it was handed to the socket */
  send(command) {
    if (this.state !== 'open') return false;
    const text = typeof command === 'string' ? command : JSON.stringify(command);
    this.emit('frame', { direction: 'out', text, data: typeof command === 'string' ? parse(text) : command });
    this.#socket.send(text);
    return true;
  }

  /** Sends a command and waits for the answer that carries its `request_id`. @param {object} command @param {number} [timeoutMs] */
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
    this.#pump();
  }

  /** @param {number} chatId */
  unsubscribe(chatId) {
    if (this.#subscriptions.delete(chatId)) this.send({ type: 'unsubscribe_chat', chat_id: chatId });
  }

  #set(state, more = {}) {
    this.state = state;
    this.emit('state', { state, ...more });
  }

  /** Lets go of the socket without waiting for its close, which a dead network may hold back for minutes. */
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
    const delayMs = plan.delayMs ?? (plan.action === 'refresh' && this.#attempt === 0 ? 0 : backoff(this.#attempt, this.#options.random));
    this.#attempt += 1;
    this.#retry(delayMs, plan.action === 'refresh');
    this.#set('waiting', { delayMs, plan, code, reason });
  }

  #retry(delayMs, refresh = false) {
    clearTimeout(this.#timers.retry);
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
      this.#settle(frame.request_id, (w) => (failed ? w.reject(new ApiError(frame.code === 'rate_limited' ? 429 : frame.code === 'unavailable' ? 503 : 400, frame.code, frame.detail)) : w.resolve(frame)));
    }
    if (wanted && socket === this.#socket) this.emit('event', frame);
  }

  #welcome(frame) {
    clearTimeout(this.#timers.connect);
    this.#timers.steady = setTimeout(() => { this.#attempt = 0; }, 10_000);
    this.#set('open', { connectionId: frame.connection_id });
    for (const subscription of this.#subscriptions.values()) subscription.live = false;
    this.#queue = [...this.#subscriptions.keys()];
    this.#watch((frame.heartbeat_seconds ?? 25) * 1000);
    this.#pump();
  }

  /** Scripts see no WebSocket pings, and a broken network is silent: ask when nothing was heard, and give up without an answer. */
  #watch(everyMs) {
    this.#timers.watch = setTimeout(async () => {
      if (Date.now() - this.#heardAt >= everyMs) {
        const socket = this.#socket;
        await this.request({ type: 'ping' }).catch(() => { if (socket && socket === this.#socket && Date.now() - this.#heardAt >= everyMs) this.#lost(1006); });
      }
      if (this.state === 'open') this.#watch(everyMs);
    }, everyMs);
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

  /** Subscribes one after the other, at half the rate at which a server answers `rate_limited`. */
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
      await sleep(35);
    }
    this.#pumping = false;
  }

  async #notSubscribed(chatId, error) {
    if (!error.transient) {
      this.#subscriptions.delete(chatId);
      return this.emit('refused', { chat_id: chatId, error });
    }
    await sleep(1000 + backoff(1));
    if (this.state !== 'open' || this.#queue.includes(chatId)) return;
    this.#queue.push(chatId);
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
