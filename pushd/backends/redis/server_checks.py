"""Checks of a Redis server before it is used: its role, its version, and its policy of eviction."""

import re
from typing import Any, Final

from twisted.logger import Logger

from pushd.backends.redis.link import NotUsable
from pushd.backends.redis.protocols import CommandProtocol

_OLDEST: Final = (6, 2)
"""The oldest version of Redis that is supported; earlier ones receive no fixes any more."""
_NO_EVICTION: Final = "noeviction"
_FACT: Final = re.compile(rb"^(\w+):(.*?)\r?$", re.MULTILINE)
_NUMBER: Final = re.compile(rb"[0-9]{1,9}")


async def run_id_of(protocol: Any) -> bytes:
    """Check that a server is a Redis master of a supported version; return its run id.

    :raises NotUsable: when it is not.
    """
    role, info = await protocol.execute_command("ROLE"), await protocol.execute_command("INFO", "server")
    facts = dict(_FACT.findall(info)) if type(info) is bytes else {}
    if not role or type(role) is not list or not facts.keys() >= {b"redis_version", b"run_id"}:
        raise NotUsable("the server does not answer like a Redis server")
    if role[0] != b"master":
        raise NotUsable("it is a replica")
    version = tuple(int(part) for part in _NUMBER.findall(facts[b"redis_version"])[:2])
    if version < _OLDEST:
        raise NotUsable(f"Redis {'.'.join(map(str, version))} is too old: pushd needs 6.2 or newer")
    return facts[b"run_id"]


class EvictionWarning:
    """Logs a warning if Redis may evict keys, once for each policy."""

    log = Logger()

    def __init__(self) -> None:
        self._warned_policy = _NO_EVICTION

    async def check(self, protocol: CommandProtocol) -> None:
        """Read the policy of a server, and log the warning if it is another one than before."""
        info = await protocol.execute_command("INFO", "memory")
        policy = dict(_FACT.findall(info)).get(b"maxmemory_policy", b"noeviction").decode("ascii", "replace")
        if policy not in (_NO_EVICTION, self._warned_policy):
            self.log.warn(
                "Redis has maxmemory-policy {policy}: it may evict parts of the history, of which subscribers receive "
                "gaps, and idempotency keys; set noeviction",
                policy=policy,
            )
        self._warned_policy = policy
