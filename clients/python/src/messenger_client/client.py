"""The client that an application holds."""

from __future__ import annotations

import asyncio
import random as _random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any, cast
from weakref import WeakValueDictionary

from .connection import Connection, State
from .errors import ApiError
from .following import Following
from .frames import SEQUENCED, Event
from .plan import LONGEST_BACKOFF, backoff
from .session import Session
from .stores import Cursor, CursorStore, MemoryStore
from .subscriptions import Step, Subscriptions

#: Received and not yet asked for; when full, nothing more is read from the socket.
QUEUE_EVENTS = 1000
#: Seconds for which a message is tried.
SEND_TIMEOUT = 300.0
#: Seconds between two tries of one message, at most.
SEND_BACKOFF = 5.0


class _End:
    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class Messenger(AsyncIterator[Event]):
    """A login, its live connection, and the events of the chats that it follows.

    ``async for event in messenger`` gives each event of a followed chat once and in order, over
    every reconnect. The cursor of an event is saved when you ask for the next one, so an event
    whose handling was cut off comes again after a restart. ``resync`` says that events are no
    longer kept: fetch the history by REST. ``refused`` says that a chat cannot be followed.
    The loop ends with :meth:`close`, and raises :class:`SessionEnded` when the server ends it.
    """

    def __init__(
        self,
        url: str,
        *,
        store: CursorStore | None = None,
        session: Session | None = None,
        on_state: State = lambda _state, _more: None,
        random: Callable[[], float] = _random.random,
        heartbeat: float = 20.0,
        longest_backoff: float = LONGEST_BACKOFF,
    ) -> None:
        self.session = session or Session(url)
        self._store = store or MemoryStore()
        self._cursors = self._store.load()
        self._subscriptions = Subscriptions()
        self._queue: asyncio.Queue[Step | _End] = asyncio.Queue(QUEUE_EVENTS)
        self._random = random
        self._send_backoff = min(SEND_BACKOFF, longest_backoff)
        self._sending: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        self._follow_all = False
        #: Only :meth:`subscribe` follows these again.
        self._unsubscribed: set[int] = set()
        self._running: asyncio.Task[None] | None = None
        self._following = Following(self.session, self._follow, random)
        self._handled: Step | None = None
        self._turn = asyncio.Lock()
        self._ended: _End | None = None
        self._connection = Connection(
            self.session,
            self._subscriptions,
            self._take,
            opened=self._when_open,
            on_state=on_state,
            random=random,
            heartbeat=heartbeat,
            longest_backoff=longest_backoff,
        )

    async def login(self, username: str, password: str) -> None:
        """Logs in with the username or the e-mail address."""
        await self.session.login(username, password)

    def adopt(self, access_token: str, refresh_token: str | None = None, expires_in: float = 0.0) -> None:
        """Goes on with tokens from elsewhere."""
        self.session.adopt(access_token, refresh_token, expires_in)

    async def request(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """A REST call in the name of the login. None for 204."""
        return await self.session.request(method, path, json, params=params, idempotency_key=idempotency_key)

    async def subscribe(self, chat_id: int, after_seq: int | None = None) -> None:
        """Follows a chat: from the store's cursor, else from ``after_seq``, else from now on."""
        known = self._cursors.get(chat_id)
        if known is None and after_seq is not None:
            known = Cursor(after_seq)
        self._unsubscribed.discard(chat_id)
        if self._subscriptions.add(chat_id, known):
            self._connection.wake()
        self._start()

    async def subscribe_all(self) -> None:
        """Follows all chats of the login, and those that it comes into.

        Without a cursor in the store, a private chat is followed from its first event that is
        still kept, and a group from now on.
        """
        self._follow_all = True
        if self._running is None:
            self._start()
        else:
            self._when_open()

    async def unsubscribe(self, chat_id: int) -> None:
        """Follows the chat no longer, and forgets its cursor.

        Nothing but :meth:`subscribe` follows it again: no message, no reconnect, and not that you
        come into it anew.
        """
        self._unsubscribed.add(chat_id)
        self._discard(chat_id)
        self._save(chat_id, None)
        if self._subscriptions.drop(chat_id):
            await self._connection.send({"type": "unsubscribe_chat", "chat_id": chat_id})

    async def send(
        self,
        chat_id: int,
        text: str,
        *,
        reply_to_id: int | None = None,
        client_message_id: str | None = None,
        timeout: float = SEND_TIMEOUT,
    ) -> dict[str, Any]:
        """Sends a message once, however often it has to try; returns the stored message.

        While the server is away the message waits, behind those sent to the chat before it. Give
        ``client_message_id`` yourself to make a repeat after a restart harmless. Raises
        :class:`ApiError` when the server refuses, or after ``timeout`` seconds.
        """
        body: dict[str, Any] = {"chat_id": chat_id, "text": text}
        body["client_message_id"] = client_message_id or secrets.token_hex(12)
        if reply_to_id is not None:
            body["reply_to_id"] = reply_to_id
        deadline = time.monotonic() + timeout
        lock = self._sending.setdefault(chat_id, asyncio.Lock())
        async with lock:
            attempt = 0
            while True:
                try:
                    return cast("dict[str, Any]", await self.session.request("POST", "/messages/send", body))
                except ApiError as error:
                    wait = max(error.retry_after, backoff(attempt, self._random, self._send_backoff))
                    if not error.transient or time.monotonic() + wait > deadline or self._ended is not None:
                        raise
                await asyncio.sleep(wait)
                attempt += 1

    async def search(
        self,
        q: str,
        *,
        chat_id: int | None = None,
        author_id: int | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> dict[str, Any]:
        """A page of the messages that have all these words, the newest first.

        ``items`` are messages with ``highlights``, pieces ``[start, end]`` of their text; give
        ``next_cursor`` back as ``cursor``.
        """
        asked = {"q": q, "chat_id": chat_id, "author_id": author_id, "limit": limit, "cursor": cursor}
        params = {name: value for name, value in asked.items() if value is not None}
        return cast("dict[str, Any]", await self.request("GET", "/messages/search", params=params))

    async def typing(self, chat_id: int, is_typing: bool = True) -> None:
        """Shows that you type. Lost without a word while there is no connection."""
        await self._connection.send({"type": "typing", "chat_id": chat_id, "is_typing": is_typing})

    async def read(self, chat_id: int, seq: int) -> None:
        """You have read up to this number."""
        await self.request("POST", f"/chats/{chat_id}/read", {"seq": seq})

    def __aiter__(self) -> Messenger:
        self._start()
        return self

    async def __anext__(self) -> Event:
        self._start()
        # Calls that are made at once get the events in the order of the calls, and all end.
        async with self._turn:
            return await self._next()

    async def _next(self) -> Event:
        while True:
            self._settle()
            if self._ended is None:
                item = await self._queue.get()
                if isinstance(item, Step):
                    if item.chat_id in self._unsubscribed:
                        continue  # it waited for room in the queue
                    self._handled = item
                    if item.event is not None:
                        return item.event
                    continue
                self._ended = item
            if self._ended.error is not None:
                raise self._ended.error
            raise StopAsyncIteration

    async def close(self) -> None:
        """Ends the connection and the loop over it. What you handled last counts as handled."""
        self._settle()
        await self._stop()

    async def __aenter__(self) -> Messenger:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._settle()
        await self._stop()

    async def _stop(self) -> None:
        self._handled = None
        self._ended = self._ended or _End()
        tasks = [task for task in (self._running, *self._following.tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(self._ended)
        await self.session.close()

    def _start(self) -> None:
        if self._running is None and self._ended is None:
            self._running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            await self._connection.run()
        except Exception as error:
            await self._queue.put(_End(error))

    def _settle(self) -> None:
        step, self._handled = self._handled, None
        if step is not None and step.forget:
            self._save(step.chat_id, None)
        elif step is not None and step.cursor is not None:
            self._save(step.chat_id, step.cursor)

    def _discard(self, chat_id: int) -> None:
        """Drops what was received of the chat and not yet asked for."""
        if self._handled is not None and self._handled.chat_id == chat_id:
            self._handled = None
        for _ in range(self._queue.qsize()):
            item = self._queue.get_nowait()
            if not isinstance(item, Step) or item.chat_id != chat_id:
                self._queue.put_nowait(item)

    def _save(self, chat_id: int, cursor: Cursor | None) -> None:
        if cursor == self._cursors.get(chat_id):
            return
        if cursor is None:
            del self._cursors[chat_id]
        else:
            self._cursors[chat_id] = cursor
        self._store.save(chat_id, cursor)

    async def _take(self, step: Step) -> None:
        event: Event = step.event or {"type": ""}
        kind, chat_id = event["type"], event.get("chat_id", 0)
        # Notices, and what was under way when the chat was unsubscribed from.
        if chat_id in self._unsubscribed and (kind in SEQUENCED or kind == "resync"):
            return
        if self._follow_all and kind == "chat_added":
            self._follow(event["chat"])
        elif self._follow_all and kind == "new_message" and chat_id not in self._subscriptions:
            # A chat that is new: its first message comes by the subscription.
            self._following.look_up(chat_id)
            return
        await self._queue.put(step)

    def _follow(self, chat: Mapping[str, Any]) -> None:
        if chat["id"] in self._unsubscribed:
            return
        start = Cursor(chat.get("seq", 0)) if chat["is_group"] else Cursor(0)
        if self._subscriptions.add(chat["id"], self._cursors.get(chat["id"], start)):
            self._connection.wake()

    def _when_open(self) -> None:
        if self._follow_all and self._ended is None:
            self._following.relist()
