// @ts-check
/** Finding people by the beginning of their names. @module */
import { avatar, batched, el } from './dom.js';
import { t } from './i18n.js';
import { wordsFor } from './words.js';

/** @typedef {import('./store.js').Store} Store */

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
      found = (await store.people.find(prefix)).people;
    } catch (error) {
      fault = wordsFor(error);
    }
    if (mine !== asked) return;
    const rows = found.filter((user) => !without().has(user.id)).map((user) => el('li', {},
      el('button', { type: 'button', class: 'person', onclick: () => chosen(user) },
        el('span', { class: 'avatar-box' }, avatar(user.username, user.id, { class: 'avatar small' }), user.online ? el('span', { class: 'dot' }) : null),
        el('span', { class: 'who', dir: 'auto' }, user.username),
        user.online ? el('span', { class: 'hidden-label' }, t('online')) : null)));
    ul.replaceChildren(...(rows.length > 0 ? rows : [el('li', { class: 'none', role: 'status' }, fault || t('new.nobody'))]));
  };
  let timer = 0;
  const soon = batched(() => { clearTimeout(timer); timer = setTimeout(search, 180); });
  input.oninput = soon;
  input.onkeydown = (event) => { if (event.key === 'Enter') { event.preventDefault(); /** @type {any} */ (ul.querySelector('button'))?.click(); } };
  return () => { input.value = ''; asked += 1; ul.replaceChildren(); };
}
