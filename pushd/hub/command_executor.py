"""A session: a two-way peer, whatever carries it. Commands in; outcomes and frames out.

Commands are obeyed one after the other, a replay included, so that answers come in order and what a peer asks
for waits while the peer does not read.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from pushd.core.command import (
    Acknowledged,
    Authenticate,
    Command,
    CommandList,
    FormatSet,
    Goodbye,
    Help,
    HistoryResult,
    Ping,
    Pong,
    Published,
    PublishMessage,
    Quit,
    ReadHistory,
    ReadStatus,
    Reply,
    SetFormat,
    StatusResult,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)
from pushd.core.cursor import NOW, Since
from pushd.core.delivery import Wire
from pushd.core.errors import BadCommand, Forbidden, Refusal
from pushd.core.message import Draft
from pushd.core.names import Scope
from pushd.core.subscriber import Subscriber
from pushd.hub.hub import Hub
from pushd.hub.publishing import Receipt
from pushd.net.eager_task import run_eagerly

_TURN_SECONDS = 0.01
"""How long one peer is obeyed before the reactor has its turn."""
_HISTORY_BYTES = 4 << 20
"""What one answer from the history holds at most: the default history of a channel."""


class CommandExecutor:
    """What a two-way peer can do.

    :param formats: the wires among which it can choose, by name.
    :param scope: the topics to which it is confined, for reading and writing; None: it is not.
    """

    __slots__ = ("_formats", "_hub", "_scope", "subscriber")

    def __init__(
        self, hub: Hub, subscriber: Subscriber, formats: Mapping[str, Wire], scope: Scope | None = None
    ) -> None:
        self.subscriber = subscriber
        self._hub = hub
        self._formats = formats
        self._scope = scope

    async def execute(self, command: Command, answer: Callable[[Reply], None]) -> None:
        """Do what is asked. `answer` is called once, before the first frame that comes of it.

        :raises Refusal: it can not be done; nothing was answered.
        """
        match command:
            case PublishMessage(draft):
                self._check_scope((draft.channel,))
                receipt = await self._hub.publish(draft)
                answer(Published(receipt.id, receipt.subscribers, receipt.is_local))
            case Subscribe(topics, since, slow):
                self._check_scope(topics)
                if slow is not None:
                    self.subscriber.policy = slow
                await self.subscribe(topics, since, answer)
            case Unsubscribe(topics):
                answer(Unsubscribed(tuple(self._hub.unsubscribe(self.subscriber, topics))))
            case ReadHistory(topics, count):
                self._check_scope(topics)
                recalled = await self._hub.history(topics, NOW, count, _HISTORY_BYTES)
                answer(HistoryResult(topics, tuple(recalled.messages)))
            case ReadStatus(channel):
                self._check_scope((channel,))
                answer(StatusResult(*await self._hub.status(channel)))
            case SetFormat(name):
                self._choose(name)
                answer(FormatSet(name))
            case Ping(token):
                answer(Pong(token))
            case Authenticate():
                answer(Acknowledged())
            case Help():
                answer(CommandList())
            case Quit():
                answer(Goodbye())

    async def publish(self, drafts: Sequence[Draft | Refusal]) -> Sequence[Receipt | Refusal]:
        """Publish what was asked for together; a refusal stands for what could not be read."""
        if self._scope is not None:
            drafts = [self._within_scope(draft) for draft in drafts]
        return await self._hub.publish_all(drafts)

    async def subscribe(self, topics: Sequence[str], since: Since, answer: Callable[[Reply], None]) -> None:
        """Say yes, then replay, then live.

        :raises Refusal: it can not be done.
        """
        bare = self.subscriber.wire.data_only
        opening = await self._hub.subscribe(self.subscriber, topics, since)
        answer(Subscribed(tuple(topics), opening.gaps[0].reason if bare and opening.gaps else None))
        await self._hub.replay_and_go_live(self.subscriber, opening, report_gaps=not bare)

    def _check_scope(self, topics: Iterable[str]) -> None:
        """Check that each of some topics is within the scope of the peer.

        :raises Forbidden: one is not; the text names the first.
        """
        scope = self._scope
        if scope is None:
            return
        for topic in topics:
            if not scope.covers(topic):
                raise Forbidden(f"{topic} is not covered by the topics in the address of this connection")

    def _within_scope(self, draft: Draft | Refusal) -> Draft | Refusal:
        """Return the draft, or the refusal that stands for it where its channel is outside the scope."""
        try:
            if not isinstance(draft, Refusal):
                self._check_scope((draft.channel,))
        except Forbidden as refusal:
            return refusal.without_traceback()
        return draft

    def _choose(self, name: str) -> None:
        if name not in self._formats:
            raise BadCommand(f"format must be one of {', '.join(self._formats)}")
        self.subscriber.wire = self._formats[name]


T = TypeVar("T")


class CommandQueue(Generic[T]):
    """What a peer has asked and was not obeyed yet: one thing at a time, and none while the peer does not read.

    :param obey: takes one thing, or several that can be done together, from the left, and does them; a refusal is its
        own to tell.
    :param drained: is called when all is done, be it at once. An inbox may be let go then: a peer that only listens
        needs none.
    """

    __slots__ = ("_clock", "_drained", "_execute", "_is_serving", "_items", "_on_error", "_on_idle")

    def __init__(
        self,
        clock: IReactorTime,
        drained: Callable[[], Awaitable[None]],
        execute: Callable[[deque[T]], Awaitable[None]],
        on_error: Callable[[Failure], None],
        on_idle: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._drained = drained
        self._execute = execute
        self._on_error = on_error
        self._on_idle = on_idle
        self._items: deque[T] = deque()
        self._is_serving = False

    def __bool__(self) -> bool:
        """Whether anything is not done yet."""
        return self._is_serving

    def put(self, items: Iterable[T]) -> None:
        """Take what the peer asks, in its order."""
        self._items.extend(items)
        if self._items and not self._is_serving:
            self._is_serving = True
            run_eagerly(self._serve(), self._on_error)

    def clear(self) -> None:
        """Do nothing more; what is being done goes on to its end."""
        self._items.clear()

    async def _serve(self) -> None:
        until = self._clock.seconds() + _TURN_SECONDS
        try:
            while self._items:
                if self._clock.seconds() > until:
                    await deferLater(self._clock, 0)
                    until = self._clock.seconds() + _TURN_SECONDS
                await self._drained()
                if self._items:
                    await self._execute(self._items)
        finally:
            self._is_serving = False
        self._on_idle()
