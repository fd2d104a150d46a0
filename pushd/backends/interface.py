"""What a store of messages promises to the hub.

Everything may take time, so everything is a coroutine; a store that answers at once costs nothing by it. Live
messages come by callback, each once and, within a channel, in id order; an accepted message is in the history
before `publish` returns and before it is handed to the callback, so whoever misses a callback finds the message
in the next page.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from pushd.core.cursor import MessageId, Since
from pushd.core.errors import Refusal
from pushd.core.message import Draft, Message
from pushd.core.replay import ChannelInfo, Opening, Page


class Listener(NamedTuple):
    """The callbacks of a store. They return at once."""

    message: Callable[[Message], None]
    """A message was accepted."""
    forgotten: Callable[[str], None]
    """A channel was deleted."""
    ailing: Callable[[str | None], None]
    """Publishes are refused for now, and why: a phrase for the operator. None: they are accepted again."""


class Usage(NamedTuple):
    """How much a store holds."""

    messages: int
    bytes: int
    channels: int


class Backend(Protocol):
    """A log of messages over all channels."""

    async def start(self, listener: Listener) -> None:
        """Begin to work; callbacks come from now on."""

    async def stop(self) -> None:
        """Let go of everything that needs letting go of."""

    async def publish(self, drafts: Sequence[Draft]) -> list[Message | Refusal]:
        """Accept messages, each for itself, in their order: the message, or why it was not accepted."""

    async def open(self, topics: Sequence[str], since: Since) -> Opening:
        """Tell where a subscription begins, and what is gone already."""

    async def page(self, topics: Sequence[str], after: MessageId, count: int, size: int) -> Page:
        """Read on: at most `count` messages, and no further one once they have `size` bytes."""

    async def info(self, channel: str) -> ChannelInfo | None:
        """Tell what is known of a channel; None where nothing is."""

    async def names(self, prefix: str, after: str, limit: int) -> list[str]:
        """Give at most `limit` names of channels that begin with `prefix` and sort behind `after`, sorted."""

    async def forget(self, channel: str) -> bool:
        """Delete a channel; tell whether it was known."""

    async def usage(self) -> Usage:
        """Tell how much is held."""
