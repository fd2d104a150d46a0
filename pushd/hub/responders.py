"""Responders: the subscribers that may answer requests, those that name the channel or have asked to be responders."""

from collections.abc import Iterator
from itertools import islice
from math import inf
from typing import Final

from pushd.core.dispatcher import Dispatcher
from pushd.core.open_requests import STAYS
from pushd.core.poll import Poll
from pushd.core.subscriber import Subscriber

_EXAMINED: Final = 1000
"""The most subscribers of a channel whose grants are examined: about a millisecond."""
_SCANNED: Final = 10_000
"""The most subscribers of a channel among which those are searched that have asked to be responders: some 0.5 ms."""


class Responders:
    """The responders at this node. A subscriber that may not reply on a channel is none of its responders."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._asked: set[Subscriber] = set()
        """The subscribers that have asked to be responders of all their topics."""

    def __contains__(self, subscriber: Subscriber) -> bool:
        """Return whether a subscriber has asked to be a responder."""
        return subscriber in self._asked

    def add(self, subscriber: Subscriber) -> None:
        """Called when a subscriber asks to be a responder, for all its topics from now on."""
        self._asked.add(subscriber)

    def discard(self, subscriber: Subscriber) -> None:
        """Called when a subscriber is removed."""
        self._asked.discard(subscriber)

    def oldest(self, channel: str) -> float:
        """Return the number of the oldest connection among the responders of a channel; infinite if there is none."""
        return min((each.peer.number for each in self._of(channel)), default=inf)

    def mark(self, channel: str, newest: int) -> float | None:
        """Return the mark of this node for a request on a channel now; None if there is no responder.

        :param newest: the number of the newest connection.
        """
        are_polls = {isinstance(each, Poll) for each in self._of(channel)}  # which end when they receive the request
        if not are_polls:
            return None
        return STAYS if True in are_polls else newest

    def _of(self, channel: str) -> Iterator[Subscriber]:
        candidates = list(islice(self._dispatcher.subscribers_by_name(channel), _EXAMINED))
        if self._asked:
            some = islice(self._dispatcher.subscribers_of(channel), _SCANNED)
            candidates += islice((each for each in some if each in self._asked), _EXAMINED)
        return (each for each in candidates if not each.is_closed and each.peer.grant.may("reply", channel))
