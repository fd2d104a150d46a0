"""The members of channels in Redis: connections hang on the leases of their nodes, see `leases` and `lua/members.lua`.

A node says how many connections of a member it has, never how many more: so a call may be repeated. Calls are made one
after the other, each with all changes that wait. A change of connections that Redis did not get is made up for within a
second after it is reached again.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import RedisError

from pushd.backends.local_presence import GRACE, MAX_MEMBERS
from pushd.backends.presence import MemberList, PresenceUsage
from pushd.backends.redis.command_runner import CommandRunner
from pushd.backends.redis.leases import NodeLease
from pushd.backends.redis.scripts import DROP_PRESENCE, PRESENCE, SWEEP, WHO, Script
from pushd.core.cursor import MessageId
from pushd.core.errors import Refusal, TooManyMembers, Unavailable, UnknownMember
from pushd.core.history import Bounds
from pushd.core.presence import Change, EndLease, Enter, Leave, MemberInfo, MemberPage, Renew, Seen, Update

_SWEEP_SECONDS: Final = 1.0
_SWEPT: Final = 500
"""Members that leave in one call: some 10 ms."""
_TOGETHER: Final = 200
"""Changes in one call: a few milliseconds."""
_STOP_SECONDS: Final = 1.0
_UNKNOWN: Final = 1
"""The answer of the script where there is no such member."""
_ACTIONS: Final = ("enter", "update", "leave", "diff")

_Key = tuple[str, str]
_Row = tuple[str, int, int, str]
_Words = tuple[object, ...]
_encode = msgspec.msgpack.Encoder().encode
_decode_replies = msgspec.msgpack.Decoder(list[int] | dict[str, int] | bool).decode
"""Lua has no empty list."""
_decode_usage = msgspec.msgpack.Decoder(tuple[bool, int, int, int, list[int]]).decode
_decode_page = msgspec.msgpack.Decoder(tuple[str, int, int, bool, list[_Row] | dict[str, int]]).decode
_decode_found = msgspec.msgpack.Decoder(list[_Row | None] | dict[str, int]).decode
_decode_seen = msgspec.msgpack.Decoder(tuple[bool, int, str]).decode


class _Connections:
    """The connections of this node that have entered a channel under one id."""

    __slots__ = ("meta", "number")

    def __init__(self) -> None:
        self.number = 0
        self.meta: bytes | None = None


class RedisPresence:
    """See `pushd.backends.presence.PresenceBackend`. It is `OwnedRecords`, too."""

    log = Logger()
    kind = "presence"
    drop: Script = DROP_PRESENCE

    def __init__(self, commands: CommandRunner, lease: NodeLease, bounds: Bounds, clock: Any) -> None:
        self._commands = commands
        self._lease = lease
        self._bounds = bounds
        self._clock = clock
        self._grace = GRACE
        self._limit = MAX_MEMBERS
        self._local: dict[_Key, _Connections] = {}
        self._waiting: list[tuple[_Words, Deferred[int]]] = []
        self._is_sending = False
        self._unsent: dict[_Key, Leave | None] = {}
        """The members whose connections Redis may not have, each with how the last of them has ended."""
        self._usage: PresenceUsage | None = None
        self._loop = LoopingCall(self._sweep_soon)
        self._loop.clock = clock
        self._is_sweeping = False

    def start(self) -> None:
        """Start to let members leave in time."""
        self._loop.start(_SWEEP_SECONDS, now=False)

    async def stop(self) -> None:
        """Stop, and leave the members of this node to their grace."""
        if self._loop.running:
            self._loop.stop()
        keys = list(self._local)
        self._local.clear()
        if keys and self._commands.link.protocol is not None:
            lost = [self._hold(key, None, Leave(*key, "shutdown", is_final=False)) for key in keys]
            losing = gatherResults(lost, consumeErrors=True)
            with suppress(TooLate):
                await losing.addTimeout(_STOP_SECONDS, self._clock)

    def reconfigure(self, grace: float, limit: int) -> None:
        """See `pushd.backends.presence.PresenceBackend`, here and below."""
        self._grace, self._limit = grace, limit

    async def apply(self, changes: Sequence[Change]) -> None:
        self._check(changes)
        refused: Refusal | None = None
        for change, waiting in [(change, self._change(change)) for change in changes]:
            try:
                if await waiting == _UNKNOWN and isinstance(change, EndLease):  # others are made up for
                    refused = refused or UnknownMember("there is no such member of the channel")
            except Refusal as refusal:
                refused = refused or refusal
        if refused is not None:
            raise refused

    async def members(self, channel: str, after: str, limit: int) -> MemberList:
        raw = await self._commands.call(WHO, channel, "page", after, limit)
        epoch, head, total, has_more, rows = _decode_page(raw)
        members = tuple([_info(row) for row in rows]) if isinstance(rows, list) else ()
        following = members[-1].id if has_more and members else None
        return MemberList(MemberPage(total, members, following), MessageId(epoch, head))

    async def count(self, channel: str) -> int:
        return int(await self._commands.call(WHO, channel, "count"))

    async def find(self, channel: str, id: str) -> MemberInfo | None:
        found = _decode_found(await self._commands.call(WHO, channel, "find", id))
        row = found[0] if isinstance(found, list) and found else None
        return None if row is None else _info(row)

    async def seen(self, channel: str, id: str) -> Seen | None:
        is_online, last, lag = _decode_seen(await self._commands.call(WHO, channel, "seen", id))
        return Seen(is_online, last / 1000, int(lag) if lag else None) if last else None

    @property
    def usage(self) -> PresenceUsage | None:
        return None if self._commands.link.protocol is None else self._usage

    async def restore(self, owner: str) -> None:
        """See `OwnedRecords`."""
        await gatherResults([self._hold(key, None, None) for key in self._local])
        if self._unsent:
            raise Unavailable("Redis does not have all members of this node yet")

    # Changes

    def _check(self, changes: Sequence[Change]) -> None:
        """Check that changes can be accepted: a connection that is in effect is never refused later."""
        if all(isinstance(change, Leave) for change in changes):
            return
        if self._commands.is_unavailable:
            raise self._commands.unavailable()
        is_full = self._usage is not None and self._usage.members >= self._limit
        if is_full and any(self._is_new(change) for change in changes):
            raise TooManyMembers(f"too many members: all of the {self._limit} that are accepted are present")

    def _is_new(self, change: Change) -> bool:
        return isinstance(change, Enter | Renew) and change[:2] not in self._local

    def _change(self, change: Change) -> "Deferred[int]":
        """Count a change, and report it to Redis."""
        key = change[0], change[1]
        match change:
            case Enter(_, _, meta):
                local = self._local.setdefault(key, _Connections())
                local.number += 1
                local.meta = local.meta if meta is None else meta
                return self._hold(key, meta, None)
            case Leave():
                left = self._local.get(key)
                if left is None:
                    return _done()
                left.number -= 1
                if not left.number:
                    del self._local[key]
                return self._hold(key, None, change)
            case Update(_, _, meta):
                if key in self._local:
                    self._local[key].meta = meta
                return self._send("update", *key, meta.decode())
            case Renew(_, _, ttl, meta, lag):
                return self._send(
                    "renew", *key, _text(meta), max(1, round(ttl * 1000)), "" if lag is None else str(lag)
                )
            case EndLease():
                return self._send("end", *key)

    def _hold(self, key: _Key, meta: bytes | None, end: Leave | None) -> "Deferred[int]":
        """Report to Redis how many connections a member has here, now or as soon as it is reached."""
        local = self._local.get(key)
        number, known = (0, None) if local is None else (local.number, local.meta)
        reason, is_final = ("timeout", False) if end is None else (end.reason, end.is_final)

        def on_failure(failure: Failure) -> int:
            failure.trap(Refusal, CancelledError)
            self._unsent[key] = end
            return 0

        reply = self._send("hold", *key, _text(meta), number, reason, is_final, _text(known))
        return reply.addErrback(on_failure)

    def _send(self, *words: object) -> "Deferred[int]":
        reply: Deferred[int] = Deferred()
        self._waiting.append((words, reply))
        if not self._is_sending:
            self._is_sending = True
            Deferred.fromCoroutine(self._send_all())
        return reply

    async def _send_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
            try:
                replies = await self._call([words for words, _ in batch])
            except Exception:  # a refusal, or a bug, which must not keep others waiting
                failure = Failure()
                if not failure.check(Refusal):
                    self.log.failure("Redis: changing members failed with an internal error", failure)
                    failure = Failure(Unavailable("members cannot be changed now"))
                for _, waiting in batch:
                    waiting.errback(failure)
            else:
                for (_, waiting), number in zip(batch, replies, strict=True):
                    waiting.callback(number)
        self._is_sending = False

    async def _call(self, changes: Sequence[_Words]) -> Sequence[int]:
        """Make changes under the lease of this node; renew it if it is over."""
        for _ in range(2):
            replies = _decode_replies(
                await self._commands.call(PRESENCE, self._lease.owner, self._words(), _encode(changes))
            )
            if not isinstance(replies, bool):
                return replies if isinstance(replies, list) else ()
            try:
                await self._lease.renew()
            except RedisError as error:  # such as a lost connection; changes of connections are made up for
                raise Unavailable(f"Redis is unavailable: {error}") from None
        raise Unavailable("Redis has ended the lease of this node")

    # The sweep

    def _sweep_soon(self) -> None:
        if not self._is_sweeping and self._commands.link.protocol is not None:
            self._is_sweeping = True
            Deferred.fromCoroutine(self._sweep()).addErrback(self._on_error)

    async def _sweep(self) -> None:
        try:
            unsent, self._unsent = self._unsent, {}
            for key, end in unsent.items():
                self._hold(key, None, end)
            has_more = True
            while has_more:
                raw = await self._commands.call(SWEEP, self._words(), _SWEPT)
                has_more, members, channels, remembered, sent = _decode_usage(raw)
            self._usage = PresenceUsage(members, channels, remembered, dict(zip(_ACTIONS, sent, strict=True)))
        finally:
            self._is_sweeping = False

    def _on_error(self, failure: Failure) -> None:
        if not failure.check(RedisError, Refusal):
            self.log.failure("Redis: letting members leave failed with an internal error; trying again", failure)

    def _words(self) -> bytes:
        """Return the bounds for the script."""
        bounds, events = self._bounds, self._bounds.of_events
        ttl = round(events.age * 1000) if events.age < bounds.age else 0
        grace = round(self._grace * 1000)
        age = round(bounds.age * 1000)
        return _encode((events.messages, events.bytes, age, events.total_bytes, events.channels, ttl, grace))


def _text(meta: bytes | None) -> str:
    return "" if meta is None else meta.decode()


def _done() -> "Deferred[int]":
    done: Deferred[int] = Deferred()
    done.callback(0)
    return done


def _info(row: _Row) -> MemberInfo:
    id, since, connections, meta = row
    return MemberInfo(id, since / 1000, connections, meta.encode())
