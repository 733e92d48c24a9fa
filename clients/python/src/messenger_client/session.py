"""A login: tokens that refresh themselves, and REST calls in its name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from .errors import OFFLINE, ApiError, SessionEnded
from .plan import backoff

#: Seconds that one call may take.
CALL_TIMEOUT = 10.0
#: A refresh token whose answer was lost is good for one more use within half a minute.
REFRESH_TRIES = 5
#: Seconds before its end at which a token is refreshed, at most.
EARLY = 60.0
#: The close code of a token that the server does not take.
TOKEN_REFUSED = 4501


@dataclass(frozen=True)
class Tokens:
    """What a login or a refresh gave. ``expires_at`` counts on the clock of the session."""

    access: str
    refresh: str | None
    expires_at: float
    lifetime: float


class Session:
    """One login. Calls made at once share one refresh, for a refresh token is good for one."""

    def __init__(
        self,
        url: str,
        *,
        http: httpx.AsyncClient | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_tokens: Callable[[Tokens], None] = lambda _: None,
    ) -> None:
        if not url.lower().startswith(("http://", "https://")):
            raise ValueError(f"{url}: the address of a server begins with http:// or https://")
        self.url = url.rstrip("/")
        self._http = http or httpx.AsyncClient(timeout=CALL_TIMEOUT)
        self._owns_http = http is None
        self._clock = clock
        self._on_tokens = on_tokens
        self._tokens: Tokens | None = None
        #: Counts the logins; a refresh begins none.
        self._login = 0
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def tokens(self) -> Tokens | None:
        return self._tokens

    async def login(self, username: str, password: str) -> None:
        """Logs in with the username or the e-mail address."""
        pair = await self._call("POST", "/auth/login", {"username": username, "password": password})
        self._login += 1
        self._keep(pair)

    def adopt(self, access_token: str, refresh_token: str | None = None, expires_in: float = 0.0) -> None:
        """Goes on with tokens from elsewhere. With ``expires_in`` 0 and a refresh token, it is refreshed first."""
        lifetime = expires_in if refresh_token else expires_in or float("inf")
        self._login += 1
        self._set(Tokens(access_token, refresh_token, self._clock() + lifetime, lifetime))

    async def token(self) -> str:
        """An access token that has not expired."""
        tokens = self._held()
        if self._clock() >= tokens.expires_at:
            await self.refresh(tokens)
        return self._held().access

    def seconds_to_refresh(self) -> float | None:
        """When the token is due; None where there is nothing to refresh it with."""
        tokens = self._tokens
        if tokens is None or tokens.refresh is None:
            return None
        return max(0.0, tokens.expires_at - min(EARLY, tokens.lifetime * 0.2) - self._clock())

    async def refresh(self, spent: Tokens | None = None) -> None:
        """A new pair of tokens, unless those that are held are newer than ``spent``.

        A lost answer is asked for again. Raises :class:`SessionEnded` when the server refuses.
        """
        spent = spent or self._held()
        if self._tokens is not spent:
            return
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._exchange(spent))
        # A caller that gives up must not lose the answer, which is good for one use.
        await asyncio.shield(self._refreshing)

    async def _exchange(self, spent: Tokens) -> None:
        if spent.refresh is None:
            raise SessionEnded(TOKEN_REFUSED, "the access token has expired, and there is no refresh token")
        for attempt in range(REFRESH_TRIES):
            try:
                pair = await self._call("POST", "/auth/refresh", {"refresh_token": spent.refresh})
                break
            except ApiError as error:
                if error.status in (401, 403, 422) and self._tokens is spent:
                    raise SessionEnded(TOKEN_REFUSED, error.code) from error
                if not error.transient or attempt + 1 == REFRESH_TRIES:
                    raise
                await asyncio.sleep(max(error.retry_after, backoff(attempt)))
        if self._tokens is not spent:
            raise ApiError(401, "unauthenticated", "logged out meanwhile")
        self._keep(pair)

    async def logout(self) -> None:
        """Ends the session on the server, and forgets the tokens.

        They are kept where it fails, so that it can be tried again.
        """
        login = self._login
        await self.request("POST", "/auth/logout")
        if self._login == login:
            self._tokens = None

    async def request(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """A REST call; an expired token is refreshed and the call made once more. None for 204.

        Give the same ``idempotency_key`` to all tries of one wish.

        Another login that begins meanwhile makes no call of this one's: it may be another account.
        """
        login = self._login
        token = await self.token()
        held = self._held_by(login)
        try:
            return await self._call(method, path, json, params=params, token=token, key=idempotency_key)
        except ApiError as error:
            if error.status != 401 or held.refresh is None or self._login != login:
                raise
        await self.refresh(held)
        token = self._held_by(login).access
        return await self._call(method, path, json, params=params, token=token, key=idempotency_key)

    async def close(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        if self._owns_http:
            await self._http.aclose()

    def _held(self) -> Tokens:
        if self._tokens is None:
            raise ApiError(401, "unauthenticated", "log in first")
        return self._tokens

    def _held_by(self, login: int) -> Tokens:
        if self._login != login:
            raise ApiError(401, "unauthenticated", "logged out meanwhile")
        return self._held()

    def _keep(self, pair: dict[str, Any]) -> None:
        lifetime = float(pair["expires_in"])
        self._set(Tokens(pair["access_token"], pair["refresh_token"], self._clock() + lifetime, lifetime))

    def _set(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._on_tokens(tokens)

    async def _call(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        token: str = "",
        key: str | None = None,
    ) -> Any:
        headers = {"accept": "application/json"}
        if key:
            headers["idempotency-key"] = key
        if token:
            headers["authorization"] = f"Bearer {token}"
        if self._http.is_closed:
            raise ApiError(0, OFFLINE, "this client is closed")
        try:
            answer = await self._http.request(method, self.url + path, json=json, params=params, headers=headers)
        except httpx.TransportError as error:
            raise ApiError(0, OFFLINE, f"the server cannot be reached: {type(error).__name__}") from error
        try:
            parsed = answer.json() if answer.content else None
        except ValueError:
            parsed = None
        if answer.is_success:
            return parsed
        problem = parsed if isinstance(parsed, dict) else {}
        raise ApiError(
            answer.status_code,
            str(problem.get("code", "internal")),
            str(problem.get("detail") or problem.get("title") or f"HTTP status {answer.status_code}"),
            errors=problem.get("errors"),
            retry_after=_seconds(answer.headers.get("retry-after", "0")),
        )


def _seconds(text: str) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:
        return 0.0
