"""Rates: how many messages and bytes a peer may publish in a second."""

from collections.abc import Callable, Sequence
from math import ceil
from typing import Final

from pushd.core.errors import RateLimited, Refusal
from pushd.core.grant import UNLIMITED, Quota
from pushd.core.identity import QuotaKey
from pushd.core.message import Draft
from pushd.core.peer import Peer
from pushd.core.token_bucket import RateState, TokenBuckets
from pushd.hub.shared_rates import SharedRates

BURST_SECONDS: Final = 10
"""For how long a peer may save what it does not publish. So it may publish as much as in this time at once."""


class PublishRates:
    """The rates of all peers: those of the quota of a subject or, for an anonymous peer, of its address. Where the
    quota of a peer has no rate of messages, the limit of an address applies, loopback exempt.

    They are counted at this node; those of quotas are exchanged with other nodes.

    :param seconds: a monotonic clock.
    :param per_address: the limit of an address, in messages a second; None: none.
    """

    def __init__(self, seconds: Callable[[], float], shared: SharedRates, per_address: int | None = None) -> None:
        self._seconds = seconds
        self.shared = shared
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
        quota, key, now = peer.grant.quota, peer.quota_key, self._seconds()
        rate, bytes_rate = quota.messages_per_second, quota.bytes_per_second
        if bytes_rate is not None and (wait := self._bytes.take(key, size, bytes_rate, now)):
            raise _refusal("bytes", self._bytes, key, bytes_rate, wait, now)
        rate_key = key
        if rate is None:
            rate, rate_key = self._rate_of_address(peer)
        if rate is not None and (wait := self._messages.take(rate_key, messages, rate, now)):
            if bytes_rate is not None:
                self._bytes.refund(key, size, bytes_rate)
            raise _refusal("messages", self._messages, rate_key, rate, wait, now)
        if quota is not UNLIMITED:
            self._share(quota, key, messages, size)

    def refund(self, peer: Peer, messages: int, size: int) -> None:
        """Count messages no longer, because they were not published."""
        quota, key = peer.grant.quota, peer.quota_key
        if quota.bytes_per_second is not None:
            self._bytes.refund(key, size, quota.bytes_per_second)
        rate = quota.messages_per_second
        if rate is None:
            rate, key = self._rate_of_address(peer)
        if rate is not None:
            self._messages.refund(key, messages, rate)
        if quota is not UNLIMITED:
            self._share(quota, peer.quota_key, -messages, -size)

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

    def _share(self, quota: Quota, key: QuotaKey, messages: int, size: int) -> None:
        """Exchange what was counted with the other nodes."""
        if quota.bytes_per_second is not None:
            self.shared.add(self._bytes, "bytes", key, size / quota.bytes_per_second)
        if quota.messages_per_second is not None:
            self.shared.add(self._messages, "messages", key, messages / quota.messages_per_second)

    def _rate_of_address(self, peer: Peer) -> tuple[int | None, QuotaKey]:
        """Return the rate of messages of the address of a peer, and its key."""
        return None if peer.network is None else self._per_address, (None, None, peer.network)


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
