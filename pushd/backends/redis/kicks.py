"""Kicks: all nodes are asked to close the connections of a subject, and reply how many they have closed.

The subject is in a key of Redis, and only the token of the kick is published: a client that may publish and not write
cannot make a node close connections.
"""

from collections.abc import Awaitable, Callable
from secrets import token_hex
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import RedisError

from pushd.backends.interface import ClosedElsewhere
from pushd.backends.redis.command_runner import CommandRunner
from pushd.backends.redis.key_names import ALL
from pushd.backends.redis.limited_log import LimitedLog
from pushd.backends.redis.node_replies import NodeReplies
from pushd.backends.redis.scripts import KICK
from pushd.core.errors import Refusal

_TIMEOUT_SECONDS: Final = 1.0
"""How long the replies are waited for: a node with 3,000 connections of a subject needs half a second."""
_MAX_REPLIES: Final = 10_000


class _Kick(NodeReplies):
    """A kick of this node, with the replies so far."""

    def __init__(self) -> None:
        super().__init__()
        self.closed: dict[str, int] = {}
        """The connections that were closed, by node."""

    def add_reply(self, node: str, closed: int) -> None:
        """Add the reply of a node; further ones of the same node are ignored."""
        if node not in self.closed and len(self.closed) < _MAX_REPLIES:
            self.closed[node] = closed
            self.count_reply()


class Kicks:
    """Asks the other nodes, and does what they ask for.

    :param prefix: of all keys in Redis.
    :param on_kick: closes the connections of a subject at this node; returns how many there were.
    """

    log = Logger()

    def __init__(
        self,
        commands: CommandRunner,
        prefix: bytes,
        node: str,
        clock: Any,
        on_kick: Callable[[str], Awaitable[int]],
    ) -> None:
        self._commands = commands
        self._keys = prefix + b"kick:"
        self._node = node
        self._clock = clock
        self._on_kick = on_kick
        self._limited_log = LimitedLog(self.log, clock)
        self._kicks: dict[str, _Kick] = {}
        """Those that wait for replies, by token, which begins with the name of the node."""

    async def kick(self, subject: str) -> ClosedElsewhere:
        """Ask the other nodes to close the connections of a subject; return how many they have closed.

        :raises Unavailable: when Redis is unavailable or accepts no writes.
        """
        token, kick = f"{self._node}-{token_hex(8)}", _Kick()
        self._kicks[token] = kick
        try:
            publishing = self._commands.call(KICK, subject.encode(), token.encode())
            unanswered = await kick.wait(publishing, _TIMEOUT_SECONDS, self._clock)
        finally:
            del self._kicks[token]
        return ClosedElsewhere(sum(kick.closed.values()), unanswered)

    def handle_message(self, raw: bytes) -> bool:
        """Handle a kick of another node or a reply; return whether it was one.

        :raises ValueError: when it is malformed.
        """
        if raw.startswith(b"kick "):
            token = raw[5:].decode("ascii")
            if not token.startswith(f"{self._node}-"):
                Deferred.fromCoroutine(self._close(token)).addErrback(self._on_failure)
            return True
        if raw.startswith(b"closed "):
            _, token, node, closed = raw.decode("ascii").split(" ")
            kick = self._kicks.get(token)
            if kick is not None:
                kick.add_reply(node, max(int(closed), 0))
            return True
        return False

    async def _close(self, token: str) -> None:
        """Read whose connections are to be closed, close them, and reply."""
        protocol = self._commands.link.protocol
        if protocol is None:
            return
        subject = await protocol.execute_command(b"GET", self._keys + token.encode())
        if subject is not None:
            closed = await self._on_kick(subject.decode("utf-8", "replace"))
            await self._commands.publish(ALL, f"closed {token} {self._node} {closed}".encode())

    def _on_failure(self, failure: Failure) -> None:
        if failure.check(RedisError, Refusal):
            self._limited_log.warn(
                "Redis: the kick of another node cannot be read or answered: {error}", error=failure.getErrorMessage()
            )
        else:
            self.log.failure("Closing the connections of a subject failed", failure)
