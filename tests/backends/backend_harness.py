"""A harness for a backend of any kind: it records the callbacks, and shortens requests."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import Clock

from pushd.backends.interface import Backend, BackendEvents, PublishResult
from pushd.core.channel_rules import ChannelRules
from pushd.core.cursor import EVERYTHING, MessageId, Since
from pushd.core.gap_reports import GapReports
from pushd.core.history import Bounds
from pushd.core.message import Draft, Gap, Message, draft
from pushd.core.replay import ChannelInfo, Page, StartPosition
from pushd.core.revocations import Revocation, Revocations

Make = Callable[[Bounds, ChannelRules], Backend]
"""Returns a new backend with given bounds and rules for channels, not started."""
Wait = Callable[[float], Awaitable[None]]
"""Waits until seconds have passed by the clock of the backend."""

ALL = 1 << 30
"""More bytes than any history has."""


class ManualClock(Clock):
    """A clock that only the test advances, with `callFromThread` of the real reactor."""

    def __init__(self) -> None:
        super().__init__()
        self.rightNow = 1000.0
        self.wall_offset = 0.0
        """Seconds by which the wall clock was set forward."""

    def wall(self) -> float:
        """Return the time in unix seconds."""
        return self.seconds() + self.wall_offset

    def callFromThread(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """See `IReactorFromThreads`."""
        from twisted.internet import reactor

        IReactorFromThreads(reactor).callFromThread(call, *args, **kwargs)


class BackendHarness:
    """A backend with its callbacks recorded."""

    def __init__(self, backend: Backend, wait: Callable[[float], Awaitable[None]]) -> None:
        self.backend = backend
        self.wait = wait
        self.delivered: list[Message] = []
        """The messages that were passed to `on_message`."""
        self.deleted: list[str] = []
        """The channels that were passed to `on_deleted`."""
        self.health_reasons: list[str | None] = []
        self.on_delivered: Callable[[Message], None] = lambda message: None
        """Called with each message as it is delivered."""
        self.revocations = Revocations()
        """What was passed to `on_revocations`."""
        self.kicked: list[str] = []
        """The subjects that were passed to `on_kick`."""
        self._is_running = False

    async def _on_kick(self, subject: str) -> int:
        self.kicked.append(subject)
        return 1

    async def start(self) -> None:
        """Start the backend."""
        events = BackendEvents(self._on_message, self.deleted.append, self.health_reasons.append)
        await self.backend.start(
            events._replace(
                on_revocations=self._on_revocations,
                revocations=lambda: self.revocations,
                on_kick=self._on_kick,
            )
        )
        self._is_running = True

    async def stop(self) -> None:
        """Stop the backend, if it runs."""
        if self._is_running:
            self._is_running = False
            await self.backend.stop()

    # Requests

    async def publish(self, channel: str, data: bytes = b"x", **rest: Any) -> Message:
        """Publish one message, which must be accepted."""
        (accepted,) = await self.backend.publish([draft(channel, data, **rest)])
        assert isinstance(accepted, Message), accepted
        return accepted

    async def publish_each(self, channels: str) -> list[Message]:
        """Publish to channels of one letter each, one message after the other."""
        return [await self.publish(channel) for channel in channels]

    async def bytes(self) -> int:
        """Return `Usage.bytes`."""
        size = (await self.backend.usage()).bytes
        assert size is not None
        return size

    async def publish_all(self, *drafts: Draft) -> Sequence[PublishResult]:
        """Publish several messages at once; return the results."""
        return await self.backend.publish(drafts)

    async def open(self, topics: str, since: Since) -> StartPosition:
        """Open `topics`, separated by commas."""
        return await self.backend.open(tuple(topics.split(",")), since)

    async def page(
        self,
        topics: str,
        after: MessageId,
        count: int = 10_000,
        size: int = ALL,
        latest_until: MessageId | None = None,
    ) -> Page:
        """Read one page."""
        return await self.backend.page(tuple(topics.split(",")), after, count, size, latest_until)

    async def replay(
        self, topics: str, start_position: StartPosition, count: int = 10_000, size: int = ALL
    ) -> tuple[list[Message], list[Gap]]:
        """Read all pages from a start position; return the messages, and each new gap once."""
        messages: list[Message] = []
        reports = GapReports()
        gaps = reports.opened(start_position)
        position, complete = start_position.position, not start_position.needs_replay
        while not complete:
            page = await self.page(topics, position, count, size)
            gaps += reports.of_page(page)
            messages += page.messages
            assert len(page.messages) <= count
            assert page.position.seq >= max([each.seq for each in page.messages], default=0)
            assert page.is_last or page.position.seq > position.seq, "page makes no progress"
            position, complete = page.position, page.is_last
        return messages, gaps

    async def replay_since(
        self, topics: str, since: Since, count: int = 10_000, size: int = ALL
    ) -> tuple[list[Message], list[Gap]]:
        """Open topics and read all pages; return the messages and the gaps."""
        return await self.replay(topics, await self.open(topics, since), count, size)

    async def stored(self, topics: str = "**", since: Since = EVERYTHING) -> list[Message]:
        """Return all stored messages of topics."""
        return (await self.replay_since(topics, since))[0]

    async def info(self, channel: str) -> ChannelInfo:
        """Return the state of a channel, which must exist."""
        info = await self.backend.info(channel)
        assert info is not None
        return info

    def _on_revocations(self, revocations: Sequence[Revocation]) -> None:
        self.revocations.add(revocations, 0)

    def _on_message(self, message: Message) -> None:
        self.delivered.append(message)
        self.on_delivered(message)


def ids(messages: list[Message]) -> list[str]:
    """Return the ids of messages."""
    return [message.id for message in messages]


def cursor(message: Message) -> MessageId:
    """Return the cursor of a client that has everything up to a message."""
    return MessageId(message.epoch, message.seq)
