// @ts-check
/**
 * The knowledge of the chat page: the chats, their messages, who is online and types. It is fed by
 * REST and by the live connection and knows no DOM. Emits `chats` (the list changed), `chat` (id:
 * that chat's content), `people` (online or typing changed), `message` (another user's new one),
 * `gone` ({id, name}) and `fault` (text).
 * @module
 */
import { Attempt } from './attempt.js';
import { ApiError, Emitter, backoff } from './messenger.js';
import { change, entry, put } from './history.js';
import { Live } from './live.js';
import { Marks } from './marks.js';
import { Drafts } from './drafts.js';
import { Outbox } from './outbox.js';
import { Pages, pause } from './pages.js';
import { People } from './people.js';
import { Ticks } from './ticks.js';
import { Views, isArchived, isOnTop } from './views.js';
import { wordsFor } from './words.js';

/** @typedef {import('./history.js').Message} Message */

/** Chats that a list lacks are asked for one by one: less often than a server answers. */
const PACE_MS = 50;
/** Several reasons to ask for a chat are one question. */
const SOON_MS = 200;

export class Store extends Emitter {
  /** @type {any} */ me = null;
  /** @type {Map<number, import('./history.js').Entry>} */ chats = new Map();
  online = new Set();
  people = new People(this);
  marks = new Marks(this);
  views = new Views(this);
  #live = new Live(this);
  pages = new Pages(this);
  drafts = new Drafts(0);
  ticks = new Ticks(0);
  #session;
  #connection;
  #creating = new Attempt();
  #closed = false;
  /** Whether the account is being deleted, which ends the session from both sides. */
  leaving = false;
  /** The chat that is open. */
  looked = 0;
  /** The timers of {@link refresh}, by chat. */
  #stale = new Map();
  /** When the next of them may be asked for. */
  #free = 0;
  /** The last call of {@link relist}. */
  #listing = {};
  /** @type {(() => void)[]} */
  #listening;

  /**
   * @param {import('./messenger.js').Session} session
   * @param {import('./messenger.js').Connection} connection
   */
  constructor(session, connection) {
    super();
    this.#session = session;
    this.#connection = connection;
    this.outbox = new Outbox(session, (chatId, message) => this.#sent(chatId, message), (chatId) => this.emit('chat', chatId));
    this.#listening = [
      connection.on('event', (frame) => this.#live.apply(frame)),
      connection.on('resync', ({ chat_id }) => this.pages.reload(chat_id)),
      connection.on('refused', ({ chat_id, error }) => { if (['not_a_member', 'chat_not_found'].includes(error.code)) this.forget(chat_id); }),
    ];
  }

  /** Lets go of the connection, its subscriptions and all timers: another user may come. */
  close() {
    this.#closed = true;
    for (const off of this.#listening) off();
    for (const timer of this.#stale.values()) clearTimeout(timer);
    for (const id of this.chats.keys()) this.#connection.unsubscribe(id);
    this.outbox.close();
    this.pages.close();
    this.people.close();
    this.marks.close();
    this.views.close();
    this.chats.clear();
  }

  /** The user leaves this machine: nothing of theirs stays on it. */
  forgetAll() {
    this.outbox.clear();
    this.drafts.clear();
    this.ticks.clear();
  }

  /** Asks who is logged in, fetches the chats, and follows them. */
  async start() {
    this.me = await this.call('GET', '/auth/me');
    this.people.learn(this.me.id, this.me.username, this.me.display_name);
    this.drafts = new Drafts(this.me.id);
    this.ticks = new Ticks(this.me.id);
    await this.loadChats();
    this.views.watch();
    this.people.loadBlocked().catch(() => {}); // asked again with the next card
    this.outbox.resume(this.me.id);
  }

  /**
   * Fetches the list anew. The newest first, so the first are followed first. A chat that it lacks
   * may have become active between two pages: the server says of each whether it is gone.
   */
  async loadChats() {
    const seen = new Set();
    // A chat that comes meanwhile is missing in a list that was made before.
    const known = [...this.chats.keys()];
    let cursor = null;
    do {
      const page = await this.call('GET', `/chats/?limit=100${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
      for (const chat of page.items) {
        seen.add(chat.id);
        this.learn(chat);
      }
      cursor = page.next_cursor;
      this.emit('chats');
    } while (cursor && seen.size < 1000);
    if (cursor) return;
    for (const id of known) if (!seen.has(id)) this.refresh(id);
  }

  /** Fetches the list anew until the server answers or somebody else asks for it. */
  async relist() {
    const mine = this.#listing = {};
    for (let attempt = 0; !this.#closed && this.#listing === mine; attempt += 1) {
      try {
        return await this.loadChats();
      } catch (error) {
        if (this.#closed) return;
        if (attempt === 0 || !error.transient) this.emit('fault', wordsFor(error));
        if (!error.transient) return;
        await new Promise((done) => setTimeout(done, pause(error, attempt)));
      }
    }
  }

  /** Takes in what an answer or an event says of a chat, and follows it. @param {any} chat */
  learn(chat) {
    const known = this.chats.get(chat.id);
    if (!known) {
      this.chats.set(chat.id, entry(chat, this.me.id));
      this.#connection.subscribe(chat.id, chat.seq);
    } else {
      known.info = { ...known.info, ...chat };
      if (chat.seq >= known.countedSeq) {
        known.countedSeq = chat.seq;
        if (chat.unread_count != null && !this.pages.telling(chat.id)) known.unread = chat.unread_count;
        if (chat.mention_count != null && !this.pages.telling(chat.id)) known.mentions = chat.mention_count;
        if (chat.last_message !== undefined) known.last = chat.last_message;
      }
    }
    if (chat.last_message) this.people.meet(chat.last_message);
    return this.chats.get(chat.id);
  }

  /** The chats, last active first: those on top, then the others, then those put away. */
  sorted() {
    const at = (chat) => Date.parse(chat.last?.created_at ?? chat.info.created_at);
    const place = (chat) => (isArchived(chat) ? 2 : isOnTop(chat) ? 0 : 1);
    return [...this.chats.values()].sort((a, b) => place(a) - place(b) || at(b) - at(a) || b.id - a.id);
  }

  /** The chat is no longer the user's. @param {number} id */
  forget(id) {
    const known = this.chats.get(id);
    if (!known) return;
    this.chats.delete(id);
    this.#connection.unsubscribe(id);
    this.outbox.forget(id);
    this.emit('gone', { id, name: known.info.name });
    this.emit('chats');
  }

  /** A chat that the user has just come into. */
  enter(chat) {
    this.learn(chat);
    this.emit('chats');
  }

  /**
   * Asks for one chat's counts and last message again, soon and once, and until the server answers.
   * Many chats that are due together are asked for one by one.
   * @param {number} id @param {number} [attempt] @param {number} [waitMs]
   */
  refresh(id, attempt = 0, waitMs = SOON_MS + backoff(0)) {
    if (this.#closed || this.#stale.has(id)) return;
    const later = (work, ms) => this.#stale.set(id, setTimeout(work, ms));
    later(() => {
      const now = performance.now();
      this.#free = Math.max(now, this.#free + PACE_MS);
      later(() => this.#ask(id, attempt), this.#free - now);
    }, waitMs);
  }

  async #ask(id, attempt) {
    this.#stale.delete(id);
    try {
      const chat = await this.call('GET', `/chats/${id}`);
      if (!chat.role) return this.forget(id);
      this.learn(chat);
      this.emit('chats');
      this.emit('chat', id);
    } catch (error) {
      if (error.status === 404 || error.status === 403) this.forget(id);
      else if (error.transient) this.refresh(id, attempt + 1, pause(error, attempt));
    }
  }

  /** @param {import('./history.js').Entry} chat @param {any} frame */
  change(chat, frame) {
    change(chat, frame);
    if (frame.type === 'new_message' && chat.loaded) this.arrived(chat, frame.message);
    this.pages.shed(chat);
  }

  /** The server has this message: it is no longer on its way, and its author has read the chat. */
  arrived(chat, message) {
    if (message.author_id !== this.me.id) this.ticks.reach(chat.id, message.seq);
    else if (message.client_message_id) this.outbox.settled(chat.id, message.client_message_id);
  }

  #sent(chatId, message) {
    const chat = this.chats.get(chatId);
    if (!chat) return;
    if (chat.loaded && !chat.newer) put(chat, message);
    // The page on its way may be older.
    if (chat.loading) chat.missed.push({ type: 'new_message', seq: message.seq, message });
    this.arrived(chat, message);
    if (!chat.last || message.id > chat.last.id) chat.last = message;
    this.emit('chats');
    this.emit('chat', chatId);
  }

  /** Makes a chat live before all others. @param {number} id */
  look(id) {
    this.looked = id;
    this.#connection.prefer(id);
    return this.pages.open(id);
  }

  /** @param {any} body @param {Attempt} [attempt] of a form */
  async create(body, attempt = this.#creating) {
    return this.#entered(await attempt.make([this.me.id, body], (idempotencyKey) => this.call('POST', '/chats/create', body, { idempotencyKey })));
  }

  async join(id) { return this.#entered(await this.call('POST', `/chats/${id}/join`)); }

  async leave(id) {
    await this.call('DELETE', `/chats/${id}/leave`);
    this.forget(id);
  }

  async remove(id) {
    await this.call('DELETE', `/chats/${id}`);
    this.forget(id);
  }

  #entered(chat) {
    this.learn(chat);
    this.emit('chats');
    return chat.id;
  }

  async edit(message, text) {
    const now = await this.call('PUT', `/messages/edit/${message.id}`, { text });
    const chat = this.chats.get(message.chat_id);
    if (chat) this.change(chat, { type: 'message_edited', message: now });
    if (chat?.last?.id === now.id) chat.last = now;
    this.emit('chat', message.chat_id);
    this.emit('chats');
  }

  async delete(message) {
    await this.call('DELETE', `/messages/delete/${message.id}`);
    const chat = this.chats.get(message.chat_id);
    if (chat) this.change(chat, { type: 'message_deleted', message_id: message.id });
    this.emit('chat', message.chat_id);
    this.refresh(message.chat_id);
  }

  /**
   * A REST call in this user's name; none once the user has left.
   * @param {string} method
   * @param {string} path
   * @param {unknown} [body]
   * @param {{idempotencyKey?: string}} [options]
   */
  async call(method, path, body, options) {
    if (this.#closed) throw new ApiError(401, 'unauthenticated', 'Logged out.');
    return this.#session.request(method, path, body, options);
  }
}
