/** How far a chat was read; `epoch` is the server's word for that chat's history. */
export interface Cursor {
  seq: number;
  epoch: unknown;
}

/** Any object with these two methods is a store. */
export interface CursorStore {
  /** All cursors by chat id. Called once, at the start. */
  load(): Map<number, Cursor>;
  /** Keeps a cursor, or forgets it. Called after your code has handled the event. */
  save(chatId: number, cursor: Cursor | null): void;
}

/** Forgets all with the process. */
export class MemoryStore implements CursorStore {
  load(): Map<number, Cursor>;
  save(chatId: number, cursor: Cursor | null): void;
}

/** Keeps all in one item of a `localStorage` or the like. */
export class WebStore extends MemoryStore {
  constructor(storage: Pick<Storage, 'getItem' | 'setItem'>, key?: string);
}

/** One JSON file. Node only. */
export class FileStore extends MemoryStore {
  constructor(path: string);
}

export interface Message {
  id: number;
  chat_id: number;
  author_id: number;
  author_username: string;
  text: string;
  created_at: string;
  is_edited: boolean;
  edited_at: string | null;
  is_deleted: boolean;
  seq: number;
  client_message_id: string | null;
  reply_to_id: number | null;
  [more: string]: unknown;
}

/** A message that a search found; each pair is a piece `[start, end)` of `[...text]`. */
export interface FoundMessage extends Message {
  highlights: [number, number][];
}

export interface Chat {
  id: number;
  name: string | null;
  description: string | null;
  is_group: boolean;
  created_at: string;
  seq: number;
  [more: string]: unknown;
}

interface Of<Type extends string> {
  type: Type;
  [more: string]: unknown;
}

interface InChat<Type extends string> extends Of<Type> {
  chat_id: number;
  seq: number;
}

/** A frame of the server, or what the client itself says (`resync`, `refused`). */
export type MessengerEvent =
  | (InChat<'new_message' | 'message_edited'> & { message: Message })
  | (InChat<'message_deleted'> & { message_id: number })
  | (InChat<'member_joined' | 'member_left' | 'member_updated'> & { user_id: number; username: string; role: string })
  | (InChat<'chat_updated' | 'chat_deleted'> & { chat: Chat })
  | (InChat<'message_read'> & { user_id: number })
  | (Of<'chat_added'> & { chat: Chat })
  | (Of<'chat_removed'> & { chat_id: number })
  | (Of<'typing'> & { chat_id: number; user_id: number; username: string; is_typing: boolean })
  | (Of<'user_status'> & { user_id: number; username: string; status: 'online' | 'offline'; last_seen_at: string | null })
  /** Events are no longer kept, or the history went back: fetch it by REST. */
  | InChat<'resync'>
  /** The chat cannot be followed. */
  | (Of<'refused'> & { chat_id: number; code: string; detail: string });

/** A fault that the server reports, or (status 0, code `offline`) that the way there has. */
export class ApiError extends Error {
  status: number;
  code: string;
  errors: { field: string; message: string }[];
  retryAfterMs: number;
  /** Whether the same request may succeed later. */
  get transient(): boolean;
}

/** The server closed the connection for good, or refused to refresh the token (code 4501). */
export class SessionEnded extends Error {
  code: number;
  reason: string;
}

export interface RequestOptions {
  /** The same key over all tries of one wish: where an answer is lost, nothing is made twice. */
  idempotencyKey?: string;
}

/** A login, and the REST calls in its name. */
export class Session {
  constructor(options?: { base?: string; key?: string; storage?: Pick<Storage, 'getItem' | 'setItem' | 'removeItem'> });
  get signedIn(): boolean;
  get accessToken(): string;
  register(username: string, email: string, password: string, invite?: string): Promise<unknown>;
  login(username: string, password: string): Promise<void>;
  adopt(token: string, refreshToken?: string | null, expiresIn?: number): void;
  refresh(): Promise<void>;
  /**
   * Forgets the tokens at once, and ends the session on the server. Rejected where the server did
   * not end it.
   */
  logout(): Promise<void>;
  request(method: string, path: string, body?: unknown, options?: RequestOptions): Promise<any>;
  url(path: string): URL;
  on(type: 'signed_in' | 'refreshed' | 'reached' | 'ended', listener: (detail: any) => void): () => void;
  close(): void;
}

export interface State {
  state: 'idle' | 'connecting' | 'open' | 'waiting' | 'stopped';
  code?: number;
  reason?: string;
  delayMs?: number;
}

export interface Options {
  store?: CursorStore;
  session?: Session;
  /** A WebSocket of your own. */
  WebSocket?: unknown;
  onState?: (state: State) => void;
  random?: () => number;
  longestBackoffMs?: number;
  /** After so long without a frame the server is asked for a sign of life. */
  heartbeatMs?: number;
}

/** A login, its live connection, and the events of the chats that it follows. */
export class Messenger implements AsyncIterableIterator<MessengerEvent> {
  constructor(url: string, options?: Options);
  readonly session: Session;
  login(username: string, password: string): Promise<void>;
  adopt(accessToken: string, refreshToken?: string | null, expiresIn?: number): void;
  request(method: string, path: string, body?: unknown, options?: RequestOptions): Promise<any>;
  subscribe(chatId: number, afterSeq?: number | null): void;
  subscribeAll(): void;
  /** Until you {@link subscribe} to the chat again, nothing else follows it. */
  unsubscribe(chatId: number): void;
  send(chatId: number, text: string, options?: { replyToId?: number; clientMessageId?: string; timeoutMs?: number }): Promise<Message>;
  search(q: string, options?: { chatId?: number; authorId?: number; limit?: number; cursor?: string | null }): Promise<{ items: FoundMessage[]; next_cursor: string | null }>;
  typing(chatId: number, isTyping?: boolean): void;
  read(chatId: number, seq: number): Promise<void>;
  next(): Promise<IteratorResult<MessengerEvent, undefined>>;
  return(): Promise<IteratorResult<MessengerEvent, undefined>>;
  [Symbol.asyncIterator](): this;
  close(): void;
}

export interface ClosePlan {
  action: 'reconnect' | 'refresh' | 'stop';
  /** What the server asked for; null: the back-off decides. */
  delayMs: number | null;
  meaning: string;
  advice: string;
}

/** The meaning of each close code, for people. */
export const CLOSE_CODES: Readonly<Record<number, string>>;
/** The plan after a close: the range of the code decides. */
export function closePlan(code: number, reason?: string): ClosePlan;
/** Milliseconds before try `attempt`, random over the whole range. */
export function backoff(attempt: number, random?: () => number, cap?: number): number;
/** An id for `client_message_id`. */
export function randomId(): string;
