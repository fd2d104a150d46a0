"""Publishing: single messages, batches in time slices, and repeats with an idempotency key."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import islice
from typing import NamedTuple

from msgspec import structs
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from pushd.backends.interface import Backend, Duplicate
from pushd.core.dispatcher import Dispatcher
from pushd.core.errors import (
    BadParameter,
    CallbackUnavailable,
    IdempotencyMismatch,
    NoRequest,
    NotGranted,
    Refusal,
    TokenMissing,
)
from pushd.core.grant import UNLIMITED
from pushd.core.idempotency import MISMATCH, IdempotencyCache, IdempotencyKey
from pushd.core.message import Draft
from pushd.core.names import is_reply
from pushd.core.peer import Peer
from pushd.core.register import Register
from pushd.hub.authorization import check_topics, granted
from pushd.hub.callbacks import CallbackChecks, Decided
from pushd.hub.channel_settings import ChannelSettings
from pushd.hub.exclusions import Exclusions
from pushd.hub.rates import PublishRates, total
from pushd.hub.shared_rates import SharedRates
from pushd.metrics import Counters

_SLICE_MESSAGES = 256
_MATCH_SECONDS = 0.005
"""Seconds for which the subscribers of channels are searched in one reactor turn."""
_SLICE_BYTES = 2 << 20
"""The most of a batch that is published in one reactor turn, so that sockets drain meanwhile. A message of one MiB may
evict thousands of small ones."""
_JUDGED = 1000
"""Remembered receipts whose channels are checked in one reactor turn: a few milliseconds."""


_UNDECIDED = NotGranted, TokenMissing, CallbackUnavailable
"""Refusals of messages that may be accepted when they are repeated."""


class Receipt(NamedTuple):
    """The answer to a publish."""

    id: str
    """Empty for an ephemeral message."""
    channel: str
    subscribers: int
    """Number of subscribers at this node."""
    is_local: bool = False
    """Whether the message went only to these subscribers, because the backend is unavailable."""

    def facts(self) -> dict[str, object]:
        """Return the public fields, in the order in which they are shown."""
        facts: dict[str, object] = {"id": self.id or None, "channel": self.channel, "subscribers": self.subscribers}
        return facts | {"local": True} if self.is_local else facts


class _KeyLocks:
    """A lock for each idempotency key that is in use."""

    def __init__(self) -> None:
        self._locks: dict[str, DeferredLock] = {}

    async def acquire(self, key: str) -> None:
        """Wait until the key is free, and take it."""
        await self._locks.setdefault(key, DeferredLock()).acquire()

    def release(self, key: str) -> None:
        """Free the key for the next caller."""
        lock = self._locks[key]
        if not lock.waiting:
            del self._locks[key]
        lock.release()


class Publisher:
    """Publishes to the backend.

    :param dispatcher: finds the subscribers of a channel at this node.
    :param register: finds the connections that are excluded.
    :param messages_per_second: how many messages an address may publish in a second; None: any number.
    :param callbacks: the checks by the application.
    """

    def __init__(
        self,
        backend: Backend,
        clock: IReactorTime,
        counters: Counters,
        dispatcher: Dispatcher,
        register: Register,
        messages_per_second: int | None,
        callbacks: CallbackChecks,
        channel_settings: ChannelSettings,
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._counters = counters
        self._dispatcher = dispatcher
        self.rates = PublishRates(clock.seconds, SharedRates(backend, clock), messages_per_second)
        self.callbacks = callbacks
        self._channel_settings = channel_settings
        self._subscribers_of = dispatcher.subscribers_of
        self._exclusions = Exclusions(register)
        self._remembered: IdempotencyCache[tuple[bytes, list[Receipt | Refusal]]] = IdempotencyCache()
        self._keys = _KeyLocks()
        self.reply: Callable[[Peer, Draft], Awaitable[Receipt]] = _no_requests
        """Delivers a reply to a request."""

    async def publish(self, peer: Peer, draft: Draft) -> Receipt:
        """See `Hub.publish`."""
        draft = self.admit(peer, draft)
        if draft.channel[0] == "$" and is_reply(draft.channel):
            return await self.reply(peer, draft)
        if self.callbacks.application.asks_publish:
            await self.callbacks.check_publish(peer, (draft.channel,))
        (receipt,) = await self._publish(peer, [draft])
        if isinstance(receipt, Refusal):
            raise receipt
        return receipt

    def admit(self, peer: Peer, draft: Draft) -> Draft:
        """Return a message with its sender, counted in the rates of the peer; for a reply `reply` checks the grant.

        The application is not asked yet.

        :raises NotGranted: when the peer may not publish it.
        :raises RateLimited: when it exceeds a rate.
        """
        grant = peer.grant
        if not grant.is_full and (draft.channel[0] != "$" or not is_reply(draft.channel)):
            self.check_grant(peer, draft.channel)
        if draft.exclude is not None:
            draft = self._exclusions.checked(peer, draft)
        if peer.network is not None or grant.quota is not UNLIMITED:
            self.rates.take(peer, 1, len(draft.data))
        if (subject := grant.subject) is not None:
            draft = structs.replace(draft, sender=subject)
        return draft

    def check_grant(self, peer: Peer, channel: str) -> None:
        """Check the grant of a publisher, as far as an answer of the application cannot replace it.

        :raises NotGranted: when it may not publish to the channel.
        """
        if self.callbacks.application.asks_publish:
            self.callbacks.check_before_publish(peer, (channel,))
        else:
            check_topics(peer, "publish", (channel,))

    async def publish_admitted(self, peer: Peer, draft: Draft) -> Receipt:
        """Publish a message that was admitted.

        :raises Refusal: when the backend did not accept it.
        """
        (receipt,) = await self._publish(peer, [draft])
        if isinstance(receipt, Refusal):
            raise receipt
        return receipt

    async def publish_all(
        self,
        peer: Peer,
        drafts: Iterable[Draft | Refusal],
        key: IdempotencyKey | None = None,
        *,
        as_whole: bool = False,
    ) -> list[Receipt | Refusal]:
        """See `Hub.publish_all`."""
        asks = self.callbacks.asks_publish_of(peer)
        if asks and as_whole:
            drafts = list(drafts)
            channels = [each.channel for each in drafts if isinstance(each, Draft) and not is_reply(each.channel)]
            if channels:
                await self.callbacks.check_publish(peer, channels)
            asks = False
        elif not asks or peer.identity is not None:
            drafts = granted(peer, drafts)
        if key is not None:
            drafts = map(_unless_ephemeral, drafts)
        if (subject := peer.grant.subject) is not None:
            drafts = _sent_by(subject, drafts)
        if key is None:
            return await self._publish_slices(peer, drafts, as_whole=as_whole, asks=asks)
        await self._keys.acquire(key.text)
        try:
            remembered = self._remembered.get(key.text, self._clock.seconds())
            if remembered is not None:
                digest, receipts = remembered
                if digest != key.digest:
                    raise IdempotencyMismatch(MISMATCH)
                return receipts if peer.grant.is_full else await self._still_granted(peer, receipts, asks=asks)
            receipts = await self._publish_slices(peer, drafts, key, as_whole=as_whole, asks=asks)
            if any(isinstance(each, IdempotencyMismatch) for each in receipts):  # found by another node
                raise IdempotencyMismatch(MISMATCH)
            # If every message should be retried, a repeat is that retry.
            if not all(isinstance(each, Refusal) and each.retry_after is not None for each in receipts):
                size = sum([len(each.channel) if isinstance(each, Receipt) else 0 for each in receipts])
                remembered = key.digest, receipts
                self._remembered.put(key.text, remembered, size, len(receipts), self._clock.seconds())
            return receipts
        finally:
            self._keys.release(key.text)

    async def _still_granted(
        self, peer: Peer, receipts: Sequence[Receipt | Refusal], *, asks: bool
    ) -> list[Receipt | Refusal]:
        """Return remembered receipts, with a refusal in the place of each that the peer may not publish any more."""
        judged: list[Receipt | Refusal] = []
        decided: Decided = {}
        for first in range(0, len(receipts), _JUDGED):
            if first:
                await deferLater(self._clock, 0)
            some = receipts[first : first + _JUDGED]
            if asks:
                judged += await self.callbacks.granted(peer, some, decided)
            else:
                judged += [_if_granted(peer, receipt) for receipt in some]
        return judged

    async def _publish_slices(
        self,
        peer: Peer,
        drafts: Iterable[Draft | Refusal],
        key: IdempotencyKey | None = None,
        *,
        as_whole: bool,
        asks: bool,
    ) -> list[Receipt | Refusal]:
        """Publish messages in slices.

        :param asks: whether the application is asked about each channel.
        """
        judged = self._exclusions.judged
        if as_whole:
            drafts = judged(peer, list(drafts))
            self.rates.take(peer, *total(drafts))
        decided: Decided = {}
        waiting, receipts = iter(drafts), list[Receipt | Refusal]()
        while items := _next_slice(waiting):
            if receipts:
                await deferLater(self._clock, 0)
            special = [each for each in items if isinstance(each, Draft) and (each.exclude or each.channel[0] == "$")]
            if not as_whole:  # a repeat with the key must publish the same messages of a slice
                items = judged(peer, items) if special else items
                items = self.rates.admit(peer, items, as_whole=key is not None)
            if asks:
                items = await self.callbacks.granted(peer, items, decided)
            rest: Sequence[Draft | Receipt | Refusal] = items
            if special:
                rest = [await self._if_reply(peer, item) for item in items]
            if self._dispatcher.is_slow_to_match:
                await self._match_ahead([item.channel for item in items if isinstance(item, Draft)])
            slice_key = None if key is None else _key_of_slice(key, len(receipts), items)
            accepted = iter(await self._publish(peer, [item for item in rest if isinstance(item, Draft)], slice_key))
            receipts += [next(accepted) if isinstance(item, Draft) else item for item in rest]
        return receipts

    async def _if_reply(self, peer: Peer, item: Draft | Receipt | Refusal) -> Draft | Receipt | Refusal:
        """Deliver an item if it is a reply; return what takes its place."""
        if isinstance(item, Draft) and is_reply(item.channel):
            try:
                return await self.reply(peer, item)
            except Refusal as refusal:
                return refusal.without_traceback()
        return item

    async def _match_ahead(self, channels: Iterable[str]) -> None:
        """Find the subscribers of channels, which are cached then, in as many reactor turns as it takes."""
        until = self._clock.seconds() + _MATCH_SECONDS
        for channel in channels:
            if self._clock.seconds() > until:
                await deferLater(self._clock, 0)
                until = self._clock.seconds() + _MATCH_SECONDS
            self._subscribers_of(channel)

    async def _publish(
        self, peer: Peer, drafts: Sequence[Draft], key: IdempotencyKey | None = None
    ) -> list[Receipt | Refusal]:
        receipts: list[Receipt | Refusal] = []
        if not drafts:  # all of them were refused
            return receipts
        if self._channel_settings.has_rules:
            drafts = self._channel_settings.complete(drafts, has_key=key is not None)
        for draft, accepted in zip(drafts, await self._backend.publish(drafts, key), strict=True):
            if isinstance(accepted, Refusal):
                receipts.append(accepted)
                continue
            if isinstance(accepted, Duplicate):
                self.rates.refund(peer, 1, len(draft.data))
                receipts.append(Receipt(accepted.id, draft.channel, accepted.subscribers))
                continue
            self._counters.published += 1
            self._counters.published_bytes += len(draft.data)
            subscribers = len(self._subscribers_of(draft.channel))
            if draft.exclude is not None:
                subscribers -= self._exclusions.count(draft)
            id = accepted.id if accepted.is_kept else ""
            receipts.append(Receipt(id, draft.channel, subscribers, accepted.is_local))
        return receipts


async def _no_requests(peer: Peer, draft: Draft) -> Receipt:
    raise NoRequest("there are no requests")


def _sent_by(subject: str, drafts: Iterable[Draft | Refusal]) -> Iterator[Draft | Refusal]:
    """Return the messages of an authenticated publisher with its subject."""
    return (structs.replace(each, sender=subject) if isinstance(each, Draft) else each for each in drafts)


def _unless_ephemeral(draft: Draft | Refusal) -> Draft | Refusal:
    """Return the draft of a publish with an idempotency key, or a refusal if it is not kept."""
    if isinstance(draft, Refusal) or draft.keep:
        return draft
    return BadParameter("message that is not kept must not have an Idempotency-Key")


def _if_granted(peer: Peer, receipt: Receipt | Refusal) -> Receipt | Refusal:
    """Return a remembered receipt, or a refusal if the peer may not publish to its channel any more."""
    try:
        if isinstance(receipt, Receipt) and not is_reply(receipt.channel):
            check_topics(peer, "publish", (receipt.channel,))
    except (NotGranted, TokenMissing) as refusal:
        return refusal.without_traceback()
    return receipt


def _key_of_slice(key: IdempotencyKey, first: int, items: Sequence[Draft | Refusal]) -> IdempotencyKey:
    """Return the key of a slice. One in which other messages are refused than before, because the grant of the
    publisher has changed, is no repeat: the receipts of the first would be those of other messages.
    """
    refused = [number for number, item in enumerate(items) if isinstance(item, _UNDECIDED)]
    digest = sha256(key.digest + str(refused).encode("ascii")).digest() if refused else key.digest
    return IdempotencyKey(f"{first} {key.text}", digest)


def _next_slice(drafts: Iterator[Draft | Refusal]) -> list[Draft | Refusal]:
    """Take the drafts that are published in one reactor turn."""
    items: list[Draft | Refusal] = []
    size = 0
    for item in islice(drafts, _SLICE_MESSAGES):
        items.append(item)
        size += len(item.data) if isinstance(item, Draft) else 0
        if size >= _SLICE_BYTES:
            break
    return items
