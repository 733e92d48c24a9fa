// @ts-check
/**
 * Who is logged in: tokens that refresh themselves, and REST calls. Part of `messenger.js`, which exports all of it.
 * @module
 */

/**
 * The back-off: random over its whole range, so that clients that were thrown out together do not come back together.
 * @param {number} attempt 0 for the first
 * @param {() => number} [random]
 * @returns {number} milliseconds, below 500 · 2^attempt and below 30 s
 */
export const backoff = (attempt, random = Math.random) => random() * Math.min(30_000, 500 * 2 ** Math.min(attempt, 10));

/** An id for `client_message_id` or `request_id`; works without a secure context, unlike `crypto.randomUUID`. */
export const randomId = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, '0')).join('');

/** A fault told by the server (REST problem or WebSocket `error`) or met on the way (status 0, code `offline`). */
export class ApiError extends Error {
  /** @param {number} status @param {string} code @param {string} detail @param {{errors?: {field: string, message: string}[], retryAfterMs?: number}} [more] */
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

/**
 * Who is logged in, and the REST calls in that name.
 *
 * Emits `signed_in`, `refreshed` (a new access token is there), and `ended` with a text when the session is over.
 *
 * The tokens lie in `sessionStorage`: a reload keeps the session, closing the tab forgets it, and each tab may be
 * another user. `localStorage` would share one refresh token between tabs; it may be used only once, so two tabs that
 * refresh together would end the session of both. Neither protects from a script injected into the page: the pages'
 * Content-Security-Policy and the rule that text is only ever set as text are there for that.
 */
export class Session extends Emitter {
  #storage;
  #tokens = null;
  #refreshing = null;
  #timer = 0;

  /** @param {{base?: string, key?: string, storage?: Storage}} [options] */
  constructor({ base = location.origin, key = 'messenger.session', storage = sessionStorage } = {}) {
    super();
    this.base = base;
    this.key = key;
    this.#storage = storage;
    try {
      this.#tokens = JSON.parse(storage.getItem(key) ?? 'null');
    } catch {
      storage.removeItem(key);
    }
    if (this.#tokens) this.#schedule();
  }

  get signedIn() { return this.#tokens !== null; }
  get accessToken() { return this.#tokens?.access ?? ''; }
  /** Whether a refresh token is held; a pasted access token comes without. */
  get refreshable() { return Boolean(this.#tokens?.refresh); }
  get expiresAt() { return this.#tokens?.expiresAt ?? 0; }
  /** Names this session in this tab (no token in it), to notice a duplicated tab. */
  get tabId() { return this.#tokens?.tabId ?? ''; }

  /** @param {string} username @param {string} email @param {string} password */
  register(username, email, password) {
    return this.#fetch('POST', '/auth/register', { username, email, password });
  }

  /** @param {string} username or the e-mail @param {string} password */
  async login(username, password) {
    this.#keep(await this.#fetch('POST', '/auth/login', { username, password }), randomId());
    this.emit('signed_in');
  }

  /** Goes on with an access token from elsewhere, without the means to refresh it. @param {string} token */
  adopt(token) {
    this.#keep({ access_token: token.trim(), refresh_token: null, expires_in: 86_400 }, randomId());
    this.emit('signed_in');
  }

  /** A new pair of tokens; calls made at once share one request, for a refresh token is good for one. @returns {Promise<void>} */
  refresh() {
    this.#refreshing ??= this.#refresh().finally(() => { this.#refreshing = null; });
    return this.#refreshing;
  }

  async #refresh() {
    const held = this.#tokens;
    if (!held?.refresh) {
      this.end('The access token has expired. Please log in again.');
      throw new ApiError(401, 'token_expired', 'no refresh token');
    }
    try {
      const fresh = await this.#fetch('POST', '/auth/refresh', { refresh_token: held.refresh });
      if (this.#tokens !== held) throw new ApiError(401, 'unauthenticated', 'logged out meanwhile');
      this.#keep(fresh, held.tabId);
    } catch (error) {
      if (error.status === 401 || error.status === 403 || error.status === 422) this.end('Your session has ended. Please log in again.');
      throw error;
    }
    this.emit('refreshed');
  }

  /** Ends the session on the server; here it ends at once whatever the server says. */
  async logout() {
    const token = this.accessToken;
    this.end('');
    if (token) await this.#fetch('POST', '/auth/logout', undefined, token);
  }

  /** Forgets the tokens. @param {string} text what to tell the user, empty for nothing */
  end(text) {
    clearTimeout(this.#timer);
    const was = this.#tokens;
    this.#tokens = null;
    this.#storage.removeItem(this.key);
    if (was) this.emit('ended', text);
  }

  /**
   * A REST call; an expired access token is refreshed and the call made once more.
   * @param {string} method @param {string} path with its query @param {unknown} [body]
   * @returns {Promise<any>} the parsed answer, null for 204
   */
  async request(method, path, body) {
    if (this.#tokens?.refresh && Date.now() > this.#tokens.expiresAt) await this.refresh();
    const token = this.accessToken;
    try {
      return await this.#fetch(method, path, body, token);
    } catch (error) {
      if (error.status !== 401 || !this.refreshable) throw error;
      if (this.accessToken === token) await this.refresh();
      return this.#fetch(method, path, body, this.accessToken);
    }
  }

  #keep(pair, tabId) {
    this.#tokens = { access: pair.access_token, refresh: pair.refresh_token, expiresAt: Date.now() + pair.expires_in * 1000, ttl: pair.expires_in, tabId };
    this.#storage.setItem(this.key, JSON.stringify(this.#tokens));
    this.#schedule();
  }

  /** Refreshes a little before the end, so that a live connection need not be closed with 4401. */
  #schedule() {
    clearTimeout(this.#timer);
    if (!this.#tokens.refresh) return;
    const early = Math.min(60_000, this.#tokens.ttl * 200);
    const due = Math.max(0, this.#tokens.expiresAt - early - Date.now());
    this.#timer = setTimeout(() => {
      this.refresh().catch((error) => {
        if (!this.signedIn || !error.transient) return;
        this.#timer = setTimeout(() => { if (this.signedIn) this.#schedule(); }, 1000 + backoff(4));
      });
    }, Math.min(due, 2 ** 31 - 1));
  }

  async #fetch(method, path, body, token = '') {
    const headers = { accept: 'application/json' };
    if (body !== undefined) headers['content-type'] = 'application/json';
    if (token) headers.authorization = `Bearer ${token}`;
    let answer;
    let text;
    try {
      answer = await fetch(new URL(path, this.base), { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal: AbortSignal.timeout(15_000), cache: 'no-store' });
      text = await answer.text();
    } catch {
      throw new ApiError(0, 'offline', 'The server cannot be reached.');
    }
    let parsed = null;
    try {
      parsed = text ? JSON.parse(text) : null;
    } catch {
      if (answer.ok) throw new ApiError(answer.status, 'internal', 'The answer was not JSON.');
    }
    if (answer.ok) return parsed;
    const retryAfterMs = Number(answer.headers.get('retry-after') ?? 0) * 1000 || 0;
    throw new ApiError(answer.status, parsed?.code ?? 'internal', parsed?.detail || parsed?.title || `HTTP status ${answer.status}`, { errors: parsed?.errors, retryAfterMs });
  }
}
