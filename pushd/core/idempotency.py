"""Deduplication of publishes with an ``Idempotency-Key``.

A duplicate gets the same response as the first publish with its key, and is not published.
"""

from base64 import urlsafe_b64encode
from collections import deque
from hashlib import sha256
from typing import Final, Generic, NamedTuple, Self, TypeVar

R = TypeVar("R")

SECONDS: Final = 120.0
"""How long a response is cached."""
MISMATCH: Final = "Idempotency-Key was used before with another body: a repeat must have the same body"
MAX_BYTES: Final = 32 << 20
"""The maximum bytes of all cached responses; the oldest are evicted first."""
_ENTRY_BYTES: Final = 400
"""The bytes of memory of a key with its digest, and of each response, beyond their text."""


class IdempotencyKey(NamedTuple):
    """The key of a publish, and what tells a repeat from another publish with the same key."""

    text: str
    """A digest, so that a key takes the same memory whatever the client sent."""
    digest: bytes
    """A digest of the body, of the same length for all keys."""

    @classmethod
    def of(cls, key: bytes, scope: str, body: bytes, identity: tuple[str, str] | None = None) -> Self:
        """Return the key of a request.

        :param scope: the path: keys of different paths are different.
        :param identity: issuer and subject of the publisher, if it is authenticated: keys of different publishers are
            different, even if two issuers name the same subject.
        """
        publisher = "" if identity is None else f"{len(identity[0])} {''.join(identity)}"
        lengths = f"{len(publisher)} {len(scope)} {publisher}{scope}".encode("utf-8", "surrogatepass")
        text = urlsafe_b64encode(sha256(lengths + key).digest()).decode("ascii")
        return cls(text, sha256(body).digest())


class IdempotencyCache(Generic[R]):
    """The responses of the last `SECONDS` seconds, by key."""

    def __init__(self) -> None:
        self._responses: dict[str, R] = {}
        self._order: deque[tuple[float, str, int]] = deque()
        self._size = 0

    def get(self, key: str, now: float) -> R | None:
        """Return the response to that key; None if there is none. `now`: monotonic seconds."""
        self._evict(now)
        return self._responses.get(key)

    def put(self, key: str, response: R, size: int, count: int, now: float) -> None:
        """Cache the response to a key that has none.

        :param size: the bytes of text of the response, which has `count` parts.
        :param now: monotonic seconds.
        """
        size += len(key) + _ENTRY_BYTES * (1 + count)
        self._size += size
        self._responses[key] = response
        self._order.append((now + SECONDS, key, size))
        self._evict(now)

    def _evict(self, now: float) -> None:
        while self._order and (self._order[0][0] <= now or self._size > MAX_BYTES):
            _, key, size = self._order.popleft()
            del self._responses[key]
            self._size -= size
