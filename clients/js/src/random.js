// @ts-check
/** Ids and pauses that no two clients share. @module */

/**
 * An id for `client_message_id` or `request_id`; works without a secure context, unlike
 * `crypto.randomUUID`.
 */
export const randomId = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, '0')).join('');

/**
 * The back-off: random over its whole range, so that clients that were thrown out together do not
 * come back together.
 * @param {number} attempt 0 for the first
 * @param {() => number} [random]
 * @param {number} [cap] milliseconds
 * @returns {number} milliseconds, below 500 · 2^attempt and below `cap`
 */
export const backoff = (attempt, random = Math.random, cap = 30_000) => random() * Math.min(cap, 500 * 2 ** Math.min(attempt, 10));

/** @param {number} ms */
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
