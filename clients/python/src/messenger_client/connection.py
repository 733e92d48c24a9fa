"""One live WebSocket that comes back by itself, as the close codes say."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from .errors import ApiError, SessionEnded
from .frames import ANSWERS, Event, parse
from .plan import backoff, close_plan
from .session import TOKEN_REFUSED, Session, Tokens
from .subscriptions import BATCH, Step, Subscriptions

#: Seconds for the handshake and the first frame.
OPEN_TIMEOUT = 15.0
#: Seconds for the answer to a subscription.
ANSWER_TIMEOUT = 30.0
#: Seconds that a connection lasts before it counts as a success.
STEADY = 10.0
#: Seconds between two commands: half the rate at which a server answers ``rate_limited``. A full
#: batch counts as five there; a thousand chats fit into its burst, and beyond that its word counts.
PACE = 0.035
#: A subscription that failed for a while is asked for again after so many seconds.
AGAIN = 1.0
MAX_FRAME_BYTES = 4 * 1024 * 1024
_TRANSIENT = frozenset({"rate_limited", "unavailable", "internal"})

State = Callable[[str, dict[str, Any]], None]


class Connection:
    """Runs until it is cancelled or the server ends the session."""

    def __init__(
        self,
        session: Session,
        subscriptions: Subscriptions,
        step: Callable[[Step], Awaitable[None]],
        *,
        opened: Callable[[], None],
        on_state: State,
        random: Callable[[], float],
        heartbeat: float,
        longest_backoff: float,
    ) -> None:
        self._session = session
        self._subscriptions = subscriptions
        self._step = step
        self._opened = opened
        self._on_state = on_state
        self._random = random
        self._heartbeat = heartbeat
        self._longest_backoff = longest_backoff
        self._socket: ClientConnection | None = None
        self._asked: dict[str, set[int]] = {}
        self._batches = True
        self._wanted = asyncio.Event()
        self._spent: Tokens | None = None
        self._used: Tokens | None = None
        self._steady_since = 0.0

    async def run(self) -> None:
        """Raises :class:`SessionEnded` when there is no use in coming back."""
        attempt = 0
        while True:
            self._steady_since = float("inf")
            self._on_state("connecting", {})
            try:
                code, reason = await self._live()
            except ApiError as error:
                if self._session.tokens is None:
                    raise SessionEnded(TOKEN_REFUSED, error.code) from error
                # 401: another login took the place of the one that was to be refreshed.
                if not error.transient and error.status != 401:
                    raise
                code, reason = 1006, error.code
            if time.monotonic() - self._steady_since > STEADY:
                attempt = 0
            plan = close_plan(code, reason)
            if plan.action == "stop":
                raise SessionEnded(code, reason)
            if plan.action == "refresh":
                self._spent = self._used
            delay = plan.delay
            if delay is None:
                at_once = plan.action == "refresh" and attempt == 0
                delay = 0.0 if at_once else backoff(attempt, self._random, self._longest_backoff)
            attempt += 1
            self._on_state("waiting", {"code": code, "reason": reason, "delay": delay})
            await asyncio.sleep(delay)

    def wake(self) -> None:
        """There are subscriptions to ask for."""
        self._wanted.set()

    async def send(self, command: Event) -> bool:
        """Whether it was handed to the socket."""
        if self._socket is None:
            return False
        try:
            await self._socket.send(json.dumps(command))
        except ConnectionClosed:
            return False
        return True

    async def _live(self) -> tuple[int, str]:
        if self._spent is not None:
            await self._session.refresh(self._spent)
            self._spent = None
        token = await self._session.token()
        self._used = self._session.tokens
        scheme, host, path, _, _ = urlsplit(self._session.url)
        url = urlunsplit(("wss" if scheme == "https" else "ws", host, f"{path}/ws/chat", "", ""))
        try:
            socket = await connect(
                url,
                additional_headers={"Authorization": f"Bearer {token}"},
                open_timeout=OPEN_TIMEOUT,
                close_timeout=1,
                ping_interval=self._heartbeat,
                ping_timeout=self._heartbeat,
                max_size=MAX_FRAME_BYTES,
            )
        except (OSError, InvalidHandshake, ConnectionClosed, asyncio.TimeoutError, EOFError) as error:
            return 1006, type(error).__name__
        helpers: list[asyncio.Task[None]] = []
        try:
            welcome = parse(await asyncio.wait_for(socket.recv(), OPEN_TIMEOUT))
            if welcome is None or welcome["type"] != "welcome":
                return 1006, "no welcome"
            self._socket, self._steady_since = socket, time.monotonic()
            self._asked.clear()
            self._subscriptions.restart()
            self.wake()
            self._on_state("open", welcome)
            self._opened()
            helpers = [asyncio.create_task(work) for work in (self._pump(), self._stay_fresh())]
            while True:
                frame = parse(await socket.recv())
                if frame is not None:
                    await self._receive(frame)
        except asyncio.TimeoutError:
            return 1006, "no welcome"
        except ConnectionClosed as closed:
            return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
        finally:
            self._socket = None
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            await socket.close()

    async def _receive(self, frame: Event) -> None:
        if frame["type"] == "error":
            return await self._failed(frame)
        if frame["type"] == "subscribed":
            self._answered(frame.get("request_id"), frame["chat_id"])
        steps, ask_anew = self._subscriptions.take(frame)
        if ask_anew:
            await self.send({"type": "unsubscribe_chat", "chat_id": frame["chat_id"]})
            self.wake()
        for step in steps:
            if step.event is None or step.event["type"] not in ANSWERS:
                await self._step(step)

    def _answered(self, request_id: Any, chat_id: int) -> None:
        asked = self._asked.get(request_id, set())
        asked.discard(chat_id)
        if not asked:
            self._asked.pop(request_id, None)

    async def _failed(self, frame: Event) -> None:
        request_id, code = frame.get("request_id"), frame.get("code")
        if not isinstance(request_id, str) or request_id not in self._asked:
            return
        chat_id = frame.get("chat_id")
        if isinstance(chat_id, int):
            self._answered(request_id, chat_id)
            chats = {chat_id}
        else:
            chats = self._asked.pop(request_id)
        if code == "unknown_type" and self._batches:
            # A server of an earlier release.
            self._batches = False
            self._again(chats)
        elif code in _TRANSIENT:
            wait = max(AGAIN, float(frame.get("retry_after_ms") or 0) / 1000) + backoff(0, self._random)
            asyncio.get_running_loop().call_later(wait, self._again, chats)
        else:
            for chat_id in filter(self._subscriptions.drop, chats):
                refused = {"type": "refused", "chat_id": chat_id, "code": code, "detail": frame.get("detail")}
                await self._step(Step(refused, chat_id, forget=True))

    def _again(self, chats: set[int]) -> None:
        self._subscriptions.again(chats)
        self.wake()

    async def _pump(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._subscriptions.waiting:
                chats = self._subscriptions.next(BATCH if self._batches else 1)
                command = {"type": "subscribe_chats", "chats": chats}
                if len(chats) == 1:
                    command = {"type": "subscribe_chat", **chats[0]}
                request_id = secrets.token_hex(8)
                self._asked[request_id] = {fields["chat_id"] for fields in chats}
                loop.call_later(ANSWER_TIMEOUT, self._overdue, request_id)
                if not await self.send({**command, "request_id": request_id}):
                    return
                await asyncio.sleep(PACE)

    def _overdue(self, request_id: str) -> None:
        self._again(self._asked.pop(request_id, set()))

    async def _stay_fresh(self) -> None:
        """Refreshes before the token ends, so that the connection need not be closed with 4401."""
        attempt = 0
        while (wait := self._session.seconds_to_refresh()) is not None:
            await asyncio.sleep(wait)
            try:
                await self._session.refresh(self._session.tokens)
            except SessionEnded:
                return  # the server closes the connection
            except ApiError:
                await asyncio.sleep(1.0 + backoff(attempt, self._random))
                attempt += 1
                continue
            attempt = 0
            tokens = self._session.tokens
            if tokens is None or not await self.send({"type": "authenticate", "token": tokens.access}):
                return
