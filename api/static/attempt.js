// @ts-check
/**
 * The request of a form, however often it is sent: where an answer is lost, nothing is made twice.
 * @module
 */
import { randomId } from './messenger.js';

export class Attempt {
  #what = '';
  #key = '';

  /**
   * Makes a request under the key of the earlier tries of it that had no answer.
   * @template T
   * @param {unknown} what names the request: another one has a key of its own
   * @param {(idempotencyKey: string) => Promise<T>} send @returns {Promise<T>}
   */
  async make(what, send) {
    const named = JSON.stringify(what);
    if (named !== this.#what) [this.#what, this.#key] = [named, randomId()];
    const key = this.#key;
    const answered = () => { if (key === this.#key) this.#what = ''; };
    try {
      const answer = await send(key);
      answered();
      return answer;
    } catch (error) {
      if (!error.transient && error.code !== 'in_progress') answered();
      throw error;
    }
  }
}
