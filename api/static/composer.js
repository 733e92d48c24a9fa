// @ts-check
/**
 * The field to write in: a new message, a reply or an edit. Its words are kept at every key
 * (`drafts.js`).
 * @module
 */
import { byId, el, setText } from './dom.js';
import { NONE } from './drafts.js';
import { parts, t } from './i18n.js';
import { line } from './letters.js';
import { MentionList } from './mention_list.js';
import { TypingSignal } from './typing.js';
import { wordsFor } from './words.js';

/** @typedef {import('./store.js').Store} Store */
/** @typedef {import('./history.js').Message} Message */

const form = byId('composer');
const field = byId('text');
const fault = form.querySelector('[role=alert]');

/** By touch Enter makes a new line, and no keyboard springs up unasked. */
export const coarse = matchMedia('(pointer: coarse)');

export class Composer {
  #store;
  #typing;
  #mentions;
  #changed;
  #sent;
  #id = 0;
  /**
   * Of this tab: another tab of the same chat may write something else meanwhile.
   * @type {import('./drafts.js').Draft}
   */
  #draft = NONE;

  /**
   * @param {Store} store @param {import('./messenger.js').Connection} connection
   * @param {() => void} changed what is edited or answered is another @param {() => void} sent
   */
  constructor(store, connection, changed, sent) {
    this.#store = store;
    this.#changed = changed;
    this.#sent = sent;
    this.#typing = new TypingSignal(connection);
    this.#mentions = new MentionList(store, field, () => this.#typed());
    // The composer of the next login takes these over, hence no addEventListener.
    byId('stop-editing').onclick = () => this.edit(null);
    byId('stop-replying').onclick = () => this.reply(null);
    field.oninput = () => this.#typed();
    field.onkeydown = (event) => this.#key(event);
    form.onsubmit = (event) => { event.preventDefault(); this.#submit(); };
    globalThis.onstorage = (event) => this.#elsewhere(event);
  }

  get #chat() { return this.#store.chats.get(this.#id); }
  /** The id of the message that is being edited, 0 for none. */
  get editing() { return this.#draft.edit?.id ?? 0; }

  /** @param {number} id 0 for none */
  show(id) {
    this.#typing.show(id);
    this.#id = id;
    this.#draft = id ? this.#store.drafts.of(id) : NONE;
    this.#mentions.show(id);
    setText(fault, '');
    this.#fill();
  }

  focus() { field.focus(); }

  #of(id) { return id === this.#id ? this.#draft : this.#store.drafts.of(id); }

  /**
   * Only what changes is kept: the rest may be another tab's.
   * @param {Partial<import('./drafts.js').Draft>} more @param {number} [id]
   */
  #set(more, id = this.#id) {
    if (id === this.#id) this.#draft = { ...this.#draft, ...more };
    this.#store.drafts.set(id, more);
  }

  /**
   * What another tab sent or gave up is gone here, too, unless it was changed here.
   * @param {StorageEvent} event
   */
  #elsewhere(event) {
    const [was, is] = (this.#id && this.#store.drafts.changed(this.#id, event)) || [NONE, NONE];
    const own = this.#draft;
    const gone = {
      ...(is.text === '' && was.text !== '' && own.text === was.text ? { text: '' } : {}),
      ...(is.replyTo === null && was.replyTo !== null && own.replyTo === was.replyTo ? { replyTo: null } : {}),
      ...(is.edit === null && was.edit && own.edit?.id === was.edit.id && own.edit.text === was.edit.text ? { edit: null } : {}),
    };
    if (Object.keys(gone).length === 0) return;
    this.#draft = { ...own, ...gone };
    this.#fill();
    this.#changed();
  }

  /** Puts the kept words into the field. */
  #fill() {
    const { text, edit } = this.#draft;
    field.value = this.#id ? edit?.text ?? text : '';
    this.#grow();
    this.render();
  }

  #grow() {
    field.style.height = 'auto';
    field.style.height = `${field.scrollHeight}px`;
  }

  #keep() {
    const { edit } = this.#draft;
    this.#set(edit ? { edit: { ...edit, text: field.value } } : { text: field.value });
  }

  #typed() {
    if (!this.#id) return;
    this.#grow();
    this.#keep();
    setText(fault, '');
    this.#typing.typed(!this.editing && field.value.trim() !== '');
    this.#mentions.update();
  }

  /** Shows the reply or edit above the field, and leaves one whose message is gone. */
  render() {
    const chat = this.#chat;
    if (!chat) return;
    const { edit, replyTo } = this.#draft;
    if (edit && chat.dropped.has(edit.id)) return this.#lostEdit(edit);
    this.#takeBack(chat);
    byId('editing').hidden = !edit;
    byId('replying').hidden = !replyTo || Boolean(edit);
    if (!replyTo) return;
    const original = this.#store.pages.original(chat, replyTo);
    if (original === null) {
      this.#set({ replyTo: null });
      byId('replying').hidden = true;
      return;
    }
    const name = el('bdi', {}, original ? this.#nameOf(original) : '…');
    const words = el('bdi', {}, original ? line(original.text, 120) : '');
    byId('replying-to').replaceChildren(...parts('write.replying', { name, words }));
  }

  #nameOf(message) {
    return message.author_id === this.#store.me.id ? t('write.yourself') : this.#store.people.nameOf(message.author_id, message.author_username);
  }

  /**
   * A message that the server will never take as it is comes back to be changed, if the field is
   * free for it.
   */
  #takeBack(chat) {
    if (field.value !== '' || this.#draft.edit) return;
    const refused = this.#store.outbox.of(chat.id).find((one) => one.state === 'failed' && ['invalid', 'too_large'].includes(one.code ?? ''));
    if (!refused) return;
    field.value = refused.text;
    this.#set({ text: refused.text, replyTo: refused.reply_to_id });
    this.#store.outbox.settled(chat.id, refused.client_message_id);
    this.#grow();
    setText(fault, refused.fault);
  }

  #key(event) {
    if (event.isComposing || this.#mentions.key(event)) return;
    if (event.key === 'Enter' && !event.shiftKey && !coarse.matches) {
      event.preventDefault();
      this.#submit();
    } else if (['ArrowUp', 'ArrowDown'].includes(event.key) && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.#answerNext(event.key === 'ArrowUp' ? -1 : 1);
    } else if (event.key === 'ArrowUp' && !event.altKey && field.value === '' && !this.editing && !this.#chat?.newer) {
      const last = this.#chat?.messages.findLast((message) => message.author_id === this.#store.me.id);
      if (!last) return;
      event.preventDefault();
      this.edit(last);
    }
  }

  /** The message to answer goes up and down by key; below the newest there is none. */
  #answerNext(step) {
    const messages = this.#chat?.messages ?? [];
    const { replyTo } = this.#draft;
    const at = replyTo ? messages.findIndex((message) => message.id === replyTo) : messages.length;
    const to = at < 0 ? messages.length - 1 : at + step;
    if (to >= 0) this.reply(messages[to] ?? null);
  }

  /** Gives up an edit or a reply. @returns {boolean} whether there was one */
  cancel() {
    if (this.editing) this.edit(null);
    else if (this.#id && this.#draft.replyTo) this.reply(null);
    else return false;
    return true;
  }

  #submit() {
    const text = field.value;
    if (text.trim() === '' || !this.#chat) return;
    if (this.editing) return this.#saveEdit(text);
    this.#store.outbox.send(this.#id, text, this.#draft.replyTo);
    this.#set({ text: '', replyTo: null });
    this.#typing.sent();
    this.#fill();
    field.focus();
    this.#sent();
  }

  /** @param {Message|null} message */
  reply(message) {
    this.#set({ replyTo: message?.id ?? null, edit: null });
    this.#begun();
  }

  /** @param {Message|null} message */
  edit(message) {
    this.#set({ edit: message && { id: message.id, text: message.text, was: message.text } });
    this.#begun();
  }

  #begun() {
    setText(fault, '');
    this.#fill();
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
    this.#changed();
  }

  /**
   * The field is free for the next message at once; it gets the text back only if the edit fails.
   */
  async #saveEdit(text) {
    const chatId = this.#id;
    const { edit } = this.#draft;
    if (!edit) return;
    this.edit(null);
    if (text === edit.was) return;
    try {
      await this.#store.edit({ id: edit.id, chat_id: chatId }, text);
    } catch (error) {
      const failed = { ...edit, text };
      if (error.code === 'message_not_found') return this.#lostEdit(failed, chatId);
      if (this.#of(chatId).edit) return this.#say(chatId, t('write.not_changed', { fault: wordsFor(error) }));
      this.#set({ edit: failed }, chatId);
      if (this.#id === chatId) this.#begun();
      this.#say(chatId, t('write.not_changed', { fault: wordsFor(error) }));
    }
  }

  /** The message was deleted while it was being edited: the new words stay as a draft. */
  #lostEdit(edit, id = this.#id) {
    const { text } = this.#of(id);
    const kept = edit.text === edit.was ? text : [text, edit.text].filter(Boolean).join('\n');
    this.#set({ text: kept, edit: null }, id);
    if (id !== this.#id) return;
    this.#fill();
    this.#say(id, t(kept === text ? 'write.lost' : 'write.lost_kept'));
    this.#changed();
  }

  #say(chatId, text) { if (chatId === this.#id) setText(fault, text); }

  /** Takes a text that is pasted while the focus is elsewhere. @param {string} text */
  insert(text) {
    field.focus();
    field.setRangeText(text, field.selectionStart, field.selectionEnd, 'end');
    this.#typed();
  }
}
