// @ts-check
/** Words for a person where the protocol speaks to a program. @module */

/** @typedef {import('./messenger.js').ApiError} ApiError */

const FIELDS = {
  username: 'Username', email: 'E-mail', password: 'Password', current_password: 'Current password', name: 'Name',
  description: 'Description', text: 'Message', member_ids: 'People', user_ids: 'People',
};

const CLOSES = {
  1006: 'The connection was lost.',
  1012: 'This server is being restarted.',
  4408: 'The connection was silent for too long.',
  4409: 'The connection was too slow.',
  4429: 'That was too much at once.',
  4501: 'Your session has ended.',
  4502: 'This session has ended: you logged out on another device, or your password was changed.',
  4503: 'This account is disabled.',
  4504: 'You have too many windows open.',
};

/** A fault in a person's words. @param {ApiError|Error} error */
export function wordsFor(error) {
  const { errors = [], code, retryAfterMs = 0 } = /** @type {any} */ (error);
  if (errors.length > 0) return errors.map(({ field, message }) => `${FIELDS[field] ?? field}: ${message}`).join('\n');
  if (code === 'rate_limited') return `Too many requests. Try again ${retryAfterMs > 0 ? inTime(retryAfterMs) : 'later'}.`;
  return error.message;
}

/** @param {number} ms */
function inTime(ms) {
  const seconds = Math.max(1, Math.ceil(ms / 1000));
  if (seconds < 60) return `in ${seconds} ${seconds === 1 ? 'second' : 'seconds'}`;
  const minutes = Math.ceil(seconds / 60);
  return `in ${minutes} ${minutes === 1 ? 'minute' : 'minutes'}`;
}

/**
 * Why the connection was closed, in a person's words.
 * @param {number} code
 * @param {{meaning: string}} plan
 */
export const wordsForClose = (code, plan) => CLOSES[code] ?? plan.meaning;
