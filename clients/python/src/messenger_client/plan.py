"""The plan after each close code, and the back-off."""

from __future__ import annotations

import json
import random as _random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

#: Seconds.
LONGEST_BACKOFF = 30.0
#: Seconds; a server that asks for more is a fault.
LONGEST_ASKED_DELAY = 300.0

_RESTARTING = 1012
_TOKEN_EXPIRED = 4401
_FINAL = frozenset({1000, 1002, 1003, 1007, 1008, 1009, 1010})


@dataclass(frozen=True)
class ClosePlan:
    """``delay`` is what the server asked for in seconds, None where the back-off decides."""

    action: Literal["reconnect", "refresh", "stop"]
    delay: float | None = None


def close_plan(code: int, reason: str = "") -> ClosePlan:
    """The plan after a close. The range of the code decides, so a new code needs no new client."""
    if code == _RESTARTING:
        return ClosePlan("reconnect", _asked_delay(reason))
    if code == _TOKEN_EXPIRED:
        return ClosePlan("refresh")
    if 4500 <= code <= 4999 or code in _FINAL:
        return ClosePlan("stop")
    return ClosePlan("reconnect")


def _asked_delay(reason: str) -> float | None:
    try:
        milliseconds = json.loads(reason)["reconnect_after_ms"]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(milliseconds, (int, float)) or isinstance(milliseconds, bool) or not milliseconds >= 0:
        return None
    return min(milliseconds / 1000, LONGEST_ASKED_DELAY)


def backoff(attempt: int, random: Callable[[], float] = _random.random, cap: float = LONGEST_BACKOFF) -> float:
    """Seconds to wait before try ``attempt`` (0 for the first), below ``cap``.

    Random over the whole range: clients that were thrown out together do not come back together.
    """
    return random() * min(cap, 0.5 * 2.0 ** min(attempt, 10))
