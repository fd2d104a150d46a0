"""The output of a subscriber: its wire, its queue and its backpressure.

It is ready (blocks are written at once), paused (deliveries wait in its outbox until `resume`), or closed.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
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
"""Gaps reported in one write."""


class QueuedOutput(TopicFilter):
    """The base class of a subscriber that sends: at once, or from its queue.

    It derives from `TopicFilter`, by which the gaps of dropped messages are attributed to topics.
    """

    __slots__ = (
        "_commands",
        "_ends",
        "_limits",
        "_on_drained",
        "_outbox",
        "_unsent",
        "handle",
        "is_closed",
        "is_lagging",
        "newest",
        "outlet",
        "policy",
        "sent",
        "threshold",
        "wire",
    )

    def __init__(self, outlet: Outlet, wire: Wire, limits: QueueLimits, policy: Policy) -> None:
        super().__init__()
        self.outlet: Outlet = outlet
        self.wire = wire
        self.policy = policy
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
        self._ends: OrderedDict[str, None] | None = None
        """The channels whose end has not been reported yet, in their order."""
        self._on_drained: Callable[[], None] | None = None

    def attach(self, handle: Any) -> None:
        """Set the handle by which the `SendEach` of the dispatcher sends; None: only by the outlet.

        It is used only while everything sent before was accepted: otherwise the outlet calls `pause` at once.
        """
        self.handle = handle
        self._set_threshold()

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
            self._write(frames + self._encode(deliveries))
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
        self.threshold = self._floor if is_open and not self.wire.is_stateful else NEVER

    def _gaps_of_drops(self, outbox: Outbox) -> list[Gap]:
        gaps = []
        for channel, lost in outbox.take_dropped(_GAPS).items():
            if topic := self.topic_of(channel):
                start = lost.start or f"{lost.end.partition('-')[0]}-0"
                gaps.append(Gap(topic, start, lost.end, "slow"))
        return gaps

    def _send_ends(self) -> None:
        while self._ends and self._outbox is None:
            channel, _ = self._ends.popitem(last=False)
            self._write([self.wire.end(channel)])
            self.outlet.channel_ended(channel)

    def _encode(self, deliveries: Sequence[Delivery]) -> list[bytes]:
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
