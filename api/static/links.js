// @ts-check
/** The web and mail addresses in a text as links. @module */
import { el } from './dom.js';

// An address ends before a blank, a quotation mark or an angle bracket; what stands before it must
// not be part of it.
const FOUND = /(?<![\p{L}\p{N}_@/.-])(?:https?:\/\/[^\s<>"]+|www\.[^\s<>"]+\.[^\s<>"]+|[\p{L}\p{N}._%+-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)+)/giu;
const TAIL = /[.,;:!?'"…»”’)\]}*_]/u;
const OPENS = { ')': '(', ']': '[', '}': '{' };

/**
 * The address without the marks of the sentence around it; a bracket that it opens itself stays.
 * @param {string} found
 */
function trimmed(found) {
  let end = found.length;
  for (; end > 0 && TAIL.test(found[end - 1]); end -= 1) {
    const opening = OPENS[found[end - 1]];
    if (!opening) continue;
    const part = found.slice(0, end);
    if (count(part, opening) >= count(part, found[end - 1])) break;
  }
  return found.slice(0, end);
}

const count = (text, mark) => text.split(mark).length - 1;

function target(address) {
  if (/^https?:/i.test(address)) return address;
  return /^www\./i.test(address) ? `https://${address}` : `mailto:${address}`;
}

/** Whether something stands after `https://`. */
const whole = (address) => !/^https?:\/*$/i.test(address);

/** @param {string} text @returns {(Node|string)[]} */
export function withLinks(text) {
  const parts = [];
  let from = 0;
  for (const found of text.matchAll(FOUND)) {
    const address = trimmed(found[0]);
    if (!whole(address)) continue;
    if (found.index > from) parts.push(text.slice(from, found.index));
    parts.push(el('a', { href: target(address), target: '_blank', rel: 'noopener noreferrer nofollow' }, address));
    from = found.index + address.length;
  }
  if (from < text.length) parts.push(text.slice(from));
  return parts;
}
