"""The access log: a line for an HTTP request when it is answered, and for a stream when it has ended.

It is off unless it is asked for, and may tell of a share of the requests only, since a line costs more than a publish.
Nothing that may hold a secret or a message is in it: no query, no headers, no bodies.
"""

import random
import time
from collections.abc import Callable
from typing import Final

from twisted.logger import Logger

CLIENT_LEFT: Final = 499
"""The status of a request whose client was gone before it was answered, as nginx writes it."""
_PATH: Final = 200
"""Characters of a path that are told: a thousand topics would fill a page."""


class AccessLogEntry:
    """A request of which the log tells."""

    __slots__ = ("_access", "_began", "_method", "_path", "_peer")

    def __init__(self, access: "AccessLog", peer: str, method: bytes, path: bytes) -> None:
        self._access = access
        self._peer = peer
        self._method = method
        self._path = path
        self._began = access.seconds()

    def answered(self, status: int, size: int) -> None:
        """Tell of an answer.

        :param size: its bytes, the head included.
        """
        self._write("{peer}: {method} {path} {status}, {size} bytes, {milliseconds} ms", self._peer, status, size=size)

    def follows_stream(self, guest: object, status: int) -> None:
        """Know that `guest` has the connection now, with whose end this is to be told."""
        self._access.streams[guest] = self, status

    def ended(self, peer: str, status: int) -> None:
        """Tell of a stream.

        :param peer: its name, with the id of the connection.
        """
        self._write("{peer}: {method} {path} {status}, ended after {milliseconds} ms", peer, status)

    def _write(self, form: str, peer: str, status: int, **more: int) -> None:
        path = self._path.decode("ascii", "backslashreplace")
        self._access.log.info(
            form,
            peer=peer,
            method=self._method.decode("ascii"),
            path=path if len(path) <= _PATH else path[:_PATH] + "…",
            status=status,
            milliseconds=round(1000 * (self._access.seconds() - self._began), 1),
            **more,
        )


class AccessLog:
    """Picks the requests of which the log tells.

    :param share: of the requests that are picked: 0 none, 1 all.
    :param seconds: a clock that never goes back.
    :param chance: gives numbers from 0 up to 1, 1 not included.
    """

    def __init__(
        self,
        share: float = 0.0,
        seconds: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        # On the class it would have the name of the class.
        self.log = Logger("pushd.access")
        self.share = share
        self.seconds = seconds
        self.streams: dict[object, tuple[AccessLogEntry, int]] = {}
        """The streams that were picked, each with the status of its answer."""
        self._chance = chance

    def picks(self) -> bool:
        """Tell whether the next request is picked."""
        return self.share > 0 and self._chance() < self.share

    def stream_closed(self, guest: object, peer: str) -> None:
        """Tell of a stream that has ended, if it was picked; only the first call counts.

        :param peer: its name, with the id of the connection.
        """
        if self.streams and (stay := self.streams.pop(guest, None)):
            visit, status = stay
            visit.ended(peer, status)
