"""Quotas of connections and subscriptions: how many a subject, or an address of anonymous peers, has at this node.

`pushd.hub.shared_quotas` adds the other nodes.
"""

from collections.abc import Callable, Collection

from pushd.core.errors import TooManyConnections, TooManySubscriptions
from pushd.core.grant import Quota
from pushd.core.identity import QuotaKey
from pushd.core.peer import Peer
from pushd.core.usage import Usage


class Quotas:
    """The usages of all subjects and addresses that have connections. Each peer has a reference to its usage.

    Everything is counted, with or without a quota, because a later grant may have one.
    """

    def __init__(self) -> None:
        self._usages: dict[QuotaKey, Usage] = {}
        self._shared: dict[QuotaKey, int] = {}
        """The keys that other nodes count too, and their topics at all other nodes."""
        self.on_change: Callable[[QuotaKey], None] = lambda key: None
        """Called when the counts of a shared key have changed."""

    def __len__(self) -> int:
        """Return the number of subjects and addresses that have connections."""
        return len(self._usages)

    def add(self, peer: Peer) -> None:
        """Count a new connection.

        :raises TooManyConnections: when its subject or address has all that its quota allows; it is not counted.
        """
        usage = self._usage_of(peer)
        self.check_connections(usage.key, peer.grant.quota)
        self._add(peer, usage, 0)

    def count_topics(self, peer: Peer, change: int) -> None:
        """Count topics that were added to a connection, or removed from it if negative."""
        usage = peer.usage
        if usage is not None:
            usage.subscriptions += change
            if usage.is_shared and change:
                self.on_change(usage.key)

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
        self.check_connections(usage.key, peer.grant.quota)
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
            raise too_many_connections(peer.quota_key, peer.grant.quota)

    def _usage_of(self, peer: Peer) -> Usage:
        """Return the usage of the present subject of a peer; a new one if it has no connection."""
        key = peer.quota_key
        usage = self._usages.get(key)
        if usage is None:
            usage = Usage(key)
            if self._shared and key in self._shared:
                usage.is_shared, usage.subscriptions_elsewhere = True, self._shared[key]
        return usage

    def _add(self, peer: Peer, usage: Usage, topics: int) -> None:
        usage.connections += 1
        usage.subscriptions += topics
        self._usages[usage.key] = peer.usage = usage
        if usage.is_shared:
            self.on_change(usage.key)

    def _remove(self, peer: Peer, topics: int) -> None:
        usage, peer.usage = peer.usage, None
        if usage is None:
            return
        usage.connections -= 1
        usage.subscriptions -= topics
        if not usage.connections:
            del self._usages[usage.key]
        if usage.is_shared:
            self.on_change(usage.key)

    def check_connections(self, key: QuotaKey, quota: Quota) -> None:
        """Check that a key may have one more connection at this node.

        :raises TooManyConnections: when its quota does not allow that.
        """
        limit = quota.connections
        if limit is not None and self.counts(key)[0] >= limit:
            raise too_many_connections(key, quota)

    # What other nodes count too

    def share(self, key: QuotaKey) -> None:
        """Call `on_change` with changes of the counts of a key from now on, until `forget`."""
        self._shared.setdefault(key, 0)
        if (usage := self._usages.get(key)) is not None:
            usage.is_shared = True

    def forget(self, key: QuotaKey) -> None:
        """Share a key without connections no more."""
        if key not in self._usages:
            self._shared.pop(key, None)

    def shared_keys(self) -> Collection[QuotaKey]:
        """Return the shared keys."""
        return self._shared.keys()

    def counts(self, key: QuotaKey) -> tuple[int, int]:
        """Return the connections and topics of a key at this node."""
        usage = self._usages.get(key)
        return (0, 0) if usage is None else (usage.connections, usage.subscriptions)

    def set_elsewhere(self, key: QuotaKey, subscriptions: int) -> None:
        """Set the topics of a shared key at all other nodes."""
        self._shared[key] = subscriptions
        if (usage := self._usages.get(key)) is not None:
            usage.subscriptions_elsewhere = subscriptions


def excess_topics(peer: Peer, added: int) -> int:
    """Return how many topics the subject or address of a peer would have beyond its quota with more topics.

    :return: 0 or less if it may have them.
    """
    return 0 if peer.usage is None else _excess(peer, peer.usage, added)


def too_many_subscriptions(peer: Peer) -> TooManySubscriptions:
    """Return the refusal of topics beyond the quota of a peer."""
    limit = peer.grant.quota.subscriptions
    return TooManySubscriptions(f"{_whose(peer.quota_key)} must not have more than {limit} subscriptions")


def _excess(peer: Peer, usage: Usage, added: int) -> int:
    limit = peer.grant.quota.subscriptions
    return 0 if limit is None else usage.subscriptions + usage.subscriptions_elsewhere + added - limit


def too_many_connections(key: QuotaKey, quota: Quota) -> TooManyConnections:
    """Return the refusal of a connection beyond a quota."""
    return TooManyConnections(f"{_whose(key)} must not have more than {quota.connections} connections")


def _whose(key: QuotaKey) -> str:
    return "address" if key[1] is None else "subject"
