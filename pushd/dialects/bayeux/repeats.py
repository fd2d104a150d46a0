"""Publishes that a client sends again because their answer was lost, as faye does: with the same message id."""

from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Final

from twisted.internet.defer import Deferred

_MOST: Final = 64
"""The most publishes of a session that are remembered: more than faye puts into one envelope."""
_SECONDS: Final = 120.0
_DIGEST_BYTES: Final = 8

_Id = str | int


class _Publish:
    """A publish that was accepted, or is in progress."""

    __slots__ = ("digest", "expires", "waiting")

    def __init__(self, digest: bytes, expires: float) -> None:
        self.digest = digest
        self.expires = expires
        self.waiting: list[Deferred[None]] | None = []
        """Its repeats that wait for its outcome; None when it was accepted."""


class Repeats:
    """The last publishes of a session.

    A repeat has the same id, channel and data. Ids of a page that was loaded again begin anew: its first connect has a
    lower id than the one before.
    """

    __slots__ = ("_last_connect", "_publishes")

    def __init__(self) -> None:
        self._publishes: dict[_Id, _Publish] = {}
        self._last_connect = (0, "")

    async def once(self, id: _Id, content: bytes, now: float, publish: Callable[[], Awaitable[None]]) -> None:
        """Publish, unless the same was published already; then wait for its outcome.

        :param content: the channel and the data.
        :param now: seconds.
        :raises Refusal: that of the publish.
        """
        digest = blake2b(content, digest_size=_DIGEST_BYTES).digest()
        known = self._publishes.get(id)
        if known is not None and known.digest == digest and known.expires > now:
            if known.waiting is not None:
                outcome: Deferred[None] = Deferred()
                known.waiting.append(outcome)
                await outcome
            return
        current = self._publishes[id] = _Publish(digest, now + _SECONDS)
        if len(self._publishes) > _MOST:
            del self._publishes[next(iter(self._publishes))]
        try:
            await publish()
        except BaseException as error:
            if self._publishes.get(id) is current:
                del self._publishes[id]
            for each in self._end(current):
                each.errback(error)
            raise
        for each in self._end(current):
            each.callback(None)

    def on_connect(self, id: _Id | None, now: float) -> None:
        """Forget what no repeat follows of: what is old, and everything when the page was loaded again.

        :param id: that of a connect.
        """
        text = "" if id is None else str(id)
        order = len(text), text
        if order < self._last_connect:
            self._publishes.clear()
        elif self._publishes:
            self._publishes = {name: each for name, each in self._publishes.items() if each.expires > now}
        self._last_connect = order

    @staticmethod
    def _end(publish: _Publish) -> list["Deferred[None]"]:
        waiting, publish.waiting = publish.waiting or [], None
        return waiting
