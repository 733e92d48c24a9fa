// @ts-check
/**
 * The part of a chat's details that is the reader's own: mute it, put it away, keep it on top.
 * @module
 */
import { el, moment } from './dom.js';
import { t } from './i18n.js';
import { FOREVER, isArchived, isMuted, isOnTop } from './views.js';
import { wordsFor } from './words.js';

const HOUR_MS = 3_600_000;
/** The muted chat whose end is so far off has none. */
const NEVER_MS = 10 * 365 * 24 * HOUR_MS;

/** What the section shows. @param {import('./history.js').Entry} chat */
export const viewOf = (chat) => [chat.info.settings, isMuted(chat)];

/**
 * @param {import('./store.js').Store} store @param {import('./history.js').Entry} chat
 * @param {(text: string) => void} say tells a fault
 * @param {() => void} redraw shows what was before a change that failed
 */
export function viewSection(store, chat, say, redraw) {
  const set = async (patch) => {
    try {
      await store.views.set(chat.id, patch);
    } catch (error) {
      say(wordsFor(error));
      redraw();
    }
  };
  const box = (id, text, checked, patch) => {
    const input = el('input', { type: 'checkbox', id, checked, onchange: () => set(patch(input.checked)) });
    return el('label', {}, input, el('span', {}, text));
  };
  return el('section', { class: 'view' }, el('h3', {}, t('view')),
    el('label', {}, t('view.notify'), mute(chat, set)),
    box('view-pinned', t('view.pinned'), isOnTop(chat), (pinned) => ({ pinned })),
    box('view-archived', t('view.archived'), isArchived(chat), (archived) => ({ archived })));
}

function mute(chat, set) {
  const inHours = (hours) => new Date(Date.now() + hours * HOUR_MS).toISOString();
  const until = Date.parse(chat.info.settings?.muted_until ?? '');
  const muted = !isMuted(chat) ? null : until > Date.now() + NEVER_MS ? t('view.muted') : t('view.muted_until', { when: moment(chat.info.settings.muted_until) });
  const values = { on: () => null, one: () => inHours(1), eight: () => inHours(8), always: () => FOREVER };
  const select = el('select', { id: 'view-muted', onchange: () => { if (values[select.value]) set({ muted_until: values[select.value]() }); } },
    muted ? el('option', { value: 'now', selected: true }, muted) : null,
    el('option', { value: 'on' }, t('view.notify_on')),
    el('option', { value: 'one' }, t('view.mute_hours', { count: 1 })),
    el('option', { value: 'eight' }, t('view.mute_hours', { count: 8 })),
    el('option', { value: 'always' }, t('view.mute_always')));
  return select;
}
