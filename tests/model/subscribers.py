"""Subscribers: they read for a while, cut the connection, and continue over another transport at another node."""

import asyncio
import random
from collections.abc import Sequence
from typing import NamedTuple

from websockets.exceptions import WebSocketException

from pushd.core.cursor import parse_id
from pushd.core.names import matches
from tests.model.publishers import Node
from tests.model.record import Publication, Record
from tests.model.trace import Closed, Event, Opened, Trace
from tests.soak.transports import (
    TRANSPORTS,
    Confirmed,
    ReceivedCursor,
    ReceivedEnd,
    ReceivedEphemeral,
    ReceivedGap,
    ReceivedMessage,
    Subscription,
    SubscriptionRefused,
)

_CUT = (OSError, EOFError, TimeoutError, WebSocketException, asyncio.IncompleteReadError)
_TEMPORARY = ("unavailable", "stopping", "slow", "no-room", "overloaded", "storage", " 503 ", "503 b")
_STAY_SECONDS = 1.5
_AWAY_SECONDS = 0.6
_LEAVES_AT_END = 0.3
"""How often a subscriber leaves when one of its channels has ended; else it may receive what begins anew."""
_FIRST_STALL_SHARE, _STALL_SHARE = 0.5, 0.03
_STALL_SECONDS = 2.0
"""How often a slow subscriber does not read, at first and after each message, and for how long at most."""
_BUFFER = 4096
_SETTLE_SECONDS = 60.0
_POLL_SECONDS = 0.7


class Habits(NamedTuple):
    """How a subscriber behaves."""

    topics: tuple[str, ...]
    is_slow: bool


class Subscriber:
    """A client with a cursor. It begins another of its `traces` whenever it has lost a connection without a cursor."""

    def __init__(self, name: str, record: Record, nodes: Sequence[Node], habits: Habits, rng: random.Random) -> None:
        self.traces: list[Trace] = []
        self._name = name
        self._record = record
        self._nodes = nodes
        self._habits = habits
        self._rng = rng
        self._settles = False

    async def run(self, stop: asyncio.Event) -> None:
        """Subscribe again and again until the event is set."""
        rng = self._rng
        while not stop.is_set():
            trace = self.traces[-1] if self.traces else self._begin()
            await self._connect(trace, _STAY_SECONDS * rng.random() * (3 if self._habits.is_slow else 1))
            if trace.cursor is None:
                self._begin()
            if not stop.is_set():
                await asyncio.sleep(_AWAY_SECONDS * rng.random() ** 2)

    async def settle(self, last: Sequence[Publication]) -> None:
        """Continue until the last messages of all channels were received, or reported as missing."""
        trace, self._settles = self.traces[-1], True
        wanted = [each for each in last if trace.matches(each.channel)]
        deadline = asyncio.get_running_loop().time() + _SETTLE_SECONDS
        while trace.cursor is not None and not _has_settled(trace, wanted):
            if asyncio.get_running_loop().time() > deadline:
                self._record.fault(f"{trace.name} has not received {wanted[-1]}, its cursor is {trace.cursor}")
                return
            await self._connect(trace, 3.0, wanted)
            await asyncio.sleep(0.05)

    def begin(self, since: str | None) -> Trace:
        """Begin a trace."""
        trace = Trace(f"{self._name}.{len(self.traces)}", self._habits.topics, since)
        self.traces.append(trace)
        return trace

    def _begin(self) -> Trace:
        """Begin a trace: now, with all or the newest that is kept, or after a message that was acknowledged."""
        rng, record = self._rng, self._record
        ids = [each.accepted for each in record.publications.values() if each.accepted is not None]
        since = rng.choice((None, "all", "latest", str(rng.choice(ids)) if ids else "all"))
        return self.begin(since)

    async def _connect(self, trace: Trace, seconds: float, last: Sequence[Publication] = ()) -> None:
        """Receive over one connection until it is closed, or for some time."""
        rng = self._rng
        transport, node = rng.choice(list(TRANSPORTS)), rng.choice(self._nodes)
        is_slow = self._habits.is_slow and not self._settles
        slow = rng.choice(("", "drop")) if is_slow and "poll" not in transport else ""
        subscription = Subscription(
            ",".join(trace.topics), trace.cursor, rng.random() < 0.5, slow, _BUFFER if is_slow else 0, _POLL_SECONDS
        )
        ports = node.ports
        if ports is None:
            await asyncio.sleep(0.05)
            return
        self._add(trace, Opened(f"{transport} at {node.name}", subscription.since, slow))
        why = "ended by the daemon"
        items = TRANSPORTS[transport](ports, subscription)
        try:
            async with asyncio.timeout(seconds):
                async for item in items:
                    self._add(trace, item)
                    has_ended = isinstance(item, ReceivedEnd) and (not item.channel or rng.random() < _LEAVES_AT_END)
                    if has_ended or (last and _has_settled(trace, last)):
                        why = "left"
                        break
                    if is_slow and rng.random() < (_FIRST_STALL_SHARE if isinstance(item, Confirmed) else _STALL_SHARE):
                        await asyncio.sleep(_STALL_SECONDS * rng.random())
        except TimeoutError:
            why = "cut"
        except SubscriptionRefused as refused:
            why = str(refused)
            if not any(word in why for word in _TEMPORARY):
                self._record.fault(f"{trace.name} over {transport} was refused: {why}")
        except _CUT as error:
            why = type(error).__name__
        except Exception as error:  # what was received cannot be parsed
            why = repr(error)
            self._record.fault(f"{trace.name} over {transport} received something else: {why}")
        finally:
            await items.aclose()
        self._add(trace, Closed(why))
        self._record.counts["connections"] += 1

    def _add(self, trace: Trace, event: Event) -> None:
        record = self._record
        channel = None
        if isinstance(event, ReceivedMessage | ReceivedCursor) and (id := parse_id(event.id)):
            record.see(id)
            if isinstance(event, ReceivedMessage):
                text = str(event.data).partition(" ")[0]
                event = event._replace(data=text)
                record.counts["received"] += 1
                if publication := record.publications.get(text):
                    channel = publication.channel
                    record.observe(publication, id)
        if isinstance(event, ReceivedEphemeral):
            event = event._replace(data=str(event.data).partition(" ")[0])
        if not isinstance(event, ReceivedMessage | ReceivedCursor):
            record.counts[_name_of(event)] += 1
        if isinstance(event, ReceivedGap):
            trace.gaps.append(event)
        trace.events.append((record.note(f"{trace.name}: {_sentence(event)}", channel), event))


def _has_settled(trace: Trace, last: Sequence[Publication]) -> bool:
    """Return whether a subscriber has received some messages and what precedes them, or a gap for them."""
    position = trace.position

    def is_done(publication: Publication) -> bool:
        assert publication.accepted and position
        if position.epoch == publication.accepted.epoch and position >= publication.accepted:
            return True
        ends = [parse_id(gap.end) for gap in trace.gaps if not gap.topic or matches(gap.topic, publication.channel)]
        return any(end and end.epoch == publication.accepted.epoch and end >= publication.accepted for end in ends)

    return position is not None and all(map(is_done, last))


def _name_of(event: Event) -> str:
    reason = getattr(event, "reason", "")
    return f"gaps {reason}" if reason else type(event).__name__


def _sentence(event: Event) -> str:
    fields = " ".join(f"{name}={value}" for name, value in event._asdict().items())
    return f"{type(event).__name__} {fields}"
