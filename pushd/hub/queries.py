"""Queries: the history, the state of channels, and open connections."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pushd.backends.interface import Backend
from pushd.core.budget import Budget
from pushd.core.cursor import Last, MessageId, Now, Since
from pushd.core.dispatcher import Dispatcher
from pushd.core.errors import BadParameter, NoRoom, UnknownChannel
from pushd.core.gap_reports import GapReports
from pushd.core.message import Gap, Message
from pushd.core.peer import Peer
from pushd.core.register import Register, page_among
from pushd.core.replay import ChannelInfo
from pushd.core.subscriber import Subscriber
from pushd.hub.authorization import check_operation
from pushd.hub.callbacks import CallbackChecks
from pushd.hub.channel_counts import ChannelCounts
from pushd.hub.memory_relief import NO_ROOM
from pushd.net.turn_slices import Slices

_COUNTED = 10_000
"""Number of subscribers counted in one reactor turn: about 10 ms."""
_PAGE_MESSAGES = 2000
"""Number of messages read from the history at once: a few milliseconds."""
_ENCODED = 1 << 20
_ENCODED_MESSAGE = 1 << 10
"""Bytes encoded in one reactor turn, a few milliseconds, and the bytes that a message counts besides its data."""
_LARGE = 1 << 20
"""Size of a response in bytes above which the memory budget must have room for it."""
NO_CHANNEL = "there is no such channel: nothing was published to it, and no subscriber names it"


class HistoryPage(NamedTuple):
    """Messages from the history, oldest first, and the position from which to continue."""

    messages: list[Message]
    gaps: tuple[Gap, ...]
    position: MessageId


class ChannelStatus(NamedTuple):
    """The state of a channel, over all nodes."""

    info: ChannelInfo
    subscribers: dict[str, int]
    """Number of subscribers by transport, including those to a pattern that matches the channel."""


class CountedChannel(NamedTuple):
    """The state of a channel, and how many of its messages were counted."""

    status: ChannelStatus
    published: int


class ChannelDetails(NamedTuple):
    """The states of several channels."""

    channels: list[CountedChannel]
    seconds: float
    """How long messages have been counted at this node."""


class Queries:
    """Reads the history, states of channels and connections, in time slices if there is much to read."""

    def __init__(
        self,
        backend: Backend,
        dispatcher: Dispatcher,
        register: Register,
        budget: Budget,
        checks: CallbackChecks,
        turns: Slices,
        counts: ChannelCounts,
    ) -> None:
        self._backend = backend
        self._dispatcher = dispatcher
        self._register = register
        self._budget = budget
        self._checks = checks
        self._turns = turns
        self._counts = counts

    def connections(self, peer: Peer, channel: str | None, after: str | None, limit: int) -> Sequence[Subscriber]:
        """Return at most `limit` subscribers at this node, the oldest first.

        :param channel: only those that receive its messages, by its name or by a pattern; None: all.
        :param after: the id of an open or closed connection: only later ones. None: all.
        :raises NotGranted: when the peer may not list connections.
        :raises BadParameter: when `after` is no id of this node.
        """
        check_operation(peer, "connections")
        number = 0 if after is None else self._register.number_of(after)
        if number is None:
            raise BadParameter("after must be the id of a connection at this node")
        if channel is None:
            return self._register.page(number, limit)
        return page_among(self._dispatcher.subscribers_of(channel), number, limit)

    async def history(self, peer: Peer, topics: Sequence[str], since: Since, limit: int, size: int) -> HistoryPage:
        """Return at most `limit` kept messages of topics, and no further one once they have `size` bytes.

        Without a cursor they are the newest, else those that follow it.

        :raises NotGranted: when the peer may not read the history of one of the topics.
        :raises NoRoom: when the response may be large, and the memory limit for queued data is exceeded.
        """
        await self._checks.check_read(peer, topics, "history")
        if size > _LARGE and self._budget.is_over:
            raise NoRoom(NO_ROOM)
        opening = await self._backend.open(topics, Last(limit) if isinstance(since, Now) else since)
        messages: list[Message] = []
        reports = GapReports()
        gaps = reports.opened(opening)
        position, complete = opening.position, False
        while not complete and len(messages) < limit and size > 0:
            if position != opening.position:
                await self._turns.next_turn()
            count = min(limit - len(messages), _PAGE_MESSAGES)
            page = await self._backend.page(topics, position, count, size, opening.latest_until)
            messages += page.messages
            gaps += reports.of_page(page)
            size -= sum(message.size for message in page.messages)
            is_latest = position != opening.latest_until and page.position == opening.latest_until
            position, complete = page.position, page.is_last and not is_latest
        return HistoryPage(messages, tuple(gaps), position)

    async def in_slices(self, encode: Callable[[Message], bytes], messages: Sequence[Message]) -> list[bytes]:
        """Encode messages, over several reactor turns if there are many."""
        encoded: list[bytes] = []
        size = 0
        for message in messages:
            if size > _ENCODED:
                size = 0
                await self._turns.next_turn()
            encoded.append(encode(message))
            size += _ENCODED_MESSAGE + len(message.data)
        return encoded

    async def status(self, peer: Peer, channel: str) -> ChannelStatus:
        """Return the state of a channel.

        :raises NotGranted: when the peer may not subscribe to it, whether it exists or not.
        :raises UnknownChannel: when nothing was published to it, and there is no subscriber to it.
        """
        await self._checks.check_read(peer, (channel,), "subscribe")
        info = await self._backend.info(channel)
        audience = await self._backend.audience(channel)
        if info is None and not audience.named:
            raise UnknownChannel(NO_CHANNEL)
        return ChannelStatus(info or _without_messages(channel), dict(audience.transports))

    async def channels(self, peer: Peer, prefix: str, after: str, limit: int) -> list[str]:
        """Return the names of known channels, sorted; see `Backend.names`.

        :raises NotGranted: when the peer may not list channels.
        """
        check_operation(peer, "channels")
        return await self._backend.names(prefix, after, limit)

    async def channel_details(self, peer: Peer, names: Sequence[str]) -> ChannelDetails:
        """Return the states of channels, and count their messages for the next 30 seconds.

        :raises NotGranted: when the peer may not list channels.
        """
        check_operation(peer, "channels")
        self._counts.watch()
        details: list[CountedChannel] = []
        counted = 0
        for name in names:
            info = await self._backend.info(name) or _without_messages(name)
            audience = await self._backend.audience(name)
            details.append(CountedChannel(ChannelStatus(info, dict(audience.transports)), self._counts.of(name)))
            counted += sum(audience.transports.values())
            if counted > _COUNTED:
                counted = 0
                await self._turns.next_turn()
        return ChannelDetails(details, self._counts.age)


def _without_messages(channel: str) -> ChannelInfo:
    return ChannelInfo(channel, 0, 0, None, None, None, False)
