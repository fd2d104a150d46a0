"""Browsers, and how many connects each holds over HTTP: a browser has six connections for each host over HTTP/1.1.

A browser is recognized by a cookie. It grants nothing; a client that sends none is not limited.
"""

import re
import secrets
from collections import Counter
from collections.abc import Sequence
from typing import Final

from pushd.dialects.bayeux.session import Sessions
from pushd.http.request import Request
from pushd.net.admission import Slot

_COOKIE: Final = b"BAYEUX_BROWSER"
_VALUE: Final = re.compile(rb"(?:^|;)[ \t]*BAYEUX_BROWSER=([A-Za-z0-9_-]{8,64})[ \t]*(?:;|$)")
_BYTES: Final = 16
"""The random bytes of a cookie."""


class Browsers:
    """The browsers that hold connects at this node."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._held: Counter[str] = Counter()

    @property
    def is_limited(self) -> bool:
        """Whether the connects of a browser are limited."""
        return self._sessions.settings.max_sessions_per_browser > 0

    def browser_of(self, request: Request) -> str | None:
        """Return the browser that has sent a request; None if it is not known, or is not limited."""
        cookies = request.getHeader(b"cookie") if self.is_limited else None
        found = None if cookies is None else _VALUE.search(cookies)
        return None if found is None else found[1].decode("ascii")

    def set_cookie(self, request: Request) -> None:
        """Set the cookie of a browser in the answer to a request, unless it has one."""
        if self.is_limited and self.browser_of(request) is None:
            cookie = _COOKIE + b"=" + secrets.token_hex(_BYTES).encode() + b"; Path=/; HttpOnly; SameSite=Lax"
            request.addHeader(b"Set-Cookie", cookie + (b"; Secure" if _is_https(request) else b""))

    def has_room(self, browser: str | None) -> bool:
        """Return whether a browser may hold another connect."""
        return browser is None or self._held[browser] < self._sessions.settings.max_sessions_per_browser

    def slots_of(self, browser: str | None, *others: Slot | None) -> Sequence[Slot]:
        """Return the slot of a connect that a browser holds, if it is known, with those of `others` that are slots."""
        slots = [slot for slot in others if slot is not None]
        if browser is not None:
            self._held[browser] += 1
            slots.append(Slot(self._release, browser))
        return tuple(slots)

    def _release(self, browser: str | None) -> None:
        if browser is not None:
            self._held[browser] -= 1
            if not self._held[browser]:
                del self._held[browser]


def _is_https(request: Request) -> bool:
    """Return whether a browser has sent a request over TLS, which may end at a proxy.

    A page that was loaded over TLS may send requests over TLS only.
    """
    origin, proxied = request.getHeader(b"origin") or b"", request.getHeader(b"x-forwarded-proto") or b""
    return origin.lower().startswith(b"https://") or proxied.partition(b",")[0].strip().lower() == b"https"
