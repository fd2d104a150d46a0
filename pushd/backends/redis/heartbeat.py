"""The pulse: a sign of life that goes through Redis and comes back by the way that messages take.

Its age is the health.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from txredisapi import RedisError

from pushd.backends.redis.command_runner import CommandRunner
from pushd.backends.redis.scripts import BEAT
from pushd.core.errors import Refusal

HEARTBEAT_SECONDS: Final = 1.0
OVERDUE_SECONDS: Final = 4.0
"""The age at which the connection that listens counts as dead."""
_NODE_MILLISECONDS: Final = 10_000
"""How long a node counts as alive after a beat."""


class HeartbeatReply(msgspec.Struct, array_like=True):
    """What a beat tells."""

    epoch: str
    head: int
    beyond: int
    now: int
    """The time of Redis, in unix milliseconds."""
    nodes: int
    is_tidy: bool
    """Whether nothing more is too old."""


_decode = msgspec.msgpack.Decoder(HeartbeatReply).decode


class Heartbeat:
    """Beats, and how long ago one came back.

    :param beaten: is called with what each beat told, and when it was sent.
    :param looked: is called after each attempt.
    """

    log = Logger()

    def __init__(
        self,
        commands: CommandRunner,
        node: str,
        age: float,
        clock: Any,
        beaten: Callable[[HeartbeatReply, float], None],
        looked: Callable[[], None],
    ) -> None:
        self.trouble: str | None = None
        """Why the last beat did not go out."""
        self._commands = commands
        self._node = node
        self._age = round(age * 1000)
        self._clock = clock
        self._beaten = beaten
        self._looked = looked
        self._number = 0
        self._back = clock.seconds()
        self._loop = LoopingCall(self._send_next)
        self._loop.clock = clock

    @property
    def silence(self) -> float:
        """How many seconds ago a beat came back, or the connection began."""
        return float(self._clock.seconds() - self._back)

    def start(self) -> None:
        """Begin to beat."""
        self._loop.start(HEARTBEAT_SECONDS).addErrback(
            lambda failure: self.log.failure("Redis heartbeat stopped by an internal error; no more are sent", failure)
        )

    def stop(self) -> None:
        """Beat no more."""
        if self._loop.running:
            self._loop.stop()

    def returned(self, _: int = 0) -> None:
        """Know that a beat came back, or that the connection that listens is fresh."""
        self._back = self._clock.seconds()

    def _send_next(self) -> None:
        Deferred.fromCoroutine(self._send()).addErrback(
            lambda failure: self.log.failure("Redis heartbeat failed by an internal error; trying again", failure)
        )
        self._looked()

    async def _send(self) -> None:
        protocol = self._commands.link.protocol
        if protocol is None:
            return
        self._number += 1
        sent = self._clock.seconds()
        arguments = (self._age, self._node, self._number, _NODE_MILLISECONDS)
        try:
            beat = _decode(await self._commands.call_over(protocol, BEAT, *arguments))
        except (RedisError, Refusal) as error:
            self.trouble = str(error)
        else:
            self.trouble = None
            self._beaten(beat, sent)
        self._looked()
