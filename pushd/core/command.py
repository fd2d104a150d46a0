"""Commands: what a two-way peer can ask, whatever words its wire has for them, and what comes of them.

The parsers and the words of the answers are in `pushd.wire`; what the commands do is in `pushd.hub.command_executor`.
"""

from dataclasses import dataclass

from pushd.core.cursor import NOW, Since
from pushd.core.message import Draft, Message
from pushd.core.outbox import Policy
from pushd.core.replay import ChannelInfo


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Hear `topics`; a given policy holds for the whole connection from then on."""

    topics: tuple[str, ...]
    since: Since = NOW
    slow: Policy | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Hear `topics` no more."""

    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PublishMessage:
    """Publish a message."""

    draft: Draft


@dataclass(frozen=True, slots=True)
class ReadHistory:
    """Give the newest `count` kept messages."""

    topics: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class ReadStatus:
    """Tell what is known of a channel."""

    channel: str


@dataclass(frozen=True, slots=True)
class SetFormat:
    """Hear in another format from now on."""

    name: str


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Show a token."""

    token: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Ask for a sign of life; `token` comes back."""

    token: object = None


@dataclass(frozen=True, slots=True)
class Help:
    """Tell the commands."""


@dataclass(frozen=True, slots=True)
class Quit:
    """Say goodbye."""


Command = (
    Subscribe | Unsubscribe | PublishMessage | ReadHistory | ReadStatus | SetFormat | Authenticate | Ping | Help | Quit
)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Done, and there is no more to say."""


@dataclass(frozen=True, slots=True)
class Subscribed:
    """Subscribed; for a wire that can not tell gaps, the reason why the replay is not complete."""

    topics: tuple[str, ...]
    gap: str | None


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """Unsubscribed from those topics that were heard."""

    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Published:
    """Accepted."""

    id: str
    subscribers: int
    is_local: bool = False
    """Whether only subscribers of this node heard it."""


@dataclass(frozen=True, slots=True)
class HistoryResult:
    """Messages from the history, oldest first."""

    topics: tuple[str, ...]
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class StatusResult:
    """What is known of a channel."""

    info: ChannelInfo
    subscribers: dict[str, int]


@dataclass(frozen=True, slots=True)
class Pong:
    """A sign of life."""

    token: object


@dataclass(frozen=True, slots=True)
class FormatSet:
    """Another format holds from now on."""

    name: str


@dataclass(frozen=True, slots=True)
class CommandList:
    """The list of commands is what was asked for."""


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The connection is about to close."""


Reply = (
    Acknowledged
    | Subscribed
    | Unsubscribed
    | Published
    | HistoryResult
    | StatusResult
    | Pong
    | FormatSet
    | CommandList
    | Goodbye
)
