"""Reading: where a subscription begins, what comes next, and what is known of channels."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from twisted.internet.defer import DeferredSemaphore

from pushd.backends.interface import Usage
from pushd.backends.redis.command_runner import CommandRunner
from pushd.backends.redis.encoding import decode_message
from pushd.backends.redis.loss_walk import LossWalk, Row, decode_part
from pushd.backends.redis.scripts import FETCH, FORGET, LAST, LINK, LOOK, LOSSES, MISSED, OPEN, PAGE, URL
from pushd.core.cursor import Age, Everything, Last, Latest, MessageId, Now, Since, Time
from pushd.core.errors import Unavailable
from pushd.core.message import Gap, Message
from pushd.core.names import is_pattern
from pushd.core.remembered_urls import MAX_URLS
from pushd.core.replay import ChannelInfo, KeptMessages, Page, StartPosition, newest_upto

_WALKED: Final = 500
"""Channels that one call gives of those that lost messages: some milliseconds here and in Redis."""
_WALKS: Final = 2
"""Walks of this node at a time: what else it asks of Redis waits behind as many calls of them."""
_ATTEMPTS: Final = 5
"""How often a walk begins again because Redis has not kept what had changed meanwhile."""


class _ChannelState(msgspec.Struct, array_like=True):
    """What has become of a topic."""

    lost: int
    lost_at: int
    why: str
    known: int
    """0 unknown, 1 known, otherwise the sequence of its deletion."""
    ended: int
    newest: int
    kept: int
    """The number of its messages; 0 for a pattern."""


class _OpenReply(msgspec.Struct, array_like=True):
    epoch: str
    head: int
    unknown: int
    beyond: int
    now: int
    place: int
    facts: list[_ChannelState]
    after: int
    """The walk over losses looks for newer ones than this sequence."""
    changes: int
    """See `losses`, here and below."""
    found: list[Row]
    more: str


class _LastReply(msgspec.Struct, array_like=True):
    epoch: str
    head: int
    place: int
    wanted: int
    more: str


class _PageReply(msgspec.Struct, array_like=True):
    epoch: str
    head: int
    unknown: int
    beyond: int
    facts: list[_ChannelState]
    position: int
    complete: bool
    after: int
    changes: int
    found: list[Row]
    more: str


class MissedReply(msgspec.Struct, array_like=True):
    """What a node has missed."""

    epoch: str
    head: int
    beyond: int
    forgets: int
    rows: list[int | str]
    """Sequence, channel and size of each message, one behind the other."""
    position: int
    complete: bool
    lost: list[str]
    ended: list[str]
    gone: list[str]
    all: bool
    """Whether these are all channels that lost messages, have ended or were deleted."""


A = TypeVar("A", _OpenReply, tuple[_PageReply, list[bytes]])


class LinkReply(NamedTuple):
    """Messages of one channel, and what it lost."""

    epoch: str
    messages: list[Message]
    lost: int
    why: str


class LogState(NamedTuple):
    """What Redis itself says of the log."""

    epoch: str
    head: int
    beyond: int
    forgets: int
    is_known: bool
    """Whether the channel that was asked for is known, and not deleted."""


_state = msgspec.msgpack.Decoder(tuple[str, int, int, int, bool]).decode
_opened = msgspec.msgpack.Decoder(_OpenReply).decode
_found = msgspec.msgpack.Decoder(_LastReply).decode
_paged = msgspec.msgpack.Decoder(_PageReply).decode
_missed = msgspec.msgpack.Decoder(MissedReply).decode
_info = msgspec.msgpack.Decoder(list[Any]).decode
_counted = msgspec.msgpack.Decoder(tuple[int, int, int]).decode


class Reader:
    """All that is asked of the log.

    :param age: seconds after which messages are let go.
    """

    def __init__(self, commands: CommandRunner, age: float) -> None:
        self._commands = commands
        self._call = commands.call
        self._walks = DeferredSemaphore(_WALKS)
        self._age = round(age * 1000)

    async def open(self, topics: Sequence[str], since: Since) -> tuple[StartPosition, MessageId]:
        """Tell where a subscription begins, and how far the log is."""
        if isinstance(since, Last):
            return await self._open_last(topics, since.size)
        if isinstance(since, Latest):
            return await self._open_latest(topics)
        kind, value, epoch = "", 0, ""
        match since:
            case Now():
                kind = "now"
            case MessageId(epoch, value):
                kind = "at"
            case Time(unix):
                kind, value = "time", round(unix * 1000)
            case Age(seconds):
                kind, value = "time", (await self._state("", 0, "", ())).now - round(seconds * 1000)
        state = await self._state(kind, value, epoch, topics)
        seq, gaps, returning = _begin(topics, since, state, value)
        opening, head = _opening(topics, seq, gaps, returning, state)
        if isinstance(since, Everything):
            kept = {topic: KeptMessages(fact.kept, state.head) for topic, fact in zip(topics, state.facts, strict=True)}
            opening = opening._replace(kept=tuple(kept[gap.topic] for gap in opening.known_gaps))
        return opening, head

    async def page(
        self, topics: Sequence[str], after: MessageId, count: int, size: int, latest_until: MessageId | None = None
    ) -> tuple[Page, MessageId]:
        """Read on; see `Backend.page`. Give also how far the log is."""
        upto = newest_upto(after, latest_until, after.epoch)
        arguments = (after.seq, after.epoch, count, size, _has_pattern(topics), upto, *topics)

        async def read() -> tuple[_PageReply, list[bytes]]:
            packed, *raw = await self._call(PAGE, self._age, *arguments)
            return _paged(packed), raw

        state, raw = await self._know_losses(topics, read, lambda answer: answer[0])
        is_other = after.epoch != state.epoch
        gaps = _epoch_gaps(topics, after, "epoch", state) if is_other else _gaps(topics, after, state)
        if upto and not is_other:
            gaps = ()
        ended: tuple[str, ...] = ()
        if state.complete:
            facts = zip(topics, state.facts, strict=True)
            ended = tuple(topic for topic, fact in facts if _is_finished(fact, state.position, returning=False))
        messages = tuple([decode_message(each) for each in raw])
        page = Page(messages, gaps, MessageId(state.epoch, state.position), state.complete, ended)
        return page, MessageId(state.epoch, state.head)

    async def info(self, channel: str) -> ChannelInfo | None:
        """Tell what is known of a channel."""
        epoch, *facts = _info(await self._call(LOOK, self._age, "info", channel))
        if not facts:
            return None
        messages, size, first, last, at, ended = facts
        return ChannelInfo(
            channel,
            messages,
            size,
            f"{epoch}-{first}" if first else None,
            f"{epoch}-{last}" if last else None,
            at / 1000 if at else None,
            bool(ended),
        )

    async def names(self, prefix: str, after: str, limit: int) -> list[str]:
        """Give names of channels; see `Backend.names`."""
        begin, end, behind = prefix.encode(), prefix.encode() + b"\xff", after.encode()
        start = b"(" + behind if behind and behind >= begin else b"[" + begin if begin else b"("
        names = await self._call(LOOK, self._age, "names", start, b"(" + end if begin else b"+", limit)
        return [name.decode() for name in names]

    async def remember_url(self, digest: bytes, until: float) -> None:
        """Remember that a signed URL was used. `until`: unix seconds."""
        await self._call(URL, digest, round(until * 1000), MAX_URLS)

    async def is_url_remembered(self, digest: bytes) -> bool:
        """Return whether a signed URL was used, and its time is not over."""
        return bool(await self._call(URL, digest, "", MAX_URLS))

    async def state(self, channel: str = "") -> LogState:
        """Return the state of the log, and whether a channel is known."""
        return LogState(*_state(await self._call(LOOK, self._age, "state", channel)))

    async def usage(self) -> Usage:
        """Tell how much is held."""
        return Usage(*_counted(await self._call(LOOK, self._age, "usage")))

    async def forget(self, channel: str, remembered: int, *, is_named: bool) -> bool:
        """Delete a channel; tell whether it was known.

        :param remembered: how many deleted channels are known any longer.
        :param is_named: whether anybody named it, who is told in any case.
        """
        return bool(await self._call(FORGET, channel, remembered, int(is_named)))

    # For the feed

    async def missed(self, after: MessageId, forgets: int) -> MissedReply:
        """Tell what came behind `after`, a part at a time."""
        return _missed(await self._call(MISSED, self._age, after.seq, after.epoch, forgets))

    async def fetch(self, places: Sequence[tuple[int, str]]) -> list[Message | None]:
        """Give messages by sequence and channel; None for what is gone."""
        arguments = [word for seq, channel in places for word in (seq, channel)]
        _, *raw = await self._call(FETCH, *arguments)
        return [None if each is None else decode_message(each) for each in raw]

    async def between(self, channel: str, start: int, end: int, most: int) -> LinkReply:
        """Give the messages of a channel between two sequences."""
        epoch, lost, why, *raw = await self._call(LINK, channel, start, end, most)
        return LinkReply(epoch.decode(), [decode_message(each) for each in raw], int(lost), why.decode())

    async def _open_last(self, topics: Sequence[str], count: int) -> tuple[StartPosition, MessageId]:
        found = await self._before_last(topics, count)
        state = await self._state("at", found.place, found.epoch, topics)
        if any(fact.lost > found.place for fact in state.facts):
            # Some of the messages that were found may be lost already. Those that are found now are not.
            found = await self._before_last(topics, count)
            state.head = max(state.head, found.head)
        return _opening(topics, found.place if state.epoch == found.epoch else 0, (), False, state)

    async def _open_latest(self, topics: Sequence[str]) -> tuple[StartPosition, MessageId]:
        """Return where a subscription starts that begins with the newest message of each channel."""
        state = await self._state("now", 0, "", topics)
        until = MessageId(state.epoch, state.head)
        page, _ = await self.page(topics, MessageId(state.epoch, 0), 1, 1, until)
        seq = page.messages[0].seq - 1 if page.messages else page.position.seq
        position = MessageId(state.epoch, min(seq, state.head) if page.position.epoch == state.epoch else 0)
        ended = sum(_is_finished(fact, position.seq, returning=False) for fact in state.facts)
        is_behind = position.seq < state.head or ended > 0
        return StartPosition(position, (), is_behind, ended == len(topics), latest_until=until), until

    async def _before_last(self, topics: Sequence[str], count: int) -> _LastReply:
        """Return the place before the newest `count` messages of topics."""
        wanted, upto = count, "+"
        place = -1
        while True:
            found = _found(await self._call(LAST, self._age, wanted, upto, *topics))
            if found.wanted < wanted or place < 0:
                place = found.place
            wanted, upto = found.wanted, found.more
            if not upto:
                found.place = place
                return found

    async def _state(self, kind: str, value: int, epoch: str, topics: Sequence[str]) -> _OpenReply:
        async def read() -> _OpenReply:
            return _opened(await self._call(OPEN, self._age, kind, value, epoch, _has_pattern(topics), *topics))

        return await self._know_losses(topics, read, lambda answer: answer)

    async def _know_losses(
        self, topics: Sequence[str], read: Callable[[], Awaitable[A]], state_of: Callable[[A], _OpenReply | _PageReply]
    ) -> A:
        """Read something, and put what patterns have lost at that moment among its facts.

        :raises Unavailable: Redis cannot be read.
        """
        patterns = [topic for topic in topics if is_pattern(topic)]
        run, answer = self._commands.run, await read()
        walk = await self._walk(patterns, state_of(answer), run, is_short=True)
        if walk is None:
            await self._walks.acquire()
            try:
                for _ in range(_ATTEMPTS):
                    walk = await self._walk(patterns, state_of(answer), run, is_short=False)
                    if walk is not None:
                        break
                    run, answer = self._commands.run, await read()
                else:
                    raise Unavailable("Redis changes too fast to determine what was lost; try again")
            finally:
                self._walks.release()
        losses, facts = walk.finish(), state_of(answer).facts
        for number, topic in enumerate(topics):
            loss = losses.get(topic)
            if loss is not None:
                facts[number] = _ChannelState(*loss, 0, 0, 0, 0)
        return answer

    async def _walk(
        self, patterns: Sequence[str], state: _OpenReply | _PageReply, run: bytes, *, is_short: bool
    ) -> LossWalk | None:
        """Go through the channels that lost messages; None where the walk has to begin again, or is not short."""
        walk = LossWalk(patterns, state.after)
        walk.take([], state.found)
        changes, more = state.changes, state.more
        while more and not walk.is_done:
            if is_short:
                return None
            raw = await self._call(LOSSES, state.epoch, changes, state.after, more, _WALKED)
            part = decode_part(raw)
            if not part.holds or self._commands.run != run:
                return None
            walk.take(part.before, part.found)
            changes, more = part.changes, part.more
        return walk


def _has_pattern(topics: Sequence[str]) -> int:
    return int(any(map(is_pattern, topics)))


def _begin(topics: Sequence[str], since: Since, state: _OpenReply, value: int) -> tuple[int, tuple[Gap, ...], bool]:
    """Give the sequence where a subscription begins, what is gone, and whether it returns."""
    match since:
        case Now():
            return state.head, (), False
        case Everything():
            return 0, (), False
        case MessageId(epoch, _) if epoch != state.epoch:
            return 0, _epoch_gaps(topics, since, "epoch", state), True
        case MessageId(_, seq) if seq > state.head:
            return 0, _epoch_gaps(topics, since, "unknown", state), True
        case MessageId(_, seq):
            return seq, _gaps(topics, since, state), True
    gaps = [
        Gap(topic, f"{state.epoch}-0", f"{state.epoch}-{fact.lost}", fact.why)
        for topic, fact in zip(topics, state.facts, strict=True)
        if fact.lost and fact.lost_at >= value
    ]
    return state.place, tuple(gaps), False


def _opening(
    topics: Sequence[str], seq: int, gaps: tuple[Gap, ...], returning: bool, state: _OpenReply
) -> tuple[StartPosition, MessageId]:
    position = MessageId(state.epoch, seq)
    ended = sum(_is_finished(fact, seq, returning) for fact in state.facts)
    behind = seq < state.head or ended > 0
    known = _gaps(topics, position, state) if behind else ()
    finished = ended == len(topics) and not gaps
    return StartPosition(position, gaps, behind, finished, known), MessageId(state.epoch, state.head)


def _gaps(topics: Sequence[str], after: MessageId, state: _OpenReply | _PageReply) -> tuple[Gap, ...]:
    gaps = []
    for topic, fact in zip(topics, state.facts, strict=True):
        lost, why = (fact.lost, fact.why) if fact.lost > after.seq else (after.seq, "")
        if state.unknown > lost and not fact.known:
            lost, why = state.unknown, "unknown"
        if state.beyond > lost:
            lost, why = state.beyond, "unknown"
        if why:
            gaps.append(Gap(topic, str(after), f"{state.epoch}-{lost}", why))
    return tuple(gaps)


def _epoch_gaps(topics: Sequence[str], after: MessageId, why: str, state: _OpenReply | _PageReply) -> tuple[Gap, ...]:
    facts = zip(topics, state.facts, strict=True)
    return tuple(Gap(topic, str(after), f"{state.epoch}-{fact.lost}", why) for topic, fact in facts)


def _is_finished(fact: _ChannelState, seq: int, returning: bool) -> bool:
    if fact.known > 1:
        return returning and seq < fact.known
    return bool(fact.ended) and fact.newest <= seq
