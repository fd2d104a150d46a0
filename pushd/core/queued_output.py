"""The output of a subscriber: its wire, its queue and its backpressure.

It is ready (blocks are written at once), paused (deliveries wait in its outbox until `resume`), or closed.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Final

from pushd.core.delivery import Delivery, Wire, encode
from pushd.core.message import Gap
from pushd.core.outbox import Outbox, Policy, QueueLimits
from pushd.core.outlet import Outlet
from pushd.core.topic_filter import REPLAYING, TopicFilter

NEVER: Final = REPLAYING
"""The threshold of a subscriber to which no batch can be sent by its handle."""
_WRITE: Final = 64 << 10
"""Bytes taken from the outbox for one write: the size at which the transports of Twisted pause their producer."""
_GAPS: Final = 500
_ENDS: Final = 500
"""Gaps, and ends, reported in one write."""


class QueuedOutput(TopicFilter):
    """The base class of a subscriber that sends: at once, or from its queue.

    It derives from `TopicFilter`, by which the gaps of dropped messages are attributed to topics.
    """

    __slots__ = (
        "_commands",
        "_ended",
        "_ends",
        "_limits",
        "_on_drained",
        "_outbox",
        "_unsent",
        "handle",
        "has_policy",
        "is_closed",
        "is_lagging",
        "newest",
        "outlet",
        "policy",
        "sent",
        "threshold",
        "wire",
    )

    def __init__(self, outlet: Outlet, wire: Wire, limits: QueueLimits, policy: Policy | None) -> None:
        super().__init__()
        self.outlet: Outlet = outlet
        self.wire = wire
        self.policy = policy or Policy.DISCONNECT
        self.has_policy = policy is not None
        """Whether the policy was chosen, and is not the default."""
        self.is_closed = False
        self.threshold: int = NEVER
        """A batch whose first sequence is greater can be sent by `handle` as it is; others by `Subscriber.deliver`."""
        self.handle: Any = None
        """Sends bytes without the outlet; see `attach`."""
        self.sent = 0
        """Number of messages sent; the dispatcher counts those that it sends by the handle."""
        self.is_lagging = False
        """Whether messages were dropped since the outbox was last empty."""
        self.newest: Delivery | None = None
        """With a stateful wire, the last message that was sent; it is sent again as a keepalive."""
        self._limits = limits
        self._outbox: Outbox | None = None
        """None when ready."""
        self._unsent = 0
        """Approximate number of bytes encoded for this subscriber alone that its transport has not sent yet."""
        self._commands = 0
        """Number of bytes of memory of received commands that wait."""
        self._ends: dict[str, int] | None = None
        """The channels whose end has not been sent yet, in the order of their ends, each with the sequence of the
        queued message after which it is sent. Of several ends of a channel the last one counts."""
        self._ended: dict[str, None] | None = None
        """The channels whose end was sent, and of which no message was sent since, in the order of their ends."""
        self._on_drained: Callable[[], None] | None = None

    def attach(self, handle: Any) -> None:
        """Set the handle by which the `SendEach` of the dispatcher sends; None: only by the outlet.

        It is used only while everything sent before was accepted: otherwise the outlet calls `pause` at once.
        """
        self.handle = handle
        self._set_threshold()

    def set_wire(self, wire: Wire) -> None:
        """Change the encoding of everything that is sent from now on."""
        self.wire = wire
        self._set_threshold()

    def is_at_end_of(self, channel: str) -> bool:
        """Return whether the end of a channel was sent, and no message of it since."""
        return self._ended is not None and channel in self._ended

    @property
    def ended(self) -> Sequence[str]:
        """The channels whose end was sent, and of which no message was sent since, in the order of their ends."""
        return list(self._ended or ())

    def gap(self, gaps: Iterable[Gap]) -> None:
        """Report gaps at once."""
        self._write([self.wire.gap(gap) for gap in gaps])

    @property
    def is_paused(self) -> bool:
        """Whether the transport cannot send more for now."""
        return self._outbox is not None

    @property
    def held_bytes(self) -> int:
        """Number of bytes in the outbox, of waiting commands and, made for this subscriber alone, in the transport."""
        return self.queued_bytes + self._commands + self._unsent

    @property
    def queued_bytes(self) -> int:
        """Number of bytes in the outbox."""
        return self._outbox.bytes if self._outbox is not None else 0

    def warn_of_expiry(self, at: int) -> None:
        """Warn at once that the credential expires at `at`, in unix seconds."""
        self._write([self.wire.expiring(at)])

    def pause(self) -> None:
        """Called when the transport cannot send more for now: queue deliveries in the outbox."""
        if self._outbox is None and not self.is_closed:
            self._outbox = Outbox(self._limits)
            self.threshold = NEVER

    def resume(self) -> None:
        """Called when the transport has sent everything: send the outbox until it is empty or the transport is full."""
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            outbox.attribute_dropped(self.topics_before)
        self._set_unsent(0)
        while outbox and self._outbox is None and not self.is_closed:
            frames = [self.wire.gap(gap) for gap in self._gaps_of_drops(outbox)]
            deliveries = [] if outbox.has_dropped else outbox.take(_WRITE)
            self._write(frames + self._encode_in_order(deliveries, self._ends))
        if self.is_closed:
            if outbox is not None:
                outbox.clear()
            return
        if outbox:
            self._outbox = outbox
        elif self._outbox is None:
            self.is_lagging = False
            self._set_threshold()
            self._send_ends()
            if self._outbox is None:
                self._call_on_drained()

    def count_reply(self, size: int) -> None:
        """Count the bytes of a reply, which was encoded for this connection alone.

        :raises NoRoom: when the reply is queued by the transport, and the memory limit is exceeded.
        """
        if self._outbox is not None:
            self._unsent = self._limits.budget.grow(self._unsent, self._unsent + size)

    def hold_commands(self, size: int) -> None:
        """Count the memory of the commands that wait, for instance until the peer has read the replies to others.

        :param size: bytes.
        :raises NoRoom: when the memory limit is exceeded.
        """
        if size != self._commands:
            self._commands = self._limits.budget.grow(self._commands, size)

    def shed(self) -> int:
        """Drop as many queued messages as the policy permits; return their number.

        :raises NoRoom: when the policy does not permit it, or the wire cannot report it.
        """
        return self._outbox.shed(self._policy) if self._outbox is not None else 0

    def when_drained(self, call: Callable[[], None]) -> None:
        """Call a function once, as soon as the subscriber is ready or closed; only one call can wait."""
        self._on_drained = call
        if self._outbox is None:
            self._call_on_drained()

    @property
    def _policy(self) -> Policy:
        """The policy that the wire permits: nothing is dropped where the gap cannot be reported."""
        return Policy.DISCONNECT if self.wire.data_only and self.policy is Policy.DROP else self.policy

    def _set_threshold(self) -> None:
        is_open = self.handle is not None and self._outbox is None and not self.is_closed
        self.threshold = self._floor if is_open and not self.wire.is_stateful and not self._ended else NEVER

    def _gaps_of_drops(self, outbox: Outbox) -> list[Gap]:
        gaps = []
        for channel, lost in outbox.take_dropped(_GAPS).items():
            if topic := self.topic_of(channel):
                start = lost.start or f"{lost.end.partition('-')[0]}-0"
                gaps.append(Gap(topic, start, lost.end, "slow"))
        return gaps

    def _add_end(self, channel: str) -> None:
        """Send the end of a channel after everything that is queued."""
        if self._ends is None:
            self._ends = {}
        self._ends.pop(channel, None)
        self._ends[channel] = self._outbox.newest if self._outbox is not None else 0
        if self._outbox is None:
            self._send_ends()

    def _send_ends(self) -> None:
        """Send the remaining ends, and call the outlet if all topics have ended."""
        while self._ends and self._outbox is None:
            channels = list(islice(self._ends, _ENDS))
            for channel in channels:
                del self._ends[channel]
            self._write(self._encode_ends(channels))
        self._check_ends()

    def _check_ends(self) -> None:
        """Call the outlet if all topics have ended, and everything was sent."""
        if self._ended and len(self._ended) == len(self.starts) and self._outbox is None and not self.is_closed:
            self.outlet.topics_ended()

    def _encode_ends(self, channels: Iterable[str]) -> list[bytes]:
        """Encode the ends that have not been sent yet."""
        if self._ended is None:
            self._ended = {}
        unsent = [channel for channel in channels if channel not in self._ended and channel in self.starts]
        self._ended.update(dict.fromkeys(unsent))
        self._set_threshold()
        return [self.wire.end(channel) for channel in unsent]

    def _encode_in_order(self, deliveries: Sequence[Delivery], ends: dict[str, int] | None) -> list[bytes]:
        """Encode deliveries, each end before the first of them that is newer; those ends are removed from `ends`."""
        frames: list[bytes] = []
        done = 0
        for channel, seq in list(ends.items()) if ends and deliveries else ():
            count = done
            while count < len(deliveries) and deliveries[count].message.seq <= seq:
                count += 1
            if count == len(deliveries):
                break
            assert ends is not None
            del ends[channel]
            frames += self._encode(deliveries[done:count])
            frames += self._encode_ends((channel,))
            done = count
        return frames + self._encode(deliveries[done:] if done else deliveries)

    def _reopen(self, deliveries: Iterable[Delivery]) -> None:
        """Record that the channels of deliveries have begun anew. An ephemeral message changes nothing about them."""
        ended = self._ended
        if ended:
            for delivery in deliveries:
                if delivery.message.is_kept:
                    ended.pop(delivery.message.channel, None)
            if not ended:
                self._set_threshold()

    def _encode(self, deliveries: Sequence[Delivery]) -> list[bytes]:
        if self._ended:
            self._reopen(deliveries)
        if self.wire.is_stateful and deliveries:
            self.newest = deliveries[-1]
        self.sent += len(deliveries)
        frames, self.wire = encode(deliveries, self.wire)
        return frames

    def _call_on_drained(self) -> None:
        call, self._on_drained = self._on_drained, None
        if call is not None:
            call()

    def _write(self, frames: Sequence[bytes]) -> None:
        if not self.is_closed and any(frames):
            block = self.wire.block(frames)
            self.outlet.write(block)
            if self._outbox is not None:
                self._set_unsent(self._unsent + len(block))

    def _set_unsent(self, size: int) -> None:
        if size != self._unsent:
            self._unsent = self._limits.budget.recount(self._unsent, size)
