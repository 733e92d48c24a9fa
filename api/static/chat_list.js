// @ts-check
/** The list of chats. It is one tab stop: the arrow keys go from chat to chat. @module */
import { avatar, byId, el, icon, setText, shortTime } from './dom.js';
import { unreadBadge } from './badge.js';
import { t } from './i18n.js';
import { line } from './letters.js';
import { isArchived, isMuted, isOnTop } from './views.js';

/** @typedef {import('./store.js').Store} Store */

const ul = byId('chats');
/** UTF-16 units of a message that the list holds; fewer are seen. */
const PREVIEW = 120;

/** The parts that stand under a chat's name in the list: a label, and a person's words. */
function preview(store, chat, openId) {
  const names = [...chat.typing].map(([id, one]) => store.people.nameOf(id, one.username));
  if (names.length > 0) return chat.info.is_group ? ['', t('chat.typing_one', { name: names[0] })] : ['', t('chats.typing')];
  const draft = chat.id === openId ? '' : store.drafts.preview(chat.id);
  if (draft) return [t('chats.draft'), line(draft, PREVIEW), 'draft'];
  const { last } = chat;
  if (!last) return ['', (chat.info.is_group && chat.info.description) || t('chats.no_messages')];
  if (last.author_id === store.me.id) return [t('chats.you'), line(last.text, PREVIEW)];
  return [chat.info.is_group ? `${store.people.nameOf(last.author_id, last.author_username)}: ` : '', line(last.text, PREVIEW)];
}

export class ChatList {
  /** @type {Map<number, any>} */
  #rows = new Map();
  /** The chat whose link the Tab key reaches. */
  #stop = 0;
  /** Whether the chats that were put away are shown, instead of the others. */
  #archive = false;
  #openId = 0;
  #store;

  /** @param {Store} store */
  constructor(store) {
    this.#store = store;
    ul.replaceChildren();
    ul.onkeydown = (event) => this.#key(event);
    byId('archive').onclick = () => { this.#archive = !this.#archive; this.render(this.#openId); this.focusFirst(); };
  }

  #row(chat) {
    const dot = el('span', { class: 'dot', hidden: true });
    const row = {
      dot,
      name: el('span', { class: 'name', dir: 'auto' }),
      muted: el('span', { class: 'sign', hidden: true }, icon('muted')),
      onTop: el('span', { class: 'sign', hidden: true }, icon('pin')),
      time: el('time'),
      label: el('bdi', { class: 'label' }),
      words: el('bdi'),
      at: el('span', { class: 'at', 'aria-hidden': 'true', hidden: true }, '@'),
      unread: el('span', { class: 'unread' }),
      state: el('span', { class: 'hidden-label' }),
    };
    const face = el('span', { class: 'avatar-box' }, avatar(this.#store.people.chatName(chat), chat.info.peer?.id ?? chat.id), dot);
    const under = el('span', { class: 'preview' }, row.label, row.words);
    const link = el('a', { class: 'chat-link', href: `#/chat/${chat.id}`, onfocus: () => this.#stopAt(chat.id) }, face, row.name, el('span', { class: 'when' }, row.muted, row.onTop, row.time), under, el('span', { class: 'badges' }, row.at, row.unread), row.state);
    return { ...row, link, item: el('li', {}, link) };
  }

  /** @param {number} openId */
  render(openId) {
    const store = this.#store;
    if (!store.me) return;
    this.#openId = openId;
    const all = store.sorted();
    const away = all.filter(isArchived);
    if (away.length === 0) this.#archive = false;
    const chats = this.#archive ? away : all.filter((chat) => !isArchived(chat));
    const shown = new Set(chats.map((chat) => chat.id));
    chats.forEach((chat, index) => {
      let row = this.#rows.get(chat.id);
      if (!row) this.#rows.set(chat.id, row = this.#row(chat));
      this.#fill(row, chat, openId);
      if (ul.children[index] !== row.item) this.#place(row.item, index);
    });
    for (const [id, row] of this.#rows) {
      if (shown.has(id)) continue;
      row.item.remove();
      this.#rows.delete(id);
    }
    byId('no-chats').hidden = all.length > 0;
    unreadBadge(all.filter((chat) => !isArchived(chat) && !isMuted(chat)).reduce((sum, chat) => sum + chat.unread, 0));
    this.#fillArchive(away);
    if (shown.has(openId) && !ul.contains(document.activeElement)) this.#stopAt(openId);
    else if (!this.#rows.has(this.#stop)) this.#stopAt(chats[0]?.id ?? 0);
  }

  #fillArchive(away) {
    const unread = away.filter((chat) => !isMuted(chat)).reduce((sum, chat) => sum + chat.unread, 0);
    byId('archive').hidden = away.length === 0;
    setText(byId('archive').firstElementChild, this.#archive ? t('chats.all') : t('chats.archived', { count: away.length }));
    setText(byId('archive').lastElementChild, this.#archive || unread === 0 ? '' : t('chats.unread_count', { count: unread }));
  }

  #fill(row, chat, openId) {
    const online = chat.info.peer && this.#store.online.has(chat.info.peer.id);
    const [label, words, kind] = preview(this.#store, chat, openId);
    setText(row.name, this.#store.people.chatName(chat));
    setText(row.time, chat.last ? shortTime(chat.last.created_at) : '');
    setText(row.label, label);
    setText(row.words, words);
    row.label.classList.toggle('draft', kind === 'draft');
    setText(row.unread, chat.unread === 0 ? '' : chat.unread > 99 ? '99+' : String(chat.unread));
    row.at.hidden = chat.mentions === 0;
    row.muted.hidden = !isMuted(chat);
    row.onTop.hidden = !isOnTop(chat);
    row.link.classList.toggle('is-muted', isMuted(chat));
    setText(row.state, [chat.unread > 0 ? t('chats.unread') : '', chat.mentions > 0 ? t('chats.mentions', { count: chat.mentions }) : '', online ? t('online') : '', isMuted(chat) ? t('chats.muted') : '', isOnTop(chat) ? t('chats.on_top') : ''].filter(Boolean).join(', '));
    row.dot.hidden = !online;
    row.link.classList.toggle('has-unread', chat.unread > 0);
    if (chat.id === openId) row.link.setAttribute('aria-current', 'page');
    else row.link.removeAttribute('aria-current');
    row.link.tabIndex = chat.id === this.#stop ? 0 : -1;
  }

  /** A link that is moved loses the focus, unless it is given back. */
  #place(item, index) {
    const focused = item.contains(document.activeElement) ? document.activeElement : null;
    ul.insertBefore(item, ul.children[index] ?? null);
    focused?.focus({ preventScroll: true });
  }

  #stopAt(id) {
    if (this.#stop === id) return;
    const before = this.#rows.get(this.#stop);
    if (before) before.link.tabIndex = -1;
    this.#stop = id;
    const now = this.#rows.get(id);
    if (now) now.link.tabIndex = 0;
  }

  #key(event) {
    const links = [...ul.querySelectorAll('.chat-link')];
    const at = links.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 }[event.key];
    if (to === undefined || event.altKey || event.ctrlKey || event.metaKey || at < 0) return;
    event.preventDefault();
    links[Math.max(0, Math.min(links.length - 1, to))].focus();
  }

  /**
   * The chat above or below the open one.
   * @param {number} openId
   * @param {1|-1} step
   * @returns {number} 0 where there is none
   */
  beside(openId, step) {
    const ids = this.#store.sorted().filter((chat) => isArchived(chat) === this.#archive).map((chat) => chat.id);
    const at = ids.indexOf(openId);
    return (at < 0 ? ids[step > 0 ? 0 : ids.length - 1] : ids[at + step]) ?? 0;
  }

  /** The open chat's link is brought into sight. @param {number} id */
  reveal(id) { this.#rows.get(id)?.link.scrollIntoView({ block: 'nearest' }); }

  /** The chat, or where it is gone {@link focusFirst}. @param {number} id */
  focus(id) {
    const row = this.#rows.get(id);
    if (row) row.link.focus();
    else this.focusFirst();
  }

  /** The first chat, or where there is none the button that makes one. */
  focusFirst() {
    (ul.querySelector('.chat-link') ?? byId('new-chat')).focus({ preventScroll: true });
  }
}
