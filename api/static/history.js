// @ts-check
/**
 * One chat as the page knows it: its messages in order, and what an event does to them. It asks
 * nothing of the server and knows no DOM.
 * @module
 */

/**
 * @typedef {{id: number, chat_id: number, author_id: number, author_username: string, text: string,
 * created_at: string, is_edited: boolean, seq: number, client_message_id: string|null, reply_to_id:
 * number|null}} Message
 */

/** @typedef {ReturnType<typeof entry>} Entry */

/** @param {any} chat as the server describes it */
export const entry = (chat) => ({
  id: chat.id, info: chat, unread: chat.unread_count ?? 0, last: chat.last_message ?? null, countedSeq: chat.seq,
  /** @type {Message[]} */ messages: [], loaded: false, /** @type {string|null} */ older: null,
  /** @type {Promise<void>|null} */ loading: null, /** @type {any[]} */ missed: [], dropped: new Set(),
  /** @type {Map<number, Message|null|undefined>} */ originals: new Map(),
  typing: new Map(), readSeq: 0, /** @type {any[]|null} */ members: null,
});

/**
 * Puts a message in its place by id, unless it is deleted.
 * @param {Entry} chat
 * @param {Message} message
 */
export function put(chat, message) {
  if (chat.dropped.has(message.id)) return;
  const list = chat.messages;
  let at = list.length;
  while (at > 0 && list[at - 1].id > message.id) at -= 1;
  if (at > 0 && list[at - 1].id === message.id) list[at - 1] = message;
  else list.splice(at, 0, message);
}

/** One event into a chat's messages. @param {Entry} chat @param {any} frame */
export function change(chat, frame) {
  if (frame.type === 'message_deleted' || frame.message?.is_deleted) {
    const id = frame.message_id ?? frame.message.id;
    chat.dropped.add(id);
    chat.messages = chat.messages.filter((message) => message.id !== id);
  } else if (frame.type === 'new_message') {
    if (chat.loaded) put(chat, frame.message);
  } else if (frame.type === 'message_edited') {
    const at = chat.messages.findIndex((message) => message.id === frame.message.id);
    if (at >= 0) chat.messages[at] = frame.message;
    if (chat.originals.has(frame.message.id)) chat.originals.set(frame.message.id, frame.message);
  }
}
