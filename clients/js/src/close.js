// @ts-check
/**
 * The close codes of the WebSocket, and what a client does after each. Part of `messenger.js`.
 * @module
 */

/**
 * The meaning of each close code, for people. The range decides what a client does:
 * {@link closePlan}.
 */
export const CLOSE_CODES = Object.freeze({
  1000: 'Closed normally.',
  1001: 'The server or the page is going away.',
  1002: 'A frame broke the WebSocket protocol.',
  1003: 'A binary frame was sent; this protocol is text only.',
  1005: 'Closed without a code.',
  1006: 'The connection broke without a close frame.',
  1007: 'A frame was not UTF-8.',
  1009: 'A frame was larger than the server takes.',
  1011: 'The server failed.',
  1012: 'This server asked to connect anew.',
  4401: 'The access token has expired.',
  4408: 'No sign of life from this client in time.',
  4409: 'This client read nothing for too long.',
  4410: 'More notices waited for this client than the server keeps.',
  4429: 'Too many commands.',
  4501: 'The token is missing or not valid.',
  4502: 'This session has ended: logged out, password changed, or its refresh token was used twice.',
  4503: 'This account is disabled.',
  4504: 'This user has too many connections open.',
});

/**
 * The plan after a close.
 * @param {number} code
 * @param {string} [reason]
 * @returns {{action: 'reconnect'|'refresh'|'stop', delayMs: number|null, meaning: string, advice:
 *   string}} `delayMs` is the delay the server asked for, null where the back-off decides.
 */
export function closePlan(code, reason = '') {
  const meaning = CLOSE_CODES[code] ?? `Close code ${code}${reason ? `: ${reason}` : '.'}`;
  const plan = (action, advice, delayMs = null) => ({ action, delayMs, meaning, advice });
  if (code === 1012) {
    const told = reconnectAfter(reason);
    return plan('reconnect', told === null ? 'Reconnect after a random back-off.' : `Reconnect after ${told} ms, as the server asks.`, told);
  }
  if (code === 4401) return plan('refresh', 'Refresh the token, then reconnect.');
  if (code >= 4000 && code <= 4499) return plan('reconnect', 'Reconnect after a random back-off.');
  const final = [1000, 1002, 1003, 1007, 1008, 1009, 1010];
  if ((code >= 4500 && code <= 4999) || final.includes(code)) {
    const advice = { 1000: 'Nothing to do.', 4501: 'Log in again.', 4502: 'Log in again.', 4503: 'Ask whoever runs this server.', 4504: 'Close other windows, then connect again.' };
    return plan('stop', advice[code] ?? 'Do not reconnect: the same would happen again.');
  }
  return plan('reconnect', 'Reconnect after a random back-off.');
}

/**
 * @param {string} reason
 * @returns {number|null} `reconnect_after_ms` of a 1012, at most five minutes
 */
function reconnectAfter(reason) {
  try {
    const ms = JSON.parse(reason).reconnect_after_ms;
    return Number.isFinite(ms) && ms >= 0 ? Math.min(ms, 300_000) : null;
  } catch {
    return null;
  }
}
