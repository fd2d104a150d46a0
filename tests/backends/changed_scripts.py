"""Scripts of a Redis backend with changes that only tests need: a clock that they set forward, shorter limits."""

from functools import cache
from hashlib import sha1
from typing import Final

from pushd.backends.redis.backend import RedisBackend
from pushd.backends.redis.protocols import CommandProtocol
from pushd.backends.redis.scripts import Script
from tests.backends.redis_server import RedisServer

Change = tuple[bytes, bytes]
"""What is replaced in the source of scripts, and by what."""

_AHEAD: Final = "test:ahead"
"""The key with the microseconds by which the clock is set forward."""
_TIME: Final = b"local clock = redis.call('TIME')\n"
ADVANCED: Final[Change] = (_TIME, _TIME + b"clock[2] = clock[2] + (redis.call('GET', 'test:ahead') or 0)\n")
"""The change with which `advance` sets the clock of scripts forward."""


def change_scripts(backend: RedisBackend, change: Change) -> None:
    """Make a backend call scripts with a change."""
    commands = backend._commands
    call_over = commands.call_over

    async def call_changed(protocol: CommandProtocol, script: Script, *args: object) -> object:
        return await call_over(protocol, _changed(script, change), *args)

    commands.call_over = call_changed  # type: ignore[method-assign]


def advance(redis: RedisServer, seconds: float) -> None:
    """Set the clock of scripts forward, until the Redis is flushed."""
    redis.ask("INCRBY", _AHEAD, str(round(seconds * 1e6)))


@cache
def _changed(script: Script, change: Change) -> Script:
    source = script.source.replace(*change)
    return Script(script.name, source, sha1(source, usedforsecurity=False).hexdigest().encode("ascii"))
