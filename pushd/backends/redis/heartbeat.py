"""The heartbeat: a message through Redis and back over pub/sub, like any message. Its age is the health of the node."""

from collections import deque
from collections.abc import Callable
from secrets import token_hex
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
"""Age of the last heartbeat at which the pub/sub connection counts as dead."""
_NODE_MILLISECONDS: Final = 10_000
"""How long a node counts as alive after a heartbeat."""
_TOKENS: Final = 8
"""The number of heartbeats that may be on their way."""


class HeartbeatReply(msgspec.Struct, array_like=True):
    """The reply to a heartbeat."""

    epoch: str
    head: int
    beyond: int
    now: int
    """The time of Redis, in unix milliseconds."""
    nodes: int
    is_tidy: bool
    """Whether no expired message is left."""
    revocations: str
    """The stamp of the revocations; empty if there are none."""


_decode = msgspec.msgpack.Decoder(HeartbeatReply).decode


class Heartbeat:
    """Sends heartbeats, and records when one has returned.

    :param on_reply: called with each reply, and the time at which the heartbeat was sent.
    :param on_attempt: called after each attempt.
    """

    log = Logger()

    def __init__(
        self,
        commands: CommandRunner,
        node: str,
        age: float,
        clock: Any,
        on_reply: Callable[[HeartbeatReply, float], None],
        on_attempt: Callable[[], None],
    ) -> None:
        self.trouble: str | None = None
        """Why the last heartbeat was not sent; None when it was."""
        self._commands = commands
        self._node = node
        self._age = round(age * 1000)
        self._clock = clock
        self._on_reply = on_reply
        self._on_attempt = on_attempt
        self._tokens: deque[str] = deque(maxlen=_TOKENS)
        """The random tokens of the last heartbeats, so that no other client of Redis can forge one."""
        self._back = clock.seconds()
        self._loop = LoopingCall(self._send_next)
        self._loop.clock = clock

    @property
    def silence(self) -> float:
        """Seconds since the last heartbeat returned, or since the connection was made."""
        return float(self._clock.seconds() - self._back)

    def start(self) -> None:
        """Start to send heartbeats."""
        self._loop.start(HEARTBEAT_SECONDS).addErrback(
            lambda failure: self.log.failure("Redis heartbeat stopped by an internal error; no more are sent", failure)
        )

    def stop(self) -> None:
        """Stop sending heartbeats."""
        if self._loop.running:
            self._loop.stop()

    def returned(self, token: str) -> bool:
        """Called when a heartbeat has come back; return whether this node has sent it."""
        if token not in self._tokens:
            return False
        self._tokens.remove(token)
        self.restart()
        return True

    def restart(self) -> None:
        """Called when the pub/sub connection is new."""
        self._back = self._clock.seconds()

    def _send_next(self) -> None:
        Deferred.fromCoroutine(self._send()).addErrback(
            lambda failure: self.log.failure("Redis heartbeat failed by an internal error; trying again", failure)
        )
        self._on_attempt()

    async def _send(self) -> None:
        protocol = self._commands.link.protocol
        if protocol is None:
            return
        self._tokens.append(token_hex(8))
        sent = self._clock.seconds()
        arguments = (self._age, self._node, self._tokens[-1], _NODE_MILLISECONDS)
        try:
            reply = _decode(await self._commands.call_over(protocol, BEAT, *arguments))
        except (RedisError, Refusal) as error:
            self.trouble = str(error)
        else:
            self.trouble = None
            self._on_reply(reply, sent)
        self._on_attempt()
