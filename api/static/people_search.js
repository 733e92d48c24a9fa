// @ts-check
/** Finding people: all of them, or by the beginning of their names. @module */
import { avatar, batched, el, moment } from './dom.js';
import { t } from './i18n.js';
import { wordsFor } from './words.js';

/** @typedef {import('./store.js').Store} Store */

/**
 * A search field whose findings are buttons.
 * @param {Store} store @param {HTMLInputElement} input @param {HTMLElement} ul
 * @param {(user: any) => void} chosen
 * @param {{without?: () => Set<number>, all?: boolean}} [options] `without`: ids that are not
 *   offered; `all`: everybody is shown while nothing is looked for
 */
export function peopleSearch(store, input, ul, chosen, { without = () => new Set(), all = false } = {}) {
  let asked = 0;
  /**
   * The rows that are shown, by user: one under the pointer stays the same element.
   * @type {Map<number, {li: HTMLElement, name: string, about: string}>}
   */
  let shown = new Map();

  /** @param {any} user */
  function row(user) {
    const about = JSON.stringify([user.username, user.display_name, user.online, user.last_seen_at]);
    const kept = shown.get(user.id);
    const li = kept?.about === about ? kept.li : draw(user);
    return [user.id, { li, name: user.username.toLowerCase(), about }];
  }

  const draw = (user) => el('li', {},
    el('button', { type: 'button', class: 'person', onclick: () => chosen(user) },
      el('span', { class: 'avatar-box' }, avatar(user.display_name || user.username, user.id, { class: 'avatar small' }), user.online ? el('span', { class: 'dot' }) : null),
      el('span', { class: 'who' }, el('bdi', {}, user.display_name || user.username), user.display_name ? el('small', {}, ` @${user.username}`) : null),
      user.online ? el('span', { class: 'hidden-label' }, t('online')) : null,
      !user.online && user.last_seen_at ? el('span', { class: 'role' }, t('last_seen', { when: moment(user.last_seen_at) })) : null));

  const search = async () => {
    const prefix = input.value.trim();
    const mine = asked += 1;
    if (!prefix && !all) return place(new Map(), []);
    await page(prefix, mine, null, []);
  };

  /** @param {Map<number, any>} rows @param {HTMLElement[]} last */
  function place(rows, last) {
    shown = rows;
    const wanted = [...[...rows.values()].map(({ li }) => li), ...last];
    for (const li of [...ul.children]) if (!wanted.includes(/** @type {HTMLElement} */ (li))) li.remove();
    wanted.forEach((li, at) => { if (ul.children[at] !== li) ul.insertBefore(li, ul.children[at] ?? null); });
  }

  /** What cannot be found any more goes at once, so that what stays need not move later. */
  function narrow() {
    const prefix = input.value.trim().toLowerCase();
    place(new Map([...shown].filter(([, { name }]) => name.startsWith(prefix))), []);
  }

  /** A page more, after those that are shown. */
  async function page(prefix, mine, cursor, before) {
    let rows = before;
    /** @type {string|null} */
    let next = null;
    let fault = '';
    try {
      const found = await store.people.find(prefix, cursor);
      rows = [...before, ...found.people.filter((user) => !without().has(user.id)).map(row)];
      next = found.next;
    } catch (error) {
      fault = wordsFor(error);
      next = cursor;
    }
    if (mine !== asked) return;
    const last = [];
    if (next) last.push(el('li', {}, el('button', { type: 'button', class: 'link', onclick: async () => { await page(prefix, mine, next, rows); rows.at(-1)?.[1].li.nextSibling?.querySelector('button')?.focus(); } }, t('new.more'))));
    if (fault || rows.length === 0) last.push(el('li', { class: 'none', role: 'status' }, fault || t('new.nobody')));
    place(new Map(rows), last);
  }

  let timer = 0;
  const soon = batched(() => { clearTimeout(timer); timer = setTimeout(search, 180); });
  // An answer to what was typed before is none to this.
  input.oninput = () => { asked += 1; narrow(); soon(); };
  input.onkeydown = (event) => {
    if (event.key !== 'Enter') return;
    event.preventDefault();
    if (input.value.trim()) /** @type {any} */ (ul.querySelector('button.person'))?.click();
  };
  const reset = () => { input.value = ''; asked += 1; place(new Map(), []); if (all) search(); };
  reset();
  return reset;
}
