// @ts-check
/**
 * One chat as the page knows it: its messages in order, and what an event does to them. It asks
 * nothing of the server and knows no DOM.
 * @module
 */

/**
 * @typedef {{id: number, chat_id: number, author_id: number, author_username: string, text: string,
 * created_at: string, is_edited: boolean, seq: number, client_message_id: string|null, reply_to_id:
 * number|null, author_display_name?: string|null, reactions?: Reaction[], mentions?: number[]}}
 * Message
 * @typedef {{emoji: string, count: number, me?: boolean}} Reaction
 */

/** @typedef {ReturnType<typeof entry>} Entry */

/** @param {any} chat as the server describes it @param {number} me the reader */
export const entry = (chat, me) => ({
  id: chat.id, me, info: chat, unread: chat.unread_count ?? 0, mentions: chat.mention_count ?? 0, last: chat.last_message ?? null, countedSeq: chat.seq,
  /** @type {Message[]} */ messages: [], loaded: false, /** @type {string|null} */ older: null,
  /** Where a jump left off before the newest messages. @type {string|null} */ newer: null,
  /** The last pinned first; null: not asked for. @type {Message[]|null} */ pins: null,
  /** @type {Promise<void>|null} */ loading: null,
  /** How often its history could not be had since it last could. */ failures: 0,
  /** Before it, nothing is asked for by itself. */ retryAt: 0,
  /** How many pages of its history came. */ paged: 0,
  /** @type {any[]} */ missed: [], dropped: new Set(),
  /** @type {Map<number, Message|null|undefined>} */ originals: new Map(),
  typing: new Map(), readSeq: 0, /** @type {any[]|null} */ members: null, /** @type {any[]|null} */ invites: null,
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
  if (at > 0 && list[at - 1].id === message.id) list[at - 1] = withOwn(message, list[at - 1]);
  else list.splice(at, 0, withOwn(message));
}

/**
 * An event is the same for all readers: which reactions are one's own is known from before.
 * @param {Message} message @param {Message} [before]
 */
function withOwn(message, before) {
  const mine = new Set((before?.reactions ?? []).filter(({ me }) => me).map(({ emoji }) => emoji));
  return { ...message, reactions: (message.reactions ?? []).map((one) => ({ ...one, me: one.me ?? mine.has(one.emoji) })) };
}

/**
 * One emoji under one message.
 * @param {Entry} chat
 * @param {any} frame its `count` is the one after it
 */
function react(chat, { type, message_id, user_id, emoji, count }) {
  const at = chat.messages.findIndex((message) => message.id === message_id);
  if (at < 0) return;
  const message = chat.messages[at];
  const before = message.reactions ?? [];
  const known = before.find((one) => one.emoji === emoji);
  const now = { emoji, count, me: user_id === chat.me ? type === 'reaction_added' : Boolean(known?.me) };
  const all = known ? before.map((one) => (one === known ? now : one)) : [...before, now];
  chat.messages[at] = { ...message, reactions: all.filter((one) => one.count > 0) };
}

/** One event into a chat's messages. @param {Entry} chat @param {any} frame */
export function change(chat, frame) {
  if (frame.type === 'message_deleted' || frame.message?.is_deleted) {
    const id = frame.message_id ?? frame.message.id;
    chat.dropped.add(id);
    chat.messages = chat.messages.filter((message) => message.id !== id);
    chat.pins = chat.pins?.filter((message) => message.id !== id) ?? null;
  } else if (frame.type === 'new_message') {
    if (chat.loaded && !chat.newer) put(chat, frame.message);
  } else if (frame.type === 'message_edited') {
    const at = chat.messages.findIndex((message) => message.id === frame.message.id);
    if (at >= 0) chat.messages[at] = withOwn(frame.message, chat.messages[at]);
    chat.pins = chat.pins?.map((message) => (message.id === frame.message.id ? frame.message : message)) ?? null;
    if (chat.originals.has(frame.message.id)) chat.originals.set(frame.message.id, frame.message);
  } else if (frame.type === 'reaction_added' || frame.type === 'reaction_removed') {
    react(chat, frame);
  }
}
