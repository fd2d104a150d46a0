"""What a subject, or an address of anonymous peers, uses of its quota, at one node and at all."""

from collections.abc import Sequence
from typing import NamedTuple

from pushd.core.grant import Quota
from pushd.core.identity import QuotaKey


class Usage:
    """The open connections of a subject or an address, and their topics."""

    __slots__ = ("connections", "is_shared", "key", "subscriptions", "subscriptions_elsewhere")

    def __init__(self, key: QuotaKey) -> None:
        self.key = key
        self.connections = 0
        self.subscriptions = 0
        self.is_shared = False
        """Whether other nodes count it too, because a peer has a quota."""
        self.subscriptions_elsewhere = 0
        """The topics at all other nodes, as of the last answer of the backend."""


class Claim(NamedTuple):
    """Connections and topics that are added to a usage if that is within a quota over all nodes."""

    connections: int
    subscriptions: int
    quota: Quota


class UsageReport(NamedTuple):
    """What a subject or an address has at this node, and what it claims in addition, one claim after the other."""

    key: QuotaKey
    connections: int
    subscriptions: int
    claims: Sequence[Claim] = ()


class UsageReply(NamedTuple):
    """The answer to a report."""

    granted: Sequence[bool]
    """Which of the claims are granted, and count at this node now."""
    subscriptions: int
    """The topics at all other nodes."""
