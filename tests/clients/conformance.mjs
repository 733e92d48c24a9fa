// Drives the JavaScript client by commands: one JSON object a line in, answers and events out.
import { createInterface } from 'node:readline';
import { FileStore, MemoryStore, Messenger, SessionEnded, backoff, closePlan } from '../../clients/js/node/index.js';
import { NodeSocket } from '../../clients/js/node/socket.js';

/** As the library `ws` has it: a fault for which nobody listens ends the process. */
class LoudSocket extends NodeSocket {
  constructor(...at) {
    super(...at);
    let closed = null;
    const loud = (close) => {
      if (close.code === 1006 && !this.onerror) throw new Error('nobody listens for an error');
      closed(close);
    };
    Object.defineProperty(this, 'onclose', { get: () => closed && loud, set: (listener) => { closed = listener; } });
  }
}

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
let chat;

async function listen() {
  try {
    for await (const event of chat) say({ event });
    say({ ended: null });
  } catch (error) {
    if (!(error instanceof SessionEnded)) throw error;
    say({ ended: error.code });
  }
}

const commands = {
  open: ({ url, store, heartbeat_seconds, longest_backoff_seconds }) => {
    chat = new Messenger(url, {
      WebSocket: LoudSocket,
      store: store ? new FileStore(store) : new MemoryStore(),
      onState: ({ state, code = null, delayMs = null }) => say({ state, code, delay: delayMs }),
      heartbeatMs: heartbeat_seconds * 1000,
      longestBackoffMs: longest_backoff_seconds * 1000,
    });
  },
  login: ({ username, password }) => chat.login(username, password),
  adopt: ({ access_token, refresh_token, expires_in }) => chat.adopt(access_token, refresh_token, expires_in),
  listen: () => { listen(); },
  take: async ({ count }) => (await Promise.all(Array.from({ length: count }, () => chat.next()))).map(({ value }) => value ?? null),
  subscribe: ({ chat_id, after_seq }) => chat.subscribe(chat_id, after_seq),
  subscribe_all: () => chat.subscribeAll(),
  unsubscribe: ({ chat_id }) => chat.unsubscribe(chat_id),
  send: ({ chat_id, text, client_message_id }) => chat.send(chat_id, text, { clientMessageId: client_message_id ?? undefined }),
  request: ({ method, path, body, key }) => chat.request(method, path, body ?? undefined, { idempotencyKey: key }),
  search: ({ q, chat_id, cursor }) => chat.search(q, { chatId: chat_id, limit: 1, cursor }),
  plan: ({ code, reason }) => { const { action, delayMs } = closePlan(code, reason); return [action, delayMs]; },
  backoff: ({ attempt, random }) => backoff(attempt, () => random),
  logout: () => chat.session.logout(),
  close: () => chat.close(),
};

const lines = createInterface({ input: process.stdin });
lines.on('line', async (line) => {
  const { id, do: name, ...fields } = JSON.parse(line);
  try {
    say({ id, ok: await commands[name](fields) ?? null });
  } catch (error) {
    say({ id, error: error.code ?? String(error.stack) });
  }
  // Nothing of the client may be left, or the process does not end by itself.
  if (name === 'close') lines.close();
});
