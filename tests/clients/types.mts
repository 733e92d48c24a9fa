// Uses every word of the package's types as an application would; the compiler is the test.
import { ApiError, FileStore, MemoryStore, Messenger, Session, SessionEnded, WebStore, backoff, closePlan, randomId, type Cursor, type CursorStore, type MessengerEvent } from 'messenger-client';

class Mine implements CursorStore {
  load(): Map<number, Cursor> { return new Map(); }
  save(chatId: number, cursor: Cursor | null): void { console.log(chatId, cursor?.seq, cursor?.epoch); }
}

export async function walk(): Promise<void> {
  const session = new Session({ base: 'http://127.0.0.1:8000' });
  const chat = new Messenger('http://127.0.0.1:8000', { store: new Mine(), session, onState: ({ state, code }) => console.log(state, code) });
  await chat.login('ann', 'a password');
  chat.adopt('token', 'refresh', 900);
  chat.subscribe(1, 0);
  chat.subscribeAll();
  chat.unsubscribe(1);
  try {
    for await (const event of chat) {
      const kept: MessengerEvent = event;
      if (event.type === 'new_message') {
        const { id, text, chat_id }: { id: number; text: string; chat_id: number } = event.message;
        const sent = await chat.send(chat_id, text, { replyToId: id, clientMessageId: randomId(), timeoutMs: 1000 });
        console.log(sent.id + 1, kept.type);
      } else if (event.type === 'resync') {
        console.log(event.chat_id, event.seq);
      } else if (event.type === 'refused') {
        console.log(event.code.length);
      }
    }
  } catch (error) {
    if (error instanceof SessionEnded) console.log(error.code);
    if (error instanceof ApiError && error.transient) console.log(error.retryAfterMs, error.errors[0]?.field);
  }
  console.log(await chat.request('GET', '/auth/me'), closePlan(1012, '').action, backoff(1) + 1);
  await chat.request('POST', '/chats/create', { is_group: true, name: 'Hike' }, { idempotencyKey: randomId() });
  await chat.read(1, 2);
  const { items, next_cursor } = await chat.search('a word', { chatId: 1, limit: 10, cursor: null });
  console.log(items.map(({ text, highlights }) => highlights.map(([start, end]) => [...text].slice(start, end))), next_cursor);
  chat.typing(1);
  await chat.session.logout();
  chat.close();
  for (const store of [new MemoryStore(), new FileStore('cursors.json'), new WebStore(localStorage)]) store.save(1, { seq: 1, epoch: null });
  // @ts-expect-error a chat is a number
  chat.subscribe('1');
}
