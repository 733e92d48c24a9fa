// @ts-check
/**
 * The keys of the whole page: typing goes into the field wherever the focus is, and chats are
 * changed by key.
 * @module
 */

/**
 * @typedef {object} Page
 * @property {() => boolean} ready whether somebody is logged in
 * @property {() => boolean} open whether a chat is open
 * @property {() => void} focusField
 * @property {(text: string) => void} insert
 * @property {() => void} escape
 * @property {(step: 1|-1) => void} beside opens the chat above or below
 * @property {() => void} find opens the quick switcher
 */

const writable = (node) => node instanceof Element && node.closest('input, textarea, select, [contenteditable]') !== null;
const inDialog = () => document.querySelector('dialog[open]') !== null;

/** @param {Page} page */
export function pageKeys(page) {
  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.isComposing || !page.ready() || inDialog()) return;
    const command = event.ctrlKey || event.metaKey;
    if (command && !event.altKey && !event.shiftKey && event.key.toLowerCase() === 'k') {
      event.preventDefault();
      page.find();
    } else if (event.altKey && !command && (event.key === 'ArrowUp' || event.key === 'ArrowDown')) {
      event.preventDefault();
      page.beside(event.key === 'ArrowDown' ? 1 : -1);
    } else if (event.key === 'Escape') {
      page.escape();
    } else if (types(event) && page.open()) {
      page.focusField(); // the key is then typed there
    }
  });
  document.addEventListener('paste', (event) => {
    if (writable(event.target) || !page.ready() || !page.open() || inDialog()) return;
    const text = event.clipboardData?.getData('text/plain');
    if (!text) return;
    event.preventDefault();
    page.insert(text);
  });
}

/** Whether the key writes something and the focus is where nothing can be written. */
function types(event) {
  if (writable(event.target) || [...event.key].length !== 1) return false;
  // AltGr writes, and is told as Ctrl and Alt.
  if ((event.ctrlKey || event.metaKey || event.altKey) && !event.getModifierState('AltGraph')) return false;
  return event.key !== ' ' || !(event.target instanceof Element && event.target.closest('button, a, summary'));
}
