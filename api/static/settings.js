// @ts-check
/** The choices of a user on this machine: language, light or dark, notifications, sound. @module */
import { byId, el } from './dom.js';
import { LANGUAGES, browsers, choose, chosen, onLanguage, t } from './i18n.js';
import { shared } from './storage.js';

const dialog = byId('settings');
const theme = byId('theme');
const notify = byId('notify');
const sound = byId('sound');
const fault = byId('settings-fault');

/** Whether the user wants to be notified here, and the browser lets the page. */
export const notifies = () => shared.getItem('messenger.notify') === 'on' && globalThis.Notification?.permission === 'granted';
export const sounds = () => shared.getItem('messenger.sound') === 'on';
/** Whether the user was asked before, and did not want it. */
export const declined = () => shared.getItem('messenger.notify') === 'off' || (globalThis.Notification?.permission ?? 'denied') === 'denied';

/** Asks the browser, which asks the user. @param {boolean} on */
export async function setNotify(on) {
  const granted = on && globalThis.Notification && await Notification.requestPermission() === 'granted';
  shared.setItem('messenger.notify', granted ? 'on' : 'off');
  fault.textContent = on && !granted ? t('settings.refused') : '';
  notify.checked = Boolean(granted);
}

function apply() {
  const { value } = theme;
  if (value === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = value;
}

/** One at the entrance, one among the settings. A language is named as its speakers name it. */
const languages = [...document.querySelectorAll('select.language')].map((node) => /** @type {HTMLSelectElement} */ (node));
function showLanguages() {
  for (const select of languages) {
    select.replaceChildren(el('option', { value: 'system' }, t('settings.browser', { name: LANGUAGES[browsers()].name })), ...Object.entries(LANGUAGES).map(([tag, { name }]) => el('option', { value: tag, lang: tag }, name)));
    select.value = chosen();
  }
}
for (const select of languages) select.addEventListener('change', () => { choose(select.value); showLanguages(); });
onLanguage(showLanguages);
showLanguages();

theme.addEventListener('change', () => {
  shared.setItem('messenger.theme', theme.value);
  apply();
});
notify.addEventListener('change', () => setNotify(notify.checked));
sound.addEventListener('change', () => shared.setItem('messenger.sound', sound.checked ? 'on' : 'off'));
globalThis.addEventListener('storage', ({ key }) => {
  if (key !== 'messenger.theme') return;
  theme.value = shared.getItem(key) ?? 'system';
  apply();
});

export function showSettings() {
  theme.value = shared.getItem('messenger.theme') ?? 'system';
  notify.checked = notifies();
  sound.checked = sounds();
  fault.textContent = '';
  dialog.showModal();
  theme.focus();
}
