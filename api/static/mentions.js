// @ts-check
/** Mentions: `@username` of a member, found in a text as the server finds them. @module */
import { el } from './dom.js';

/** A name stands after an `@` that begins a word. */
const FOUND = /(?<![\p{Alphabetic}\p{N}_.-])@([A-Za-z0-9_.-]+)/gu;
/** What is being typed may also be the name for people, in any script. */
const TYPED = /(?<![\p{Alphabetic}\p{N}_.-])@([^\s@]{0,32})$/u;

/** A name may end in a dot or a dash, as a sentence does: the longer reading comes first. */
const readings = (/** @type {string} */ name) => [name, name.replace(/[.-]+$/, '')];

/**
 * Marks the names of those whom the message mentions.
 * @param {(Node|string)[]} pieces of the text @param {import('./history.js').Message} message
 * @param {import('./people.js').People} people @param {number} me
 * @param {(id: number) => void} show shows who it is @returns {(Node|string)[]}
 */
export function withMentions(pieces, { mentions = [] }, people, me, show) {
  if (mentions.length === 0) return pieces;
  return pieces.flatMap((piece) => (typeof piece === 'string' ? marked(piece, mentions, people, me, show) : [piece]));
}

/**
 * @param {string} text @param {number[]} mentions @param {import('./people.js').People} people
 * @param {number} me @param {(id: number) => void} show
 */
function marked(text, mentions, people, me, show) {
  /** @type {(Node|string)[]} */
  const pieces = [];
  let from = 0;
  for (const { 1: name, index } of text.matchAll(FOUND)) {
    const meant = readings(name).find((one) => mentions.includes(people.ids.get(one.toLowerCase()) ?? 0));
    if (!meant) continue;
    if (index > from) pieces.push(text.slice(from, index));
    from = index + 1 + meant.length;
    const id = people.ids.get(meant.toLowerCase()) ?? 0;
    pieces.push(el(id === me ? 'mark' : 'span', { class: 'mention' }, el('button', { type: 'button', onclick: () => show(id) }, text.slice(index, from))));
  }
  if (from < text.length) pieces.push(text.slice(from));
  return pieces;
}

/** The name that is being typed at the end of this text; null: none is. @param {string} text */
export const typedName = (text) => TYPED.exec(text)?.[1] ?? null;
