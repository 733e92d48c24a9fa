// @ts-check
/**
 * Tells of new messages while nobody looks at the page: by the browser's notifications and by a
 * sound, both off until the user turns them on. The page offers it once, after the first message
 * that came unseen.
 * @module
 */
import { byId } from './dom.js';
import { t } from './i18n.js';
import { cut } from './letters.js';
import { ours } from './site.js';
import { isMuted } from './views.js';
import { declined, notifies, setNotify, sounds } from './settings.js';

/** How long a tab waits for another to say that the user looks at it. */
const ASK_MS = 60;

const tabs = channel();
const looked = () => document.visibilityState === 'visible' && document.hasFocus();
let missed = false;

function channel() {
  try {
    return new BroadcastChannel(ours('messenger.attention'));
  } catch {
    return null; // no other tab can be asked
  }
}

/** Whether this tab or another one is looked at. */
async function attended() {
  if (looked()) return true;
  if (!tabs) return false;
  return new Promise((done) => {
    const heard = ({ data }) => { if (data === 'looked at') done(true); };
    tabs.addEventListener('message', heard);
    tabs.postMessage('anyone?');
    setTimeout(() => { tabs.removeEventListener('message', heard); done(false); }, ASK_MS);
  });
}

tabs?.addEventListener('message', ({ data }) => { if (data === 'anyone?' && looked()) tabs.postMessage('looked at'); });

/** Of several tabs one makes the sound: the one that holds the lock, as long as it lives. */
let loud = !navigator.locks;
navigator.locks?.request(ours('messenger.sound'), () => { loud = true; return new Promise(() => {}); }).catch(() => { loud = true; });

function beep() {
  const audio = new AudioContext();
  const tone = audio.createOscillator();
  const volume = audio.createGain();
  tone.frequency.value = 660;
  volume.gain.setValueAtTime(0.08, audio.currentTime);
  volume.gain.exponentialRampToValueAtTime(0.0001, audio.currentTime + 0.25);
  tone.connect(volume).connect(audio.destination);
  tone.start();
  tone.stop(audio.currentTime + 0.25);
  tone.onended = () => audio.close();
}

/**
 * @param {{chat: any, message: any}} event another user's new message
 * @param {import('./store.js').Store} store @param {(id: number) => void} open
 */
export async function notifyOf({ chat, message }, store, open) {
  if (isMuted(chat) || await attended()) return;
  missed = true;
  if (sounds() && loud) beep();
  if (!notifies()) return;
  const names = { name: store.people.nameOf(message.author_id, message.author_username), chat: chat.info.name };
  const mine = message.mentions?.includes(chat.me);
  const title = !chat.info.is_group ? names.name : mine ? t('notify.mention', names) : t('notify.group', names);
  // One notification a chat, also of several tabs: the newer takes the place of the older.
  const look = { body: cut(message.text, 200), tag: `${ours('messenger.chat')}.${chat.id}`, icon: new URL('icon.svg', import.meta.url).href };
  try {
    const shown = new Notification(title, look);
    shown.onclick = () => { shown.close(); window.focus(); open(chat.id); };
  } catch {
    // Chrome on Android leaves them to the page's worker, which hears of the touch (`sw.js`).
    const worker = await navigator.serviceWorker?.ready;
    await worker?.showNotification(title, { ...look, data: chat.id });
  }
}

/** The right moment to offer it: the user comes back to something that was missed. */
function offer() {
  if (missed && looked() && !declined() && !notifies()) byId('offer').hidden = false;
}

window.addEventListener('focus', offer);
document.addEventListener('visibilitychange', offer);
byId('offer-yes').addEventListener('click', () => { byId('offer').hidden = true; setNotify(true); });
byId('offer-no').addEventListener('click', () => { byId('offer').hidden = true; setNotify(false); });
