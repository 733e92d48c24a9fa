// @ts-check
/**
 * A login: tokens that refresh themselves, and REST calls. Part of `messenger.js`, which
 * exports all of it.
 * @module
 */

import { alone } from './lock.js';
import { backoff, randomId, sleep } from './random.js';
import { Keeper } from './storage.js';

export { backoff, randomId, sleep };

/** A token that is expired for so long was not refreshed because nothing ran. */
const ASLEEP_MS = 20_000;
/** How many connections a browser keeps to one host (HTTP/1.1). */
const KEPT_CONNECTIONS = 6;
const KNOCK_MS = 2000;
const CALL_MS = 15_000;

/**
 * A fault that the server reports (REST problem or WebSocket `error`) or that the way there has
 * (status 0, code `offline`).
 */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} code
   * @param {string} detail
   * @param {{errors?: {field: string, message: string}[], retryAfterMs?: number}} [more]
   */
  constructor(status, code, detail, more = {}) {
    super(more.errors?.length ? more.errors.map((e) => `${e.field}: ${e.message}`).join('\n') : detail);
    this.name = 'ApiError';
    this.status = status;
    this.code = code;
    this.errors = more.errors ?? [];
    this.retryAfterMs = more.retryAfterMs ?? 0;
  }

  /** Whether the same request may succeed later. */
  get transient() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** The smallest event emitter: `on` returns the function that takes the listener off again. */
export class Emitter {
  #listeners = new Map();

  /** @param {string} type @param {(detail: any) => void} listener */
  on(type, listener) {
    if (!this.#listeners.has(type)) this.#listeners.set(type, new Set());
    this.#listeners.get(type).add(listener);
    return () => this.#listeners.get(type).delete(listener);
  }

  /** @param {string} type @param {any} [detail] */
  emit(type, detail) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) listener(detail);
  }
}

/** Why a session ended, where this side found it out: what `ended` is emitted with. */
export const ENDINGS = Object.freeze({
  elsewhere: 'You are logged out.',
  expired: 'The access token has expired. Please log in again.',
  refused: 'Your session has ended. Please log in again.',
});

/**
 * A login, and the REST calls in its name.
 *
 * Emits `signed_in`, `refreshed` (a new access token is there), `reached` (the server answered a
 * call), and `ended` with a text when the session is over.
 *
 * The tokens lie in the storage that is given. With `localStorage` all tabs are one session, also
 * after a restart. A refresh token is good for one use, so one tab refreshes at a time, and the
 * others take its pair from the storage. Nothing here protects from a script injected into the
 * page: the pages' Content-Security-Policy and the rule that text is only ever set as text are
 * there for that.
 */
export class Session extends Emitter {
  #storage;
  #tokens = null;
  #refreshing = null;
  #timer = 0;
  /** @type {Set<AbortController>} */
  #calls = new Set();
  #off = new AbortController();

  /**
   * @param {{base?: string, key?: string, storage?: Keeper|Storage}} [options] without a storage it
   * lives as long as the tab; without a base the page's own server is meant
   */
  constructor({ base = '', key = 'messenger.session', storage = new Keeper('sessionStorage') } = {}) {
    super();
    // A page of a file or an app has no server of its own, and that is no fault of an address.
    this.base = base || globalThis.location?.origin || '';
    if ((base || !this.base) && !/^https?:\/\//i.test(this.base)) throw new TypeError(`${base}: the address of a server begins with http:// or https://`);
    this.key = key;
    this.#storage = storage;
    this.#tokens = this.#stored();
    if (this.#tokens) this.#schedule();
    globalThis.addEventListener?.('storage', (event) => { if (event.key === key || event.key === null) this.#follow(); }, { signal: this.#off.signal });
  }

  /**
   * The address of a path of the API. The server may live under a path of its own.
   * @param {string} path
   */
  url(path) {
    const { origin, pathname } = new URL(this.base);
    return new URL(origin + pathname.replace(/\/*$/, '') + path);
  }

  get signedIn() { return this.#tokens !== null; }
  get accessToken() { return this.#tokens?.access ?? ''; }
  /** Whether a refresh token is held; a pasted access token comes without. */
  get refreshable() { return Boolean(this.#tokens?.refresh); }
  get expiresAt() { return this.#tokens?.expiresAt ?? 0; }
  /** @param {string} username @param {string} email @param {string} password */
  register(username, email, password, invite = undefined) {
    return this.#fetch('POST', '/auth/register', { username, email, password, invite });
  }

  /** @param {string} username or the e-mail @param {string} password */
  async login(username, password) {
    this.#keep(await this.#fetch('POST', '/auth/login', { username, password }), randomId());
    this.emit('signed_in');
  }

  /**
   * Goes on with tokens from elsewhere; without a refresh token the session ends with the access
   * token.
   * @param {string} token
   * @param {string|null} [refreshToken]
   * @param {number} [expiresIn] seconds
   */
  adopt(token, refreshToken = null, expiresIn = 86_400) {
    this.#keep({ access_token: token.trim(), refresh_token: refreshToken, expires_in: expiresIn }, randomId());
    this.emit('signed_in');
  }

  /**
   * A new pair of tokens; calls made at once share one request, for a refresh token is good for
   * one.
   * @returns {Promise<void>}
   */
  refresh() {
    this.#refreshing ??= this.#refresh().finally(() => { this.#refreshing = null; });
    return this.#refreshing;
  }

  async #refresh() {
    const held = this.#tokens;
    if (!held?.refresh) {
      this.end(ENDINGS.expired);
      throw new ApiError(401, 'token_expired', 'no refresh token');
    }
    await alone(this.key, this.#storage, () => this.#exchange(held));
    this.emit('refreshed');
  }

  /** Another tab may have refreshed while this one waited for its turn: its pair is taken then. */
  async #exchange(held) {
    if (this.#renewed(held)) return;
    if (Date.now() > held.expiresAt + ASLEEP_MS) await this.#wake();
    try {
      const fresh = await this.#fetch('POST', '/auth/refresh', { refresh_token: held.refresh });
      if (this.#tokens?.id !== held.id) throw new ApiError(401, 'unauthenticated', 'logged out meanwhile');
      this.#keep(fresh, held.id);
    } catch (error) {
      if (this.#renewed(held)) return;
      const refused = error.status === 401 || error.status === 403 || error.status === 422;
      // A login that began meanwhile is not the one that was refused.
      if (refused && this.#tokens?.id === held.id) this.end(ENDINGS.refused);
      throw error;
    }
  }

  /**
   * This machine slept, for a token is refreshed before its end. The connections that the browser
   * kept may be dead without a sign, and each would cost a call its whole time-out: calls that are
   * given up soon make the browser drop them. A refresh is not given up like that, for its answer
   * must not be lost.
   */
  async #wake() {
    const knock = () => fetch(this.url('/'), { headers: { accept: 'application/json' }, signal: AbortSignal.timeout(KNOCK_MS), cache: 'no-store' });
    await Promise.allSettled(Array.from({ length: KEPT_CONNECTIONS }, knock));
  }

  /** Whether the storage has a newer pair of the same session, which is taken. */
  #renewed(held) {
    const stored = this.#stored();
    if (stored?.id !== held.id || stored.refresh === held.refresh) return false;
    this.#tokens = stored;
    this.#schedule();
    return true;
  }

  #stored() {
    try {
      return JSON.parse(this.#storage.getItem(this.key) ?? 'null');
    } catch {
      this.#storage.removeItem(this.key);
      return null;
    }
  }

  /** Another tab has logged in, logged out or refreshed. */
  #follow() {
    const held = this.#tokens;
    const stored = this.#stored();
    if (held && stored?.id === held.id) {
      if (this.#renewed(held)) this.emit('refreshed');
      return;
    }
    if (held) {
      clearTimeout(this.#timer);
      this.#tokens = null;
      this.emit('ended', stored ? '' : ENDINGS.elsewhere);
    }
    if (!stored) return;
    this.#tokens = stored;
    this.#schedule();
    this.emit('signed_in');
  }

  /**
   * Ends the session on the server, also where this client is closed or closes meanwhile; here it
   * ends at once whatever the server says.
   * @returns {Promise<void>} rejected where the server did not end it
   */
  async logout() {
    const told = this.#tokens && this.#sayEnd(this.#tokens);
    this.end('');
    await told;
  }

  /** The server takes no word of an expired access token, but a new one of the same session. */
  async #sayEnd({ access, refresh }) {
    const outlives = new Set();
    try {
      await this.#fetch('POST', '/auth/logout', undefined, access, outlives);
    } catch (error) {
      if (error.status !== 401 || !refresh) throw error;
      const fresh = await this.#fetch('POST', '/auth/refresh', { refresh_token: refresh }, '', outlives);
      await this.#fetch('POST', '/auth/logout', undefined, fresh.access_token, outlives);
    }
  }

  /** Forgets the tokens. @param {string} text what to tell the user, empty for nothing */
  end(text) {
    clearTimeout(this.#timer);
    const was = this.#tokens;
    this.#tokens = null;
    // A later login in another tab is not this session's to forget.
    const stored = this.#stored();
    if (!stored || stored.id === was?.id) this.#storage.removeItem(this.key);
    if (was) this.emit('ended', text);
  }

  /** Lets go of everything here; the tokens stay kept, and the session goes on elsewhere. */
  close() {
    this.#off.abort();
    clearTimeout(this.#timer);
    for (const call of this.#calls) call.abort();
  }

  /**
   * A REST call; an expired access token is refreshed and the call made once more. Another login
   * that begins meanwhile makes no call of this one's: it may be another account.
   * @param {string} method @param {string} path with its query @param {unknown} [body]
   * @param {{idempotencyKey?: string}} [options] the same key over all tries of one wish
   * @returns {Promise<any>} the parsed answer, null for 204
   */
  async request(method, path, body, { idempotencyKey } = {}) {
    const login = this.#tokens?.id;
    const over = () => this.#tokens?.id !== login;
    if (this.#tokens?.refresh && Date.now() > this.#tokens.expiresAt) await this.refresh();
    if (over()) throw new ApiError(401, 'unauthenticated', 'logged out meanwhile');
    const token = this.accessToken;
    try {
      return await this.#fetch(method, path, body, token, undefined, idempotencyKey);
    } catch (error) {
      if (error.status !== 401 || !this.refreshable || over()) throw error;
      if (this.accessToken === token) await this.refresh();
      if (over()) throw error;
      return this.#fetch(method, path, body, this.accessToken, undefined, idempotencyKey);
    }
  }

  /**
   * @param {any} pair
   * @param {string} id names the login, the same over all its refreshes; no token is in it
   */
  #keep(pair, id) {
    this.#tokens = { access: pair.access_token, refresh: pair.refresh_token, expiresAt: Date.now() + pair.expires_in * 1000, ttl: pair.expires_in, id };
    this.#storage.setItem(this.key, JSON.stringify(this.#tokens));
    this.#schedule();
  }

  /** Refreshes a little before the end, so that a live connection need not be closed with 4401. */
  #schedule() {
    clearTimeout(this.#timer);
    if (!this.#tokens.refresh || this.#off.signal.aborted) return;
    const early = Math.min(60_000, this.#tokens.ttl * 200);
    const due = Math.max(0, this.#tokens.expiresAt - early - Date.now());
    this.#timer = setTimeout(() => {
      this.refresh().catch((error) => {
        if (!this.signedIn || !error.transient || this.#off.signal.aborted) return;
        this.#timer = setTimeout(() => { if (this.signedIn) this.#schedule(); }, 1000 + backoff(4));
      });
    }, Math.min(due, 2 ** 31 - 1));
  }

  /** @param {Set<AbortController>} [calls] by default those that {@link close} gives up */
  async #fetch(method, path, body, token = '', calls = this.#calls, key = '') {
    const headers = { accept: 'application/json' };
    if (key) headers['idempotency-key'] = key;
    if (body !== undefined) headers['content-type'] = 'application/json';
    if (token) headers.authorization = `Bearer ${token}`;
    if (this.#off.signal.aborted && calls === this.#calls) throw new ApiError(0, 'offline', 'This client is closed.');
    const call = new AbortController();
    const timer = setTimeout(() => call.abort(), CALL_MS);
    calls.add(call);
    let answer;
    let text;
    try {
      answer = await fetch(this.url(path), { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal: call.signal, cache: 'no-store' });
      text = await answer.text();
    } catch {
      throw new ApiError(0, 'offline', 'The server cannot be reached.');
    } finally {
      clearTimeout(timer);
      calls.delete(call);
    }
    let parsed = null;
    try {
      parsed = text ? JSON.parse(text) : null;
    } catch {
      if (answer.ok) throw new ApiError(answer.status, 'internal', 'The answer was not JSON.');
    }
    if (answer.status < 500) this.emit('reached');
    if (answer.ok) return parsed;
    const retryAfterMs = Number(answer.headers.get('retry-after') ?? 0) * 1000 || 0;
    throw new ApiError(answer.status, parsed?.code ?? 'internal', parsed?.detail || parsed?.title || `HTTP status ${answer.status}`, { errors: parsed?.errors, retryAfterMs });
  }
}
