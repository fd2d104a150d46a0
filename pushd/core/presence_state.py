"""The members of all channels: who is in, since when, and who leaves when.

A member enters with its first connection or lease, and leaves when it has neither any more: at once after a clean end,
after the grace if its last connection was lost and it has not returned. What follows from each change is recorded as
events; the members are always what a replay of all events, with those that wait, results in.

`now` is monotonic seconds and decides what is due. `time` is unix seconds and is only recorded.
"""

import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from math import inf
from typing import Final

import msgspec

from pushd.core.errors import TooManyMembers, UnknownMember
from pushd.core.last_seen import LastSeen
from pushd.core.presence import (
    NO_META,
    Change,
    Changed,
    EndLease,
    Enter,
    Leave,
    LeaveReason,
    MemberInfo,
    MemberPage,
    PresenceEvent,
    Renew,
    Row,
    Seen,
    Update,
)
from pushd.core.presence_events import EventRecorder

_LEAVING_STEP: Final = 100
"""Members that leave in one step: about a millisecond."""
_HEAP_SLACK: Final = 1024
"""Deadlines of members that left which may stay in the heap, beside two for each member."""


class _Lease(msgspec.Struct, gc=False):
    """The lease of a member."""

    until: float
    """Monotonic seconds."""
    last: float
    """When it was renewed last, in unix seconds."""
    lag: int | None


class _Member(msgspec.Struct, gc=False):
    """A member. It cannot be part of a reference cycle, so the garbage collector does not track it."""

    since: float
    meta: bytes | None = None
    connections: int = 0
    lease: _Lease | None = None
    grace: float | None = None
    """When the grace of its last connection, which was lost, ends, in monotonic seconds; None if it has none."""
    reason: LeaveReason = "timeout"
    """Why that connection was lost."""
    scheduled: float | None = None
    """Its earliest deadline in the heap."""

    def deadline(self) -> float:
        """Return when it leaves unless something changes, in monotonic seconds; infinite while it is connected."""
        if self.connections:
            return inf
        lease = -inf if self.lease is None else self.lease.until
        return lease if self.grace is None else max(lease, self.grace)

    def info(self, id: str) -> MemberInfo:
        """Return the member as it is listed."""
        return MemberInfo(id, self.since, self.connections, NO_META if self.meta is None else self.meta)


class _Room:
    """The members of one channel."""

    __slots__ = ("ids", "members")

    def __init__(self) -> None:
        self.members: dict[str, _Member] = {}
        self.ids: list[str] = []
        """Sorted."""


class PresenceState:
    """All members.

    :param grace: seconds for which a member whose last connection was lost may return.
    :param limit: the most members of all channels together.
    """

    def __init__(self, grace: float, limit: int) -> None:
        self.grace = grace
        self.limit = limit
        self._rooms: dict[str, _Room] = {}
        self._count = 0
        self._deadlines: list[tuple[float, str, str]] = []
        """A heap of when members leave, with the channel and the id."""
        self._seen = LastSeen()
        self._recorder = EventRecorder()
        self._unsaved: set[tuple[str, str]] = set()
        """The members whose lease was renewed without an event, since `take_unsaved`."""

    def __len__(self) -> int:
        """Return the number of members."""
        return self._count

    @property
    def channels(self) -> int:
        """The number of channels with members."""
        return len(self._rooms)

    @property
    def remembered(self) -> int:
        """The number of members that have left and are remembered."""
        return len(self._seen)

    @property
    def due(self) -> float:
        """When `advance` has something to do, in monotonic seconds; infinite if that is never."""
        return min(self._deadlines[0][0] if self._deadlines else inf, self._recorder.due)

    # Changes

    def apply(self, change: Change, now: float, time: float) -> None:
        """Apply a change.

        :raises TooManyMembers: when it would add a member beyond the limit.
        :raises UnknownMember: when a lease that is to end is none, or there is no member to be updated.
        """
        self.advance(now, time)
        match change:
            case Enter(channel, id, meta):
                member = self._enter(channel, id, meta, now, time)
                member.connections += 1
                member.grace = None
            case Renew(channel, id, ttl, meta, lag):
                member = self._enter(channel, id, meta, now, time)
                if lag is None and member.lease is not None:
                    lag = member.lease.lag
                member.lease = _Lease(now + ttl, time, lag)
                self._unsaved.add((channel, id))
                self._schedule(channel, id, member)
            case Update(channel, id, meta):
                self._describe(channel, id, self._get(channel, id), meta, now)
            case Leave():
                self._leave(change, now, time)
            case EndLease(channel, id):
                self._end_lease(channel, id, now, time)

    def advance(self, now: float, time: float) -> None:
        """Let members leave whose time is over, and record diffs that are due: as much as takes some milliseconds.

        If there is more to do, `due` is not later than `now` afterwards.
        """
        for _ in range(_LEAVING_STEP):
            if not self._deadlines or self._deadlines[0][0] > now:
                break
            deadline, channel, id = heapq.heappop(self._deadlines)
            member = self._find(channel, id)
            if member is None or member.scheduled != deadline:
                continue
            member.scheduled = None
            if member.deadline() <= now:
                self._remove(channel, id, "timeout" if member.grace is None else member.reason, now, time)
            else:
                self._schedule(channel, id, member)
        self._seen.expire(now)
        self._recorder.advance(now, self.info)

    def flush(self) -> None:
        """Record the changes that wait for the diff of their channel, at once."""
        self._recorder.flush(self.info)

    def take_events(self) -> list[PresenceEvent]:
        """Return the events since the last call, in their order."""
        return self._recorder.take()

    def put_back(self, events: Iterable[PresenceEvent], now: float) -> None:
        """Record the changes of events that could not be published once more, as a part of the next diffs."""
        for event in events:
            self._recorder.put_back(event, now)

    # Queries

    def count(self, channel: str) -> int:
        """Return the number of members of a channel."""
        room = self._rooms.get(channel)
        return 0 if room is None else len(room.ids)

    def page(self, channel: str, after: str, limit: int) -> MemberPage:
        """Return at most `limit` members of a channel whose ids sort after `after`."""
        room = self._rooms.get(channel)
        if room is None:
            return MemberPage(0, (), None)
        start = bisect_right(room.ids, after) if after else 0
        ids = room.ids[start : start + limit]
        members = tuple([room.members[id].info(id) for id in ids])
        return MemberPage(len(room.ids), members, ids[-1] if ids and start + limit < len(room.ids) else None)

    def info(self, channel: str, id: str) -> MemberInfo | None:
        """Return a member; None if it is not there."""
        member = self._find(channel, id)
        return None if member is None else member.info(id)

    def seen(self, channel: str, id: str, time: float) -> Seen | None:
        """Return when a member was seen last; None if it is unknown, or that was too long ago."""
        member = self._find(channel, id)
        if member is None:
            return self._seen.get(channel, id)
        lease = member.lease
        if member.connections or lease is None:
            return Seen(True, time, None if lease is None else lease.lag)
        return Seen(True, lease.last, lease.lag)

    # Storage

    def row(self, channel: str, id: str) -> Row | None:
        """Return what a backend with a file stores of a member; None if nothing is known of it."""
        member = self._find(channel, id)
        if member is not None:
            lease = member.lease
            if lease is None:
                return Row(channel, id, member.since, member.meta, None, None, None, None)
            return Row(channel, id, member.since, member.meta, lease.until, lease.last, lease.lag, None)
        return self._seen.row(channel, id)

    def rows(self) -> Iterator[Row]:
        """Iterate over what a backend with a file stores of all members."""
        for channel, room in self._rooms.items():
            for id in room.ids:
                if (row := self.row(channel, id)) is not None:
                    yield row

    def take_unsaved(self) -> set[tuple[str, str]]:
        """Return the members whose rows have changed without an event since the last call."""
        unsaved, self._unsaved = self._unsaved | self._seen.take_forgotten(), set()
        return {(channel, id) for channel, id in unsaved if not self.is_waiting(channel, id)}

    def is_waiting(self, channel: str, id: str) -> bool:
        """Return whether a change of a member waits for a diff, with which its row will be stored."""
        return self._recorder.is_waiting(channel, id)

    def restore(self, rows: Iterable[Row], now: float) -> None:
        """Add the members of the previous run, which are in grace, and what is known of those that left."""
        for row in rows:
            if row.left is not None:
                self._seen.add(row.channel, row.id, row.left, row.last or 0.0, row.lag)
                continue
            member = _Member(row.since, row.meta, grace=now + self.grace)
            if row.lease is not None:
                member.lease = _Lease(row.lease, row.last or row.since, row.lag)
            self._add(row.channel, row.id, member)
            self._schedule(row.channel, row.id, member)

    # Members

    def _find(self, channel: str, id: str) -> _Member | None:
        room = self._rooms.get(channel)
        return None if room is None else room.members.get(id)

    def _get(self, channel: str, id: str) -> _Member:
        member = self._find(channel, id)
        if member is None:
            raise UnknownMember("there is no such member of the channel")
        return member

    def _enter(self, channel: str, id: str, meta: bytes | None, now: float, time: float) -> _Member:
        """Return a member, which enters if it is not there."""
        member = self._find(channel, id)
        if member is not None:
            if meta is not None:
                self._describe(channel, id, member, meta, now)
            return member
        if self._count >= self.limit:
            raise TooManyMembers(f"too many members: all of the {self.limit} that are accepted are present")
        member = _Member(time, _stored(meta))
        self._add(channel, id, member)
        self._seen.discard(channel, id)
        self._recorder.record(channel, Changed("enter", member.info(id), None), now)
        return member

    def _describe(self, channel: str, id: str, member: _Member, meta: bytes, now: float) -> None:
        stored = _stored(meta)
        if stored != member.meta:
            member.meta = stored
            self._recorder.record(channel, Changed("update", member.info(id), None), now)

    def _leave(self, change: Leave, now: float, time: float) -> None:
        channel, id, reason, is_final = change
        member = self._find(channel, id)
        if member is None or not member.connections:
            return
        member.connections -= 1
        if member.connections:
            return
        if not is_final and self.grace > 0:
            member.grace, member.reason = now + self.grace, reason
        self._remove_or_schedule(channel, id, member, reason, now, time)

    def _end_lease(self, channel: str, id: str, now: float, time: float) -> None:
        member = self._get(channel, id)
        member.grace = None
        if member.connections:
            member.lease = None
        elif member.lease is not None:
            member.lease.until = now
        self._unsaved.add((channel, id))
        self._remove_or_schedule(channel, id, member, "client", now, time)

    def _remove_or_schedule(
        self, channel: str, id: str, member: _Member, reason: LeaveReason, now: float, time: float
    ) -> None:
        if member.deadline() <= now:
            self._remove(channel, id, reason, now, time)
        else:
            self._schedule(channel, id, member)

    def _add(self, channel: str, id: str, member: _Member) -> None:
        room = self._rooms.get(channel)
        if room is None:
            room = self._rooms[channel] = _Room()
        room.members[id] = member
        insort(room.ids, id)
        self._count += 1

    def _remove(self, channel: str, id: str, reason: LeaveReason, now: float, time: float) -> None:
        room = self._rooms[channel]
        member = room.members.pop(id)
        del room.ids[bisect_left(room.ids, id)]
        if not room.ids:
            del self._rooms[channel]
        self._count -= 1
        lease = member.lease
        has_expired = lease is not None and reason == "timeout" and member.grace is None
        last, lag = (time, None) if lease is None else (lease.last if has_expired else time, lease.lag)
        self._seen.add(channel, id, now, last, lag)
        self._recorder.record(channel, Changed("leave", member.info(id), reason), now)

    def _schedule(self, channel: str, id: str, member: _Member) -> None:
        """Put the deadline of a member into the heap, unless an earlier one is there, at which it is checked."""
        deadline = member.deadline()
        if deadline == inf or (member.scheduled is not None and member.scheduled <= deadline):
            return
        member.scheduled = deadline
        heapq.heappush(self._deadlines, (deadline, channel, id))
        if len(self._deadlines) > 2 * self._count + _HEAP_SLACK:
            self._deadlines = [entry for entry in self._deadlines if self._is_scheduled(*entry)]
            heapq.heapify(self._deadlines)

    def _is_scheduled(self, deadline: float, channel: str, id: str) -> bool:
        member = self._find(channel, id)
        return member is not None and member.scheduled == deadline


def _stored(meta: bytes | None) -> bytes | None:
    return None if meta == NO_META else meta
