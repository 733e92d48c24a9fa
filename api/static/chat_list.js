// @ts-check
/** The list of chats. @module */
import { avatar, batched, byId, el, setText, shortTime } from './dom.js';

/** @typedef {import('./store.js').Store} Store */

/** What stands under a chat's name in the list. */
function preview(chat, me) {
  const { last } = chat;
  if (!last) return chat.info.is_group ? chat.info.description || 'No messages yet' : 'No messages yet';
  const text = last.text.replace(/\s+/g, ' ').slice(0, 120);
  if (last.author_id === me.id) return `You: ${text}`;
  return chat.info.is_group ? `${last.author_username}: ${text}` : text;
}

export class ChatList {
  /** @type {Map<number, any>} */
  #rows = new Map();
  #store;

  /** @param {Store} store */
  constructor(store) {
    this.#store = store;
    byId('chats').replaceChildren();
  }

  #row(chat) {
    const dot = el('span', { class: 'dot', hidden: true });
    const row = {
      dot,
      name: el('span', { class: 'name' }),
      time: el('time'),
      preview: el('span', { class: 'preview' }),
      unread: el('span', { class: 'unread' }),
      state: el('span', { class: 'hidden-label' }),
    };
    const face = el('span', { class: 'avatar-box' }, avatar(chat.info.name, chat.info.peer?.id ?? chat.id), dot);
    const link = el('a', { class: 'chat-link', href: `#/chat/${chat.id}` }, face, row.name, row.time, row.preview, row.unread, row.state);
    return { ...row, link, item: el('li', {}, link) };
  }

  /** @param {number} openId */
  render(openId) {
    const store = this.#store;
    if (!store.me) return;
    const ul = byId('chats');
    const chats = store.sorted();
    chats.forEach((chat, index) => {
      let row = this.#rows.get(chat.id);
      if (!row) this.#rows.set(chat.id, row = this.#row(chat));
      const online = chat.info.peer && store.online.has(chat.info.peer.id);
      setText(row.name, chat.info.name);
      setText(row.time, chat.last ? shortTime(chat.last.created_at) : '');
      setText(row.preview, preview(chat, store.me));
      setText(row.unread, chat.unread === 0 ? '' : chat.unread > 99 ? '99+' : String(chat.unread));
      setText(row.state, [chat.unread > 0 ? 'unread' : '', online ? 'online' : ''].filter(Boolean).join(', '));
      row.dot.hidden = !online;
      row.link.classList.toggle('has-unread', chat.unread > 0);
      if (chat.id === openId) row.link.setAttribute('aria-current', 'page');
      else row.link.removeAttribute('aria-current');
      if (ul.children[index] !== row.item) ul.insertBefore(row.item, ul.children[index] ?? null);
    });
    for (const [id, row] of this.#rows) {
      if (store.chats.has(id)) continue;
      row.item.remove();
      this.#rows.delete(id);
    }
    byId('no-chats').hidden = chats.length > 0;
    const unread = chats.reduce((sum, chat) => sum + chat.unread, 0);
    document.title = unread > 0 ? `(${unread}) Messenger` : 'Messenger';
  }
}

/**
 * A search field whose findings are buttons.
 * @param {Store} store @param {HTMLInputElement} input @param {HTMLElement} ul
 * @param {(user: any) => void} chosen @param {() => Set<number>} [without] ids that are not offered
 */
export function peopleSearch(store, input, ul, chosen, without = () => new Set()) {
  let asked = 0;
  const search = async () => {
    const prefix = input.value.trim();
    const mine = asked += 1;
    if (!prefix) return ul.replaceChildren();
    let found = [];
    let fault = '';
    try {
      found = await store.people(prefix);
    } catch (error) {
      fault = error.message;
    }
    if (mine !== asked) return;
    const rows = found.filter((user) => !without().has(user.id)).map((user) => el('li', {},
      el('button', { type: 'button', class: 'person', onclick: () => chosen(user) },
        el('span', { class: 'avatar-box' }, avatar(user.username, user.id, { class: 'avatar small' }), user.online ? el('span', { class: 'dot' }) : null),
        el('span', { class: 'who' }, user.username),
        user.online ? el('span', { class: 'hidden-label' }, 'online') : null)));
    ul.replaceChildren(...(rows.length > 0 ? rows : [el('li', { class: 'none', role: 'status' }, fault || 'Nobody found.')]));
  };
  let timer = 0;
  const soon = batched(() => { clearTimeout(timer); timer = setTimeout(search, 180); });
  input.oninput = soon;
  input.onkeydown = (event) => { if (event.key === 'Enter') { event.preventDefault(); /** @type {any} */ (ul.querySelector('button'))?.click(); } };
  return () => { input.value = ''; asked += 1; ul.replaceChildren(); };
}
