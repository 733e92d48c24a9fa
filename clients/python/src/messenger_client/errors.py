"""The two ways in which a call or a connection fails."""

from __future__ import annotations

from typing import Any

OFFLINE = "offline"


class ApiError(Exception):
    """A fault that the server reports, or (status 0, code ``offline``) that the way there has."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: list[dict[str, Any]] | None = None,
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors or []
        #: seconds
        self.retry_after = retry_after

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in (0, 429) or self.status >= 500 or self.code == "in_progress"


class SessionEnded(Exception):
    """The server closed the connection for good, or refused to refresh the token.

    ``code`` is the close code (4501 when the token could not be refreshed).
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
