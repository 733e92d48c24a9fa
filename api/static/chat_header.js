// @ts-check
/** What stands above the open chat, its name and its people, and below it who types. @module */
import { avatar, byId, moment, setText } from './dom.js';
import { t } from './i18n.js';

/** @param {import('./store.js').Store} store @param {import('./history.js').Entry} chat */
export function chatHeader(store, chat) {
  const { info } = chat;
  const box = byId('chat-avatar');
  const name = store.people.chatName(chat);
  if (!box.firstChild) box.append(avatar(name, info.peer?.id ?? chat.id));
  setText(byId('chat-name'), name);
  setText(byId('chat-about'), info.peer ? personWords(store, info.peer.id) : groupWords(store, chat));
  setText(byId('typing'), typingWords([...chat.typing].map(([id, one]) => store.people.nameOf(id, one.username))));
}

function personWords(store, userId) {
  if (store.people.blocked.has(userId)) return t('profile.blocked');
  if (store.online.has(userId)) return t('online');
  const at = store.people.lastSeen.get(userId);
  return at ? t('last_seen', { when: moment(at) }) : t('offline');
}

function groupWords(store, chat) {
  // The list ends before a large group does.
  const count = chat.info.member_count ?? chat.members?.length;
  const here = chat.members?.filter((member) => store.online.has(member.user_id)).length ?? 0;
  const members = count ? t('chat.members', { count }) : '';
  return here > 0 ? t('and', { first: members, second: t('chat.online', { count: here }) }) : members;
}

/** @param {string[]} names */
function typingWords(names) {
  if (names.length === 0) return '';
  if (names.length > 2) return t('chat.typing_many');
  return names.length === 1 ? t('chat.typing_one', { name: names[0] }) : t('chat.typing_two', { first: names[0], second: names[1] });
}
