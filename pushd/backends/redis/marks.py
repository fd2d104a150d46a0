"""The marks of channels in Redis: they hang on the leases of nodes, see `leases` and `lua/marks.lua`.

A node reports what a channel is now, never what has changed: so a call may be repeated. Calls are made one after the
other, each with all changes that wait.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Final

import msgspec
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import RedisError

from pushd.backends.channel_marks import MarkEvents
from pushd.backends.hook_outbox import HookEvent
from pushd.backends.redis.encoding import as_text
from pushd.backends.redis.leases import NodeLease
from pushd.backends.redis.outbox import RedisOutbox
from pushd.backends.redis.scripts import DROP_MARKS, MARKS, Script
from pushd.core.errors import Refusal, Unavailable
from pushd.net.eager_task import run_eagerly

_TOGETHER: Final = 128
"""The most channels of one call: a few milliseconds."""
_SWEEP_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 1.0
_PAUSE: Final = 0.5
"""The part of the term of a lease in which all nodes mark their channels again, after Redis has lost the marks."""

_NEW, _KNOWN, _QUIET = range(3)
"""Of a channel to be marked: Redis does not have the mark; it had; there is no event anyway."""
_Change = tuple[str, str, int, Sequence[Any]]
"""A channel, what to do with it, one of the three, and hooks and events in turn."""

_encode = msgspec.msgpack.Encoder().encode
_Reply = tuple[str, list[str] | dict[str, int], bool]
"""The token of the marks, the channels that have to wait (Lua has no empty list), and whether events were added."""
_decode = msgspec.msgpack.Decoder(_Reply | bool).decode
_decode_due = msgspec.msgpack.Decoder(list[str] | dict[str, int]).decode


class RedisMarks:
    """See `pushd.backends.channel_marks.ChannelMarks`. It is `OwnedRecords`, too.

    :param term: the term of a lease, in seconds.
    """

    log = Logger()
    kind = "marks"
    drop: Script = DROP_MARKS

    def __init__(self, outbox: RedisOutbox, lease: NodeLease, term: float, clock: Any) -> None:
        self._outbox = outbox
        self._lease = lease
        self._pause = round(term * _PAUSE * 1000)
        self._clock = clock
        self._events: MarkEvents | None = None
        self._present: set[str] = set()
        """The channels with subscribers at this node."""
        self._marked: set[str] = set()
        """The channels of this node that Redis has marked, or perhaps has."""
        self._changed: dict[str, bool] = {}
        """The channels that are to be reported, and whether without an event."""
        self._token = ""
        """Identifies the marks that Redis had when all of this node were reported; another one after a loss."""
        self._restored = ""
        """The owner under which all marks are set, or are to be set by `_changed`."""
        self._lock = DeferredLock()
        self._timer: IDelayedCall | None = None
        self._is_sweeping = self._is_stopping = False
        self._loop = LoopingCall(self._sweep_soon)
        self._loop.clock = clock

    def stop(self) -> None:
        """See `ChannelMarks`, here and below. The marks of this node are dropped with its lease."""
        self._is_stopping = True
        self._set_events(None)
        self._changed.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def reconfigure(self, events: MarkEvents | None, channels: Iterable[str]) -> None:
        self._set_events(events)
        before, self._present = self._present, set(channels)
        for channel in before ^ self._present:
            self._changed[channel] = channel in self._present
        self._schedule(0)

    def _set_events(self, events: MarkEvents | None) -> None:
        """Set the events, and look for channels without marks while there are any."""
        self._events = events
        if self._loop.running:
            self._loop.stop()
        if events is not None:
            self._loop.start(_SWEEP_SECONDS, now=False)

    def mark(self, channel: str) -> None:
        self._present.add(channel)
        self._change(channel)

    def unmark(self, channel: str) -> None:
        if channel in self._present:
            self._present.discard(channel)
            self._change(channel)

    async def restore(self, owner: str) -> None:
        """See `OwnedRecords`."""
        self._restored = owner
        for channel in self._present | self._marked:
            self._changed.setdefault(channel, False)
        try:
            await self._report_all()
        finally:
            self._schedule(_RETRY_SECONDS)

    # Reports

    def _change(self, channel: str) -> None:
        self._changed[channel] = False
        self._schedule(0)

    def _schedule(self, seconds: float) -> None:
        if self._timer is None and self._changed and not self._is_stopping:
            self._timer = self._clock.callLater(seconds, self._report_soon)

    def _report_soon(self) -> None:
        self._timer = None
        run_eagerly(self._report_or_retry(), self._on_bug)

    async def _report_or_retry(self) -> None:
        try:
            await self._report_all()
        except (Refusal, RedisError):
            self._schedule(_RETRY_SECONDS)

    async def _report_all(self) -> None:
        """Report all changes, but those that have to wait.

        :raises Refusal, RedisError: when that fails now.
        """
        await self._lock.acquire()
        waiting: dict[str, bool] = {}
        try:
            while self._changed:
                waiting |= await self._report_some()
        finally:
            self._changed = waiting | self._changed
            self._lock.release()
        self._schedule(_RETRY_SECONDS)

    async def _report_some(self) -> dict[str, bool]:
        """Report some changes; return those that have to wait, since other nodes are still to mark their channels."""
        batch = dict(islice(self._changed.items(), _TOGETHER))
        for channel in batch:
            del self._changed[channel]
        marked = self._present.intersection(batch)
        gone = self._marked.intersection(batch) - marked
        try:
            changes = [self._mark_change(channel, quiet=batch[channel]) for channel in batch if channel in marked]
            waits = await self._call(changes + [(channel, "unmark", _KNOWN, ()) for channel in gone])
        except BaseException:
            self._marked |= marked  # perhaps
            self._changed = batch | self._changed
            raise
        self._marked = (self._marked | marked).difference(gone, waits)
        return dict.fromkeys(waits, False)

    def _mark_change(self, channel: str, *, quiet: bool) -> _Change:
        state = _QUIET if quiet else _KNOWN if channel in self._marked else _NEW
        return channel, "mark", state, () if quiet else _words(self._events_of("occupied", channel))

    def _events_of(self, kind: Any, channel: str) -> Sequence[HookEvent]:
        return () if self._events is None else self._events(kind, channel)

    async def _call(self, changes: Sequence[_Change]) -> Sequence[str]:
        """Make changes under the lease of this node; renew it if it is over. Return the channels that have to wait."""
        hooks = dict.fromkeys(hook for change in changes for hook in change[3][::2])
        for _ in range(2):
            owner = self._lease.owner
            words = owner, self._token, self._pause, _encode((changes, self._outbox.limits(hooks)))
            reply = _decode(await self._outbox.call(MARKS, hooks, "change", *words)) if changes else None
            if not isinstance(reply, bool):
                break
            await self._lease.renew()
        else:
            raise Unavailable("Redis has ended the lease of this node")
        if reply is None:
            return ()
        token, waits, has_events = reply
        if not self._changed and self._restored == owner:
            self._token = token
        if has_events:
            self._outbox.on_added(hooks)
        return waits if isinstance(waits, list) else ()

    # The sweep

    def _sweep_soon(self) -> None:
        if self._events is not None and not self._is_sweeping and self._outbox.is_connected:
            self._is_sweeping = True
            run_eagerly(self._sweep(), self._on_bug)

    async def _sweep(self) -> None:
        """Add the events of channels that have had no marks for a while."""
        try:
            has_more = True
            while has_more and self._events is not None:
                found = _decode_due(await self._outbox.call(MARKS, (), "due", _TOGETHER))
                due = found if isinstance(found, list) else []
                await self._vacate(due)
                has_more = len(due) == _TOGETHER
        except (Refusal, RedisError):
            pass  # the next sweep finds them
        finally:
            self._is_sweeping = False

    async def _vacate(self, channels: Sequence[str]) -> None:
        await self._lock.acquire()
        try:
            events = [_words(self._events_of("vacated", channel)) for channel in channels]
            await self._call([(each, "vacate", _NEW, words) for each, words in zip(channels, events, strict=True)])
        finally:
            self._lock.release()

    def _on_bug(self, failure: Failure) -> None:
        self.log.failure("Redis: marking channels failed with an internal error", failure)


def _words(events: Sequence[HookEvent]) -> list[object]:
    return [word for event in events for word in (event.hook, as_text(event.body))]
