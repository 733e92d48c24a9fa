"""The kinds of frame that the server sends."""

from __future__ import annotations

import json
from typing import Any

#: A frame of the server, as the WebSocket reference describes it.
Event = dict[str, Any]

#: These bear the chat's consecutive ``seq``; a test compares the list with the server's.
SEQUENCED = frozenset({
    "new_message",
    "message_edited",
    "message_deleted",
    "member_joined",
    "member_left",
    "member_updated",
    "chat_updated",
    "chat_deleted",
    "reaction_added",
    "reaction_removed",
    "message_pinned",
    "message_unpinned",
    "unknown",
})

#: These bear a chat and a ``seq`` that is not consecutive.
NOT_SEQUENCED = frozenset({"message_read", "mentioned"})

#: These answer the client's own commands, and are no event of a chat.
ANSWERS = frozenset({"welcome", "subscribed", "unsubscribed", "pong", "authenticated", "error", "unknown"})


def parse(text: str | bytes) -> Event | None:
    """The frame, or None where it is no JSON object with a ``type``."""
    try:
        frame = json.loads(text)
    except ValueError:
        return None
    return frame if isinstance(frame, dict) and isinstance(frame.get("type"), str) else None
