"""A backend at work: what is asked of it in few words, and all that it calls back."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import Clock

from pushd.backends.interface import Backend, BackendEvents, PublishResult
from pushd.core.cursor import EVERYTHING, MessageId, Since
from pushd.core.history import Bounds
from pushd.core.message import Draft, Gap, Message, draft
from pushd.core.replay import ChannelInfo, Page, StartPosition

Make = Callable[[Bounds], Backend]
"""Makes a backend that was not started yet."""
Wait = Callable[[float], Awaitable[None]]
"""Lets seconds pass."""

ALL = 1 << 30


class StageClock(Clock):
    """A clock that only the test moves, on a reactor whose threads are real."""

    def __init__(self) -> None:
        super().__init__()
        self.rightNow = 1000.0
        self.set_by = 0.0
        """By how much somebody has set the wall clock."""

    def wall(self) -> float:
        """Give unix seconds."""
        return self.seconds() + self.set_by

    def callFromThread(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """See `IReactorFromThreads`."""
        from twisted.internet import reactor

        IReactorFromThreads(reactor).callFromThread(call, *args, **kwargs)


class Stage:
    """A backend between its start and its stop."""

    def __init__(self, backend: Backend, wait: Callable[[float], Awaitable[None]]) -> None:
        self.backend = backend
        self.wait = wait
        self.heard: list[Message] = []
        """What came by callback."""
        self.forgotten: list[str] = []
        self.health_reasons: list[str | None] = []
        self.when_heard: Callable[[Message], None] = lambda message: None
        """Is called with each message as it comes."""
        self._is_running = False

    async def start(self) -> None:
        """Start the backend."""
        await self.backend.start(BackendEvents(self._hear, self.forgotten.append, self.health_reasons.append))
        self._is_running = True

    async def stop(self) -> None:
        """Stop it, once."""
        if self._is_running:
            self._is_running = False
            await self.backend.stop()

    # Ask

    async def publish(self, channel: str, data: bytes = b"x", **rest: Any) -> Message:
        """Publish one message, which must be accepted."""
        (accepted,) = await self.backend.publish([draft(channel, data, **rest)])
        assert isinstance(accepted, Message), accepted
        return accepted

    async def publish_each(self, channels: str) -> list[Message]:
        """Publish to channels of one letter each, one after the other."""
        return [await self.publish(channel) for channel in channels]

    async def bytes(self) -> int:
        """Return how many bytes the history takes."""
        held = (await self.backend.usage()).bytes
        assert held is not None
        return held

    async def try_all(self, *drafts: Draft) -> Sequence[PublishResult]:
        """Publish several at once, accepted or not."""
        return await self.backend.publish(drafts)

    async def open(self, topics: str, since: Since) -> StartPosition:
        """Open at `topics`, joined by commas."""
        return await self.backend.open(tuple(topics.split(",")), since)

    async def page(self, topics: str, after: MessageId, count: int = 10_000, size: int = ALL) -> Page:
        """Read one page."""
        return await self.backend.page(tuple(topics.split(",")), after, count, size)

    async def follow(
        self, topics: str, opening: StartPosition, count: int = 10_000, size: int = ALL
    ) -> tuple[list[Message], list[Gap]]:
        """Read from an opening to the end; give the messages and the gaps that are news, once each."""
        messages: list[Message] = []
        gaps = list(opening.gaps)
        told = {(gap.topic, gap.end) for gap in (*opening.gaps, *opening.known_gaps)}
        position, complete = opening.position, not opening.needs_replay
        while not complete:
            page = await self.page(topics, position, count, size)
            gaps += [gap for gap in page.gaps if (gap.topic, gap.end) not in told]
            told |= {(gap.topic, gap.end) for gap in page.gaps}
            messages += page.messages
            assert len(page.messages) <= count
            assert page.position.seq >= max([each.seq for each in page.messages], default=0)
            assert page.is_last or page.position.seq > position.seq, "a page that does not get on"
            position, complete = page.position, page.is_last
        return messages, gaps

    async def come_back(
        self, topics: str, since: Since, count: int = 10_000, size: int = ALL
    ) -> tuple[list[Message], list[Gap]]:
        """Open and read to the end; give the messages and the gaps that are told."""
        return await self.follow(topics, await self.open(topics, since), count, size)

    async def kept(self, topics: str = "**", since: Since = EVERYTHING) -> list[Message]:
        """Give all that is kept."""
        return (await self.come_back(topics, since))[0]

    async def info(self, channel: str) -> ChannelInfo:
        """Give what is known of a channel, which must be something."""
        info = await self.backend.info(channel)
        assert info is not None
        return info

    def _hear(self, message: Message) -> None:
        self.heard.append(message)
        self.when_heard(message)


def ids(messages: list[Message]) -> list[str]:
    """Give the ids of messages."""
    return [message.id for message in messages]


def cursor(message: Message) -> MessageId:
    """Give the cursor of one who heard all up to a message."""
    return MessageId(message.epoch, message.seq)
