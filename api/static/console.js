// @ts-check
/**
 * The protocol console: every command of the WebSocket as a form, every frame in a log.
 * @module
 */
import { Connection, Session, randomId } from './messenger.js';
import { byId, el, onSubmit, setText } from './dom.js';
import { FrameLog } from './console_log.js';
import { BASE, ours } from './site.js';

/**
 * The commands a client may send. `?` marks what may be left out; the kinds decide how a field is
 * read.
 * @type {{type: string, about: string, fields: Record<string,
 *   'number'|'number?'|'text'|'text?'|'boolean?'>}[]}
 */
const COMMANDS = [
  { type: 'subscribe_chat', about: 'Follow a chat; with after_seq, first what was missed since then.', fields: { chat_id: 'number', after_seq: 'number?' } },
  { type: 'unsubscribe_chat', about: 'Follow it no longer.', fields: { chat_id: 'number' } },
  { type: 'send_message', about: 'A message into a chat.', fields: { chat_id: 'number', text: 'text', client_message_id: 'text?', reply_to_id: 'number?' } },
  { type: 'private_message', about: 'A message to a person; the private chat is made if need be.', fields: { recipient_id: 'number', text: 'text', client_message_id: 'text?' } },
  { type: 'typing', about: 'Tell the other subscribers; no answer. At most one every 2 s.', fields: { chat_id: 'number', is_typing: 'boolean?' } },
  { type: 'read', about: 'Read up to this number.', fields: { chat_id: 'number', seq: 'number' } },
  { type: 'authenticate', about: 'Go on under a new token of the same user. Empty: the token held here.', fields: { token: 'text?' } },
  { type: 'ping', about: 'Answered with pong.', fields: {} },
];

const session = new Session({ base: BASE, key: ours('messenger.console') });
const log = new FrameLog();
/** @type {any} */
let socket = null;
/**
 * The program's own socket class, so that the console can send what the client module never would:
 * a binary frame.
 */
class KeptWebSocket extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols);
    socket = this;
  }
}
/** @type {Connection|null} */
let connection = null;

// ---- Who you are

async function showAccount() {
  for (const id of ['logout', 'connect']) byId(id).disabled = !session.signedIn;
  byId('refresh').disabled = !session.refreshable;
  if (!session.signedIn) return setText(byId('account'), 'Not logged in.');
  setText(byId('account'), 'Asking who this is…');
  try {
    const me = await session.request('GET', '/auth/me');
    const until = session.refreshable ? `, access token until ${new Date(session.expiresAt).toLocaleTimeString()}` : ', with a pasted token';
    setText(byId('account'), `${me.username} (user ${me.id})${until}`);
  } catch (error) {
    setText(byId('account'), `A token is held, but: ${error.message}`);
  }
}

const accountForm = byId('account-form');
onSubmit(accountForm, async (event) => {
  const { username, password, email } = accountForm.elements;
  if (event.submitter?.value === 'register') {
    const user = await session.register(username.value.trim(), email.value.trim(), password.value);
    log.add('http', 'POST /auth/register', user);
  }
  await session.login(username.value.trim(), password.value);
});

onSubmit(byId('token-form'), async () => {
  session.adopt(byId('token-form').elements.token.value);
  byId('token-form').reset();
});

byId('refresh').addEventListener('click', () => session.refresh().catch((error) => { setText(accountForm.querySelector('[role=alert]'), error.message); }));
byId('logout').addEventListener('click', () => session.logout().catch((error) => log.add('note', 'logout', error.message)));
for (const type of ['signed_in', 'refreshed']) session.on(type, () => { log.add('note', type.replace('_', ' '), null); setTimeout(showAccount); });
session.on('ended', (text) => { log.add('note', 'session ended', text || null); setTimeout(showAccount); });

// ---- Connection

function connect() {
  connection?.stop();
  const way = /** @type {any} */ (document.querySelector('[name=way]:checked')).value;
  connection = new Connection(session, { way, reconnect: byId('reconnect').checked, WebSocket: KeptWebSocket });
  connection.on('state', showState);
  connection.on('frame', ({ direction, text, data }) => log.add(direction, data?.type ?? 'not JSON', data ?? text));
  byId('close').hidden = true;
  connection.start();
}

function showState({ state, delayMs, plan, code, reason, connectionId }) {
  const texts = {
    idle: 'Not connected.',
    connecting: 'Connecting…',
    open: `Connected${connectionId ? ` as connection ${connectionId}` : ''}.`,
    waiting: `Closed; reconnecting in ${Math.round(delayMs)} ms.`,
    stopped: 'Closed.',
  };
  const node = byId('state');
  node.dataset.state = state;
  setText(node, texts[state]);
  byId('disconnect').disabled = state === 'idle' || state === 'stopped';
  for (const button of document.querySelectorAll('.command button')) /** @type {any} */ (button).disabled = state !== 'open';
  if (state !== 'idle') log.add('note', state, code === undefined ? null : { code, reason, meaning: plan.meaning, advice: plan.advice });
  if (code === undefined) return;
  byId('close').hidden = false;
  setText(byId('close-code'), String(code));
  setText(byId('close-reason'), reason || 'none');
  setText(byId('close-meaning'), plan.meaning);
  setText(byId('close-advice'), plan.advice);
}

byId('connect').addEventListener('click', connect);
byId('disconnect').addEventListener('click', () => connection?.stop());

// ---- Commands

/**
 * @param {HTMLInputElement} input
 * @returns {unknown} what to send, undefined for nothing. A number that is none goes as text: to
 * see the answer.
 */
function valueOf(input, kind) {
  const text = input.value;
  if (kind === 'boolean?') return text === '' ? undefined : text === 'true';
  if (text === '' && kind.endsWith('?')) return undefined;
  if (kind.startsWith('number') && text.trim() !== '' && Number.isFinite(Number(text))) return Number(text);
  return text;
}

function commandForm({ type, about, fields }) {
  const inputs = Object.entries(fields).map(([name, kind]) => {
    const control = kind === 'boolean?'
      ? el('select', { name }, el('option', { value: '' }, 'not given'), el('option', {}, 'true'), el('option', {}, 'false'))
      : el('input', { name, autocomplete: 'off', spellcheck: 'false', inputmode: kind.startsWith('number') ? 'numeric' : null });
    const label = el('label', { class: name === 'text' || name === 'token' ? 'wide' : null }, `${name} `, kind.endsWith('?') ? el('span', { class: 'hint' }, 'optional') : null, control);
    return { name, kind, control, label };
  });
  const form = el('form', { class: 'command', id: `command-${type}` },
    el('h3', {}, el('code', {}, type), el('button', { disabled: true, 'aria-label': `Send ${type}` }, 'Send')),
    el('p', {}, about),
    inputs.length > 0 ? el('div', { class: 'fields' }, ...inputs.map((input) => input.label)) : null);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    /** @type {Record<string, unknown>} */
    const command = { type };
    for (const { name, kind, control } of inputs) command[name] = valueOf(control, kind);
    if (type === 'authenticate') command.token ??= session.accessToken;
    if (byId('with-request-id').checked) command.request_id = randomId().slice(0, 8);
    connection?.send(command);
  });
  return form;
}

byId('commands').append(...COMMANDS.map(commandForm));
byId('raw-form').addEventListener('submit', (event) => {
  event.preventDefault();
  connection?.send(byId('raw-form').elements.raw.value);
});
byId('send-binary').addEventListener('click', () => {
  socket?.send(new Uint8Array([1, 2, 3]));
  log.add('out', 'binary', '3 bytes');
});

// ---- REST

async function rest(method, path, body) {
  const name = `${method} ${path}`;
  try {
    log.add('http', name, await session.request(method, path, body));
  } catch (error) {
    log.add('http', name, { error: error.code, status: error.status, detail: error.message, errors: error.errors }, true);
  }
}

onSubmit(byId('rest-form'), async () => {
  const { method, path, body } = byId('rest-form').elements;
  const text = body.value.trim();
  if (!path.value.startsWith('/')) throw new Error('The path begins with a slash.');
  let parsed;
  try {
    parsed = text === '' ? undefined : JSON.parse(text);
  } catch (error) {
    throw new Error(`The body is not JSON: ${error.message}`);
  }
  await rest(method.value, path.value, parsed);
});
for (const button of byId('rest-form').querySelectorAll('[data-path]')) {
  button.addEventListener('click', () => rest(button.dataset.method, button.dataset.path, button.dataset.body && JSON.parse(button.dataset.body)));
}

for (const button of document.querySelectorAll('.command button')) /** @type {any} */ (button).disabled = true;
showAccount();
