"""Which chats are followed, and how far each was received. No socket and no clock in here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .frames import NOT_SEQUENCED, SEQUENCED, Event
from .stores import Cursor

#: The server takes so many in one ``subscribe_chats``.
BATCH = 100


@dataclass
class Subscription:
    #: None: from now on.
    cursor: Cursor | None
    live: bool = False
    #: Numbers of frames that this client does not know: they are no gap.
    skipped: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Step:
    """What a frame comes to: an event for the application, or a new cursor alone."""

    event: Event | None
    chat_id: int = 0
    cursor: Cursor | None = None
    #: The chat's cursor is of no more use.
    forget: bool = False


class Subscriptions:
    """The cursor of each chat, and those that wait to be asked for."""

    def __init__(self) -> None:
        self._all: dict[int, Subscription] = {}
        self._queue: dict[int, None] = {}

    def __contains__(self, chat_id: int) -> bool:
        return chat_id in self._all

    def add(self, chat_id: int, cursor: Cursor | None) -> bool:
        if chat_id in self._all:
            return False
        self._all[chat_id] = Subscription(cursor)
        self._queue[chat_id] = None
        return True

    def drop(self, chat_id: int) -> bool:
        self._queue.pop(chat_id, None)
        return self._all.pop(chat_id, None) is not None

    def restart(self) -> None:
        """A new connection: every chat is asked for again."""
        for subscription in self._all.values():
            subscription.live = False
        self._queue = dict.fromkeys(self._all)

    def again(self, chat_ids: Iterable[int]) -> None:
        """Asks once more for those of them that are not live."""
        for chat_id in chat_ids:
            subscription = self._all.get(chat_id)
            if subscription is not None and not subscription.live:
                self._queue[chat_id] = None

    def next(self, most: int) -> list[dict[str, Any]]:
        """What to ask for next: the fields of at most ``most`` subscriptions."""
        wanted = list(self._queue)[:most]
        for chat_id in wanted:
            del self._queue[chat_id]
        return [self._fields(chat_id, self._all[chat_id].cursor) for chat_id in wanted]

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @staticmethod
    def _fields(chat_id: int, cursor: Cursor | None) -> dict[str, Any]:
        fields: dict[str, Any] = {"chat_id": chat_id}
        if cursor is not None:
            fields["after_seq"] = cursor.seq
            if cursor.epoch is not None:
                fields["epoch"] = cursor.epoch
        return fields

    def take(self, frame: Event) -> tuple[list[Step], bool]:
        """The steps of a frame, and whether the chat has to be asked for anew from its cursor."""
        chat_id, kind = frame.get("chat_id"), frame["type"]
        subscription = self._all.get(chat_id) if isinstance(chat_id, int) else None
        if subscription is None or not isinstance(chat_id, int):
            return ([Step(frame)] if kind not in ("subscribed", "unknown") else []), False
        if kind == "subscribed":
            return self._begin(chat_id, subscription, frame), False
        if kind == "resync":
            subscription.cursor = Cursor(frame["seq"], subscription.cursor and subscription.cursor.epoch)
            subscription.skipped.clear()
            return [Step(frame, chat_id, subscription.cursor)], False
        if kind == "chat_removed":
            self.drop(chat_id)
            return [Step(frame, chat_id, forget=True)], False
        seq, cursor = frame.get("seq"), subscription.cursor
        if not isinstance(seq, int) or kind in NOT_SEQUENCED:
            return [Step(frame)], False
        if not subscription.live or cursor is None:
            # A notice of a private chat: the replay brings it, unless there is none.
            return ([Step(frame)] if cursor is None and kind != "unknown" else []), False
        if kind not in SEQUENCED:
            subscription.skipped.add(seq)
            return [Step(frame)], False
        if seq <= cursor.seq:
            return [], False
        before = cursor.seq
        while seq > before + 1 and before + 1 in subscription.skipped:
            before += 1
        subscription.skipped.clear()
        if seq > before + 1:
            # A gap is against the contract; asking anew from the cursor heals it whatever its
            # cause.
            subscription.cursor, subscription.live = cursor._replace(seq=before), False
            self._queue[chat_id] = None
            return [], True
        subscription.cursor = cursor._replace(seq=seq)
        return [Step(frame if kind != "unknown" else None, chat_id, subscription.cursor)], False

    @staticmethod
    def _begin(chat_id: int, subscription: Subscription, frame: Event) -> list[Step]:
        subscription.live = True
        subscription.skipped.clear()
        old, epoch = subscription.cursor, frame.get("epoch")
        if frame.get("resync"):
            subscription.cursor = Cursor(frame["seq"], epoch)
            resync = {"type": "resync", "chat_id": chat_id, "seq": frame["seq"]}
            return [Step(resync, chat_id, subscription.cursor)]
        subscription.cursor = Cursor(frame["seq"] if old is None else old.seq, epoch)
        return [] if subscription.cursor == old else [Step(None, chat_id, subscription.cursor)]
