"""Commands of bidirectional connections and the replies to them, independent of their encoding.

The parsers and encoders are in `pushd.wire`; commands are executed in `pushd.hub.session`.
"""

from dataclasses import dataclass

from pushd.core.cursor import NOW, MessageId, Since
from pushd.core.errors import Refusal
from pushd.core.message import Draft, Message
from pushd.core.outbox import Policy
from pushd.core.presence import AsMember, MemberPage, Seen
from pushd.core.replay import ChannelInfo


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Subscribe to `topics`; a policy, if given, applies to the whole connection from then on."""

    topics: tuple[str, ...]
    since: Since = NOW
    slow: Policy | None = None
    begin: bool = False
    """Whether the reply is followed by a begin object, in formats that have one."""
    responder: bool = False
    """Whether the connection counts as a responder for all its topics from then on, patterns too."""
    member: AsMember | None = None
    """As whom it enters the channels among the topics; None if it does not."""


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Unsubscribe from `topics`."""

    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PublishMessage:
    """Publish a message."""

    draft: Draft


@dataclass(frozen=True, slots=True)
class SendRequest:
    """Publish a message as a request, and return the first reply to it."""

    draft: Draft
    timeout: float
    """Seconds to wait for the reply."""


@dataclass(frozen=True, slots=True)
class ReadHistory:
    """Return the newest `count` kept messages of `topics`."""

    topics: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class ReadStatus:
    """Return the state of a channel."""

    channel: str


@dataclass(frozen=True, slots=True)
class SetFormat:
    """Switch to another format."""

    name: str


@dataclass(frozen=True, slots=True)
class EnterChannel:
    """Enter a channel, or update what describes the member."""

    channel: str
    id: str | None = None
    """None: the subject of the peer, or the id of its connection."""
    meta: bytes | None = None
    """JSON; None: as before."""


@dataclass(frozen=True, slots=True)
class LeaveChannel:
    """Leave a channel."""

    channel: str


@dataclass(frozen=True, slots=True)
class ListMembers:
    """Return members of a channel in the order of their ids."""

    channel: str
    after: str
    """Only ids after it; may be empty."""
    limit: int


@dataclass(frozen=True, slots=True)
class SendHeartbeat:
    """Renew the lease of a heartbeat."""

    id: str
    sent: int | None = None
    """The time of the client, in unix milliseconds."""


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Present a token."""

    token: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Request a `Pong` that echoes `token`."""

    token: object = None


@dataclass(frozen=True, slots=True)
class Help:
    """Return the list of commands."""


@dataclass(frozen=True, slots=True)
class Quit:
    """Close the connection."""


Command = (
    Subscribe
    | Unsubscribe
    | PublishMessage
    | SendRequest
    | ReadHistory
    | ReadStatus
    | SetFormat
    | EnterChannel
    | LeaveChannel
    | ListMembers
    | SendHeartbeat
    | Authenticate
    | Ping
    | Help
    | Quit
)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The command succeeded; there is no result."""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The token was accepted."""

    subject: str
    lost: tuple[Refusal, ...]
    """A refusal for each topic that the connection was unsubscribed from, since the token does not cover it."""


@dataclass(frozen=True, slots=True)
class Subscribed:
    """Subscribed. `gap` is the reason if the replay is incomplete, else None; for a wire without gap frames."""

    topics: tuple[str, ...]
    gap: str | None
    cursor: MessageId
    """The start cursor; see `StartPosition.cursor`."""
    connection: str
    """The id of the connection."""
    begin: bool = False
    """See `Subscribe`."""


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """Unsubscribed from those topics that were subscribed to."""

    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Published:
    """The message was accepted."""

    id: str
    """Empty if it is ephemeral."""
    subscribers: int
    is_local: bool = False
    """Whether it was delivered to the subscribers of this node only."""


@dataclass(frozen=True, slots=True)
class Replied:
    """The first reply to a request. It may follow the replies to later commands."""

    number: int
    """Which request of the connection it was, from 1."""
    channel: str
    """The channel of the request."""
    reply: Draft


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """A request was refused, or not answered; see `Replied`."""

    number: int
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class HistoryResult:
    """Messages from the history, oldest first."""

    topics: tuple[str, ...]
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class StatusResult:
    """The state of a channel."""

    info: ChannelInfo
    subscribers: dict[str, int]


@dataclass(frozen=True, slots=True)
class Entered:
    """The connection has entered a channel."""

    channel: str
    id: str
    """Under which it is a member."""


@dataclass(frozen=True, slots=True)
class Left:
    """The connection has left a channel."""

    channel: str
    id: str


@dataclass(frozen=True, slots=True)
class MembersResult:
    """Members of a channel, and where their events continue."""

    channel: str
    page: MemberPage
    cursor: MessageId


@dataclass(frozen=True, slots=True)
class HeartbeatResult:
    """The lease was renewed."""

    id: str
    seen: Seen


@dataclass(frozen=True, slots=True)
class Pong:
    """The reply to `Ping`."""

    token: object


@dataclass(frozen=True, slots=True)
class FormatSet:
    """The format was switched."""

    name: str


@dataclass(frozen=True, slots=True)
class CommandList:
    """The reply is the list of commands."""


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The connection is about to close."""


Reply = (
    Acknowledged
    | Authenticated
    | Subscribed
    | Unsubscribed
    | Published
    | Replied
    | RequestRefused
    | HistoryResult
    | StatusResult
    | Entered
    | Left
    | MembersResult
    | HeartbeatResult
    | Pong
    | FormatSet
    | CommandList
    | Goodbye
)
