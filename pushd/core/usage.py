"""What a subject, or an address of anonymous peers, uses of its quota."""

from pushd.core.identity import QuotaKey


class Usage:
    """The open connections of a subject or an address, and their topics."""

    __slots__ = ("connections", "key", "subscriptions")

    def __init__(self, key: QuotaKey) -> None:
        self.key = key
        self.connections = 0
        self.subscriptions = 0
