"""The chats that a client follows by itself: those of its list, and those that a notice names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast

from .errors import ApiError, SessionEnded
from .plan import backoff
from .session import Session

#: So often a list that moves while it is read is read again from its front.
LIST_ROUNDS = 10


class Following:
    """Asks for chats, and gives them to ``follow``."""

    def __init__(
        self, session: Session, follow: Callable[[Mapping[str, Any]], None], random: Callable[[], float]
    ) -> None:
        self._session = session
        self._follow = follow
        self._random = random
        self._listing: asyncio.Task[None] | None = None
        #: Whether the list is wanted, also once more while it is read.
        self._wanted = False
        #: Chats of notices, asked for at this moment.
        self._looked_up: dict[int, asyncio.Task[None]] = {}

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """All that is under way, to be cancelled at the end."""
        return [*([self._listing] if self._listing else []), *self._looked_up.values()]

    def look_up(self, chat_id: int) -> None:
        """Follows the chat of a notice, which does not say whether it is a group."""
        if chat_id not in self._looked_up:
            self._looked_up[chat_id] = asyncio.create_task(self._look_up(chat_id))

    async def _look_up(self, chat_id: int) -> None:
        try:
            chat = await self._get(f"/chats/{chat_id}")
            if chat is not None and chat.get("role"):
                self._follow(chat)
        finally:
            del self._looked_up[chat_id]

    def relist(self) -> None:
        """Chats that were entered while the connection was away are found by the list."""
        self._wanted = True
        if self._listing is None or self._listing.done():
            self._listing = asyncio.create_task(self._list())

    async def _list(self) -> None:
        while self._wanted:
            self._wanted = False
            await self._read_list()

    async def _read_list(self) -> None:
        """Reads the list, and several pages of it once more.

        The last active come first, so a chat that becomes active meanwhile moves past the pages
        that are left. The front is therefore read again, up to a chat that has not moved: those
        behind it have not either.
        """
        seen: dict[int, int] = {}
        for _ in range(LIST_ROUNDS):
            pages, cursor, met = 0, None, False
            while not met and (pages == 0 or cursor is not None):
                page = await self._get("/chats/", {"limit": 100, **({"cursor": cursor} if cursor else {})})
                if page is None:
                    return
                for chat in page["items"]:
                    met = met or seen.get(chat["id"]) == chat["seq"]
                    seen[chat["id"]] = chat["seq"]
                    self._follow(chat)
                pages, cursor = pages + 1, page["next_cursor"]
            if pages == 1:
                return

    async def _get(self, path: str, params: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """Asks until the server answers; None where it refuses."""
        attempt = 0
        while True:
            try:
                return cast("dict[str, Any]", await self._session.request("GET", path, params=params))
            except SessionEnded:
                return None  # the loop over the events says so
            except ApiError as error:
                if not error.transient:
                    return None
                await asyncio.sleep(max(error.retry_after, backoff(attempt, self._random)))
            attempt += 1
