"""The access log: one line for each HTTP request when it is answered, and for each stream when it has ended.

It is off by default, and can be limited to a share of the requests, since a line takes longer than a publish. It has no
queries, headers or bodies, which may contain secrets or messages.
"""

import random
import time
from collections.abc import Callable
from typing import Final

from twisted.logger import Logger

CLIENT_LEFT: Final = 499
"""The status of a request whose client disconnected before the answer, as in nginx."""
_MAX_PATH: Final = 200
"""Characters of a path that are logged: a thousand topics would fill a page."""


class AccessLogEntry:
    """The entry of one request that the log has picked."""

    __slots__ = ("_access", "_began", "_method", "_path", "_peer")

    def __init__(self, access: "AccessLog", peer: str, method: bytes, path: bytes) -> None:
        self._access = access
        self._peer = peer
        self._method = method
        self._path = path
        self._began = access.seconds()

    def answered(self, status: int, size: int) -> None:
        """Log an answer.

        :param size: its bytes, including the head.
        """
        self._write("{peer}: {method} {path} {status}, {size} bytes, {milliseconds} ms", self._peer, status, size=size)

    def follows_stream(self, stream: object, status: int) -> None:
        """Log the request when `stream`, which has taken the connection over, has ended."""
        self._access.streams[stream] = self, status

    def ended(self, peer: str, status: int) -> None:
        """Log a stream that has ended.

        :param peer: its name, with the id of the connection.
        """
        self._write("{peer}: {method} {path} {status}, ended after {milliseconds} ms", peer, status)

    def _write(self, form: str, peer: str, status: int, **more: int) -> None:
        path = self._path.decode("ascii", "backslashreplace")
        self._access.log.info(
            form,
            peer=peer,
            method=self._method.decode("ascii"),
            path=path if len(path) <= _MAX_PATH else path[:_MAX_PATH] + "…",
            status=status,
            milliseconds=round(1000 * (self._access.seconds() - self._began), 1),
            **more,
        )


class AccessLog:
    """Picks the requests that are logged.

    :param share: the share of the requests that are picked, from 0 (none) to 1 (all).
    :param seconds: a monotonic clock.
    :param chance: returns random numbers from 0 up to, but not including, 1.
    """

    def __init__(
        self,
        share: float = 0.0,
        seconds: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        # As an attribute of the class, it would have the name of the class.
        self.log = Logger("pushd.access")
        self.share = share
        self.seconds = seconds
        self.streams: dict[object, tuple[AccessLogEntry, int]] = {}
        """The streams that were picked, each with the status of its answer."""
        self._chance = chance

    def picks(self) -> bool:
        """Return whether the next request is picked."""
        return self.share > 0 and self._chance() < self.share

    def stream_closed(self, stream: object, peer: str) -> None:
        """Log a stream that has ended, if it was picked. Further calls have no effect.

        :param peer: its name, with the id of the connection.
        """
        if self.streams and (picked := self.streams.pop(stream, None)):
            entry, status = picked
            entry.ended(peer, status)
