// @ts-check
/** Logging in and registering. @module */
import { byId, onSubmit, setText } from './dom.js';
import { unreadBadge } from './badge.js';
import { onLanguage, t } from './i18n.js';

const form = byId('entrance-form');
let registering = false;

function setMode(register) {
  registering = register;
  setText(byId('entrance-title'), t(register ? 'entrance.register' : 'entrance.login'));
  setText(byId('entrance-submit'), t(register ? 'entrance.register_do' : 'entrance.login_do'));
  setText(byId('entrance-question'), t(register ? 'entrance.known' : 'entrance.new'));
  setText(byId('entrance-switch'), t(register ? 'entrance.login_do' : 'entrance.register'));
  setText(form.querySelector('[role=alert]'), '');
  for (const part of form.querySelectorAll('[data-for]')) part.hidden = part.dataset.for !== (register ? 'register' : 'login');
  form.elements.email.disabled = !register;
  form.elements.password.autocomplete = register ? 'new-password' : 'current-password';
}

/** The code of the invitation that the page's address names, else ''. */
export const invited = () => /^#\/invite\/([\w-]+)$/.exec(location.hash)?.[1] ?? '';

/** Says what the invitation is for. @param {import('./messenger.js').Session} session */
async function showInvitation(session) {
  const code = invited();
  if (!code) return;
  const answer = await fetch(session.url(`/invites/${code}`), { cache: 'no-store' }).catch(() => null);
  if (!answer || byId('entrance').hidden || invited() !== code) return;
  const seen = answer.ok ? await answer.json() : null;
  if (!seen) return setText(byId('entrance-note'), t('error.invite_not_found'));
  if (form.elements.username.value === '') setMode(true);
  setText(byId('entrance-note'), seen.chat ? t('entrance.invited', { chat: seen.chat.name, by: seen.invited_by ?? '' }) : t('entrance.invited_here'));
}

/** @param {import('./messenger.js').Session} session @returns {(note?: string) => void} shows it */
export function entrance(session) {
  onLanguage(() => setMode(registering));
  byId('entrance-switch').addEventListener('click', () => {
    setText(byId('entrance-note'), '');
    setMode(!registering);
    form.elements.username.focus();
  });
  onSubmit(form, async () => {
    const { username, email, password } = form.elements;
    if (registering) await session.register(username.value.trim(), email.value.trim(), password.value, invited() || undefined);
    await session.login(username.value.trim(), password.value);
    form.reset();
  });
  return (note = '') => {
    byId('app').hidden = true;
    byId('entrance').hidden = false;
    setText(byId('entrance-note'), note);
    setMode(false);
    unreadBadge(0);
    form.elements.username.focus();
    showInvitation(session);
  };
}
