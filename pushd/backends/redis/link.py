"""Connections to Redis, re-established when they are lost and dropped when replies are overdue.

txredisapi's own factories are not used: they queue calls without limit while Redis is unavailable, and wait up to ten
seconds before they try again.
"""

import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from txredisapi import ConnectionError as LostConnection
from txredisapi import RedisError

from pushd.backends.redis.protocols import CommandProtocol, PubSubProtocol
from pushd.core.errors import Refusal

_RETRY_SECONDS: Final = (0.1, 0.5)
"""Bounds of the random wait before the next attempt: not all nodes at once, and such that what has to happen within a
second of the end of an outage, such as closing revoked connections, does."""

A = TypeVar("A")


class NotUsable(Exception):
    """The server is not usable. The text says why, for the operator."""


P = TypeVar("P", CommandProtocol, PubSubProtocol)


class Link(Generic[P]):
    """A connection that is re-established whenever it is lost.

    :param find: returns the endpoint; called for each attempt, since a master may move.
    :param prepare: prepares a new connection, or raises an exception.
    :param changed: called whenever the connection has become usable, or is not usable any more.
    :param patience: the timeout of each step of an attempt, in seconds.
    """

    log = Logger()

    def __init__(
        self,
        name: str,
        find: Callable[[], Awaitable[IStreamClientEndpoint]],
        make: Callable[[], P],
        prepare: Callable[[P], Awaitable[None]],
        changed: Callable[[], None],
        clock: Any,
        patience: float,
    ) -> None:
        self.protocol: P | None = None
        """The connection, while it is usable."""
        self.away_since = clock.seconds()
        """When the connection was lost, in monotonic seconds; valid while there is none."""
        self.trouble = "not connected yet"
        """Why there is no connection: a phrase for the operator."""
        self._name = name
        self._find = find
        self._make: Callable[[], P] = make
        self._prepare: Callable[[P], Awaitable[None]] = prepare
        self._changed = changed
        self._clock = clock
        self._patience = patience
        self._current: P | None = None
        self._told = ""
        self._waiting: list[Deferred[None]] = []
        self._keeping: Deferred[None] | None = None
        self._is_stopping = False

    def start(self) -> None:
        """Start to connect."""
        self._keeping = Deferred.fromCoroutine(self._keep())
        self._keeping.addErrback(lambda failure: failure.trap(CancelledError) and None)

    async def stop(self) -> None:
        """Close the connection, and stop reconnecting; callers of `up` wait no longer."""
        self._is_stopping = True
        self._release_waiting()
        if self._keeping is not None:
            self._keeping.cancel()
        current = self._current
        if current is not None and current.transport is not None:
            current.transport.loseConnection()
            await _within(self._patience, _lost(current), self._clock)

    def drop(self, why: str) -> None:
        """Drop the connection and make a new one."""
        self.trouble = why
        if self._current is not None and self._current.transport is not None:
            self._current.transport.abortConnection()

    async def up(self, seconds: float) -> None:
        """Wait until the connection is usable, at most `seconds`."""
        if self.protocol is None and seconds > 0 and not self._is_stopping:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            waiting.addTimeout(seconds, self._clock, lambda *_: None)
            await waiting

    async def _keep(self) -> None:
        while not self._is_stopping:
            try:
                await self._connect()
            except (TooLate, ConnectingCancelledError):
                self._fail(f"no answer within {self._patience:g} s")
            except (RedisError, NotUsable, ConnectError, Refusal, OSError) as error:
                self._fail(str(error) or type(error).__name__)
            except CancelledError:
                raise
            except Exception as error:  # no exception may end the attempts
                if self._is_stopping:  # an attempt that is cancelled fails in ways of its own
                    return
                self.log.failure("Redis ({name}): the connection could not be prepared", name=self._name)
                self._fail(str(error) or type(error).__name__)
            if not self._is_stopping:  # an attempt that is cancelled may look like any other that failed
                await deferLater(self._clock, random.uniform(*_RETRY_SECONDS))

    async def _connect(self) -> None:
        """Connect, and return when the connection is lost."""
        endpoint = await _within(self._patience, self._find(), self._clock)
        made = self._current = self._make()
        try:
            await endpoint.connect(SingleProtocolFactory(made)).addTimeout(self._patience, self._clock)
            preparing = Deferred.fromCoroutine(_coroutine(self._prepare(made)))
            made.lost.addCallback(lambda _: preparing.cancel())
            try:
                await preparing.addTimeout(self._patience, self._clock)
            except (CancelledError, LostConnection):
                if not made.reason:
                    raise
                if made.failure:
                    raise NotUsable(made.failure) from None
                raise NotUsable(f"the connection was lost while it was prepared: {made.reason}") from None
            self.protocol, self.trouble = made, "the connection was lost"
            self._on_up()
            await _lost(made)
        finally:
            if self.protocol is not None:
                self.protocol, self.away_since = None, self._clock.seconds()
                self._changed()
            if made.transport is not None and not made.lost.called:
                made.transport.abortConnection()
        self._fail(made.failure or self.trouble)

    def _on_up(self) -> None:
        self._told = ""
        self.log.info("Redis ({name}): connected", name=self._name)
        self._changed()
        self._release_waiting()

    def _release_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.called:
                each.callback(None)

    def _fail(self, why: str) -> None:
        self.trouble = why
        if why != self._told:
            self._told = why
            self.log.warn("Redis ({name}): no connection: {why}", name=self._name, why=why)


class SingleProtocolFactory(Factory):
    """Builds one given protocol."""

    noisy = False

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: object) -> Any:
        """See `IProtocolFactory`."""
        self._protocol.factory = self
        return self._protocol


async def _coroutine(awaitable: Awaitable[A]) -> A:
    return await awaitable


async def _within(seconds: float, awaitable: Awaitable[A], clock: Any) -> A:
    return await Deferred.fromCoroutine(_coroutine(awaitable)).addTimeout(seconds, clock)


async def _lost(protocol: CommandProtocol | PubSubProtocol) -> None:
    """Wait until a connection is lost. Cancelling one wait does not affect others."""
    waiting: Deferred[None] = Deferred()

    def tell(_: None) -> None:
        if not waiting.called:
            waiting.callback(None)

    protocol.lost.addCallback(tell)
    await waiting
