"""The interface of a backend, and its guarantees to the hub.

Operations that may take time are coroutines; a backend that answers at once completes them without a reactor turn.
Live messages are delivered by callback, each once and, within a channel, in id order. An accepted message is in the
history before `publish` returns and before the callback is called with it. So a message whose callback was missed is
in the next page.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from pushd.core.cursor import MessageId, Since
from pushd.core.errors import Refusal
from pushd.core.message import Draft, Message
from pushd.core.replay import ChannelInfo, Page, StartPosition


class Audience(NamedTuple):
    """The subscribers of a channel, as counts."""

    named: bool
    """Whether there is a subscriber to the channel itself, not only to a pattern that matches it."""
    transports: Mapping[str, int]
    """Subscribers by transport, including those to a pattern that matches the channel."""


NOBODY: Final = Audience(False, {})


def _ignore(*_: object) -> None:
    """Do nothing: the default of callbacks that only a backend shared by several nodes calls."""


class BackendEvents(NamedTuple):
    """The callbacks of a backend. They must not block."""

    on_message: Callable[[Message], None]
    """Called with each accepted message."""
    on_deleted: Callable[[str], None]
    """Called with the name of each deleted channel."""
    on_health: Callable[[str | None], None]
    """Called with a phrase for the operator when publishes are refused from now on; with None when they are accepted
    again."""
    on_resync: Callable[[MessageId, Collection[str] | None], None] = _ignore
    """Called with a position and channels (None: all) when messages after the position may not be delivered live: the
    subscribers of these channels must be replayed from there. In a new epoch, too: the position is the last of the old
    epoch."""
    on_lost: Callable[[str | None, MessageId, MessageId, str], None] = _ignore
    """Called with a channel (None: any), two positions and a reason when messages between them are lost and were not
    delivered."""
    local_audience: Callable[[str], Audience] = lambda _: NOBODY
    """Returns the audience of a channel at this node."""
    is_behind: Callable[[], bool] = lambda: False
    """Returns whether the dispatcher has a backlog, so that the backend should deliver no more messages for now."""


class Duplicate(NamedTuple):
    """A message that was published before with the same idempotency key, with the values of the first receipt."""

    id: str
    subscribers: int


PublishResult = Message | Refusal | Duplicate


class DiskUsage(NamedTuple):
    """The disk usage of a backend."""

    bytes: int
    """Bytes of its files."""
    commits: int
    failures: int
    """Failed commits."""
    pending: int
    """Messages that are not committed yet."""


class Usage(NamedTuple):
    """How much a backend holds. The counts are None while the backend is unavailable."""

    messages: int | None
    bytes: int | None
    channels: int | None
    disk: DiskUsage | None = None
    canary_age: float | None = None
    """Seconds since the last canary returned from a backend on the network; None for others."""


class BackendUnusable(Exception):
    """A backend cannot be used as it is, and waiting does not help. The text is a sentence for the operator."""


class Backend(Protocol):
    """A log of messages over all channels."""

    async def start(self, events: BackendEvents) -> None:
        """Start. Callbacks are called from now on.

        :raises BackendUnusable: when the daemon must not start; raised before the coroutine waits for anything.
        """

    async def stop(self) -> None:
        """Stop, and release all resources."""

    async def publish(self, drafts: Sequence[Draft], key: str | None = None) -> Sequence[PublishResult]:
        """Publish messages in their order, and return for each the message, or the refusal when it was not accepted.

        :param key: the idempotency key. A backend shared by several nodes remembers the results for two minutes and
            returns them again; within one node the hub does.
        """

    def subscribe(self, topic: str) -> None:
        """Called when this node has its first subscriber to a topic. Its messages are delivered live at the latest when
        an `open` of the topic returns, perhaps earlier."""

    def unsubscribe(self, topic: str) -> None:
        """Called when this node has no subscriber to a topic any more."""

    async def audience(self, channel: str) -> Audience:
        """Return the audience of a channel at all nodes together."""

    async def open(self, topics: Sequence[str], since: Since) -> StartPosition:
        """Return where a subscription starts, and the gaps that are known already."""

    async def page(self, topics: Sequence[str], after: MessageId, count: int, size: int) -> Page:
        """Return the messages after a position: at most `count`, and no further one once they have `size` bytes."""

    async def info(self, channel: str) -> ChannelInfo | None:
        """Return what is known about a channel; None when it is unknown."""

    async def names(self, prefix: str, after: str, limit: int) -> list[str]:
        """Return at most `limit` names of channels that begin with `prefix` and sort after `after`, sorted."""

    async def delete(self, channel: str) -> bool:
        """Delete a channel; return whether it was known."""

    async def usage(self) -> Usage:
        """Return how much is held; at once when the backend is known to be unavailable."""
