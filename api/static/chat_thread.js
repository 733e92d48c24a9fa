// @ts-check
/**
 * The open chat: its messages, who types, and where one stands in it. The field below is
 * `composer.js`.
 * @module
 */
import { Composer, coarse } from './composer.js';
import { chatHeader } from './chat_header.js';
import { byId, confirmed, el, longDay, setText } from './dom.js';
import { pickEmoji } from './emoji_picker.js';
import { t } from './i18n.js';
import { MessageStop } from './message_stop.js';
import { messageView, shortOf, showRead, signatureOf } from './message_view.js';
import { pinnedBar } from './pins.js';
import { Quiet } from './quiet.js';
import { showReactions } from './reactions.js';
import { wordsFor } from './words.js';

/** @typedef {import('./store.js').Store} Store */

const TOGETHER_MS = 5 * 60_000;
const AT_END_PX = 80;
const FOUND_MS = 1600;

const log = byId('log');
const messages = byId('messages');
/** @type {ResizeObserver|undefined} */
let sized;

export class Thread {
  #store;
  #say;
  #stop;
  #id = -1;
  /** @type {Map<string, {node: any, signature: string}>} */
  #nodes = new Map();
  /**
   * Where one was in each chat, unless at its end.
   * @type {Map<number, {id: number, top: number}>}
   */
  #places = new Map();
  /** The first message that was unread when the chat was opened. */
  #divider = 0;
  /** Whether the chat's place was found after it was opened. Before that nothing counts as read. */
  #landed = false;
  #reaching = false;
  /** @type {Promise<void>|null} */
  #arriving = null;
  #jump = false;
  #quiet = new Quiet(log, () => Boolean(this.#chat && (!this.#landed || this.#chat.loading)));
  /** Before the panel beside it, a keyboard or a growing field took its room. */
  #wasAtEnd = true;

  /**
   * @param {Store} store
   * @param {import('./messenger.js').Connection} connection
   * @param {(text: string) => void} say tells a fault
   */
  constructor(store, connection, say) {
    this.#store = store;
    this.#say = say;
    this.composer = new Composer(store, connection, () => this.render(), () => this.#sent());
    // A new Thread after another login takes these over, hence no addEventListener.
    log.onscroll = () => this.#scrolled();
    byId('to-end').onclick = () => this.#toNewest();
    this.#stop = new MessageStop(messages, () => this.composer.focus());
    document.onvisibilitychange = () => this.#scrolled();
    sized?.disconnect();
    sized = new ResizeObserver(() => { if (this.#wasAtEnd && this.#landed) this.toEnd(); });
    sized.observe(log);
    this.show(0);
  }

  get #chat() { return this.#store.chats.get(this.#id); }
  get #atEnd() { return !this.#chat?.newer && log.scrollHeight - log.scrollTop - log.clientHeight < AT_END_PX; }

  /** @param {number} id 0 for none */
  show(id) {
    if (id !== this.#id) {
      this.#leave();
      this.#id = id;
      this.#nodes.clear();
      messages.replaceChildren();
      this.#stop.at(null);
      this.#landed = false;
      this.#divider = 0;
      this.#quiet.anew();
      byId('chat-avatar').replaceChildren();
      byId('nothing-open').hidden = id !== 0;
      byId('open-chat').hidden = id === 0;
      this.composer.show(id);
      this.#arriving = id ? this.#arrive(id) : null;
      if (!id) this.#store.looked = 0;
    }
    if (id) this.render();
  }

  async #arrive(id) {
    const chat = this.#chat;
    if (!chat) return;
    if (chat.info.is_group && (chat.info.member_count ?? 0) <= 200) this.#store.people.members(id).catch(() => {});
    if (chat.info.peer) this.#store.people.askLastSeen(chat.info.peer.id);
    this.#store.marks.openPins(id);
    this.#reaching = true;
    await this.#store.look(id);
    if (!chat.messages.some((message) => message.id === this.#places.get(id)?.id)) await this.#store.pages.reachUnread(chat);
    if (this.#id !== id) return;
    this.#reaching = false;
    this.render();
  }

  #leave() {
    if (!this.#id || !this.#landed) return;
    const anchor = this.#atEnd ? null : this.#anchor();
    if (anchor) this.#places.set(this.#id, { id: Number(anchor.node.dataset.id), top: anchor.top - log.getBoundingClientRect().top });
    else this.#places.delete(this.#id);
    if (this.#chat?.newer) this.#places.delete(this.#id);
    this.#store.pages.leave(this.#id);
  }

  focus() {
    if (!this.#id) return;
    if (coarse.matches) byId('chat-name').focus();
    else this.composer.focus();
  }

  /** Writes everything anew, in the language of now. */
  rewrite() {
    this.#nodes.clear();
    this.#quiet.anew();
    this.render();
  }

  /** The newest message, also from where a jump led. */
  async #toNewest() {
    const id = this.#id;
    await this.#store.pages.toNewest(id);
    if (id !== this.#id) return;
    this.#jump = true;
    this.render();
    this.composer.focus();
  }

  toEnd() { log.scrollTop = log.scrollHeight; }

  render() {
    const chat = this.#chat;
    if (!chat) return;
    chatHeader(this.#store, chat);
    pinnedBar(chat, { jump: (id) => this.#jumpTo(id), say: this.#say, store: this.#store });
    this.composer.render();
    // The message that it stood before may be let go of meanwhile.
    if (this.#landed && document.hidden && !chat.messages.some(({ id }) => id === this.#divider)) this.#divider = this.#store.pages.firstUnread(chat, true)?.id ?? 0;
    const stays = this.#landed && !this.#jump && !this.#atEnd;
    const anchor = stays ? this.#anchor() : null;
    this.#quiet.draw(chat.paged);
    const here = chat.loaded && !chat.loading && !this.#reaching;
    if (!this.#landed && here) this.#divider = this.#store.pages.firstUnread(chat)?.id ?? 0;
    this.#list(chat);
    byId('older').hidden = !chat.loading;
    byId('beginning').hidden = !chat.loaded || chat.older !== null || chat.loading !== null;
    setText(byId('beginning'), t(chat.messages.length > 0 ? 'chat.beginning' : 'chat.empty'));
    if (!this.#landed) this.#land(here);
    else if (!stays) this.toEnd();
    else if (anchor) this.#hold(anchor);
    this.#jump = false;
    if (this.#landed) this.#scrolled();
  }

  /** Keeps a message where it was, also where it was drawn anew. */
  #hold({ node, top }) {
    const now = node.isConnected ? node : this.#nodeOf(node.dataset.id);
    if (now) log.scrollTop += now.getBoundingClientRect().top - top;
  }

  /**
   * Where the chat opens: where one was, else at the first unread message, else at its end.
   * @param {boolean} here whether all is there for it
   */
  #land(here) {
    this.toEnd();
    if (!here) return;
    this.#landed = true;
    const place = this.#places.get(this.#id);
    const at = place && this.#nodeOf(place.id);
    const line = messages.querySelector('.unread-line');
    if (at) log.scrollTop += at.getBoundingClientRect().top - log.getBoundingClientRect().top - place.top;
    else if (line) log.scrollTop += line.getBoundingClientRect().top - log.getBoundingClientRect().top - log.clientHeight / 5;
  }

  #nodeOf(id) { return messages.querySelector(`[data-id="${id}"]`); }

  /** The first message in sight, to keep it where it is when others come in above. */
  #anchor() {
    const edge = log.getBoundingClientRect().top;
    for (const node of messages.children) {
      const { top, bottom } = node.getBoundingClientRect();
      if (bottom > edge && node.classList.contains('message')) return { node, top };
    }
    return null;
  }

  #list(chat) {
    const me = this.#store.me;
    const all = [...chat.messages, ...(chat.newer ? [] : this.#store.outbox.of(chat.id)).map((pending) => ({ ...pending, author_username: me.username, pending }))];
    const wanted = [];
    const editing = this.composer.editing;
    const read = this.#store.ticks.of(chat.id);
    const pins = new Set(chat.pins?.map(({ id }) => id));
    all.forEach((message, index) => {
      const before = all[index - 1];
      const after = all[index + 1];
      const day = new Date(message.created_at).toDateString();
      if (!before || new Date(before.created_at).toDateString() !== day) {
        const words = longDay(message.created_at);
        wanted.push(this.#keep(`day ${day}`, words, () => el('li', { class: 'day' }, words)));
      }
      const divided = message.id !== undefined && message.id === this.#divider;
      if (divided) wanted.push(this.#keep('unread', '', () => el('li', { class: 'unread-line' }, el('span', {}, t('chat.unread_line')))));
      const joins = (a, b) => a && b && a.author_id === b.author_id && Date.parse(b.created_at) - Date.parse(a.created_at) < TOGETHER_MS;
      const look = {
        first: divided || !joins(before, message),
        last: !joins(message, after),
        mine: message.author_id === me.id,
        edited: editing > 0 && editing === message.id,
        pinned: pins.has(message.id),
        author: this.#store.people.nameOf(message.author_id, message.author_username),
        people: this.#store.people,
      };
      const original = message.reply_to_id ? this.#store.pages.original(chat, message.reply_to_id) : undefined;
      const mineKey = look.mine && message.client_message_id;
      const key = mineKey ? `sent ${mineKey}` : `message ${message.id}`;
      const node = this.#keep(key, signatureOf(message, look, original), () => messageView(chat, message, look, original, this.#acts(chat, message)));
      showRead(node, message.seq <= read);
      showReactions(node, message.reactions ?? [], (emoji, add) => this.#react(message, emoji, add));
      wanted.push(node);
    });
    wanted.forEach((node, index) => {
      if (messages.children[index] !== node) messages.insertBefore(node, messages.children[index] ?? null);
    });
    while (messages.children.length > wanted.length) messages.lastChild.remove();
    const shown = new Set(wanted);
    for (const [key, { node }] of this.#nodes) if (!shown.has(node)) this.#nodes.delete(key);
    if (!this.#stop.node?.isConnected) this.#stop.at(wanted.findLast((node) => node.classList.contains('message')) ?? null);
  }

  /** The node of a key, built anew only when its look changed. */
  #keep(key, signature, build) {
    const known = this.#nodes.get(key);
    if (known?.signature === signature) return known.node;
    const node = build();
    if (node.classList.contains('message')) node.addEventListener('focusin', () => this.#stop.at(node));
    const focused = known?.node.contains(document.activeElement);
    // Standing where the old one stood, it is not one more message to a screen reader.
    known?.node.replaceWith(node);
    if (known && known.node === this.#stop.node) this.#stop.at(node);
    if (focused) node.focus({ preventScroll: true });
    this.#nodes.set(key, { node, signature });
    return node;
  }

  #acts(chat, message) {
    const { outbox } = this.#store;
    const pending = () => outbox.of(chat.id).find((one) => one.client_message_id === message.client_message_id);
    return {
      reply: () => this.composer.reply(message),
      edit: () => this.composer.edit(message),
      remove: () => this.#delete(message),
      profile: (id) => this.#store.emit('profile', id),
      pin: () => this.#store.marks.pin(message, !chat.pins?.some(({ id }) => id === message.id)).catch((error) => this.#say(wordsFor(error))),
      pick: () => pickEmoji(t('react.to', { words: shortOf(message) }), (emoji) => this.#react(message, emoji, true)),
      jump: () => this.#jumpTo(message.reply_to_id),
      retry: () => { const one = pending(); if (one) outbox.retry(one); },
      discard: () => outbox.settled(chat.id, message.client_message_id),
    };
  }

  #react(message, emoji, add) {
    this.#store.marks.react(message, emoji, add).catch((error) => this.#say(wordsFor(error)));
  }

  /**
   * Brings a message of the open chat into sight, wherever in its history it is.
   * @param {number} id
   */
  async jump(id) {
    await this.#arriving;
    await this.#jumpTo(id);
  }

  async #jumpTo(id) {
    const chat = this.#id;
    const found = await this.#store.pages.reach(chat, id);
    if (chat !== this.#id) return;
    if (!found) return this.#say(t('chat.not_found'));
    this.render();
    const node = this.#nodeOf(id);
    node?.scrollIntoView({ block: 'center' });
    node?.focus({ preventScroll: true });
    node?.classList.add('found');
    setTimeout(() => node?.classList.remove('found'), FOUND_MS);
  }

  #scrolled() {
    const chat = this.#chat;
    if (!chat || !this.#landed) return;
    const atEnd = this.#atEnd;
    this.#wasAtEnd = atEnd;
    if (document.visibilityState === 'visible' && chat.loaded) this.#store.pages.read(chat.id, atEnd ? chat.messages.at(-1)?.seq ?? 0 : this.#seen(chat));
    if (atEnd && chat.loaded) this.#store.pages.trim(chat.id);
    byId('to-end').hidden = atEnd || chat.messages.length === 0;
    setText(byId('to-end').lastChild, chat.unread > 0 ? t('chat.new', { count: chat.unread }) : t('chat.newest'));
    if (chat.newer && !chat.loading && log.scrollHeight - log.scrollTop - log.clientHeight < 240) this.#store.pages.newer(chat.id);
    if (log.scrollTop < 240 && chat.older && !chat.loading) {
      this.#store.pages.older(chat.id);
      byId('older').hidden = !chat.loading;
    }
  }

  /** The number of the last message that is wholly in sight. */
  #seen(chat) {
    if (chat.unread === 0) return 0;
    const edge = log.getBoundingClientRect().bottom;
    const seen = chat.messages.findLast(({ id }) => {
      const node = this.#nodeOf(id);
      return node && node.getBoundingClientRect().bottom <= edge;
    });
    return seen?.seq ?? 0;
  }

  #sent() {
    if (this.#chat?.newer) return this.#toNewest();
    this.#jump = true;
    this.#divider = 0;
    this.render();
  }

  async #delete(message) {
    if (!await confirmed(t('message.delete_sure'), t('delete'))) return;
    if (this.composer.editing === message.id) this.composer.edit(null);
    try {
      await this.#store.delete(message);
    } catch (error) {
      if (error.status !== 404) this.#say(wordsFor(error));
    }
    this.composer.focus();
  }
}
