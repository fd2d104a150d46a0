"""The feed: live messages from Redis, in order, each once, and none missing.

One Redis assigns sequences and publishes in the same script, so messages arrive over one connection in the order of
their ids. A duplicate, received because several patterns match, is skipped. A missing message is detected by `prev`.
After a lost connection, what was missed is read from the history before anything newer is delivered. What cannot be
read any more is left to the subscribers: they are replayed from the history, and receive a gap.

Other clients of Redis can publish too. A new epoch, a sequence far ahead and a deletion are verified by asking Redis,
and nearer sequences by the next heartbeat, see `DeliveredIds`.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.backends.interface import BackendEvents
from pushd.backends.redis.delivered_ids import DeliveredIds
from pushd.backends.redis.encoding import Published, prev_of
from pushd.backends.redis.held_messages import HeldMessages
from pushd.backends.redis.limited_log import LimitedLog
from pushd.backends.redis.pubsub_messages import Deletion, MoreLost, ReturnedHeartbeat, parse
from pushd.backends.redis.reader import LogState, MissedReply, Reader
from pushd.backends.redis.subscriptions import TopicSubscriptions
from pushd.core.cursor import MessageId
from pushd.core.errors import Unavailable
from pushd.core.message import Exclusion, Message

FOREIGN: Final = "Redis pub/sub: message ignored that pushd did not send; another client publishes under this prefix"
_MAX_RESYNCED: Final = 50_000
"""If more messages than these were missed, each subscriber is replayed by itself, at its own pace."""
_MAX_LINKS: Final = 1000
"""If as many messages of one channel are missing, the connection is replaced."""
_FETCHED: Final = 128
_FETCHED_BYTES: Final = 1 << 20
"""The most that is fetched at once."""
_CHANNELS: Final = 100_000
"""The most channels whose newest sequence is remembered."""
_EPOCHS: Final = 16
"""Number of past epochs that are remembered: their messages may still arrive."""


class Feed:
    """The receiver of pub/sub.

    :param restart: called with the reason when the connection has to be replaced.
    :param returned: called with the token of each heartbeat; returns whether it is one of this node.
    """

    log = Logger()

    def __init__(
        self,
        listening: TopicSubscriptions,
        reading: Reader,
        listener: BackendEvents,
        restart: Callable[[str], None],
        returned: Callable[[str], bool],
        limited_log: LimitedLog,
    ) -> None:
        self.position: MessageId | None = None
        """Everything up to this position was delivered, as far as there are subscribers. None before the first
        contact."""
        self.forgets = 0
        """Number of known deletions."""
        self.is_live = False
        """Whether received messages are delivered at once."""
        self._subscriptions = listening
        self._reader = reading
        self._listener = listener
        self._restart = restart
        self._returned = returned
        self._limited_log = limited_log
        self._newest: dict[str, int] = {}
        """The sequence of the newest message received, by channel."""
        self._past: deque[str] = deque(maxlen=_EPOCHS)
        self._held = HeldMessages()
        self._delivered = DeliveredIds()
        self._newest_ephemeral = b""
        """The ephemeral message that was received last."""
        self._round = 0
        """Number of the connection, so that a reply requested during one has no effect during the next."""
        self._resynced_from = MessageId("", 0)
        """The position before the last resync."""

    def handle_message(self, raw: bytes) -> None:
        """Called with each pub/sub message.

        :raises ValueError: when it is malformed; it is ignored then.
        """
        if self.is_live:
            self._receive(raw)
        else:
            self._held.append(raw)

    def lost(self) -> None:
        """Connection lost."""
        self.is_live = False
        self._round += 1
        self._held.clear()

    def advance(self, epoch: str, head: int) -> None:
        """Called with the head of the log, by a reply that was just received."""
        if self.position is None:
            self.position = MessageId(epoch, head)
            self._delivered.restart(head)
        elif epoch != self.position.epoch:
            self._change_epoch(epoch, head)
        else:
            self._delivered.advance(head)

    def advance_beyond(self, epoch: str, seq: int) -> None:
        """Called when Redis has lost messages up to `seq`: report it to subscribers that were resynced before."""
        if self._resynced_from.epoch == epoch and self._resynced_from.seq < seq:
            start, self._resynced_from = self._resynced_from, MessageId(epoch, seq)
            self._listener.on_lost(None, start, MessageId(epoch, seq), "unknown")

    # In order

    def _receive(self, raw: bytes) -> None:
        """Handle the next pub/sub message."""
        if self.position is None:
            return
        received = parse(raw)
        if isinstance(received, Published):
            if received.message.is_kept:
                self._receive_message(*received, raw)
            else:
                self._receive_ephemeral(*received, raw)
        elif isinstance(received, ReturnedHeartbeat):
            if self._returned(received.token) and received.epoch == self.position.epoch:
                self._confirm(received.head)
        elif isinstance(received, Deletion) and received.epoch in self._past:
            return
        else:
            self._verify(received, raw)

    def _receive_message(self, message: Message, exclude: Exclusion | None, raw: bytes) -> None:
        position, channel = self.position, message.channel
        if position is None or message.epoch in self._past:
            return
        if message.epoch != position.epoch or not self._delivered.is_plausible(message.seq):
            self._verify(message, raw)
        elif self._delivered.has(message) and not self._delivered.is_withheld(message, exclude):
            return
        elif not self._subscriptions.covers(channel):  # of a broader pattern than any that was asked for
            self._advance_position(message.seq)
        elif (prev := prev_of(message)) >= message.seq:
            raise ValueError("a message cannot follow itself")
        elif prev > self._newest.get(channel, 0) and prev > self._reached(channel):
            self._verify_link(message, raw)
        else:
            self._deliver(message, exclude)

    def _receive_ephemeral(self, message: Message, exclude: Exclusion | None, raw: bytes) -> None:
        """Deliver an ephemeral message, unless it was received before, or was published before what was read from the
        history meanwhile. Copies, received because several patterns match, follow each other.
        """
        position = self.position
        if position is None or message.epoch in self._past or raw == self._newest_ephemeral:
            return
        if message.epoch != position.epoch or not self._delivered.is_plausible(message.seq):
            self._verify(message, raw)
            return
        self._newest_ephemeral = raw
        if message.seq >= self._delivered.floor and self._subscriptions.covers(message.channel):
            self._listener.deliver(message, exclude)

    def _reached(self, channel: str) -> float:
        """Return the sequence up to which no message of a channel is missing; infinite while none is expected. Messages
        received before a time without subscribers tell nothing about that time.
        """
        return max(self._newest.get(channel, 0), self._subscriptions.since(channel))

    def _deliver(self, message: Message, exclude: Exclusion | None = None) -> None:
        self._delivered.add(message, exclude)
        position = self.position
        if position is not None and message.seq > position.seq:
            self.position = MessageId(position.epoch, message.seq)
        if len(self._newest) >= _CHANNELS:
            self._newest.clear()
            self._subscriptions.settle_all(message.seq)
        self._newest[message.channel] = message.seq
        self._listener.deliver(message, exclude)
        if self._delivered.is_full:
            self._restart("no heartbeat has come back while too many messages arrived")

    def _advance_position(self, seq: int) -> None:
        if self.position is not None and seq > self.position.seq:
            self.position = MessageId(self.position.epoch, seq)

    def _confirm(self, head: int) -> None:
        """Correct what forged messages have changed: those whose sequences are greater than the head of Redis was."""
        assert self.position is not None
        forged = self._delivered.confirm(head)
        for channel in forged:
            self._newest[channel] = head
        if self.position.seq > head:
            self.position = MessageId(self.position.epoch, head)
            self._limited_log.warn(FOREIGN)

    def _change_epoch(self, epoch: str, seq: int) -> None:
        """Start a new epoch: Redis has lost its data."""
        position = self.position
        if position is not None and position.epoch == epoch:
            return
        if position is not None:
            self._past.append(position.epoch)
        if epoch in self._past:
            self._past.remove(epoch)
        self.log.warn("Redis lost its data: starting epoch {epoch}; subscribers receive a gap", epoch=epoch)
        self.position = MessageId(epoch, seq)
        self.forgets = 0
        self._resynced_from = self.position
        self._delivered.restart(seq)
        self._newest.clear()
        self._subscriptions.settle_all(seq)
        if position is not None:
            self._listener.on_resync(position, None)

    def _go_live(self) -> None:
        """Deliver what was held back, until a message is missing again."""
        self.is_live = True
        while self._held and self.is_live:
            try:
                self._receive(self._held.pop())
            except ValueError:
                self._limited_log.warn(FOREIGN)

    # What only Redis itself can confirm

    def _verify(self, received: Message | Deletion | MoreLost, raw: bytes) -> None:
        """Ask Redis whether something has happened, and hold everything else back meanwhile."""
        self.is_live = False
        asking = Deferred.fromCoroutine(self._ask_redis(received, raw, self._round))
        asking.addErrback(self._on_link_failed)

    async def _ask_redis(self, received: Message | Deletion | MoreLost, raw: bytes, round_: int) -> None:
        channel = received.channel if isinstance(received, Deletion) else ""
        state = await self._reader.state(channel)
        if self._round != round_:
            return
        if self._held.has_skipped:
            self._restart("too many messages arrived while one was verified")
            return
        self.advance(state.epoch, state.head)
        if isinstance(received, Message):
            if received.epoch == state.epoch and received.seq <= state.head:
                self._held.put_back(raw)
            elif received.epoch not in self._past:
                self._limited_log.warn(FOREIGN)
        elif isinstance(received, Deletion):
            self._delete(received, state)
        else:
            self.advance_beyond(state.epoch, state.beyond)
        self._go_live()

    def _delete(self, deletion: Deletion, state: LogState) -> None:
        if deletion.epoch != state.epoch or (state.is_known and not self.forgets < deletion.number <= state.forgets):
            self._limited_log.warn(FOREIGN)
            return
        self.forgets = max(self.forgets, min(deletion.number, state.forgets))
        self._listener.on_deleted(deletion.channel)

    # A message of one channel is missing

    def _verify_link(self, message: Message, raw: bytes) -> None:
        """Read the missing messages of one channel, and hold everything else back meanwhile."""
        self.is_live = False
        self._held.put_back(raw)
        start = int(self._reached(message.channel))
        self.log.info(
            "Redis pub/sub: messages of {channel} are missing; reading them from the history", channel=message.channel
        )
        fetching = Deferred.fromCoroutine(self._fetch_link(message, start, self._round))
        fetching.addErrback(self._on_link_failed)

    def _on_link_failed(self, failure: Failure) -> None:
        if not failure.check(Unavailable):
            self.log.failure("Redis pub/sub: missing messages could not be read; reconnecting", failure)
        self._restart("missing messages could not be read from the history")

    async def _fetch_link(self, message: Message, start: int, round_: int) -> None:
        channel, epoch = message.channel, message.epoch
        found = await self._reader.between(channel, start, message.seq, _MAX_LINKS)
        if self._round != round_:
            return
        if self._held.has_skipped or len(found.messages) == _MAX_LINKS:
            self._restart("too many messages are missing")
            return
        if self.position is None or self.position.epoch != epoch:
            self._go_live()
            return
        if found.epoch != epoch:
            self._restart("Redis lost its data while missing messages were read")
            return
        prev = prev_of(message)
        if found.lost > start:  # by now the newest that is lost may be `message` itself, or one that came after it
            end = min(found.lost, prev)
            self._listener.on_lost(channel, MessageId(epoch, start), MessageId(epoch, end), found.why)
        for each in found.messages:
            if not self._delivered.has(each):
                self._delivered.add(each)
                self._listener.on_message(each)
        self._newest[channel] = prev
        self._go_live()

    # After a lost connection

    async def resync(self) -> None:
        """Read what was missed while there was no connection, and go live.

        :raises Unavailable: when Redis is unavailable again.
        """
        assert self.position is not None
        self._resynced_from = self.position
        while True:
            self._held.has_skipped = False
            await self._read_missed()
            if not self._held.has_skipped:
                break
        self._newest.clear()
        self._delivered.restart(self.position.seq)
        self._subscriptions.settle_all(self.position.seq)
        self._go_live()

    async def _read_missed(self) -> None:
        assert self.position is not None
        count, is_first, after = 0, True, self._delivered.floor
        while True:
            epoch = self.position.epoch
            missed = await self._reader.missed(MessageId(epoch, after), self.forgets)
            head = MessageId(missed.epoch, missed.head)
            if missed.epoch != epoch:
                self._change_epoch(*head)
                self.forgets = missed.forgets
                return
            if self.position.seq > missed.head:  # a forged message was the newest
                self.position = MessageId(epoch, self._delivered.newest(missed.head))
            start = MessageId(epoch, max(after, self.position.seq))
            count += len(missed.rows) // 3
            if count > _MAX_RESYNCED or not self._report_losses(missed, start):
                self._listener.on_resync(start, None)
                self._report_ends(missed)
                self.position = head
                return
            await self._fetch(missed, start)
            if self.position.epoch != start.epoch:
                return
            after = missed.position
            self._advance_position(after)
            if is_first:
                self._report_ends(missed)
            if missed.complete:
                return
            is_first = False

    def _report_losses(self, missed: MissedReply, start: MessageId) -> bool:
        """Resync the subscribers that lost messages; return whether it is known which they are."""
        if missed.beyond > start.seq or not missed.all:
            self._resynced_from = MessageId(start.epoch, max(missed.beyond, start.seq))
            return False
        lost = {channel for channel in missed.lost if self._subscriptions.covers(channel)}
        if lost:
            self._listener.on_resync(start, lost)
        return True

    def _report_ends(self, missed: MissedReply) -> None:
        for channel in (*missed.ended, *missed.gone):
            if self._subscriptions.covers(channel):
                self._listener.on_deleted(channel)
        self.forgets = missed.forgets

    async def _fetch(self, missed: MissedReply, start: MessageId) -> None:
        rows: list[tuple[int, str]] = []
        size = 0
        triples = zip(missed.rows[::3], missed.rows[1::3], missed.rows[2::3], strict=True)
        wanted = [triple for triple in triples if self._subscriptions.covers(str(triple[1]))]
        for number, (seq, channel, bytes_) in enumerate(wanted, 1):
            rows.append((int(seq), str(channel)))
            size += int(bytes_)
            if len(rows) >= _FETCHED or size >= _FETCHED_BYTES or number == len(wanted):
                await self._fetch_rows(rows, start)
                rows, size = [], 0

    async def _fetch_rows(self, rows: list[tuple[int, str]], start: MessageId) -> None:
        found = await self._reader.fetch(rows)
        gone = {channel for (_, channel), message in zip(rows, found, strict=True) if message is None}
        if gone and self.position is not None:
            self._listener.on_resync(self.position, gone)
        for message in found:
            if message is not None and message.epoch == start.epoch and not self._delivered.has(message):
                self._deliver(message)
