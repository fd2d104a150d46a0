"""What subjects and addresses have at all nodes: counts that hang on the leases of nodes, and token buckets."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from itertools import chain
from typing import Any, Final, TypeVar

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TooLate
from txredisapi import ConnectionError as LostConnection

from pushd.backends.redis.command_runner import CommandRunner
from pushd.backends.redis.leases import NodeLease
from pushd.backends.redis.scripts import DROP_USAGE, RATES, USAGE, Script
from pushd.core.errors import Unavailable
from pushd.core.usage import Claim, UsageReply, UsageReport

_TIMEOUT_SECONDS: Final = 1.0
"""How long Redis may take to answer: new connections wait for it."""
_MAX_BUCKETS: Final = 100_000
"""Buckets that Redis keeps."""

_Replies = list[tuple[list[bool] | dict[str, bool], int]]
"""For each report which claims are granted (Lua has no empty list), and the subscriptions at all other nodes."""
_decode = msgspec.msgpack.Decoder(_Replies | bool).decode
_encode = msgspec.msgpack.Encoder().encode
_encode_key = msgspec.json.Encoder().encode

T = TypeVar("T")


class NodeUsage:
    """Reports what this node has, and shares token buckets. It is `OwnedRecords`, too.

    :param restore: reports everything again; see `BackendEvents.restore_usage`.
    """

    kind = "usage"
    drop: Script = DROP_USAGE

    def __init__(
        self, commands: CommandRunner, lease: NodeLease, clock: Any, restore: Callable[[], Awaitable[None]]
    ) -> None:
        self._commands = commands
        self._lease = lease
        self._clock = clock
        self._restore = restore

    async def restore(self, owner: str) -> None:
        """See `OwnedRecords`."""
        await self._restore()

    async def report(self, reports: Sequence[UsageReport]) -> Sequence[UsageReply]:
        """See `Backend.report_usage`.

        :raises Unavailable: also when Redis does not answer within a second.
        """
        replies = await self._report(reports)
        if isinstance(replies, bool):
            await self._within(self._lease.renew())
            replies = await self._report(reports)
        if isinstance(replies, bool):
            raise Unavailable("Redis has ended the lease of this node")
        return [UsageReply(granted if isinstance(granted, list) else (), elsewhere) for granted, elsewhere in replies]

    async def _report(self, reports: Sequence[UsageReport]) -> _Replies | bool:
        """Report; return False if this node has no lease."""
        return _decode(await self._call(USAGE, self._lease.owner, _encode([_words(each) for each in reports])))

    async def exchange_rates(self, used: Mapping[str, float]) -> Mapping[str, float]:
        """See `Backend.exchange_rates`."""
        words = chain.from_iterable((bucket, round(seconds * 1000)) for bucket, seconds in used.items())
        full = await self._call(RATES, _MAX_BUCKETS, *words)
        return {bucket: milliseconds / 1000 for bucket, milliseconds in zip(used, full, strict=True)}

    async def _call(self, script: Script, *args: object) -> Any:
        """Call a script, only if Redis is connected, and once: a repeat would count twice or come late.

        :raises Unavailable: when that fails, or there is no answer in time.
        """
        protocol = self._commands.link.protocol
        if protocol is None:
            raise self._commands.unavailable()
        return await self._within(self._commands.call_over(protocol, script, *args))

    async def _within(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            return await Deferred.fromCoroutine(call).addTimeout(_TIMEOUT_SECONDS, self._clock)
        except (LostConnection, TooLate):
            raise Unavailable("Redis does not answer") from None


def _words(report: UsageReport) -> tuple[str, int, int, list[tuple[int, int, int, int]]]:
    claims = [_claim_words(claim) for claim in report.claims]
    # As text: the decoder of Redis has no type for binary strings.
    return _encode_key(report.key).decode(), report.connections, report.subscriptions, claims


def _claim_words(claim: Claim) -> tuple[int, int, int, int]:
    quota = claim.quota
    most = [-1 if limit is None else limit for limit in (quota.connections, quota.subscriptions)]
    return claim.connections, claim.subscriptions, most[0], most[1]
