// The README's walk with the types that openapi-typescript made; the argument is the address.
import createClient from 'openapi-fetch';
import type { components, paths } from './schema.js';

declare const process: { argv: string[] };
const baseUrl: string = process.argv[2] ?? '';
const api = createClient<paths>({ baseUrl });

function same(found: unknown, wanted: unknown) {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) throw new Error(`${JSON.stringify(found)} in place of ${JSON.stringify(wanted)}`);
}

/** The body of an answer that must be one. */
function body<T>({ data, error }: { data?: T, error?: unknown }): T {
  if (data === undefined) throw new Error(JSON.stringify(error));
  return data;
}

const password = 'correct horse';
const people: components['schemas']['User'][] = [];
for (const username of ['cleo', 'dora']) {
  people.push(body(await api.POST('/auth/register', { body: { username, email: `${username}@example.org`, password } })));
}
const refused = await api.POST('/auth/login', { body: { username: 'cleo', password: 'not it at all' } });
const code: components['schemas']['Problem']['code'] | undefined = refused.error?.code;
same([refused.response.status, code], [401, 'bad_credentials']);

const tokens = body(await api.POST('/auth/login', { body: { username: 'cleo', password } }));
api.use({ onRequest({ request }) { request.headers.set('authorization', `Bearer ${tokens.access_token}`); return request; } });
const me: components['schemas']['User'] = body(await api.GET('/auth/me'));
same(me.username, 'cleo');

// What has a default need not be sent.
const chat = body(await api.POST('/chats/create', { body: { name: 'plans', member_ids: [people[1]!.id] } }));
same([chat.member_count, chat.role], [2, 'owner']);
const message = { chat_id: chat.id, text: 'hello', client_message_id: 'm-1' };
const first = await api.POST('/messages/send', { body: message });
const again = await api.POST('/messages/send', { body: message });
same([first.response.status, again.response.status], [201, 200]);
same(body(first).id, body(again).id);

const history = body(await api.GET('/messages/chat/{chat_id}', { params: { path: { chat_id: chat.id }, query: { limit: 20 } } }));
// A page has the rows that a call of one has.
const items: components['schemas']['Message'][] = history.items;
same(items.map(({ text }) => text), ['hello']);
const chats: components['schemas']['Chat'][] = body(await api.GET('/chats', {})).items;
same(chats[0]?.last_message?.id, body(first).id);
const missing = await api.GET('/messages/chat/{chat_id}', { params: { path: { chat_id: chat.id + 1000 } } });
same(missing.error?.code, 'chat_not_found');
same((await api.POST('/auth/logout')).response.status, 204);
same((await api.GET('/auth/me')).response.status, 401);
console.log('walked');
