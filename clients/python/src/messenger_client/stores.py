"""Where a client keeps how far it has read, so that a restart loses nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple, Protocol


class Cursor(NamedTuple):
    """How far a chat was read; ``epoch`` is the server's word for that chat's history."""

    seq: int
    epoch: Any = None


class CursorStore(Protocol):
    """Any object with these two methods is a store."""

    def load(self) -> dict[int, Cursor]:
        """All cursors by chat id. Called once, at the start."""
        ...

    def save(self, chat_id: int, cursor: Cursor | None) -> None:
        """Keeps a cursor, or forgets it. Called after your code has handled the event."""
        ...


class MemoryStore:
    """Forgets all with the process."""

    def __init__(self) -> None:
        self._cursors: dict[int, Cursor] = {}

    def load(self) -> dict[int, Cursor]:
        return dict(self._cursors)

    def save(self, chat_id: int, cursor: Cursor | None) -> None:
        if cursor is None:
            self._cursors.pop(chat_id, None)
        else:
            self._cursors[chat_id] = cursor


class FileStore(MemoryStore):
    """One JSON file, replaced as a whole: a crash leaves the old one or the new one."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self._path = Path(path)
        if self._path.exists():
            kept = json.loads(self._path.read_text("utf-8"))
            self._cursors = {int(chat): Cursor(*cursor) for chat, cursor in kept.items()}

    def save(self, chat_id: int, cursor: Cursor | None) -> None:
        super().save(chat_id, cursor)
        fresh = self._path.with_name(f"{self._path.name}.new")
        with fresh.open("w", encoding="utf-8") as file:
            json.dump({str(chat): list(cursor) for chat, cursor in self._cursors.items()}, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
