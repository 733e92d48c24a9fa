"""A client of the messenger: log in, follow chats without a gap, send each message once.

Start with :class:`Messenger`; the README has a bot of 25 lines.
"""

from .client import Messenger
from .errors import ApiError, SessionEnded
from .frames import Event
from .plan import ClosePlan, backoff, close_plan
from .session import Session, Tokens
from .stores import Cursor, CursorStore, FileStore, MemoryStore

__all__ = [
    "ApiError",
    "ClosePlan",
    "Cursor",
    "CursorStore",
    "Event",
    "FileStore",
    "MemoryStore",
    "Messenger",
    "Session",
    "SessionEnded",
    "Tokens",
    "backoff",
    "close_plan",
]
