// @ts-check
/** The frames of the WebSocket. Part of `messenger.js`. @module */
import { ApiError } from './session.js';

/** @param {any} frame an `error` of the server @returns {ApiError} */
export function failure({ code, detail, retry_after_ms }) {
  const status = { rate_limited: 429, unavailable: 503, internal: 500 }[code] ?? 400;
  return new ApiError(status, code, detail, { retryAfterMs: retry_after_ms });
}

/** @param {string} text @returns {any} the parsed object, or null */
export function parse(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
}
