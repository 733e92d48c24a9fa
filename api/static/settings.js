// @ts-check
/** The choices of a user on this machine: light or dark, notifications, sound. @module */
import { byId } from './dom.js';
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
  fault.textContent = on && !granted ? 'The browser does not allow notifications for this page.' : '';
  notify.checked = Boolean(granted);
}

function apply() {
  const { value } = theme;
  if (value === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = value;
}

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
