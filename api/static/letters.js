// @ts-check
/**
 * Letters as people see them: an emoji or a letter with its marks is one, however it is written.
 * @module
 */

/** Older browsers have none. */
const LETTERS = typeof Intl.Segmenter === 'function' ? new Intl.Segmenter() : null;

/** The first letter of a text. @param {string} text */
export const first = (text) => LETTERS?.segment(text).containing(0)?.segment ?? [...text][0] ?? '';

/**
 * The beginning of a text, which cuts no letter in two.
 * @param {string} text
 * @param {number} most UTF-16 units
 */
export function cut(text, most) {
  if (text.length <= most) return text;
  const at = LETTERS?.segment(text).containing(most)?.index;
  return at ? text.slice(0, at) : text.slice(0, most).replace(/[\uD800-\uDBFF]$/, '');
}

/**
 * The beginning of a text as one line.
 * @param {string} text
 * @param {number} most UTF-16 units
 */
export const line = (text, most) => cut(text.replace(/\s+/g, ' '), most);

/** One or two letters that stand for a name. @param {string} name */
export function initials(name) {
  const [one, two] = name.split(/[\s._-]+/).filter(Boolean).map(first);
  const head = one && two ? one : first(name);
  return (head + (one && two ? two : first(name.slice(head.length)))).toUpperCase();
}
