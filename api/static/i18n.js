// @ts-check
/**
 * The page's words in the reader's language: one file a language, the browser's choice unless the
 * reader made another. Plurals, numbers and dates come from `Intl`.
 * @module
 */
import en from './lang_en.js';
import ru from './lang_ru.js';
import { shared } from './storage.js';

/**
 * A sentence with `{name}` where a value goes, or one for each plural form of `{count}`.
 * @typedef {string|Partial<Record<Intl.LDMLPluralRule, string>>} Sentence
 */

const KEY = 'messenger.language';

/** @type {Record<string, {name: string, words: Record<string, Sentence>}>} */
export const LANGUAGES = { en, ru };

/** @type {Set<() => void>} */
const listeners = new Set();
/** @type {Map<string, any>} */
let formats = new Map();
let current = '';
/** The reader's own variety of the language, which decides how a date is written. */
let locale = '';

/** What the reader chose: a language, or `system`. */
export const chosen = () => { const kept = shared.getItem(KEY) ?? ''; return Object.hasOwn(LANGUAGES, kept) ? kept : 'system'; };

const base = (/** @type {string} */ tag) => tag.toLowerCase().split('-')[0];

/** The first of the browser's languages that is here. */
export const browsers = () => (navigator.languages ?? []).map(base).find((tag) => Object.hasOwn(LANGUAGES, tag)) ?? 'en';

/** Takes the page's own language, else the choice, else the browser's. */
function settle() {
  const { language } = document.documentElement.dataset;
  const before = current;
  current = language ?? (chosen() === 'system' ? browsers() : chosen());
  locale = navigator.languages?.find((tag) => base(tag) === current) ?? current;
  formats = new Map();
  document.documentElement.lang = current;
  translate(document);
  if (before && before !== current) for (const listener of listeners) listener();
}

/** The language of now. */
export const language = () => current;

/** Runs at each change of the language. @param {() => void} listener */
export const onLanguage = (listener) => { listeners.add(listener); };

/** @param {string} language one of {@link LANGUAGES}, or `system` */
export function choose(language) {
  if (language === 'system') shared.removeItem(KEY);
  else shared.setItem(KEY, language);
  settle();
}

/**
 * A format of `Intl` in the language of now, made once.
 * @param {'DateTimeFormat'|'NumberFormat'|'PluralRules'} kind @param {any} [options]
 */
export function format(kind, options = {}) {
  const key = kind + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new (/** @type {any} */ (Intl[kind]))(locale, options));
  return formats.get(key);
}

/**
 * A sentence in pieces, so that its values may be elements.
 * @param {string} key
 * @param {Record<string, any>} [values] a number is written as the language does
 * @returns {(string|Node)[]}
 */
export function parts(key, values = {}) {
  const found = LANGUAGES[current].words[key] ?? en.words[key] ?? key;
  const sentence = typeof found === 'string' ? found : found[format('PluralRules').select(values.count)] ?? found.other ?? key;
  const shown = (/** @type {string} */ name) => (typeof values[name] === 'number' ? format('NumberFormat').format(values[name]) : values[name] ?? '');
  return sentence.split(/\{(\w+)\}/).map((piece, index) => (index % 2 ? shown(piece) : piece)).filter((piece) => piece !== '');
}

/** A sentence as text. @param {string} key @param {Record<string, string|number>} [values] */
export const t = (key, values) => parts(key, values).join('');

/** Whether there is such a sentence. @param {string} key */
export const has = (key) => Object.hasOwn(en.words, key);

/**
 * Fills in what the markup names: `data-t` is a text, `data-t-name` what an icon is called,
 * `data-t-hint` what an empty field says.
 * @param {ParentNode} root
 */
export function translate(root) {
  for (const node of root.querySelectorAll('[data-t]')) node.textContent = t(node.getAttribute('data-t') ?? '');
  for (const node of root.querySelectorAll('[data-t-hint]')) node.setAttribute('placeholder', t(node.getAttribute('data-t-hint') ?? ''));
  for (const node of root.querySelectorAll('[data-t-name]')) {
    const name = t(node.getAttribute('data-t-name') ?? '');
    node.setAttribute('aria-label', name);
    if (node.matches('button')) node.setAttribute('title', name);
  }
}

globalThis.addEventListener('storage', ({ key }) => { if (key === KEY || key === null) settle(); });
globalThis.addEventListener('languagechange', settle);
settle();
