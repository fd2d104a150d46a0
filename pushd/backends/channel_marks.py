"""The interface of channel marks: which channels have subscribers at any of the nodes that share a backend.

Guarantees:

- The event `occupied` is added to the outbox of hooks in the step in which the first node marks a channel, and
  `vacated` in the one that finds it without marks for `VACATED_SECONDS`. So of nodes that do so at the same moment, one
  adds it.
- The marks of a node that is gone are removed within 15 seconds; those of a node that returns are set again. Both add
  events only where the channel has no marks of other nodes.
- Where the backend has lost the marks, nodes set them again without events, apart from changes since.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, Protocol

from pushd.backends.hook_outbox import HookEvent

VACATED_SECONDS: Final = 3.0
"""How long a channel must have no subscribers before that is an event."""

MarkEvents = Callable[[Literal["occupied", "vacated"], str], Sequence[HookEvent]]
"""Returns the events of a channel, one for each hook that has it."""


class ChannelMarks(Protocol):
    """The marks of this node. The methods only schedule work."""

    def reconfigure(self, events: MarkEvents | None, channels: Iterable[str]) -> None:
        """Set the events from now on, and mark exactly these channels, without events for those that are new.

        :param events: None if no hook has these events; nothing is stored or called then.
        """

    def mark(self, channel: str) -> None:
        """Mark a channel, since it has got its first subscriber of this node; not called while there are no events."""

    def unmark(self, channel: str) -> None:
        """Remove the mark of a channel, since it has lost its last subscriber of this node."""

    def stop(self) -> None:
        """Report nothing any more, before the stop of the backend, which removes the marks of this node."""
