"""The token of a client: fixed, or from a function that is called again when a token is refused or expires soon."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from .interface import Lock

_TOKEN = re.compile(r"[!-~]+")
"""Visible ASCII: other characters could end the header."""


class TokenSource:
    """Holds the token that was used last.

    :param token: the token, a function that returns one, or None.
    :param resolve: returns the token from what the function returned, which may be awaitable.
    :param lock: held while the function runs, so that it runs once for all connections whose token expired.
    :raises ValueError: when a token has other characters than visible ASCII.
    """

    def __init__(
        self, token: str | Callable[[], Any] | None, resolve: Callable[[Any], Awaitable[object]], lock: Lock
    ) -> None:
        self._function = None if token is None or isinstance(token, str) else token
        self._token = _check(token) if isinstance(token, str) else None
        self._resolve = resolve
        self._lock = lock

    async def get(self) -> str | None:
        """Return the token; None without one. Raises what the function raises."""
        if self._function is None or self._token is not None:
            return self._token
        return await self._call(None)

    async def renew(self, refused: str | None) -> str | None:
        """Return another token than one that was refused or expires soon; None if there is no other.

        Raises what the function raises.
        """
        if self._function is None:
            return None
        token = await self._call(refused)
        return None if token == refused else token

    async def _call(self, refused: str | None) -> str:
        assert self._function is not None
        async with self._lock:
            if self._token is None or self._token == refused:
                self._token = _check(await self._resolve(self._function()))
            return self._token


def authorization(token: str | None) -> dict[str, str]:
    """Return the header with a token (RFC 6750, section 2.1)."""
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def _check(token: object) -> str:
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise ValueError("token must be visible ASCII characters without spaces, and must not be empty")
    return token
