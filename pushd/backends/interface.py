"""What a store of messages promises to the hub.

Everything may take time, so everything is a coroutine; a store that answers at once costs nothing by it. Live
messages come by callback, each once and, within a channel, in id order; an accepted message is in the history
before `publish` returns and before it is handed to the callback, so whoever misses a callback finds the message
in the next page.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from pushd.core.cursor import MessageId, Since
from pushd.core.errors import Refusal
from pushd.core.message import Draft, Message
from pushd.core.replay import ChannelInfo, Page, StartPosition


class Audience(NamedTuple):
    """Who hears a channel."""

    named: bool
    """Whether anybody named this very channel."""
    transports: Mapping[str, int]
    """Subscribers by transport, those who hear it by a pattern included."""


NOBODY: Final = Audience(False, {})


def _ignore(*_: object) -> None:
    """Be for a store of one node, where this never happens."""


class BackendEvents(NamedTuple):
    """The callbacks of a store. They return at once."""

    on_message: Callable[[Message], None]
    """A message was accepted."""
    on_deleted: Callable[[str], None]
    """A channel was deleted."""
    on_health: Callable[[str | None], None]
    """Publishes are refused for now, and why: a phrase for the operator. None: they are accepted again."""
    on_resync: Callable[[MessageId, Collection[str] | None], None] = _ignore
    """Of these channels (None: of all) not everything behind a place can come live: whoever hears any of them has to
    read on in the history from there. So it is with a new epoch, too: the place is the last of the old one."""
    on_lost: Callable[[str | None, MessageId, MessageId, str], None] = _ignore
    """Messages of a channel (None: of any) between two places are gone and never came, for the given reason."""
    local_audience: Callable[[str], Audience] = lambda _: NOBODY
    """Who hears a channel at this node."""
    is_behind: Callable[[], bool] = lambda: False
    """Whether more was told than subscribers could be sent so far, so that no more ought to come for a while."""


class Duplicate(NamedTuple):
    """A message that was published before under the same key, and what its publisher was told."""

    id: str
    subscribers: int


PublishResult = Message | Refusal | Duplicate


class DiskUsage(NamedTuple):
    """What a store does with a disk."""

    bytes: int
    """Of its files."""
    commits: int
    failures: int
    """Commits that failed."""
    pending: int
    """Messages that wait for a commit."""


class Usage(NamedTuple):
    """How much a store holds; None: nobody can tell now, since it is away."""

    messages: int | None
    bytes: int | None
    channels: int | None
    disk: DiskUsage | None = None
    canary_age: float | None = None
    """Seconds since a sign of life last came back from a store that is reached by a network."""


class BackendUnusable(Exception):
    """A store can not be used as it is, and waiting does not help. The text is a sentence for the operator."""


class Backend(Protocol):
    """A log of messages over all channels."""

    async def start(self, events: BackendEvents) -> None:
        """Begin to work; callbacks come from now on.

        :raises Unusable: before it has waited for anything: the daemon does not start.
        """

    async def stop(self) -> None:
        """Let go of everything that needs letting go of."""

    async def publish(self, drafts: Sequence[Draft], key: str | None = None) -> Sequence[PublishResult]:
        """Accept messages, each for itself, in their order: the message, or why it was not accepted.

        :param key: a store that several nodes share remembers for two minutes what became of them and gives that again;
            within one node the hub does.
        """

    def subscribe(self, topic: str) -> None:
        """Know that this node has its first subscriber of a topic. Its messages are told live at the latest when an
        `open` of the topic returns, and may be before."""

    def unsubscribe(self, topic: str) -> None:
        """Know that this node has no subscriber of a topic any more."""

    async def audience(self, channel: str) -> Audience:
        """Tell who hears a channel, at all nodes together."""

    async def open(self, topics: Sequence[str], since: Since) -> StartPosition:
        """Tell where a subscription begins, and what is gone already."""

    async def page(self, topics: Sequence[str], after: MessageId, count: int, size: int) -> Page:
        """Read on: at most `count` messages, and no further one once they have `size` bytes."""

    async def info(self, channel: str) -> ChannelInfo | None:
        """Tell what is known of a channel; None where nothing is."""

    async def names(self, prefix: str, after: str, limit: int) -> list[str]:
        """Give at most `limit` names of channels that begin with `prefix` and sort behind `after`, sorted."""

    async def delete(self, channel: str) -> bool:
        """Delete a channel; tell whether it was known."""

    async def usage(self) -> Usage:
        """Tell how much is held; at once where the store is known to be away."""
