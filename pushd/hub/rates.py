"""Rates: how many messages and bytes a peer may publish in a second."""

from collections.abc import Callable, Sequence
from math import ceil
from typing import Final

from pushd.core.errors import RateLimited, RateState, Refusal
from pushd.core.grant import UNLIMITED
from pushd.core.message import Draft
from pushd.core.peer import Peer, QuotaKey
from pushd.core.token_bucket import TokenBuckets

BURST_SECONDS: Final = 10
"""For how long a peer may save what it does not publish. So it may publish as much as in this time at once."""


class PublishRates:
    """The rates of all peers: those of the quota of a subject or, for an anonymous peer, of its address. Where the
    quota of a peer has no rate of messages, the limit of an address applies, loopback exempt.

    They are counted at this node.

    :param seconds: a monotonic clock.
    :param per_address: the limit of an address, in messages a second; None: none.
    """

    def __init__(self, seconds: Callable[[], float], per_address: int | None = None) -> None:
        self._seconds = seconds
        self._per_address = per_address
        self._messages = TokenBuckets(BURST_SECONDS)
        self._bytes = TokenBuckets(BURST_SECONDS)

    def reconfigure(self, per_address: int | None) -> None:
        """Change the limit of an address, for messages from now on."""
        self._per_address = per_address

    def take(self, peer: Peer, messages: int, size: int) -> None:
        """Count messages that a peer is about to publish, `size` bytes together.

        More than a burst at once is allowed after the pause that allows a burst, and makes the next pause longer.

        :raises RateLimited: when they exceed a rate; then nothing is counted.
        """
        bytes_rate = peer.grant.quota.bytes_per_second
        now = self._seconds()
        if bytes_rate is not None and (wait := self._bytes.wait(peer.quota_key, size, bytes_rate, now)):
            raise _refusal("bytes", self._bytes, peer.quota_key, bytes_rate, wait, now)
        key, rate = self._rate_of_messages(peer)
        if rate is not None and (wait := self._messages.take(key, messages, rate, now)):
            raise _refusal("messages", self._messages, key, rate, wait, now)
        if bytes_rate is not None:
            self._bytes.take(peer.quota_key, size, bytes_rate, now)

    def give_back(self, peer: Peer, messages: int, size: int) -> None:
        """Count messages no longer, because they were not published."""
        if (bytes_rate := peer.grant.quota.bytes_per_second) is not None:
            self._bytes.give_back(peer.quota_key, size, bytes_rate)
        key, rate = self._rate_of_messages(peer)
        if rate is not None:
            self._messages.give_back(key, messages, rate)

    def admit(self, peer: Peer, items: list[Draft | Refusal], *, as_whole: bool) -> list[Draft | Refusal]:
        """Count the messages among some items; return the items with refusals in the place of those that exceed a rate.

        :param as_whole: whether all messages are refused when one of them is.
        """
        if not is_metered(peer):
            return items
        if not as_whole:
            return [self._admit(peer, item) for item in items]
        try:
            self.take(peer, *total(items))
        except RateLimited as refusal:
            return [refusal.without_traceback() if isinstance(item, Draft) else item for item in items]
        return items

    def _admit(self, peer: Peer, item: Draft | Refusal) -> Draft | Refusal:
        try:
            if isinstance(item, Draft):
                self.take(peer, 1, len(item.data))
        except RateLimited as refusal:
            return refusal.without_traceback()
        return item

    def _rate_of_messages(self, peer: Peer) -> tuple[QuotaKey, int | None]:
        """Return the key and the rate of the messages of a peer; the rate is None when there is none."""
        rate = peer.grant.quota.messages_per_second
        if rate is not None:
            return peer.quota_key, rate
        return (None, None, peer.network), self._per_address if peer.network is not None else None


def is_metered(peer: Peer) -> bool:
    """Return whether a peer may have a rate."""
    return peer.network is not None or peer.grant.quota is not UNLIMITED


def total(items: Sequence[Draft | Refusal]) -> tuple[int, int]:
    """Return the number of messages among some items, and their bytes."""
    sizes = [len(item.data) for item in items if isinstance(item, Draft)]
    return len(sizes), sum(sizes)


def _refusal(unit: str, buckets: TokenBuckets, key: QuotaKey, rate: int, wait: float, now: float) -> RateLimited:
    """Return the refusal of a publish that may be repeated after `wait` seconds."""
    remaining = buckets.remaining(key, rate, now)
    reset = ceil(buckets.full_in(key, now))
    state = RateState(unit, BURST_SECONDS * rate, BURST_SECONDS, remaining, reset)
    whose = "address" if key[1] is None else "subject"
    text = f"{unit} published by this {whose} must not exceed {rate} a second"
    return RateLimited(text, max(1, ceil(wait)), state)
