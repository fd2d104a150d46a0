"""Calls of scripts over the command connection, with a timeout; they fail at once while Redis is unavailable."""

import re
from secrets import token_hex
from typing import Any, Final

from twisted.logger import Logger
from txredisapi import ConnectionError as LostConnection
from txredisapi import ResponseError

from pushd.backends.redis.limited_log import LimitedLog
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
_SHOWN: Final = 300
"""The most characters of an unknown error in the log."""
_MOVED: Final = frozenset(("READONLY", "MASTERDOWN"))
"""Errors of a Redis that is not the master any more, so that the connection has to be replaced."""


class CommandRunner:
    """Runs everything except subscriptions.

    :param prefix: the prefix of all keys.
    :param feed: the prefix of all pub/sub channels.
    :param patience: the timeout of a call, in seconds.
    """

    log = Logger()

    def __init__(self, prefix: str, feed: str, clock: Any, patience: float) -> None:
        self.link: Link[CommandProtocol]
        self.run = b""
        """The run id of the connected Redis; it changes with a restart and a failover."""
        self.epoch = ""
        """The epoch of the log as of the last heartbeat."""
        self.feed = feed.encode()
        self._prefix = prefix.encode()
        self._clock = clock
        self._patience = patience
        self._limited_log = LimitedLog(self.log, clock)

    @property
    def is_unavailable(self) -> bool:
        """Whether Redis has been unavailable for longer than the timeout, so that calls fail at once."""
        return self.link.protocol is None and self._clock.seconds() - self.link.away_since >= self._patience

    def unavailable(self) -> Unavailable:
        """Return the refusal for calls made while Redis is unavailable."""
        return Unavailable(f"Redis is unavailable: {self.link.trouble}")

    async def call(self, script: Script, *args: object) -> Any:
        """Call a script that may be called twice; return its reply.

        :raises Unavailable: when Redis is unavailable, accepts no writes, or did not reply in time.
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

        :raises Unavailable: when Redis accepts no writes now.
        :raises LostConnection: when it is unknown whether the script has run.
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
        """Publish something on pub/sub that is not in the log; return the number of receiving connections."""
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

    def _refusal(self, error: ResponseError) -> Unavailable:
        found = _REASON.search(str(error))
        if not found:
            self._limited_log.warn(
                "Redis refused a command, so requests are refused as unavailable: {error}", error=str(error)[:_SHOWN]
            )
            return Unavailable("Redis refused a command; the log of the daemon has its error")
        if found[1] in _MOVED:
            self.link.drop(_REASONS[found[1]])
        return Unavailable(_REASONS[found[1]])
