"""The memory backend: for one process; its history is lost with a restart."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from pushd.backends.epoch import new_epoch
from pushd.backends.interface import NOBODY, Audience, BackendEvents, Usage
from pushd.backends.local_presence import LocalPresence
from pushd.backends.revocations_file import RevocationsFile
from pushd.backends.single_node import SingleNode
from pushd.core.channel_rules import NO_RULES, ChannelRules
from pushd.core.cursor import MessageId, Since
from pushd.core.errors import Refusal
from pushd.core.history import Bounds
from pushd.core.idempotency import IdempotencyKey
from pushd.core.log import Log
from pushd.core.log_reader import LogReader
from pushd.core.message import Draft, Message, unkept_message
from pushd.core.presence import PresenceEvent
from pushd.core.remembered_urls import RememberedUrls
from pushd.core.replay import ChannelInfo, Page, StartPosition
from pushd.core.revocations import Revocation
from pushd.net.turn_slices import Slices

_SWEEP_SECONDS = 1.0


class MemoryBackend(SingleNode):
    """A backend that is a `Log` in memory. Long operations are spread over several reactor turns.

    :param clock: the monotonic clock by which messages expire.
    :param wall: returns the time in unix seconds, the timestamp of messages.
    :param epoch: the epoch of the history; None: a new one.
    :param rules: the rules for channels.
    :param revocations: the path of the file in which revocations outlast a restart; None: they do not.
    """

    def __init__(
        self,
        bounds: Bounds,
        clock: IReactorTime,
        wall: Callable[[], float],
        epoch: str | None = None,
        revocations: Path | None = None,
        rules: ChannelRules = NO_RULES,
    ) -> None:
        self._file = None if revocations is None else RevocationsFile(revocations, self._known_revocations)
        self._log = Log(epoch or new_epoch(), bounds, rules)
        self._reader = LogReader(self._log)
        self._urls = RememberedUrls()
        self._clock = clock
        self._wall = wall
        self.presence = _MemoryPresence(self._publish, bounds, clock, clock.seconds, wall, self._position)
        self._events: BackendEvents | None = None
        self._slices = Slices(clock)
        self._sweep = LoopingCall(lambda: Deferred.fromCoroutine(self._expire()))
        self._sweep.clock = clock

    async def start(self, events: BackendEvents) -> None:
        """See `pushd.backends.interface.Backend`, here and below."""
        self._events = events
        if self._file is not None:
            events.on_revocations(self._file.open(self._wall()))
        self._sweep.start(_SWEEP_SECONDS, now=False)

    async def stop(self) -> None:
        self.presence.stop()
        if self._sweep.running:
            self._sweep.stop()
        if self._file is not None:
            await self._file.close()

    def reconfigure(self, rules: ChannelRules) -> None:
        self._log.reconfigure(rules)

    async def publish(self, drafts: Sequence[Draft], key: IdempotencyKey | None = None) -> list[Message | Refusal]:
        return [self._publish(draft) for draft in drafts]

    def subscribe(self, topic: str) -> None:
        pass  # all messages are delivered to the callbacks

    def unsubscribe(self, topic: str) -> None:
        pass

    async def audience(self, channel: str) -> Audience:
        return self._events.local_audience(channel) if self._events else NOBODY

    async def open(self, topics: Sequence[str], since: Since) -> StartPosition:
        return await self._slices.run(self._reader.open(topics, since, self._wall(), self._clock.seconds()))

    async def page(
        self, topics: Sequence[str], after: MessageId, count: int, size: int, latest_until: MessageId | None = None
    ) -> Page:
        now = self._clock.seconds()
        return await self._slices.run(self._reader.page(topics, after, count, size, now, latest_until))

    async def info(self, channel: str) -> ChannelInfo | None:
        await self._expire()
        return self._reader.info(channel)

    async def names(self, prefix: str, after: str, limit: int) -> list[str]:
        return await self._slices.run(self._reader.names(prefix, after, limit))

    async def delete(self, channel: str) -> bool:
        was_known = self._log.delete(channel)
        if was_known and self._events:
            self._events.on_deleted(channel)
        return was_known

    async def revoke(self, revocation: Revocation) -> None:
        if self._file is not None:
            await self._file.append(revocation)
        if self._events:
            self._events.on_revocations((revocation,))

    async def remember_url(self, digest: bytes, until: float) -> None:
        self._urls.add(digest, until, self._wall())

    async def is_url_remembered(self, digest: bytes) -> bool:
        return self._urls.contains(digest, self._wall())

    async def usage(self) -> Usage:
        return Usage(len(self._log), self._log.bytes, len(self._log.channels), record_bytes=self._log.channels.memory)

    def _position(self) -> MessageId:
        return MessageId(self._log.epoch, self._log.head)

    def _known_revocations(self) -> Iterable[Revocation]:
        return self._events.revocations() if self._events else ()

    def _publish(self, draft: Draft) -> Message | Refusal:
        if not draft.keep:
            message = unkept_message(draft, self._log.epoch, self._log.head, self._wall())
            if self._events:
                self._events.deliver(message, draft.exclude)
            return message
        try:
            message = self._log.append(draft, self._wall(), self._clock.seconds())
        except Refusal as refusal:
            return refusal.without_traceback()
        if events := self._events:
            if draft.exclude is None:
                events.on_message(message)
            else:
                events.on_excluding(message, draft.exclude)
        return message

    async def _expire(self) -> None:
        await self._slices.run(self._log.expire(self._clock.seconds()))


class _MemoryPresence(LocalPresence):
    """The members of a memory backend: the list and the events change in one step."""

    def __init__(self, publish: Callable[[Draft], object], *arguments: Any) -> None:
        """`publish` appends a message to the log and delivers it; the rest is that of `LocalPresence`."""
        super().__init__(*arguments)
        self._publish_draft = publish

    async def publish(self, events: Sequence[PresenceEvent]) -> None:
        """See `LocalPresence`."""
        self.publish_later(events)

    def publish_later(self, events: Sequence[PresenceEvent]) -> None:
        """See `LocalPresence`."""
        self.put_back([event for event in events if isinstance(self._publish_draft(self.draft(event)), Refusal)])
