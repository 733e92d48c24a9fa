// @ts-check
/** The open chat: its messages, who types, and the field to write in. @module */
import { avatar, byId, clock, confirmed, el, iconButton, longDay, setText, withLinks } from './dom.js';

/** @typedef {import('./store.js').Store} Store */

const MAX_CHARS = 4096;
const TOGETHER_MS = 5 * 60_000;
const AT_END_PX = 80;

const log = byId('log');
const messages = byId('messages');
const field = byId('text');
const composer = byId('composer');
const fault = composer.querySelector('[role=alert]');
/** @type {ResizeObserver|undefined} */
let sized;
const coarse = matchMedia('(pointer: coarse)');

export class Thread {
  #store;
  #connection;
  #id = 0;
  /** @type {Map<string, {node: any, signature: string}>} */
  #nodes = new Map();
  /** @type {Map<number, string>} */
  #drafts = new Map();
  /** @type {any} */
  #editing = null;
  #typedAt = 0;
  #seenCount = 0;
  #jump = true;
  /** Before the panel beside it, a keyboard or a growing field took its room. */
  #wasAtEnd = true;

  /** @param {Store} store @param {import('./messenger.js').Connection} connection */
  constructor(store, connection) {
    this.#store = store;
    this.#connection = connection;
    // A new Thread after another login takes these over, hence no addEventListener.
    log.onscroll = () => this.#scrolled();
    byId('to-end').onclick = () => { log.scrollTop = log.scrollHeight; field.focus(); };
    byId('stop-editing').onclick = () => this.#edit(null);
    field.oninput = () => this.#typed();
    field.onkeydown = (event) => this.#key(event);
    composer.onsubmit = (event) => { event.preventDefault(); this.#submit(); };
    document.onvisibilitychange = () => this.#scrolled();
    sized?.disconnect();
    sized = new ResizeObserver(() => { if (this.#wasAtEnd) log.scrollTop = log.scrollHeight; });
    sized.observe(log);
    this.show(0);
  }

  get #chat() { return this.#store.chats.get(this.#id); }
  get #atEnd() { return log.scrollHeight - log.scrollTop - log.clientHeight < AT_END_PX; }

  /** @param {number} id 0 for none */
  show(id) {
    if (id !== this.#id) {
      if (this.#id) this.#drafts.set(this.#id, this.#editing ? '' : field.value);
      this.#id = id;
      this.#editing = null;
      this.#nodes.clear();
      messages.replaceChildren();
      setText(fault, '');
      field.value = this.#drafts.get(id) ?? '';
      byId('editing').hidden = true;
      this.#jump = true;
      this.#seenCount = 0;
      byId('chat-avatar').replaceChildren();
    }
    byId('nothing-open').hidden = id !== 0;
    byId('open-chat').hidden = id === 0;
    if (!id) return;
    this.#grow();
    this.#store.open(id);
    const chat = this.#chat;
    if (chat?.info.is_group && (chat.info.member_count ?? 0) <= 200) this.#store.members(id).catch(() => {});
    this.render();
  }

  focus() {
    if (!this.#id) return;
    if (coarse.matches) byId('chat-name').focus();
    else field.focus();
  }

  render() {
    const chat = this.#chat;
    if (!chat) return;
    this.#header(chat);
    const atEnd = this.#jump || this.#atEnd;
    const anchor = atEnd ? null : this.#anchor();
    log.setAttribute('aria-busy', String(this.#jump || chat.loading !== null));
    this.#list(chat);
    byId('older').hidden = !chat.loading;
    byId('beginning').hidden = !chat.loaded || chat.older !== null || chat.loading !== null;
    setText(byId('beginning'), chat.messages.length > 0 ? 'This is where the chat begins.' : 'No messages yet. Say hello.');
    if (atEnd) log.scrollTop = log.scrollHeight;
    else if (anchor?.node.isConnected) log.scrollTop += anchor.node.getBoundingClientRect().top - anchor.top;
    if (chat.loaded && !chat.loading) {
      this.#jump = false;
      this.#scrolled();
    }
  }

  #header(chat) {
    const { info } = chat;
    const box = byId('chat-avatar');
    if (!box.firstChild) box.append(avatar(info.name, info.peer?.id ?? chat.id));
    setText(byId('chat-name'), info.name);
    const online = this.#store.online;
    let about = '';
    if (info.peer) about = online.has(info.peer.id) ? 'online' : 'offline';
    else {
      const count = chat.members?.length ?? info.member_count;
      if (count) about = count === 1 ? '1 member' : `${count} members`;
      const here = chat.members?.filter((member) => online.has(member.user_id)).length ?? 0;
      if (here > 0) about += `, ${here} online`;
    }
    setText(byId('chat-about'), about);
    const names = [...chat.typing.values()].map((one) => one.username);
    setText(byId('typing'), names.length === 0 ? '' : names.length === 1 ? `${names[0]} is typing…` : names.length === 2 ? `${names[0]} and ${names[1]} are typing…` : 'Several people are typing…');
  }

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
    const all = [...chat.messages, ...this.#store.outbox.of(chat.id).map((pending) => ({ ...pending, author_username: me.username, pending }))];
    const wanted = [];
    all.forEach((message, index) => {
      const before = all[index - 1];
      const after = all[index + 1];
      const day = new Date(message.created_at).toDateString();
      if (!before || new Date(before.created_at).toDateString() !== day) {
        wanted.push(this.#keep(`day ${day}`, day, () => el('li', { class: 'day' }, longDay(message.created_at))));
      }
      const joins = (a, b) => a && b && a.author_id === b.author_id && Date.parse(b.created_at) - Date.parse(a.created_at) < TOGETHER_MS;
      const look = {
        first: !joins(before, message),
        last: !joins(message, after),
        mine: message.author_id === me.id,
        edited: this.#editing?.id !== undefined && this.#editing.id === message.id,
      };
      const mineKey = look.mine && message.client_message_id;
      const key = mineKey ? `sent ${mineKey}` : `message ${message.id}`;
      const signature = JSON.stringify([message.text, message.is_edited, message.id, message.pending?.state, message.pending?.fault, look]);
      wanted.push(this.#keep(key, signature, () => this.#message(chat, message, look)));
    });
    wanted.forEach((node, index) => {
      if (messages.children[index] !== node) messages.insertBefore(node, messages.children[index] ?? null);
    });
    while (messages.children.length > wanted.length) messages.lastChild.remove();
    const shown = new Set(wanted);
    for (const [key, { node }] of this.#nodes) if (!shown.has(node)) this.#nodes.delete(key);
  }

  /** The node of a key, built anew only when its look changed. */
  #keep(key, signature, build) {
    const known = this.#nodes.get(key);
    if (known?.signature === signature) return known.node;
    const node = build();
    // Standing where the old one stood, it is not one more message to a screen reader.
    known?.node.replaceWith(node);
    this.#nodes.set(key, { node, signature });
    return node;
  }

  #message(chat, message, look) {
    const { pending } = message;
    const stamp = el('span', { class: 'stamp' }, pending ? (pending.state === 'failed' ? 'not sent' : 'sending…') : (message.is_edited ? 'edited ' : '') + clock(message.created_at));
    const bubble = el('div', { class: 'bubble' },
      look.first && !look.mine && chat.info.is_group ? el('span', { class: 'author' }, message.author_username) : el('span', { class: 'hidden-label' }, `${look.mine ? 'You' : message.author_username}: `),
      el('span', { class: 'text' }, ...withLinks(message.text)), stamp);
    const state = pending ? ` ${pending.state}` : '';
    const item = el('li', { class: `message${look.mine ? ' mine' : ''}${look.first ? ' first' : ''}${look.last ? ' last' : ''}${look.edited ? ' being-edited' : ''}${state}`, tabindex: -1, 'data-id': message.id });
    const tools = pending ? null : this.#tools(chat, message, look);
    if (look.mine) item.append(tools ?? el('span'), bubble);
    else item.append(look.last ? avatar(message.author_username, message.author_id, { class: 'avatar small' }) : el('span'), bubble, ...(tools ? [tools] : []));
    if (pending?.state === 'failed') {
      item.append(el('div', { class: 'retry' }, el('span', {}, pending.fault),
        el('button', { type: 'button', class: 'link', onclick: () => this.#store.outbox.retry(this.#pending(pending)) }, 'Try again'),
        el('button', { type: 'button', class: 'link', onclick: () => this.#store.outbox.settled(chat.id, pending.client_message_id) }, 'Discard')));
    }
    return item;
  }

  #pending(pending) {
    return this.#store.outbox.of(pending.chat_id).find((one) => one.client_message_id === pending.client_message_id) ?? pending;
  }

  #tools(chat, message, look) {
    const words = message.text.slice(0, 30);
    const buttons = [];
    if (look.mine) buttons.push(iconButton('edit', `Edit “${words}”`, () => this.#edit(message)));
    if (look.mine || (chat.info.is_group && chat.info.role === 'owner')) buttons.push(iconButton('trash', `Delete “${words}”`, () => this.#delete(message)));
    return buttons.length > 0 ? el('div', { class: 'tools' }, ...buttons) : null;
  }

  #scrolled() {
    const chat = this.#chat;
    if (!chat) return;
    const count = chat.messages.length;
    const atEnd = this.#atEnd;
    this.#wasAtEnd = atEnd;
    if (atEnd && document.visibilityState === 'visible') {
      this.#seenCount = chat.messages.at(-1)?.seq ?? 0;
      if (chat.loaded) this.#store.read(chat.id);
      this.#store.trim(chat.id);
    }
    const fresh = chat.messages.filter((message) => message.seq > this.#seenCount && message.author_id !== this.#store.me.id).length;
    byId('to-end').hidden = atEnd || count === 0;
    setText(byId('to-end').lastChild, fresh > 0 ? `${fresh} new` : 'Newest');
    if (log.scrollTop < 240 && chat.older && !chat.loading && !this.#jump) {
      this.#store.loadOlder(chat.id);
      byId('older').hidden = false;
    }
  }

  // ---- Writing

  #grow() {
    field.style.height = 'auto';
    field.style.height = `${field.scrollHeight}px`;
  }

  #typed() {
    this.#grow();
    setText(fault, '');
    if (this.#editing || field.value.trim() === '' || Date.now() - this.#typedAt < 2500) return;
    this.#typedAt = Date.now();
    this.#connection.send({ type: 'typing', chat_id: this.#id, is_typing: true });
  }

  #key(event) {
    if (event.isComposing) return;
    if (event.key === 'Enter' && !event.shiftKey && !coarse.matches) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === 'Escape' && this.#editing) {
      this.#edit(null);
    } else if (event.key === 'ArrowUp' && field.value === '' && !this.#editing) {
      const last = this.#chat?.messages.findLast((message) => message.author_id === this.#store.me.id);
      if (!last) return;
      event.preventDefault();
      this.#edit(last);
    }
  }

  async #submit() {
    const text = field.value;
    const length = [...text].length;
    if (text.trim() === '' || !this.#chat) return;
    if (length > MAX_CHARS) return setText(fault, `A message has at most ${MAX_CHARS} characters; this one has ${length}.`);
    if (this.#editing) return this.#saveEdit(text);
    field.value = '';
    this.#typedAt = 0;
    this.#grow();
    this.#jump = true;
    this.#store.outbox.send(this.#id, text);
    field.focus();
  }

  #edit(message) {
    if (message && !this.#editing) this.#drafts.set(this.#id, field.value);
    this.#editing = message;
    field.value = message ? message.text : this.#drafts.get(this.#id) ?? '';
    byId('editing').hidden = !message;
    setText(fault, '');
    this.#grow();
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
    this.render();
  }

  /** The field is free for the next message at once; it gets the text back only if the edit fails. */
  async #saveEdit(text) {
    const message = this.#editing;
    this.#edit(null);
    if (text === message.text) return;
    try {
      await this.#store.edit(message, text);
    } catch (error) {
      if (this.#id === message.chat_id && field.value === '') {
        this.#edit(message);
        field.value = text;
        this.#grow();
      }
      setText(fault, `Not changed: ${error.message}`);
    }
  }

  async #delete(message) {
    if (!await confirmed('Delete this message for everyone?', 'Delete')) return;
    if (this.#editing?.id === message.id) this.#edit(null);
    try {
      await this.#store.delete(message);
    } catch (error) {
      if (error.status !== 404) setText(fault, error.message);
    }
    field.focus();
  }
}
