"""Open requests: those that wait for their first reply, and who may still send it.

Each node at which there are responders counts as one responder, with a mark: the number of its newest connection at
that time. It leaves when its oldest responder is newer than that, since all that could receive the request are gone.
"""

import re
from collections.abc import Callable, Collection, Hashable
from math import inf
from typing import Final, TypeVar

from pushd.core.errors import BadParameter, TooManyRequests
from pushd.core.message import Draft
from pushd.core.peer import Peer

DEFAULT_SECONDS: Final = 10.0
"""How long a request waits for its reply."""
MAX_SECONDS: Final = 60.0
MAX_OF_CONNECTION: Final = 100
"""The most open requests of one asker."""
MAX_OPEN: Final = 10_000
"""The most open requests at a node."""
HERE: Final = ""
"""Stands for this node among nodes with responders."""
STAYS: Final = inf
"""The mark of a node that does not leave: a long poll ends when it has received the request, and its client answers by
a request of its own.
"""
K = TypeVar("K", bound=Hashable)
_TOKEN = re.compile(r"[0-9a-f]{32,64}")


class AskerLeft(Exception):
    """The asker of a request has disconnected."""


class OpenRequest:
    """A request that waits for its reply.

    :param peer: who has sent it.
    :param asker: who waits; it limits how many there are.
    :param on_end: called once, with the reply, or with the refusal or `AskerLeft`.
    :param on_timeout: called when it has timed out.
    """

    __slots__ = ("asker", "channel", "due", "is_announced", "nodes", "on_end", "on_timeout", "peer", "token")

    def __init__(
        self,
        token: str,
        channel: str,
        peer: Peer,
        asker: Hashable,
        on_end: Callable[[Draft | Exception], None],
        on_timeout: Callable[["OpenRequest"], None],
    ) -> None:
        self.token = token
        self.channel = channel
        self.peer = peer
        self.asker = asker
        self.on_end = on_end
        self.on_timeout = on_timeout
        self.due = 0
        """See `Expiring`."""
        self.nodes: dict[str, float] = {}
        """The nodes with responders, and their marks."""
        self.is_announced = False
        """Whether all nodes were asked whether they have responders."""

    @property
    def has_no_responders(self) -> bool:
        """Whether nobody can answer any more."""
        return self.is_announced and not self.nodes

    def expire(self) -> None:
        """See `Expiring`."""
        self.on_timeout(self)


class OpenRequests:
    """The open requests of this node."""

    def __init__(self, most_of_asker: int = MAX_OF_CONNECTION, most: int = MAX_OPEN) -> None:
        self._most_of_asker = most_of_asker
        self._most = most
        self._by_token: dict[str, OpenRequest] = {}
        self._by_asker: dict[Hashable, dict[OpenRequest, None]] = {}
        self._by_channel: dict[str, dict[OpenRequest, None]] = {}

    def __len__(self) -> int:
        """Return the number of open requests."""
        return len(self._by_token)

    def __contains__(self, request: OpenRequest) -> bool:
        """Return whether a request is open."""
        return self._by_token.get(request.token) is request

    @property
    def channels(self) -> Collection[str]:
        """The channels with open requests. It changes with them."""
        return self._by_channel.keys()

    @property
    def all(self) -> list[OpenRequest]:
        """All open requests, the oldest first."""
        return list(self._by_token.values())

    def add(self, request: OpenRequest) -> None:
        """Add a request.

        :raises TooManyRequests: when there are as many as possible, of its asker or in all.
        """
        of_asker = self._by_asker.get(request.asker, {})
        if len(of_asker) >= self._most_of_asker:
            raise TooManyRequests(f"a connection must not have more than {self._most_of_asker} open requests")
        if len(self) >= self._most:
            raise TooManyRequests(f"all of the {self._most} open requests that are accepted are in use")
        self._by_token[request.token] = request
        self._by_asker.setdefault(request.asker, of_asker)[request] = None
        self._by_channel.setdefault(request.channel, {})[request] = None

    def find(self, token: str) -> OpenRequest | None:
        """Return the open request of a token; None if there is none."""
        return self._by_token.get(token)

    def remove(self, request: OpenRequest) -> bool:
        """Remove a request; return whether it was open."""
        if request not in self:
            return False
        del self._by_token[request.token]
        _discard(self._by_asker, request.asker, request)
        _discard(self._by_channel, request.channel, request)
        return True

    def of_asker(self, asker: Hashable) -> list[OpenRequest]:
        """Return the open requests of an asker."""
        return list(self._by_asker.get(asker, ()))

    def leave(self, node: str, channel: str, oldest: float) -> list[OpenRequest]:
        """Called when the oldest responder of a channel at a node has changed.

        :param oldest: the number of its connection; infinite when there is none.
        :return: the requests that nobody can answer any more.
        """
        left = [each for each in self._by_channel.get(channel, ()) if each.nodes.get(node, STAYS) < oldest]
        for request in left:
            del request.nodes[node]
        return [request for request in left if request.has_no_responders]

    def leave_all(self, node: str) -> list[OpenRequest]:
        """Called when a node is gone; return the requests that nobody can answer any more."""
        left = [each for each in self._by_token.values() if each.nodes.pop(node, None) is not None]
        return [request for request in left if request.has_no_responders]

    def nodes(self) -> set[str]:
        """Return the other nodes whose responders may answer open requests."""
        return {node for request in self._by_token.values() for node in request.nodes} - {HERE}


def _discard(index: dict[K, dict[OpenRequest, None]], key: K, request: OpenRequest) -> None:
    requests = index[key]
    del requests[request]
    if not requests:
        del index[key]


def check_timeout(seconds: float) -> float:
    """Return how long a request may wait, if it is accepted.

    :raises BadParameter: when it is not.
    """
    if not 0 <= seconds <= MAX_SECONDS:
        raise BadParameter(f"timeout must be between 0 and {MAX_SECONDS:g} seconds (got {seconds:g})")
    return seconds


def is_token(text: str) -> bool:
    """Return whether a text may be the token of a request."""
    return _TOKEN.fullmatch(text) is not None
