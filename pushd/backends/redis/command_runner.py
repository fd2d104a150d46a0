"""Scripts, called over the one connection for commands, with a deadline, and never while Redis is known to be away."""

import re
from secrets import token_hex
from typing import Any, Final

from txredisapi import ConnectionError as LostConnection
from txredisapi import ResponseError

from pushd.backends.redis.link import Link
from pushd.backends.redis.protocols import CommandProtocol
from pushd.backends.redis.scripts import Script
from pushd.core.errors import Unavailable

_REASONS: Final = {
    "OOM": "Redis has no memory left",
    "READONLY": "this Redis is a replica and accepts no writes",
    "MISCONF": "Redis cannot save to its disk and accepts no writes",
    "NOREPLICAS": "Redis has too few replicas and accepts no writes",
    "LOADING": "Redis is loading its data",
    "MASTERDOWN": "this Redis has lost its master",
    "NOPERM": "the Redis user lacks a permission that pushd needs",
    "NOAUTH": "Redis requires a password",
    "BUSY": "Redis is busy with a script of another client",
}
_REASON = re.compile(rf"(?:^|[ -])({'|'.join(_REASONS)})\b")
_MOVED: Final = frozenset(("READONLY", "MASTERDOWN"))
"""Answers of a Redis that is not the master any more: the connection leads to the wrong one."""


class CommandRunner:
    """The way to Redis for everything but listening.

    :param prefix: of all keys. :param feed: of all channels of pub/sub.
    :param patience: seconds that anybody waits at most.
    """

    def __init__(self, prefix: str, feed: str, clock: Any, patience: float) -> None:
        self.link: Link[CommandProtocol]
        self.run = b""
        """The run of Redis to which the connection leads; it changes with a restart and a failover."""
        self.feed = feed.encode()
        self._prefix = prefix.encode()
        self._clock = clock
        self._patience = patience

    @property
    def is_unavailable(self) -> bool:
        """Whether Redis has been away for so long that nobody needs to wait for it."""
        return self.link.protocol is None and self._clock.seconds() - self.link.away_since >= self._patience

    def unavailable(self) -> Unavailable:
        """Return the refusal for calls made while Redis is unavailable."""
        return Unavailable(f"Redis is away: {self.link.trouble}")

    async def call(self, script: Script, *args: object) -> Any:
        """Call a script that may be called twice; give what it gives.

        :raises Unavailable: Redis is away or takes nothing, or did not answer in time.
        """
        until = self._clock.seconds() + self._patience
        while True:
            protocol = await self._connection(until)
            try:
                return await self.call_over(protocol, script, *args)
            except LostConnection:
                continue

    async def call_over(self, protocol: CommandProtocol, script: Script, *args: object) -> Any:
        """Call a script over a given connection.

        :raises Unavailable: Redis takes nothing now.
        :raises LostConnection: it is not known whether the script ran.
        """
        rest = (b"1", self._prefix + b"log", self._prefix, token_hex(5), self.run, self.feed, *args)
        try:
            try:
                return await protocol.execute_command(b"EVALSHA", script.sha, *rest)
            except ResponseError as error:
                if not str(error).startswith("NOSCRIPT"):
                    raise
                return await protocol.execute_command(b"EVAL", script.source, *rest)
        except ResponseError as error:
            raise self._refusal(error) from None

    async def publish(self, channel: bytes, payload: bytes) -> int:
        """Say something on pub/sub that is no message of the log; give to how many connections."""
        protocol = await self._connection(self._clock.seconds() + self._patience)
        try:
            return int(await protocol.execute_command(b"PUBLISH", self.feed + channel, payload))
        except LostConnection:
            raise self.unavailable() from None
        except ResponseError as error:
            raise self._refusal(error) from None

    async def _connection(self, until: float) -> CommandProtocol:
        if self.link.protocol is None and not self.is_unavailable:
            await self.link.up(until - self._clock.seconds())
        if self.link.protocol is None or self._clock.seconds() >= until:
            raise self.unavailable()
        return self.link.protocol

    def _refusal(self, error: ResponseError) -> Exception:
        found = _REASON.search(str(error))
        if not found:
            return error
        if found[1] in _MOVED:
            self.link.drop(_REASONS[found[1]])
        return Unavailable(_REASONS[found[1]])
