// @ts-check
/** What the frames of the live connection do to the chats. Part of `store.js`. @module */

export class Live {
  #store;

  /** @param {import('./store.js').Store} store */
  constructor(store) {
    this.#store = store;
  }

  /** One frame of the live connection. */
  apply(frame) {
    const store = this.#store;
    const chat = store.chats.get(frame.chat_id ?? frame.chat?.id);
    switch (frame.type) {
      case 'welcome':
        store.online.clear();
        store.online.add(frame.user_id);
        store.outbox.again();
        store.pages.again();
        store.pages.open(store.looked);
        store.marks.openPins(store.looked);
        // Chats came and went while no connection was here to hear of it.
        store.relist();
        return;
      case 'subscribed':
        for (const id of frame.online_user_ids ?? []) store.online.add(id);
        return store.emit('people');
      case 'user_status':
        if (frame.status === 'online') store.online.add(frame.user_id);
        else store.online.delete(frame.user_id);
        store.people.lastSeen.set(frame.user_id, new Date().toISOString());
        return store.emit('people');
      case 'chat_added':
        store.learn({ ...frame.chat });
        store.refresh(frame.chat.id);
        return store.emit('chats');
      case 'chat_removed':
      case 'chat_deleted':
        return store.forget(frame.chat_id ?? frame.chat?.id);
      case 'typing':
        return chat && this.#typing(chat, frame);
      case 'message_read':
        if (chat && frame.user_id === store.me.id) this.#readElsewhere(chat, frame.seq);
        else if (chat && store.ticks.reach(chat.id, frame.seq)) store.emit('chat', chat.id);
        return;
      // It comes beside the message itself, perhaps before it: counted here, that would be no news.
      case 'mentioned':
        if (chat && frame.seq === frame.message.seq) return;
        // An edit mentions: the server counts.
        if (chat) store.emit('message', { chat, message: frame.message });
        return store.refresh(frame.chat_id);
      case 'chat_settings':
        if (chat) chat.info = { ...chat.info, settings: frame.settings };
        return store.views.changed(frame.chat_id);
      default:
    }
    if (!chat) {
      if (frame.type === 'new_message' && frame.message) store.refresh(frame.chat_id);
      return;
    }
    this.#event(chat, frame);
  }

  /** A sequenced event of a chat that is known here. */
  #event(chat, frame) {
    const store = this.#store;
    if (chat.loading) chat.missed.push(frame);
    store.change(chat, frame);
    const fresh = frame.seq > chat.countedSeq;
    if (fresh) chat.countedSeq = frame.seq;
    if (frame.message) store.people.meet(frame.message);
    if (frame.type === 'new_message') {
      chat.typing.delete(frame.message.author_id);
      if (fresh && !frame.message.is_deleted) this.#count(chat, frame.message);
    } else if (frame.type === 'message_edited') {
      if (chat.last?.id === frame.message.id) chat.last = frame.message;
      // An edit may mention, or no longer mention: the server knows what is read.
      if (chat.unread > 0 && (chat.mentions > 0 || frame.message.mentions?.includes(store.me.id))) store.refresh(chat.id);
    } else if (frame.type === 'message_deleted' && (chat.unread > 0 || chat.last?.id === frame.message_id)) {
      if (chat.last?.id === frame.message_id && !chat.newer) chat.last = chat.messages.at(-1) ?? null;
      store.refresh(chat.id);
    } else if (frame.type === 'chat_updated') {
      chat.info = { ...chat.info, name: frame.chat.name, description: frame.chat.description };
    } else if (frame.type === 'message_pinned' || frame.type === 'message_unpinned') {
      store.marks.pinsChanged(chat);
    } else if (frame.type.startsWith('member_')) {
      this.#member(chat, frame);
    }
    store.emit('chats');
    store.emit('chat', chat.id);
  }

  /** A new message of a chat. */
  #count(chat, message) {
    const store = this.#store;
    chat.last = message;
    if (message.author_id === store.me.id) {
      chat.unread = chat.mentions = 0;
      return;
    }
    chat.unread += 1;
    if (message.mentions?.includes(store.me.id)) chat.mentions += 1;
    store.emit('message', { chat, message });
  }

  #member(chat, frame) {
    const store = this.#store;
    const mine = frame.user_id === store.me.id;
    if (mine && frame.type === 'member_left') return store.forget(chat.id);
    if (mine && frame.role) chat.info = { ...chat.info, role: frame.role };
    store.people.membersChanged(chat);
    if (frame.type !== 'member_updated') store.refresh(chat.id);
  }

  /**
   * Read on another device: up to the last message there is nothing to count, else the server
   * counts.
   */
  #readElsewhere(chat, seq) {
    const store = this.#store;
    if (chat.unread === 0) return;
    if (seq >= (chat.last?.seq ?? 0)) chat.unread = chat.mentions = 0;
    else if (seq > chat.readSeq) store.refresh(chat.id);
    store.emit('chats');
  }

  #typing(chat, frame) {
    const store = this.#store;
    clearTimeout(chat.typing.get(frame.user_id)?.timer);
    chat.typing.delete(frame.user_id);
    if (frame.is_typing) {
      const timer = setTimeout(() => { chat.typing.delete(frame.user_id); store.emit('people'); }, 6000);
      chat.typing.set(frame.user_id, { username: frame.username, timer });
    }
    store.emit('people');
  }
}
