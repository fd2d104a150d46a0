"""The feed: live messages from Redis, in order, each once, and none missing.

One Redis assigns sequences and publishes in the same script, so messages arrive over one connection in the order of
their ids. A duplicate, received because several patterns match, has an old sequence and is skipped. A missing message
is detected by `prev`. After a lost connection, what was missed is read from the history before anything newer is
delivered. What cannot be read any more is left to the subscribers: they are replayed from the history, and receive a
gap.
"""

from collections import deque
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.backends.interface import BackendEvents
from pushd.backends.redis.encoding import decode_message, prev_of
from pushd.backends.redis.reader import MissedReply, Reader
from pushd.backends.redis.subscriptions import TopicSubscriptions
from pushd.core.cursor import MessageId
from pushd.core.errors import Unavailable
from pushd.core.message import Message

_HELD_MESSAGES: Final = 10_000
_HELD_BYTES: Final = 16 << 20
"""The most that is held back until older messages have been read; more is dropped, since the history has it too."""
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
    :param beaten: called with the number of each heartbeat of this node that has returned.
    """

    log = Logger()

    def __init__(
        self, listening: TopicSubscriptions, reading: Reader, listener: BackendEvents, restart: Any, beaten: Any
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
        self._beaten = beaten
        self._newest: dict[str, int] = {}
        """The sequence of the newest message received, by channel."""
        self._past: deque[str] = deque(maxlen=_EPOCHS)
        self._held: deque[bytes] = deque()
        self._held_bytes = 0
        self._has_skipped = False
        self._round = 0
        """Number of the connection, so that a reply requested during one has no effect during the next."""
        self._resynced_from = MessageId("", 0)
        """The position before the last resync."""

    def handle_message(self, raw: bytes) -> None:
        """Called with each pub/sub message."""
        if self.is_live:
            self._receive(raw)
        else:
            self._hold_back(raw)

    def lost(self) -> None:
        """Connection lost."""
        self.is_live = False
        self._round += 1
        self._drop_held_back()

    def advance(self, epoch: str, head: int) -> None:
        """Called with the head of the log, by a reply that was just received."""
        if self.position is None:
            self.position = MessageId(epoch, head)
        elif epoch != self.position.epoch:
            self._change_epoch(epoch, head)

    def advance_beyond(self, epoch: str, seq: int) -> None:
        """Called when Redis has lost messages up to `seq`: report it to subscribers that were resynced before."""
        if self._resynced_from.epoch == epoch and self._resynced_from.seq < seq:
            start, self._resynced_from = self._resynced_from, MessageId(epoch, seq)
            self._listener.on_lost(None, start, MessageId(epoch, seq), "unknown")

    # In order

    def _receive(self, raw: bytes) -> None:
        """Handle the next pub/sub message."""
        kind = raw[:2]
        if kind == b"m ":
            try:
                message = decode_message(raw)
            except ValueError:
                self.log.warn("Redis pub/sub: malformed message ignored; another client publishes under this prefix")
                return
            self._receive_message(message, raw)
        elif kind == b"x ":
            head, _, channel = raw.partition(b"\n")
            _, epoch, forgets = head.split(b" ")
            if self.position is not None and epoch.decode() == self.position.epoch:
                self.forgets = int(forgets)
                self._listener.on_deleted(channel.decode())
        elif raw.startswith(b"beat "):
            self._beaten(int(raw[5:]))
        elif raw.startswith(b"beyond "):
            _, epoch, seq = raw.split(b" ")
            self.advance_beyond(epoch.decode(), int(seq))

    def _receive_message(self, message: Message, raw: bytes) -> None:
        position = self.position
        if position is None or message.epoch in self._past:
            return
        if message.epoch != position.epoch:
            self._change_epoch(message.epoch, message.seq - 1)
        elif message.seq <= position.seq:
            return
        if not self._subscriptions.topics_of(message.channel):  # of a broader pattern than any that was asked for
            self.position = MessageId(message.epoch, message.seq)
            return
        prev = prev_of(message)
        if prev > self._newest.get(message.channel, 0) and prev > self._reached(message.channel):
            self._verify_link(message, raw)
            return
        self._deliver(message)

    def _reached(self, channel: str) -> float:
        """Return the sequence up to which no message of a channel is missing; infinite while none is expected. Messages
        received before a time without subscribers tell nothing about that time.
        """
        return max(self._newest.get(channel, 0), self._subscriptions.since(channel))

    def _deliver(self, message: Message) -> None:
        self.position = MessageId(message.epoch, message.seq)
        if len(self._newest) >= _CHANNELS:
            self._newest.clear()
            self._subscriptions.settle_all(message.seq)
        self._newest[message.channel] = message.seq
        self._listener.on_message(message)

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
        self._newest.clear()
        self._subscriptions.settle_all(seq)
        if position is not None:
            self._listener.on_resync(position, None)

    # Held back

    def _hold_back(self, raw: bytes) -> None:
        if self._has_skipped or len(self._held) >= _HELD_MESSAGES or self._held_bytes + len(raw) > _HELD_BYTES:
            self._drop_held_back()
            self._has_skipped = True
            return
        self._held.append(raw)
        self._held_bytes += len(raw)

    def _drop_held_back(self) -> None:
        self._held.clear()
        self._held_bytes = 0
        self._has_skipped = False

    def _go_live(self) -> None:
        """Deliver what was held back, until a message is missing again."""
        self.is_live = True
        while self._held and self.is_live:
            raw = self._held.popleft()
            self._held_bytes -= len(raw)
            self._receive(raw)

    # A message of one channel is missing

    def _verify_link(self, message: Message, raw: bytes) -> None:
        """Read the missing messages of one channel, and hold everything else back meanwhile."""
        self.is_live = False
        self._held.appendleft(raw)
        self._held_bytes += len(raw)
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
        if self._has_skipped or len(found.messages) == _MAX_LINKS:
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
            self._has_skipped = False
            await self._read_missed()
            if not self._has_skipped:
                break
        self._newest.clear()
        self._subscriptions.settle_all(self.position.seq)
        self._go_live()

    async def _read_missed(self) -> None:
        assert self.position is not None
        count, is_first = 0, True
        while True:
            start = self.position
            missed = await self._reader.missed(start, self.forgets)
            head = MessageId(missed.epoch, missed.head)
            if missed.epoch != start.epoch:
                self._change_epoch(*head)
                self.forgets = missed.forgets
                return
            count += len(missed.rows) // 3
            if count > _MAX_RESYNCED or not self._report_losses(missed, start):
                self._listener.on_resync(start, None)
                self._report_ends(missed)
                self.position = head
                return
            await self._fetch(missed, start)
            if self.position.epoch != start.epoch:
                return
            self.position = MessageId(missed.epoch, missed.position)
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
        lost = {channel for channel in missed.lost if self._subscriptions.topics_of(channel)}
        if lost:
            self._listener.on_resync(start, lost)
        return True

    def _report_ends(self, missed: MissedReply) -> None:
        for channel in (*missed.ended, *missed.gone):
            if self._subscriptions.topics_of(channel):
                self._listener.on_deleted(channel)
        self.forgets = missed.forgets

    async def _fetch(self, missed: MissedReply, start: MessageId) -> None:
        rows: list[tuple[int, str]] = []
        size = 0
        triples = zip(missed.rows[::3], missed.rows[1::3], missed.rows[2::3], strict=True)
        wanted = [triple for triple in triples if self._subscriptions.topics_of(str(triple[1]))]
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
            if message is not None and message.epoch == start.epoch:
                self._deliver(message)
