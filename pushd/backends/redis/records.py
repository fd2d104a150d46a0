"""The records of dialects in Redis; see `pushd.backends.records`."""

from pushd.backends.records import OwnedRecord
from pushd.backends.redis.command_runner import CommandRunner
from pushd.backends.redis.scripts import RECORD


class RedisRecords:
    """The records of all nodes.

    :param node: the id of this node.
    """

    def __init__(self, commands: CommandRunner, node: str) -> None:
        self._commands = commands
        self._node = node

    async def take(self, key: str, seconds: float) -> OwnedRecord | None:
        """See `Records`."""
        return _record(await self._commands.call(RECORD, key, "take", self._node, round(seconds * 1000), ""))

    async def read(self, key: str) -> OwnedRecord | None:
        """See `Records`."""
        return _record(await self._commands.call(RECORD, key, "read", self._node, 0, ""))

    async def save(self, key: str, data: bytes, seconds: float) -> bool:
        """See `Records`."""
        return bool(await self._commands.call(RECORD, key, "save", self._node, round(seconds * 1000), data))

    async def delete(self, key: str) -> None:
        """See `Records`."""
        await self._commands.call(RECORD, key, "delete", self._node, 0, "")


def _record(reply: list[bytes]) -> OwnedRecord | None:
    return OwnedRecord(reply[0].decode(), reply[1]) if reply else None
