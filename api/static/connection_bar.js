// @ts-check
/**
 * The line that says how the connection is, and what brings it back early: somebody who does
 * something.
 * @module
 */
import { byId, setText } from './dom.js';
import { t } from './i18n.js';
import { wordsForClose } from './words.js';

const bar = byId('connection');
const text = byId('connection-text');
const count = byId('connection-count');
const button = byId('connection-button');

/** A shorter wait is not worth a word. */
const SLOW_MS = 1000;

let slow = 0;
let counting = 0;

/** @param {string} words @param {string} [action] */
export function say(words, action = '') {
  setText(text, words);
  setText(count, '');
  setText(button, action);
  button.hidden = action === '';
  bar.hidden = false;
}

/** The longest pause between two attempts: shorter while somebody looks at the page. */
export const longestMs = () => (document.visibilityState === 'visible' ? 10_000 : 30_000);

/**
 * @param {import('./messenger.js').Connection} connection
 * @param {(code: number) => boolean} ended takes the close codes that end the session
 */
export function connectionBar(connection, ended) {
  button.addEventListener('click', () => connection.start());
  const nudge = () => { if (document.visibilityState === 'visible') connection.nudge(); };
  for (const type of ['focus', 'pointerdown', 'keydown']) window.addEventListener(type, nudge);
  document.addEventListener('visibilitychange', nudge);
  window.addEventListener('offline', () => { if (!byId('app').hidden) say(t('connection.no_network')); });
  window.addEventListener('online', () => {
    if (connection.state !== 'open') return connection.nudge();
    bar.hidden = true;
    connection.check(3000);
  });

  connection.on('state', ({ state, delayMs, plan, code }) => {
    document.documentElement.dataset.connection = state;
    clearTimeout(slow);
    clearInterval(counting);
    if (state === 'open') {
      bar.hidden = true;
    } else if (state === 'connecting') {
      // A connection is there in a moment as a rule: only a slow one is worth a word.
      slow = setTimeout(() => say(t('connection.connecting')), SLOW_MS);
    } else if (state === 'waiting') {
      document.documentElement.dataset.closeCode = String(code);
      const until = Date.now() + delayMs;
      const show = () => countDown(t('connection.trying', { why: wordsForClose(code) }), until);
      if (plan.action === 'refresh' || delayMs < 300) slow = setTimeout(show, SLOW_MS);
      else show();
    } else if (state === 'stopped' && !ended(code) && code !== 1000) {
      say(wordsForClose(code), t('connection.again'));
    }
  });
}

/** The seconds go by in sight only: a screen reader hears of the outage once. */
function countDown(words, until) {
  say(navigator.onLine ? words : `${t('connection.no_network')} ${words}`, t('connection.now'));
  const show = () => {
    const seconds = Math.ceil((until - Date.now()) / 1000);
    setText(count, seconds > 1 ? t('connection.in', { count: seconds }) : '…');
  };
  show();
  counting = setInterval(show, 250);
}
