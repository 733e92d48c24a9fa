// @ts-check
/** Words for a person where the protocol speaks to a program. @module */
import { has, t } from './i18n.js';
import { ENDINGS } from './messenger.js';

/** @typedef {import('./messenger.js').ApiError} ApiError */

/**
 * What the server finds wrong with a field, and our sentence for it.
 * @type {[RegExp, string][]}
 */
const FAULTS = [
  [/^must have (?<from>\d+) to (?<to>\d+) characters$/, 'fault.length'],
  [/^must have at most (?<to>\d+) characters$/, 'fault.too_long'],
  [/^may hold letters /, 'fault.letters'],
  [/^is not an e-mail address$/, 'fault.email'],
  [/^must not be blank$/, 'fault.blank'],
  [/ NUL character$/, 'fault.nul'],
  [/^must not hold line breaks /, 'fault.controls'],
  [/^must not hold control /, 'fault.controls_in_text'],
  [/^must not be one character /, 'fault.one_character'],
  [/^is one of the most used passwords$/, 'fault.most_used'],
  [/^must be more than your name /, 'fault.own_name'],
  [/^names a user who does not exist| is not a user$/, 'fault.nobody'],
  [/^must not (?:name|be) yourself$/, 'fault.yourself'],
  [/^must name at most (?<to>\d+) users$/, 'fault.too_many_people'],
  [/^must have at most (?<to>\d+) words and phrases$/, 'fault.too_many_words'],
  [/^is required$/, 'fault.required'],
  [/^is kept for deleted accounts$/, 'fault.kept'],
  [/^of an owner needs an active account/, 'fault.inactive'],
  [/^of the last owner cannot change/, 'fault.last_owner'],
];

/** @param {{field: string, message: string}} error */
function fieldFault({ field, message }) {
  const [pattern, key] = FAULTS.find(([one]) => one.test(message)) ?? [];
  const fault = pattern && key ? t(key, pattern.exec(message)?.groups) : message;
  const name = has(`field.${field}`) ? t(`field.${field}`) : field;
  return t('fault.field', { field: name, fault });
}

/** A fault in a person's words. @param {ApiError|Error} error */
export function wordsFor(error) {
  const { errors = [], code = '', retryAfterMs = 0 } = /** @type {any} */ (error);
  if (errors.length > 0) return errors.map(fieldFault).join('\n');
  if (code === 'rate_limited' && retryAfterMs > 0) return t('error.rate_limited_until', { when: inTime(retryAfterMs) });
  return has(`error.${code}`) ? t(`error.${code}`) : error.message;
}

/** @param {number} ms */
function inTime(ms) {
  const seconds = Math.max(1, Math.ceil(ms / 1000));
  return seconds < 60 ? t('wait.seconds', { count: seconds }) : t('wait.minutes', { count: Math.ceil(seconds / 60) });
}

/**
 * Why the connection was closed, in a person's words.
 * @param {number} code
 */
export const wordsForClose = (code) => (has(`closed.${code}`) ? t(`closed.${code}`) : t('closed.other', { code: String(code) }));

/** Why the session ended. @param {string} text as the session says it */
export function wordsForEnd(text) {
  if (text === ENDINGS.elsewhere) return t('ended.elsewhere');
  return text === ENDINGS.expired || text === ENDINGS.refused ? t('closed.4501') : text;
}
