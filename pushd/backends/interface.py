"""The interface of a backend: the methods that the hub calls, the callbacks that a backend calls, and the guarantees.

A backend keeps one log of messages over all channels. It assigns ids in one sequence and keeps the history within the
bounds of retention. `tests/backends/contract.py` tests these guarantees for each backend:

- Each accepted message is passed to `on_message` once and, within a channel, in id order. When that cannot be
  guaranteed, `on_resync` or `on_lost` is called.
- A message is in the history, as far as the bounds allow, before `publish` returns and before `on_message` is called
  with it. So a message that came too early for a subscription is in its next `page`. Only messages with
  `Message.is_local` and ephemeral ones are in no history.
- Ephemeral messages are passed to `on_message` at most once, at their place among the others of their publisher. Each
  has the sequence of the message that it follows.
- A gap covers all messages that are missing in a `page` because they were evicted, expired or otherwise lost.

Coroutines that need not wait complete without a reactor turn. All methods are called, and all callbacks must be called,
in the reactor thread. Refusals are subclasses of `pushd.core.errors.Refusal`: those of a backend are `StorageFailed`,
`Unavailable`, `Overloaded`, `Stopping` and `TooManyChannels`.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from pushd.backends.channel_marks import ChannelMarks
from pushd.backends.hook_outbox import HookOutbox
from pushd.backends.presence import PresenceBackend
from pushd.backends.records import Records
from pushd.core.channel_rules import ChannelRules
from pushd.core.cursor import MessageId, Since
from pushd.core.errors import Refusal
from pushd.core.idempotency import IdempotencyKey
from pushd.core.message import Draft, Exclusion, Message
from pushd.core.replay import ChannelInfo, Page, StartPosition
from pushd.core.revocations import Revocation
from pushd.core.usage import UsageReply, UsageReport


class Audience(NamedTuple):
    """The subscribers of a channel, as counts."""

    named: bool
    """Whether there is a subscriber to the channel itself, not only to a pattern that matches it."""
    transports: Mapping[str, int]
    """The number of subscribers by transport, including those to a pattern that matches the channel."""


NOBODY: Final = Audience(False, {})
"""The audience of a channel without subscribers."""


def _ignore(*_: object) -> None:
    """Do nothing: the default of callbacks that only a backend shared by several nodes calls."""


async def _close_none(subject: str) -> int:
    """Close no connections: the default of `BackendEvents.on_kick`."""
    return 0


class ClosedElsewhere(NamedTuple):
    """The connections that the other nodes have closed."""

    closed: int = 0
    unanswered: int = 0
    """The number of nodes that have not replied in time. They may have closed connections, too."""


class RequestListener(Protocol):
    """What a backend shared by several nodes calls for requests and replies.

    A mark is a number that the node with the responders compares: a request is lost at that node when its oldest
    responder has a greater number.
    """

    def on_seek(self, node: str, channel: str, seconds: float) -> float | None:
        """Called when another node has a request; return the mark of this node, or None if it has no responder.

        For `seconds`, `Backend.report_responders` is called when responders of the channel leave.
        """

    def on_responders_left(self, node: str, channel: str, oldest: float) -> None:
        """Called with the number of the oldest responder that another node still has; infinite if it has none."""

    def on_node_lost(self, node: str) -> None:
        """Called when a node of `answering_nodes` is gone."""

    def answering_nodes(self) -> Collection[str]:
        """Return the other nodes whose responders may answer open requests of this node."""

    def request_channel(self, token: str) -> str | None:
        """Return the channel of an open request of this node; None if there is none."""

    def on_reply(self, token: str, reply: Draft) -> bool:
        """Answer an open request of this node; return whether it was open."""


async def _ignore_later() -> None:
    """Do nothing, as `_ignore`."""


class BackendEvents(NamedTuple):
    """The callbacks of a backend. They do not block and do not wait."""

    on_message: Callable[[Message], None]
    """Called with each accepted message whose channel matches a subscribed topic, and perhaps with others."""
    on_deleted: Callable[[str], None]
    """Called with the name of each deleted channel."""
    on_health: Callable[[str | None], None]
    """Called with a reason, worded for the operator, when the backend becomes unavailable: publishes are refused from
    now on. Called with None when it is healthy again."""
    on_resync: Callable[[MessageId, Collection[str] | None], None] = _ignore
    """Called with a position and channels (None: all) when messages after the position may not have been delivered. The
    subscribers of these channels must replay the history from there. If a new epoch has begun, the position is the last
    one of the old epoch."""
    on_lost: Callable[[str | None, MessageId, MessageId, str], None] = _ignore
    """Called with a channel (None: any), two positions and the reason of a gap when messages after the first position,
    up to the second one, are lost and were not delivered."""
    local_audience: Callable[[str], Audience] = lambda _: NOBODY
    """Returns the audience of a channel at this node."""
    is_behind: Callable[[], bool] = lambda: False
    """Returns whether the dispatcher has a backlog, so that the backend should deliver no more messages for now."""
    on_revocations: Callable[[Sequence[Revocation]], None] = _ignore
    """Called with revocations that are kept: those from before the start, and each new one at every node. It may be
    called with known ones."""
    revocations: Callable[[], Iterable[Revocation]] = tuple
    """Returns the revocations that this node knows, by which the backend restores those that it has lost."""
    on_kick: Callable[[str], Awaitable[int]] = _close_none
    """Called with a subject whose connections another node has asked to close; returns how many were closed, which may
    take a while."""
    on_excluding: Callable[[Message, Exclusion], None] = _ignore
    """Called instead of `on_message` with a message that is not delivered to one connection."""
    requests: RequestListener | None = None
    """The open requests of this node; None if it has none."""
    restore_usage: Callable[[], Awaitable[None]] = _ignore_later
    """Called when the backend may have lost what this node has reported by `report_usage`: report everything again.
    Raises a refusal when that fails; then it is called again."""

    def deliver(self, message: Message, exclude: Exclusion | None) -> None:
        """Pass an accepted message on."""
        if exclude is None:
            self.on_message(message)
        else:
            self.on_excluding(message, exclude)


class Duplicate(NamedTuple):
    """The result of a publish whose idempotency key was used before: the values of the first receipt."""

    id: str
    subscribers: int


PublishResult = Message | Refusal | Duplicate


class DiskUsage(NamedTuple):
    """The disk usage of a backend, and its commits since the start."""

    bytes: int
    """The total size of its files."""
    commits: int
    """The number of successful commits."""
    failures: int
    """The number of failed commits."""
    pending: int
    """The number of messages that wait for a commit."""


class Usage(NamedTuple):
    """The content of a backend, as counts. They are None while the backend is unavailable."""

    messages: int | None
    bytes: int | None
    """What the messages count towards `Bounds.total_bytes`: their data and names, and an overhead for each."""
    channels: int | None
    disk: DiskUsage | None = None
    """None for a backend without files."""
    canary_age: float | None = None
    """Seconds since the last heartbeat came back through a backend on the network; None for other backends."""
    record_bytes: int | None = None
    """Bytes of memory of the records of channels in this process; None for a backend that keeps none."""


class BackendUnusable(Exception):
    """A backend cannot be used as it is, and waiting does not help. The text is a sentence for the operator."""


class Backend(Protocol):
    """A log of messages over all channels, with live delivery."""

    @property
    def presence(self) -> PresenceBackend:
        """The members of channels."""

    @property
    def hooks(self) -> HookOutbox:
        """The events of hooks that are still to be sent."""

    async def start(self, events: BackendEvents) -> None:
        """Start. Called once; the backend may call the callbacks from now on.

        :raises BackendUnusable: when the daemon must not start; raised before the coroutine waits for anything.
        """

    async def stop(self) -> None:
        """Process pending requests, or refuse them with `Stopping` or `Unavailable`, and release all resources."""

    def reconfigure(self, rules: ChannelRules) -> None:
        """Apply other rules to the retention of channels, soon and a little at a time.

        A channel that exceeds its new bounds is shortened, with a gap as for any eviction or expiry. Longer bounds hold
        from now on. A message may keep the age that its channel had when it was published, if that is shorter.
        """

    async def publish(self, drafts: Sequence[Draft], key: IdempotencyKey | None = None) -> Sequence[PublishResult]:
        """Publish messages in their order. Never raises a refusal.

        Each message is accepted or refused on its own. Messages of concurrent calls may be interleaved.

        :param key: the idempotency key. A backend shared by several nodes remembers the results for two minutes and
            returns them again as `Duplicate`, and a durable one those of earlier runs; else the hub remembers them.
        :return: for each draft, the message if it was accepted, or else the refusal.
        """

    def subscribe(self, topic: str) -> None:
        """Start live delivery of a topic, a channel or a pattern. Called for the first subscriber of this node.

        Delivery has started when an `open` of the topic returns, or earlier.
        """

    def unsubscribe(self, topic: str) -> None:
        """Stop live delivery of a topic. Called when this node has no subscriber to it any more."""

    async def audience(self, channel: str) -> Audience:
        """Return the audience of a channel, summed over all nodes.

        :raises Refusal: when the other nodes cannot be asked.
        """

    async def open(self, topics: Sequence[str], since: Since) -> StartPosition:
        """Return where a subscription starts, and the gaps that are known at that point, in the order of the topics.

        :raises Refusal: when the history cannot be read now.
        """

    async def page(
        self, topics: Sequence[str], after: MessageId, count: int, size: int, latest_until: MessageId | None = None
    ) -> Page:
        """Return the next messages of topics after a position, in id order, and the gaps since that position.

        A page that is not the last one has a later position, but perhaps no messages.

        A subscription that was opened with `Latest` passes `StartPosition.latest_until` on. As long as `after` is
        before that and of the same epoch, a page has only the newest kept message of each channel up to there, and no
        gaps. The page that reaches it has it as its position and is marked as the last. What is newer is received live,
        or read by further pages.

        :param after: the position of the start or of the page before. If it is of another epoch, the page starts at the
            oldest message, with a gap for each topic.
        :param count: the most messages.
        :param size: no further message is added once the messages have this many bytes (`Message.size`). The first one
            is added whatever its size.
        :param latest_until: None: all messages are returned.
        :raises Refusal: when the history cannot be read now.
        """

    async def info(self, channel: str) -> ChannelInfo | None:
        """Return the state of a channel; None if it is unknown or deleted.

        :raises Refusal: when the history cannot be read now.
        """

    async def names(self, prefix: str, after: str, limit: int) -> list[str]:
        """Return at most `limit` names of channels that begin with `prefix` and sort after `after`.

        They are sorted by code points. Deleted channels are left out.

        :raises Refusal: when the history cannot be read now.
        """

    async def delete(self, channel: str) -> bool:
        """Delete a channel and its messages, and return whether it existed. If it did, `on_deleted` is called.

        A subscriber that reconnects with an older cursor receives a gap. A later publish creates the channel again.

        :raises Refusal: when the channel cannot be deleted now.
        """

    async def revoke(self, revocation: Revocation) -> None:
        """Keep a revocation until its time, whatever happens to the epoch, and call `on_revocations` at every node.

        It is merged with the one of the same key.

        :raises Refusal: when it cannot be kept now; then it has no effect.
        """

    @property
    def revocations_age(self) -> float:
        """Seconds since this node last knew all revocations; infinite before the first time."""

    async def kick(self, subject: str) -> ClosedElsewhere:
        """Ask all other nodes to close the connections of a subject, and wait for their replies, about a second.

        :raises Refusal: when they cannot be asked now.
        """

    async def remember_url(self, digest: bytes, until: float) -> None:
        """Remember that a signed URL was used, for all nodes and as long as the epoch of the log lasts.

        A backend remembers at most `pushd.core.remembered_urls.MAX_URLS`, and forgets those with the least `until`.

        :param digest: tells it from other URLs.
        :param until: how long it has to be remembered, in unix seconds; always the same for one digest.
        :raises Refusal: when it cannot be remembered now.
        """

    async def is_url_remembered(self, digest: bytes) -> bool:
        """Return whether a signed URL was used, and its time is not over.

        :raises Refusal: when that cannot be found out now.
        """

    @property
    def node(self) -> str:
        """The name of this node in hexadecimal digits, by which other nodes find it; empty if there are none."""

    async def seek_responders(self, channel: str, seconds: float, on_found: Callable[[str, float], None]) -> None:
        """Ask all other nodes whether they have responders of a channel; return when all have answered, or are late.

        From then on, for `seconds`, `on_responders_left` is called when responders of a node that was found leave, and
        `on_node_lost` when the node does.

        :param on_found: called with each node that has some and its mark, as the answers arrive.
        :raises Refusal: when they cannot be asked.
        """

    def report_responders(self, node: str, channel: str, oldest: float) -> None:
        """Report to a node that the oldest responder of a channel at this node has changed; see `RequestListener`."""

    async def request_channel(self, token: str) -> str | None:
        """Return the channel of an open request of another node; None if there is none.

        :param token: the token of the request, which ends with the name of its node.
        :raises Refusal: when the node cannot be asked, or does not answer.
        """

    async def reply(self, token: str, reply: Draft) -> bool:
        """Answer an open request of another node; return whether it was open, so that the reply is the first one.

        :raises Refusal: when the node cannot be asked, or does not answer: the reply may have been received or not.
        """

    @property
    def records(self) -> Records | None:
        """The records of dialects that all nodes share; None if there are no other nodes."""

    @property
    def marks(self) -> ChannelMarks | None:
        """Which channels have subscribers at any node; None if there are no other nodes."""

    @property
    def has_nodes(self) -> bool:
        """Whether several nodes may share the backend."""

    async def report_usage(self, reports: Sequence[UsageReport]) -> Sequence[UsageReply]:
        """Report to the other nodes what subjects and addresses have at this node, and grant claims; reply to each.

        What a node has reported counts for the others until it reports something else, or for at most 15 s if it is
        gone. A claim is granted if it is within its quota together with what all nodes have, claims that were granted
        to other nodes included: so claims of several nodes at the same time never exceed a quota together. Claims of
        one report count for those behind them. Repeats are harmless.

        :raises Unavailable: when the other nodes cannot be asked; it is unknown what they count then.
        """

    async def exchange_rates(self, used: Mapping[str, float]) -> Mapping[str, float]:
        """Add what this node has taken from token buckets that all nodes share; return how far they are from full.

        :param used: by bucket, the seconds that it takes to refill what was taken; negative if it was refunded.
        :return: by bucket, the seconds after which it is full if no node takes more.
        :raises Unavailable: when the other nodes cannot be asked.
        """

    async def usage(self) -> Usage:
        """Return the size of the content. Does not wait for a backend that is known to be unavailable."""
