// @ts-check
/**
 * Building and writing the page. Every text goes in as text, never as markup: there is no
 * `innerHTML` in these pages.
 * @module
 */
import { format, t } from './i18n.js';
import { initials } from './letters.js';
import { wordsFor } from './words.js';

/** @param {string} id @returns {any} the element, which the page is sure to have */
export const byId = (id) => document.getElementById(id);

/**
 * An element with its attributes, listeners (`onclick: f`) and children; strings become text nodes.
 * @param {string} tag
 * @param {Record<string, any>} [attributes] `true` sets an empty attribute; `false`, null and
 *   undefined none
 * @param {...(Node|string|null|undefined)} children
 * @returns {any}
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'text') node.textContent = value;
    else if (value === true) node.setAttribute(name, '');
    else if (value !== false && value != null) node.setAttribute(name, String(value));
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

/** An icon of the page's own sprite, hidden from screen readers. @param {string} name */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A button with an icon and a name for those who do not see it. */
export const iconButton = (name, label, onclick, attributes = {}) =>
  el('button', { type: 'button', class: 'icon-button', 'aria-label': label, title: label, onclick, ...attributes }, icon(name));

/**
 * A round sign with the first letters of a name, coloured by the id.
 * @param {string} name
 * @param {number} id
 */
export function avatar(name, id, attributes = {}) {
  return el('span', { class: 'avatar', 'data-hue': id % 8, 'aria-hidden': 'true', ...attributes }, initials(name));
}

/** Sets a text only if it changed, so that screen readers and selections are left alone. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Runs `render` soon and once, however often it was asked for. Works in a hidden tab too, unlike
 * animation frames.
 */
export function batched(render) {
  let due = false;
  return () => {
    if (due) return;
    due = true;
    setTimeout(() => { due = false; render(); }, 16);
  };
}

/** Disables a form's buttons while its work runs and shows a fault in its `[role=alert]`. */
export function onSubmit(form, work) {
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const alert = form.querySelector('[role=alert]');
    const buttons = [...form.querySelectorAll('button')].filter((button) => !button.disabled);
    if (alert) alert.textContent = '';
    for (const button of buttons) button.disabled = true;
    try {
      await work(event);
    } catch (error) {
      if (alert) alert.textContent = wordsFor(error);
      else throw error;
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  });
}

/**
 * A name among the page's own words: whatever is written in it, it turns none of them round.
 * @param {string} text
 */
export const name = (text) => el('bdi', {}, text);

/**
 * Asks before something that cannot be undone.
 * @param {string|(string|Node)[]} question @param {string} doIt @returns {Promise<boolean>}
 */
export function confirmed(question, doIt) {
  const dialog = byId('confirm');
  dialog.querySelector('p').replaceChildren(...[question].flat());
  setText(dialog.querySelector('[value=yes]'), doIt);
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((answer) => dialog.addEventListener('close', () => answer(dialog.returnValue === 'yes'), { once: true }));
}

/** @param {Date} date @param {Intl.DateTimeFormatOptions} options */
const written = (date, options) => format('DateTimeFormat', options).format(date);
/** @type {Intl.DateTimeFormatOptions} */
const TIME = { hour: 'numeric', minute: '2-digit' };
const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
/** @param {Date} date */
export const daysAgo = (date) => Math.round((midnight(new Date()) - midnight(date)) / 86_400_000);

/** Runs when a day begins: what is called today is no longer. @param {() => void} listener */
export function onNewDay(listener) {
  const now = new Date();
  const begins = new Date(now.getFullYear(), now.getMonth(), now.getDate() + 1);
  setTimeout(() => { listener(); onNewDay(listener); }, begins.getTime() - now.getTime());
}

/** @param {string} iso */
export const clock = (iso) => written(new Date(iso), TIME);

/** The time today, else the day: for a list. @param {string} iso */
export function shortTime(iso) {
  const date = new Date(iso);
  const days = daysAgo(date);
  if (days <= 0) return written(date, TIME);
  return written(date, days < 7 ? { weekday: 'short' } : { day: 'numeric', month: 'short' });
}

/** @param {string} iso */
export function longDay(iso) {
  const date = new Date(iso);
  const near = { 0: 'today', 1: 'yesterday' }[daysAgo(date)];
  return near ? t(near) : written(date, { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' });
}

/** A moment of today, or of another day. @param {string} iso */
export const moment = (iso) => (daysAgo(new Date(iso)) !== 0 ? t('day_time', { day: longDay(iso), time: clock(iso) }) : clock(iso));
