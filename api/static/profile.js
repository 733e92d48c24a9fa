// @ts-check
/** The card of another user: who it is, a private chat with them, and blocking them. @module */
import { avatar, byId, confirmed, moment, name as nameOf, setText } from './dom.js';
import { onLanguage, parts, t } from './i18n.js';
import { wordsFor } from './words.js';

const dialog = byId('profile');
const fault = byId('profile-fault');

/** @type {import('./store.js').Store} */
let store;
let opened = (/** @type {number} */ _chatId) => {};
/** @type {any} */
let user = null;

function fill() {
  const shown = user.display_name || user.username;
  const mine = user.id === store.me.id;
  byId('profile-avatar').replaceChildren(avatar(shown, user.id));
  setText(byId('profile-name'), shown);
  setText(byId('profile-username'), `@${user.username}`);
  const here = store.online.has(user.id) || user.online;
  setText(byId('profile-about'), user.is_active === false ? t('profile.gone') : here ? t('online') : user.last_seen_at ? t('last_seen', { when: moment(user.last_seen_at) }) : t('offline'));
  setText(byId('profile-bio'), user.bio ?? '');
  byId('profile-write').hidden = mine || user.is_active === false;
  byId('profile-block').hidden = mine;
  const blocked = store.people.blocked.has(user.id);
  setText(byId('profile-block'), blocked ? t('profile.unblock') : t('profile.block'));
  byId('profile-blocked').hidden = !blocked;
}

byId('profile-write').addEventListener('click', async () => {
  setText(fault, '');
  try {
    const id = await store.create({ is_group: false, member_ids: [user.id] });
    dialog.close();
    opened(id);
  } catch (error) {
    setText(fault, wordsFor(error));
  }
});

byId('profile-block').addEventListener('click', async () => {
  setText(fault, '');
  const block = !store.people.blocked.has(user.id);
  if (block && !await confirmed(parts('profile.block_sure', { name: nameOf(user.display_name || user.username) }), t('profile.block'))) return;
  try {
    await store.people.block(user.id, block);
    fill();
  } catch (error) {
    setText(fault, wordsFor(error));
  }
});

onLanguage(() => { if (dialog.open) fill(); });

/**
 * @param {import('./store.js').Store} inStore @param {number} id
 * @param {(chatId: number) => void} whenOpened a private chat with the user
 * @param {(text: string) => void} say tells a fault
 */
export async function showProfile(inStore, id, whenOpened, say) {
  [store, opened] = [inStore, whenOpened];
  try {
    const [found] = await Promise.all([store.call('GET', `/users/${id}`), store.people.loadBlocked()]);
    if (dialog.open) return;
    user = found;
    store.people.learn(user.id, user.username, user.display_name);
    setText(fault, '');
    fill();
    dialog.showModal();
  } catch (error) {
    say(wordsFor(error));
  }
}
