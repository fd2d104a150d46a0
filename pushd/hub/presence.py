"""Presence at this node: which connections have entered which channels, leases, heartbeats, and the list of members."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.audit.log import AuditLog
from pushd.backends.local_presence import GRACE, MAX_MEMBERS
from pushd.backends.presence import MemberList, PresenceBackend
from pushd.core.errors import (
    BadParameter,
    Ended,
    Forbidden,
    Kicked,
    NoPong,
    NoRoom,
    NotGranted,
    Refusal,
    Stopping,
    TokenExpired,
    TokenMissing,
    TokenRevoked,
    TooLate,
    TooManyMembers,
    TooSlow,
    UnknownMember,
)
from pushd.core.names import check_channel
from pushd.core.peer import Peer
from pushd.core.presence import (
    AsMember,
    Change,
    EndLease,
    Enter,
    Leave,
    LeaveReason,
    MemberInfo,
    Renew,
    Seen,
    Update,
    check_member_id,
)
from pushd.core.subscriber import Subscriber, SubscriberClosed
from pushd.hub.authorization import check_credential, check_topics
from pushd.hub.memberships import Membership, Memberships
from pushd.net.eager_task import run_eagerly

HEARTBEAT_CHANNEL: Final = "online"
HEARTBEAT_TTL: Final = 30.0
MAX_TTL: Final = 24 * 3600.0
"""The longest lease, in seconds."""
_MAX_CHANNELS: Final = 1000
"""The most channels that one connection may have entered."""
_ENDS: Final[tuple[tuple[type[Refusal], LeaveReason, bool], ...]] = (
    (Kicked, "kicked", True),
    (TokenRevoked, "revoked", True),
    (NotGranted, "revoked", True),
    (TokenMissing, "revoked", True),
    (Ended, "ended", True),
    (TokenExpired, "expired", False),
    (TooSlow, "slow", False),
    (NoRoom, "slow", False),
    (NoPong, "timeout", False),
    (TooLate, "timeout", False),
)
"""Why members leave with which refusals, and whether at once; all others are errors, after which a client returns."""


class PresenceSettings(NamedTuple):
    """What can be configured."""

    is_enabled: bool = True
    grace: float = GRACE
    """Seconds in which the member of a lost connection may return."""
    members: int = MAX_MEMBERS
    """The most members."""
    heartbeat_channel: str = HEARTBEAT_CHANNEL
    heartbeat_ttl: float = HEARTBEAT_TTL
    """Seconds."""


class Presence:
    """The members, as connections, requests and commands change and read them.

    :param wall: returns unix seconds.
    :param take: counts an event, with the bytes of its data, towards the rates of a peer.
    :param audit: records which members were removed by others.
    """

    log = Logger()

    def __init__(
        self,
        backend: PresenceBackend,
        wall: Callable[[], float],
        take: Callable[[Peer, int, int], None],
        audit: AuditLog,
    ) -> None:
        self._backend = backend
        self._wall = wall
        self._take = take
        self._audit = audit
        self._settings = PresenceSettings()
        self._held = Memberships()
        self.has_members: Callable[[str], bool] = lambda channel: True
        """Returns whether the settings of a channel allow members."""

    def reconfigure(self, settings: PresenceSettings) -> None:
        """Change the settings. Members that are there stay."""
        self._settings = settings
        self._backend.reconfigure(settings.grace, settings.members)

    @property
    def heartbeat_channel(self) -> str:
        """The channel whose members have sent a heartbeat."""
        return self._settings.heartbeat_channel

    # Connections

    def check(self, peer: Peer, topics: Sequence[str], member: AsMember | None) -> None:
        """Check that a subscription may enter its channels.

        :raises BadParameter: when there are no channels among its topics.
        :raises NotGranted: when it may not enter one of them.
        :raises Forbidden: when presence is switched off.
        """
        if member is not None:
            for channel in member.channels(topics):
                self._check_member(peer, channel, member.id)

    async def enter_topics(self, subscriber: Subscriber, topics: Sequence[str], member: AsMember | None) -> None:
        """Enter the channels among the topics of a new subscription, until it ends.

        :raises Refusal: when that is impossible; the caller ends the subscription.
        """
        if member is not None:
            for channel in member.channels(topics):
                await self._enter(subscriber, channel, member.id, None, is_subscription=True)

    async def enter(
        self, subscriber: Subscriber, channel: str, id: str | None = None, meta: bytes | None = None
    ) -> str:
        """Enter a channel, or update what describes the member; return the id of the member.

        :param id: None: the subject of the peer, or the id of its connection if it is anonymous.
        :param meta: JSON; None: as before.
        :raises NotGranted: when the peer may not.
        :raises TooManyMembers: when there are too many members, or it has entered too many channels.
        :raises Unavailable: when the backend cannot accept it now.
        """
        return await self._enter(subscriber, channel, id, meta, is_subscription=False)

    async def leave(self, subscriber: Subscriber, channel: str) -> str:
        """Leave a channel; return the id of the member.

        :raises UnknownMember: when the connection has not entered it.
        """
        check_credential(subscriber.peer, "action leave")
        membership = self._held.of(subscriber.peer.number).get(channel)
        if membership is None:
            raise UnknownMember("this connection has not entered the channel")
        self._take_one(subscriber.peer, 0)
        self._release(subscriber, {channel: membership}, "client", is_final=True)
        return membership.id

    def leave_all(self, subscriber: Subscriber, reason: LeaveReason = "client") -> None:
        """Leave all channels at once: the client closes its connection properly, or has no more to receive."""
        if held := self._held.of(subscriber.peer.number):
            self._release(subscriber, held, reason, is_final=True)

    def on_unsubscribed(self, subscriber: Subscriber, topics: Iterable[str]) -> None:
        """Called when topics were unsubscribed from: leave those that were entered with the subscription."""
        if held := self._held.of(subscriber.peer.number):
            ended = {topic: held[topic] for topic in topics if topic in held and held[topic].is_subscription}
            self._release(subscriber, ended, "client", is_final=True)

    def on_grant_changed(self, subscriber: Subscriber) -> None:
        """Called when a peer has another grant: leave the channels that it may not have entered any more."""
        held = self._held.of(subscriber.peer.number)
        lost = {channel: each for channel, each in held.items() if not self._may(subscriber.peer, channel, each.id)}
        self._release(subscriber, lost, "revoked", is_final=True)

    def on_removed(self, subscriber: Subscriber, why: Refusal | None) -> None:
        """Called when a connection was removed, once, with the refusal with which it was closed; None if it was lost.

        When the daemon shuts down, its members are left to the backend.
        """
        held = self._held.of(subscriber.peer.number)
        if not held:
            return
        if isinstance(why, Stopping):
            self._held.remove(subscriber.peer.number, held)
        else:
            self._release(subscriber, held, *end_of(why))

    def channels_of(self, subscriber: Subscriber) -> Mapping[str, str]:
        """Return the channels that a connection has entered, each with the id of its member."""
        held = self._held.of(subscriber.peer.number)
        return {channel: membership.id for channel, membership in held.items()}

    # Leases

    async def renew(self, peer: Peer, channel: str, id: str | None, ttl: float, meta: bytes | None) -> str:
        """Begin or renew a lease; return the id of the member.

        :param id: None: the subject of the peer.
        :param ttl: seconds.
        :param meta: JSON; None: as before.
        :raises NotGranted: when the peer may not.
        :raises BadParameter: when the time is not accepted, or the peer has no subject.
        """
        if not 0 < ttl <= MAX_TTL:
            raise BadParameter(f"ttl must be more than 0 and at most {MAX_TTL:g} seconds")
        name = self._checked_member(peer, channel, id)
        self._take_one(peer, len(meta or b""))
        await self._apply(Renew(channel, name, ttl, meta))
        return name

    async def end_lease(self, peer: Peer, channel: str, id: str | None) -> str:
        """End a lease, and the grace of a lost connection; return the id of the member. A member with open connections
        stays.

        :param id: None: the subject of the peer.
        :raises NotGranted: when the peer may not.
        :raises BadParameter: when the peer has no subject.
        :raises UnknownMember: when there is no such member.
        """
        name = self._checked_member(peer, channel, id)
        self._take_one(peer, 0)
        await self._apply(EndLease(channel, name))
        if name != peer.grant.subject:
            self._audit.removed(peer, channel, name)
        return name

    async def heartbeat(self, peer: Peer, id: str, sent: int | None) -> Seen:
        """Renew the lease of a heartbeat.

        :param sent: the time of the client, in unix milliseconds, from which the lag is computed. Nothing else depends
            on it.
        :raises NotGranted: when the peer may not.
        """
        settings = self._settings
        channel, now = settings.heartbeat_channel, self._wall()
        self._check_member(peer, channel, check_member_id(id))
        self._take_one(peer, 0)
        lag = None if sent is None else round(now * 1000) - sent
        await self._apply(Renew(channel, id, settings.heartbeat_ttl, None, lag))
        return Seen(True, now, lag)

    async def last_heartbeat(self, peer: Peer, id: str) -> Seen:
        """Return whether a member of the channel of heartbeats is online, and when it was seen last.

        :raises NotGranted: when the peer may not read its members.
        :raises UnknownMember: when it was not seen for a day.
        """
        channel = self._settings.heartbeat_channel
        self._check_reader(peer, channel)
        seen = await self._backend.seen(channel, check_member_id(id))
        if seen is None:
            raise UnknownMember("no heartbeat of this id was received in the last 24 hours")
        return seen

    # Queries

    def may_read(self, peer: Peer, channel: str) -> bool:
        """Return whether a peer may read the members of a channel."""
        return peer.grant.may("presence", channel)

    async def members(self, peer: Peer, channel: str, after: str, limit: int) -> MemberList:
        """Return at most `limit` members of a channel whose ids sort after `after`.

        :raises NotGranted: when the peer may not read them.
        """
        self._check_reader(peer, channel)
        return await self._backend.members(channel, after, limit)

    async def count(self, peer: Peer, channel: str) -> int:
        """Return the number of members of a channel.

        :raises NotGranted: when the peer may not read them.
        """
        self._check_reader(peer, channel)
        return await self._backend.count(channel)

    async def find(self, peer: Peer, channel: str, id: str) -> MemberInfo | None:
        """Return a member; None if it is not there.

        :raises NotGranted: when the peer may not read the members of the channel.
        """
        self._check_reader(peer, channel)
        return await self._backend.find(channel, check_member_id(id))

    async def was_seen(self, peer: Peer, channel: str, id: str) -> bool:
        """Return whether a member is there or has left in the last 24 hours.

        :raises NotGranted: when the peer may not read the members of the channel.
        """
        self._check_reader(peer, channel)
        return await self._backend.seen(channel, id) is not None

    # Rights

    def _check_reader(self, peer: Peer, channel: str) -> None:
        check_topics(peer, "presence", (channel,))
        self._check_enabled(check_channel(channel))

    def _check_member(self, peer: Peer, channel: str, id: str | None) -> None:
        """Check that a peer may be, or change, a member: itself by `enter`, others by `manage`."""
        check_topics(peer, "enter" if id is None or id == peer.grant.subject else "manage", (channel,))
        self._check_enabled(check_channel(channel))

    def _checked_member(self, peer: Peer, channel: str, id: str | None) -> str:
        """Return the id of the member of a lease that a peer may begin or end; by default that of the peer itself."""
        self._check_member(peer, channel, id if id is None else check_member_id(id))
        name = id or peer.grant.subject
        if not name:
            raise BadParameter("presence=self of a lease needs a credential with a subject: give presence_id")
        return check_member_id(name)

    def _check_enabled(self, channel: str) -> None:
        if channel[0] == "$":
            raise Forbidden("channels that begin with $ have no members")
        if not self._settings.is_enabled or not self.has_members(channel):
            raise Forbidden("presence is switched off for this channel")

    def _may(self, peer: Peer, channel: str, id: str) -> bool:
        is_self = id in (peer.grant.subject, peer.id)
        return peer.grant.may("enter" if is_self else "manage", channel)

    def _take_one(self, peer: Peer, size: int) -> None:
        self._take(peer, 1, size)

    # Memberships

    async def _enter(
        self, subscriber: Subscriber, channel: str, id: str | None, meta: bytes | None, *, is_subscription: bool
    ) -> str:
        peer = subscriber.peer
        if subscriber.is_closed:
            raise SubscriberClosed(subscriber.closed_for)
        self._check_member(peer, channel, id)
        name = check_member_id(id or peer.grant.subject or peer.id)
        held = self._held.of(peer.number)
        known = held.get(channel)
        if known is None and len(held) >= _MAX_CHANNELS:
            raise TooManyMembers(f"a connection must not enter more than {_MAX_CHANNELS} channels")
        self._take_one(peer, len(meta or b""))
        if known is not None and known.id == name:
            is_subscription = known.is_subscription and is_subscription
            self._held.add(peer.number, channel, name, is_subscription=is_subscription)
            if meta is not None:
                await self._apply(Update(channel, name, meta))
            return name
        if known is not None:
            self._release(subscriber, {channel: known}, "client", is_final=True)
        self._held.add(peer.number, channel, name, is_subscription=is_subscription)
        try:
            await self._apply(Enter(channel, name, meta))
        except BaseException:
            self._held.remove(peer.number, (channel,))
            raise
        return name

    def _release(
        self, subscriber: Subscriber, ended: Mapping[str, Membership], reason: LeaveReason, is_final: bool
    ) -> None:
        """End memberships of a connection."""
        changes = [Leave(channel, membership.id, reason, is_final) for channel, membership in ended.items()]
        if changes:
            self._held.remove(subscriber.peer.number, list(ended))
            run_eagerly(self._apply(*changes), self._on_error)

    async def _apply(self, *changes: Change) -> None:
        await self._backend.apply(changes)

    def _on_error(self, failure: Failure) -> None:
        if not failure.check(Refusal):  # a refused leave follows when the backend is available again
            self.log.failure("Leaving channels failed with an internal error", failure)


def end_of(why: Refusal | None) -> tuple[LeaveReason, bool]:
    """Return the reason of leaving for the refusal that has closed a connection, and whether it is at once."""
    if why is None:
        return "timeout", False
    return next(((reason, is_final) for kind, reason, is_final in _ENDS if isinstance(why, kind)), ("error", False))
