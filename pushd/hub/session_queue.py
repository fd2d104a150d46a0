"""The queue of a session: the commands of a two-way peer, executed one after the other, each with its replay.

So replies are in order, and commands wait while the peer does not read.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Generic, NamedTuple, Protocol, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.auth.authenticator import NO_AUTHENTICATION, Authenticator
from pushd.core.delivery import Wire
from pushd.core.errors import InternalError, NoRoom, Refusal
from pushd.core.subscriber import Subscriber, SubscriberClosed
from pushd.hub.hub import Hub
from pushd.net.eager_task import run_eagerly

_TURN_SECONDS = 0.01
"""Seconds for which the commands of one session are executed before the reactor has its turn."""
_ITEM_BYTES = 64
"""Bytes of memory of a waiting item besides its text."""

T = TypeVar("T")


class SessionContext(NamedTuple):
    """What all sessions of a transport share."""

    hub: Hub
    clock: IReactorTime
    formats: Mapping[str, Wire]
    """The wires that a peer may choose, by name."""
    authenticator: Authenticator = NO_AUTHENTICATION


class SessionConnection(Protocol[T]):
    """The connection of a session. An item is a command as the transport has received it."""

    async def execute(self, items: deque[T]) -> None:
        """Take one item, or several that belong together, from the left, and execute them.

        Refusals are answered here; any other exception closes the connection.
        """

    def on_idle(self) -> None:
        """Called when all items have been executed and the connection is open."""

    def close(self, why: Refusal) -> None:
        """Close the connection."""


class SessionQueue(Generic[T]):
    """The base class of a session: its subscriber and its waiting commands.

    It has no reference to its connection, which would be a reference cycle that only the garbage collector frees.
    """

    __slots__ = ("_context", "_held", "_items", "_subscriber")

    log = Logger()

    def __init__(self, context: SessionContext, subscriber: Subscriber) -> None:
        self._context = context
        self._subscriber = subscriber
        self._items: deque[T] | None = None
        """The items that wait while others are executed; None while nothing is executed, since most peers only
        receive."""
        self._held = 0
        """Bytes of memory of the items that had to wait, until all are executed."""

    @property
    def is_busy(self) -> bool:
        """Whether an item is being executed or waits."""
        return self._items is not None

    def put(self, items: Sequence[T], connection: SessionConnection[T]) -> None:
        """Queue items, and execute them in their order as soon as the peer has read what was sent before.

        Those that wait are charged to the memory budget; the connection is closed when it is exceeded.
        """
        if self._items is not None:
            self._items.extend(items)
        elif items:
            self._items = deque(items)
            run_eagerly(self._execute_all(self._items, connection), partial(self._on_error, connection))
        if self._items and items:
            self._held += sum([_ITEM_BYTES + (len(item) if isinstance(item, bytes) else 0) for item in items])
            try:
                self._subscriber.hold_commands(self._held)
            except NoRoom as refusal:
                self._context.hub.disconnect(self._subscriber, refusal)

    def clear(self) -> None:
        """Discard the waiting items; the one that is being executed continues."""
        if self._items is not None:
            self._items.clear()

    async def _execute_all(self, items: deque[T], connection: SessionConnection[T]) -> None:
        clock, subscriber = self._context.clock, self._subscriber
        until = clock.seconds() + _TURN_SECONDS
        try:
            while items:
                if clock.seconds() > until:
                    await deferLater(clock, 0)
                    until = clock.seconds() + _TURN_SECONDS
                if subscriber.is_paused:
                    await self._context.hub.drained(subscriber)
                if items:
                    await connection.execute(items)
        except SubscriberClosed:
            return
        finally:
            self._items = None
            if self._held:
                self._held = 0
                subscriber.hold_commands(0)
        if not subscriber.is_closed:
            connection.on_idle()

    def _on_error(self, connection: SessionConnection[T], failure: Failure) -> None:
        peer = self._subscriber.peer
        self.log.failure("{peer}: a command failed with an internal error: closing the connection", failure, peer=peer)
        if not self._subscriber.is_closed:
            connection.close(InternalError("internal error; the log of the daemon has the details"))
