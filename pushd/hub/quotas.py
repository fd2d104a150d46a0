"""Quotas of connections and subscriptions: how many a subject, or an address of anonymous peers, has at this node."""

from pushd.core.errors import TooManyConnections, TooManySubscriptions
from pushd.core.identity import QuotaKey
from pushd.core.peer import Peer
from pushd.core.usage import Usage


class Quotas:
    """The usages of all subjects and addresses that have connections. Each peer has a reference to its usage.

    Everything is counted, with or without a quota, because a later grant may have one.
    """

    def __init__(self) -> None:
        self._usages: dict[QuotaKey, Usage] = {}

    def __len__(self) -> int:
        """Return the number of subjects and addresses that have connections."""
        return len(self._usages)

    def add(self, peer: Peer) -> None:
        """Count a new connection.

        :raises TooManyConnections: when its subject or address has all that its quota allows; it is not counted.
        """
        usage = self._usage_of(peer)
        _check_connections(peer, usage)
        self._add(peer, usage, 0)

    def remove(self, peer: Peer) -> None:
        """Count a removed connection no longer. It has no topics any more."""
        self._remove(peer, 0)

    def move(self, peer: Peer, topics: int, kept: int) -> None:
        """Count an open connection for another subject, if its peer has one now.

        :param topics: how many topics it has.
        :param kept: how many of them it keeps.
        :raises TooManyConnections: when the subject has all the connections that its quota allows; nothing changes.
        :raises TooManySubscriptions: when it would have more topics than that; nothing changes.
        """
        if peer.usage is None or peer.usage.key == peer.quota_key:
            return
        usage = self._usage_of(peer)
        _check_connections(peer, usage)
        if _excess(peer, usage, kept) > 0:
            raise too_many_subscriptions(peer)
        self._remove(peer, topics)
        self._add(peer, usage, topics)

    def check(self, peer: Peer) -> None:
        """Check the quota of a counted connection, which it may have got after it was opened.

        :raises TooManyConnections: when its subject or address has more connections than that.
        """
        limit, usage = peer.grant.quota.connections, peer.usage
        if limit is not None and usage is not None and usage.connections > limit:
            raise too_many_connections(peer)

    def _usage_of(self, peer: Peer) -> Usage:
        """Return the usage of the present subject of a peer; a new one if it has no connection."""
        key = peer.quota_key
        return self._usages.get(key) or Usage(key)

    def _add(self, peer: Peer, usage: Usage, topics: int) -> None:
        usage.connections += 1
        usage.subscriptions += topics
        self._usages[usage.key] = peer.usage = usage

    def _remove(self, peer: Peer, topics: int) -> None:
        usage, peer.usage = peer.usage, None
        if usage is None:
            return
        usage.connections -= 1
        usage.subscriptions -= topics
        if not usage.connections:
            del self._usages[usage.key]


def count_topics(peer: Peer, change: int) -> None:
    """Count topics that were added to a connection, or removed from it if negative."""
    if peer.usage is not None:
        peer.usage.subscriptions += change


def excess_topics(peer: Peer, added: int) -> int:
    """Return how many topics the subject or address of a peer would have beyond its quota with more topics.

    :return: 0 or less if it may have them.
    """
    return 0 if peer.usage is None else _excess(peer, peer.usage, added)


def too_many_subscriptions(peer: Peer) -> TooManySubscriptions:
    """Return the refusal of topics beyond the quota of a peer."""
    limit = peer.grant.quota.subscriptions
    return TooManySubscriptions(f"{_whose(peer)} must not have more than {limit} subscriptions")


def too_many_connections(peer: Peer) -> TooManyConnections:
    """Return the refusal of a connection beyond the quota of a peer."""
    return TooManyConnections(f"{_whose(peer)} must not have more than {peer.grant.quota.connections} connections")


def _excess(peer: Peer, usage: Usage, added: int) -> int:
    limit = peer.grant.quota.subscriptions
    return 0 if limit is None else usage.subscriptions + added - limit


def _check_connections(peer: Peer, usage: Usage) -> None:
    limit = peer.grant.quota.connections
    if limit is not None and usage.connections >= limit:
        raise too_many_connections(peer)


def _whose(peer: Peer) -> str:
    return "address" if peer.quota_key[1] is None else "subject"
