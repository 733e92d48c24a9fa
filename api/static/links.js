// @ts-check
/** The web and mail addresses in a text as links. @module */
import { el } from './dom.js';

// An address ends before a blank, a quotation mark or an angle bracket, and before the marks of a
// Chinese or Japanese sentence. A word of letters before it is part of a mail address, but not of a
// web address: some languages write no blanks.
const WEB = String.raw`[^\s<>"，。、；：！？）】」』》〉]`;
const FOUND = new RegExp([
  String.raw`(?<![A-Za-z0-9_])https?:\/\/${WEB}+`,
  String.raw`(?<![A-Za-z0-9_@/.-])www\.${WEB}+\.${WEB}+`,
  // Nothing that it may begin with stands before it, so that no text is tried from each place.
  String.raw`(?<![\p{L}\p{N}_@/.%+\-])[\p{L}\p{N}._%+\-]+@[\p{L}\p{N}\-]+(?:\.[\p{L}\p{N}\-]+)+`,
].join('|'), 'giu');
const TAIL = /[.,;:!?'"…»”’)\]}*_؟،؛۔]/u;
const OPENS = { ')': '(', ']': '[', '}': '{' };

/**
 * The address without the marks of the sentence around it; a bracket that it opens itself stays.
 * @param {string} found
 */
function trimmed(found) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const mark of found.match(/[()[\]{}]/g) ?? []) counts.set(mark, (counts.get(mark) ?? 0) + 1);
  let end = found.length;
  for (; end > 0 && TAIL.test(found[end - 1]); end -= 1) {
    const mark = found[end - 1];
    const closed = counts.get(mark) ?? 0;
    if (OPENS[mark] && (counts.get(OPENS[mark]) ?? 0) >= closed) break;
    counts.set(mark, closed - 1);
  }
  return found.slice(0, end);
}

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
