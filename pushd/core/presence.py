"""Presence: the members of channels, and the changes that are made to them.

A member is a channel and an id, with one or more connections, or a lease, or both. The rules are those of
`pushd.core.presence_state`.
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from pushd.core.errors import BadChannel, BadMember, BadParameter
from pushd.core.json_input import check_json
from pushd.core.names import check_channel, is_pattern

MAX_META_BYTES: Final = 1024
"""The most bytes of the JSON that describes a member."""
NO_CLIENT_TIME: Final = "ts must be the time of the client in unix milliseconds"
"""The refusal of anything else, over HTTP and WebSockets."""
_MAX_CLIENT_TIME: Final = 10**15 - 1
NO_META: Final = b"null"
"""The description of a member that has none."""

LeaveReason = Literal["client", "timeout", "slow", "kicked", "revoked", "expired", "ended", "shutdown", "error"]
"""Why the last connection of a member has closed: as the reason of a disconnect."""
Action = Literal["enter", "update", "leave"]


class Enter(NamedTuple):
    """A connection of this node has entered a channel."""

    channel: str
    id: str
    meta: bytes | None = None
    """JSON; None to keep that of a member that is already there."""


class Update(NamedTuple):
    """A connection that has entered describes its member anew."""

    channel: str
    id: str
    meta: bytes


class Leave(NamedTuple):
    """A connection of this node that had entered has left, or is closed."""

    channel: str
    id: str
    reason: LeaveReason
    is_final: bool
    """Whether the member leaves at once if this was its last connection; else it may return within the grace."""


class Renew(NamedTuple):
    """A lease begins, or is renewed. It belongs to no node."""

    channel: str
    id: str
    ttl: float
    """Seconds."""
    meta: bytes | None = None
    """As in `Enter`."""
    lag: int | None = None
    """Milliseconds by which the time of a heartbeat was behind that of the daemon, if it had one."""


class EndLease(NamedTuple):
    """A lease ends before its time, and so does the grace of a lost connection."""

    channel: str
    id: str


Change = Enter | Update | Leave | Renew | EndLease


class AsMember(NamedTuple):
    """As whom a subscription enters its channels."""

    id: str | None = None
    """None: under the subject of its peer, or the id of its connection if it is anonymous."""

    def channels(self, topics: Sequence[str]) -> list[str]:
        """Return the channels among topics that have members.

        :raises BadParameter: when there are none.
        """
        channels = [topic for topic in topics if not is_pattern(topic) and topic[0] != "$"]
        if not channels:
            raise BadParameter("presence needs a channel among the topics: patterns and $ channels have no members")
        return channels


class MemberInfo(NamedTuple):
    """A member as it is listed."""

    id: str
    since: float
    """When it entered, in unix seconds."""
    connections: int
    """Over all nodes. 0 for one that has only a lease, or whose connections were lost a moment ago."""
    meta: bytes
    """JSON."""


class MemberPage(NamedTuple):
    """Members of a channel in the order of their ids, by code points."""

    total: int
    """The number of members of the channel, on all pages."""
    members: tuple[MemberInfo, ...]
    next: str | None
    """The id after which the next page begins; None if this is the last one."""


class Seen(NamedTuple):
    """When a member was seen last."""

    is_online: bool
    last: float
    """The last heartbeat, or the moment in which it left, in unix seconds; now, for one that is connected."""
    lag: int | None
    """See `Renew`; that of the last heartbeat that had a time."""


class Changed(NamedTuple):
    """What has become of a member."""

    action: Action
    member: MemberInfo
    reason: LeaveReason | None
    """None unless it has left."""


class PresenceEvent(NamedTuple):
    """What the subscribers of the events of a channel are sent as one message."""

    channel: str
    """That of the members."""
    changes: tuple[Changed, ...]
    """One, or several of different members if it is a diff."""
    is_diff: bool = False


class Row(NamedTuple):
    """A member as it is stored by a backend that keeps its members in a file."""

    channel: str
    id: str
    since: float
    """When it entered, in unix seconds."""
    meta: bytes | None
    lease: float | None
    """When its lease ends, by the clock of the backend; None if it has none."""
    last: float | None
    """The last heartbeat, or the moment in which it left, in unix seconds; None if there was none."""
    lag: int | None
    left: float | None
    """When it left, by the clock of the backend; None if it is there."""


def check_member_id(id: str) -> str:
    """Return `id` if it is the id of a member: one segment of a channel name, which does not begin with ``$``.

    :raises BadMember: when it is not.
    """
    try:
        check_channel(id)
    except BadChannel as refusal:
        raise BadMember(f"id of a member {str(refusal).removeprefix('channel name ')}") from None
    if "/" in id or id[0] == "$":
        raise BadMember("id of a member must not contain / or begin with $")
    return id


def check_client_time(sent: int | None) -> int | None:
    """Return the time of a client, in unix milliseconds, if it is one of at most 15 digits.

    :raises BadParameter: when it is not.
    """
    if sent is not None and not 0 <= sent <= _MAX_CLIENT_TIME:
        raise BadParameter(NO_CLIENT_TIME)
    return sent


def as_member(presence: str | None, presence_id: str | None) -> AsMember | None:
    """Return as whom a subscription enters its channels; None if it does not.

    :param presence: ``self``, or None.
    :param presence_id: the id of another member, or None.
    :raises BadParameter: when `presence` is something else, or both are given.
    :raises BadMember: when the id is invalid.
    """
    if presence not in (None, "self"):
        raise BadParameter("presence must be self; use presence_id for another member")
    if presence_id is None:
        return None if presence is None else AsMember()
    if presence is not None:
        raise BadParameter("presence and presence_id must not be given both")
    return AsMember(check_member_id(presence_id))


def check_meta(meta: bytes) -> bytes:
    """Return the description of a member without insignificant white space.

    :raises BadJson: when it is not JSON.
    :raises BadMember: when it is too long.
    """
    check_json(meta)
    compact = msgspec.json.format(meta, indent=-1)
    if len(compact) > MAX_META_BYTES:
        raise BadMember(f"meta must not exceed {MAX_META_BYTES} bytes of JSON")
    return compact
