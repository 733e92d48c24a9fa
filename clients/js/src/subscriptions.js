// @ts-check
/**
 * Which chats are followed, and how far each was received. No socket and no clock in here. Part of
 * `messenger.js`.
 * @module
 */

/**
 * The kinds of event that bear the chat's consecutive `seq`; a test holds them against the
 * server's.
 */
export const SEQUENCED = new Set(['new_message', 'message_edited', 'message_deleted', 'member_joined', 'member_left', 'member_updated', 'chat_updated', 'chat_deleted', 'reaction_added', 'reaction_removed', 'message_pinned', 'message_unpinned', 'unknown']);

/**
 * The other frames that bear a chat and a `seq`. A frame of neither list may be a newer server's
 * event.
 */
const NOT_SEQUENCED = new Set(['message_read', 'mentioned']);

/**
 * @typedef {{seq: number|null, epoch: any, live: boolean, skipped: Set<number>}} Subscription
 * `seq` null: from now on
 */

export class Subscriptions {
  /** @type {Map<number, Subscription>} */
  #all = new Map();
  /** @type {number[]} */
  #queue = [];
  #preferred = 0;

  /**
   * @param {number} chatId
   * @param {number|null} seq
   * @param {any} epoch
   * @returns {boolean} whether it is new
   */
  add(chatId, seq, epoch) {
    if (this.#all.has(chatId)) return false;
    this.#all.set(chatId, { seq, epoch, live: false, skipped: new Set() });
    this.again([chatId]);
    return true;
  }

  /** @param {number} chatId @returns {boolean} whether it was followed */
  drop(chatId) { return this.#all.delete(chatId); }

  /** This chat comes before all others. @param {number} chatId */
  prefer(chatId) {
    this.#preferred = chatId;
    const at = this.#queue.indexOf(chatId);
    if (at > 0) this.#queue.unshift(...this.#queue.splice(at, 1));
  }

  /** A new connection: every chat is asked for again. */
  restart() {
    for (const subscription of this.#all.values()) subscription.live = false;
    this.#queue = [...this.#all.keys()];
    this.prefer(this.#preferred);
  }

  /** Asks once more for those of them that are not live. @param {Iterable<number>} chatIds */
  again(chatIds) {
    for (const chatId of chatIds) if (this.#all.get(chatId)?.live === false && !this.#queue.includes(chatId)) this.#queue.push(chatId);
    this.prefer(this.#preferred);
  }

  /** The fields of the subscriptions to ask for next. @param {number} most @returns {object[]} */
  next(most) {
    const fields = [];
    while (fields.length < most && this.#queue.length > 0) {
      const chatId = /** @type {number} */ (this.#queue.shift());
      const subscription = this.#all.get(chatId);
      if (!subscription || subscription.live) continue;
      const { seq, epoch } = subscription;
      fields.push({ chat_id: chatId, ...(seq === null ? {} : { after_seq: seq }), ...(seq === null || epoch == null ? {} : { epoch }) });
    }
    return fields;
  }

  /**
   * @param {number} chatId
   * @returns {{seq: number|null, epoch: any, live: boolean}|null} null: not followed
   */
  cursor(chatId) {
    const subscription = this.#all.get(chatId);
    return subscription ? { seq: subscription.seq, epoch: subscription.epoch, live: subscription.live } : null;
  }

  /**
   * Moves the chat's cursor.
   * @param {any} frame
   * @returns {{wanted: boolean, resync?: boolean, gap?: boolean}} whether the frame is passed on;
   *   whether events were lost for good; whether the chat is to be asked for anew from its cursor
   */
  take(frame) {
    const subscription = this.#all.get(frame.chat_id);
    if (!subscription) return { wanted: true };
    if (frame.type === 'chat_removed') {
      this.#all.delete(frame.chat_id);
    } else if (frame.type === 'subscribed' || frame.type === 'resync') {
      const resync = frame.type === 'resync' || Boolean(frame.resync);
      if (frame.type === 'subscribed') Object.assign(subscription, { live: true, epoch: frame.epoch ?? null });
      if (resync || subscription.seq === null) subscription.seq = frame.seq;
      subscription.skipped.clear();
      return { wanted: true, resync };
    } else if (subscription.live && SEQUENCED.has(frame.type)) {
      return this.#advance(subscription, frame);
    } else if (subscription.live && Number.isInteger(frame.seq) && !NOT_SEQUENCED.has(frame.type)) {
      subscription.skipped.add(frame.seq);
    }
    return { wanted: true };
  }

  #advance(subscription, frame) {
    if (frame.seq <= subscription.seq) return { wanted: false };
    // Numbers of frames that this client does not know are no gap.
    while (frame.seq > subscription.seq + 1 && subscription.skipped.has(subscription.seq + 1)) subscription.seq += 1;
    subscription.skipped.clear();
    if (frame.seq > subscription.seq + 1) {
      // A gap is against the contract; asking anew from the cursor heals it whatever its cause.
      subscription.live = false;
      this.again([frame.chat_id]);
      return { wanted: false, gap: true };
    }
    subscription.seq = frame.seq;
    return { wanted: true };
  }
}
