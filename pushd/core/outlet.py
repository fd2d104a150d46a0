"""The outlet: what a subscriber needs of its connection."""

from typing import Final, Protocol

from pushd.core.errors import Refusal


class Outlet(Protocol):
    """The sending side of a connection."""

    def write(self, data: bytes) -> None:
        """Send bytes without blocking. May call `Subscriber.pause` meanwhile."""

    def topics_ended(self) -> None:
        """Called when every topic is a channel that has ended, after the ends were written.

        It may be called again. A connection that stays open receives the messages of a channel that begins anew.
        """

    def close(self, why: Refusal) -> None:
        """Report the refusal, if the transport can, and close the connection."""

    def abort(self) -> None:
        """Close the connection at once. Called when `close` has failed."""


class ClosedOutlet:
    """The outlet of a closed subscriber.

    The connection refers to its subscriber. Once the subscriber does not refer to the connection, both are freed
    without the garbage collector, also when very many connections are lost at once.
    """

    def write(self, data: bytes) -> None:
        """Ignore."""

    def topics_ended(self) -> None:
        """Ignore."""

    def close(self, why: Refusal) -> None:
        """Ignore."""

    def abort(self) -> None:
        """Ignore."""


CLOSED_OUTLET: Final = ClosedOutlet()
