"""A subscriber: the receiving side of one connection, whatever its transport.

The states of its topics are in `pushd.core.topic_filter`, those of its output in `pushd.core.queued_output`.
"""

from collections.abc import Iterable, Sequence
from operator import itemgetter

from pushd.core.catch_up import CatchUp
from pushd.core.delivery import Batch, Delivery, Recent, Wire
from pushd.core.errors import Refusal, TooSlow
from pushd.core.message import Message
from pushd.core.names import Interest
from pushd.core.outbox import Policy, QueueLimits
from pushd.core.outlet import CLOSED_OUTLET, Outlet
from pushd.core.peer import Peer
from pushd.core.queued_output import NEVER, QueuedOutput
from pushd.core.replay import Page, StartPosition
from pushd.core.topic_filter import FEW_TOPICS, REPLAYING, UNKNOWN


class SubscriberClosed(Exception):
    """A subscriber is closed, or was closed while its topics were opened."""

    def __init__(self, why: Refusal | None) -> None:
        """`why` is the refusal with which it was closed; None when its client has disconnected."""
        super().__init__(str(why or "the client has disconnected"))
        self.why = why


class Subscriber(QueuedOutput):
    """The receiving side of a connection. The hub has it from `Hub.add` on; its transport calls `pause` and `resume`.

    Its topics and its output are base classes: the topics as an object of their own would cost 40 bytes per
    subscriber, in addition to about 470.
    """

    __slots__ = ("catch_up", "closed_for", "last_write", "mark", "peer", "topic_bytes")

    def __init__(self, outlet: Outlet, wire: Wire, limits: QueueLimits, policy: Policy | None, peer: Peer) -> None:
        """Pass None as the policy when its client has not named one."""
        super().__init__(outlet, wire, limits, policy)
        self.peer = peer
        self.closed_for: Refusal | None = None
        """The refusal with which it was closed; None when its client has disconnected, or when it is open."""
        self.mark = 0
        """The mark of the dispatcher; see there."""
        self.topic_bytes = 0
        """The bytes of memory of its topics, which the hub counts."""
        self.last_write = 0
        """The tick of the keepalive at the last write."""
        self.catch_up: CatchUp | None = None
        """The replay in progress."""

    def choose_policy(self, policy: Policy) -> None:
        """Set the slow-consumer policy in place of the default."""
        self.policy = policy
        self.has_policy = True

    # Topics

    def restart(self, topics: Iterable[str]) -> None:
        """Send the history and the end of topics again, even if they were sent before."""
        self._forget_origins(topics)
        self._forget_ends(topics)

    def start_replay(self, topics: Sequence[str]) -> CatchUp:
        """Subscribe to topics, whose history is replayed first. There is one replay at a time."""
        self._set_starts(topics, REPLAYING)
        self._floor = self.threshold = REPLAYING
        self.catch_up = CatchUp(topics, self._limits)
        return self.catch_up

    def go_live(self, topics: Iterable[str], seq: int) -> None:
        """Receive messages newer than `seq` live, of those topics that were not unsubscribed from meanwhile."""
        self._set_starts([topic for topic in topics if topic in self.starts], seq)
        self.catch_up = None
        self._lower_floor()

    def try_go_live(self, opening: StartPosition) -> bool:
        """Go live at once if there is nothing to replay or to report before; return whether all topics are live."""
        catch_up = self.catch_up
        if (
            catch_up is None
            or opening.needs_replay
            or opening.gaps
            or self._outbox is not None
            or not catch_up.is_untouched
        ):
            return False
        self.go_live(catch_up.topics, opening.position.seq)
        return True

    def unsubscribe(self, *topics: str, newest: int = 0) -> None:
        """Unsubscribe from topics. Their messages in the outbox, and accepted ones up to `newest`, are not sent."""
        self._forget_topics(topics, newest)
        self._forget_ends(topics)
        self._lower_floor()
        if self.catch_up is not None:
            self.catch_up.unsubscribe(*topics)
            self.catch_up = self.catch_up if self.catch_up.topics else None
        if self._outbox is not None:
            removed = Interest(topics)
            self._outbox.retain(
                lambda message: not removed.covers(message.channel) or self.topic_of(message.channel) is not None
            )

    # Delivery

    def deliver(self, batch: Batch) -> int:
        """Send a live batch, or put it into the outbox; return the number of messages that were dropped for it.

        :raises TooSlow: when the queue is full, and the policy is to disconnect.
        """
        if batch.first <= self._floor and batch.first <= self._exact_floor():
            selected = self.select(batch)
            if not selected:
                return 0
            batch = Batch(selected)
        if self._outbox is None:
            if not self.is_closed:
                if self._ended:
                    self._reopen(batch.deliveries)
                wire = self.wire
                if wire.is_stateful:
                    self.newest = batch.deliveries[-1]
                    self.wire = wire.after(self.newest.message)
                self.sent += len(batch.deliveries)
                if block := batch.block(wire):
                    self.outlet.write(block)
            return 0
        outbox, policy = self._outbox, self._policy
        return sum([outbox.put(delivery, policy) for delivery in batch.deliveries])

    def examine_up_to(self, order: int) -> None:
        """Examine live messages one by one up to an order: this subscriber is excluded from one of them."""
        self._examined_up_to = max(self._examined_up_to, order)
        if self._floor < order:
            self._floor = order
            self._set_threshold()

    def effort(self, batch: Batch) -> int:
        """Return the approximate cost of delivering a batch, in units of a write to a ready subscriber."""
        count = len(batch.deliveries)
        effort = 1 if self._outbox is None else 1 + count // 4
        if batch.first <= self._floor:
            effort += count * (1 + len(self.starts) // 512) // 2
        return effort

    def prepare(self, batch: Batch) -> bool:
        """Prepare the delivery of a batch, one step per call; return whether it is complete."""
        if batch.first > self._floor or batch.first > self._exact_floor() or len(self.starts) <= FEW_TOPICS:
            return True
        return self._patterns.prepare() and (self.catch_up is None or self.catch_up.prepare())

    def select(self, batch: Batch) -> list[Delivery]:
        """Return the deliveries of a batch that are sent now; others may be held beside a replay."""
        return [delivery for delivery in batch.deliveries if self._accepts(delivery)]

    def replay(self, catch_up: CatchUp, page: Page, recent: Recent) -> bool:
        """Send a page of the history; return whether it was the last, after which all topics are live.

        The caller waits until the subscriber is drained before each page, so that at most one page is unsent.

        :raises TooSlow: when messages were evicted before they were read, and a data-only wire cannot report the gap.
        """
        gaps = [gap for gap in catch_up.reports.of_page(page) if gap.topic in catch_up.topics]
        if gaps and self.wire.data_only and self.policy is not Policy.LATEST:
            raise TooSlow("subscriber is too slow: messages left the history before it had read them")
        frames = [self.wire.gap(gap) for gap in gaps]
        deliveries = [recent.of(message) for message in page.messages if self._is_replayed(catch_up, message)]
        done = page.is_last and catch_up.has_reached(page.position)
        epoch, catch_up.position = page.position
        ends = catch_up.ends
        if done:
            held = catch_up.take_held()
            deliveries += held
            origin = catch_up.origin or page.position
            self._set_origins(catch_up.topics, origin.seq if origin.epoch == epoch else 0)
            kept = [delivery.message.seq for delivery in held if delivery.message.is_kept]
            self.go_live(catch_up.topics, max(kept, default=page.position.seq))
            ends = dict(sorted((dict.fromkeys(page.ended, page.position.seq) | ends).items(), key=itemgetter(1)))
        frames += self._encode_in_order(deliveries, ends)
        if done:
            frames += self._encode_ends(ends)
        self._write(frames)
        if done:
            self._check_ends()
        return done

    def end(self, channel: str, seq: int, *, is_deletion: bool = False) -> None:
        """Report the end of a channel, after everything that is queued and before what follows.

        The channel may begin anew: the subscriber stays subscribed to it.

        :param seq: the sequence after which it ended.
        :param is_deletion: whether it was deleted. Otherwise an end that is not newer than what was read from the
            history is known from there.
        """
        if self.is_closed or channel not in self.starts:
            return
        if self.catch_up is not None and channel in self.catch_up.topics:
            if is_deletion or seq > self.catch_up.position:
                self.catch_up.add_end(channel, seq)
        elif is_deletion or seq > self.starts[channel]:
            self._add_end(channel)

    def close(self, why: Refusal | None = None) -> None:
        """Close: nothing is sent any more, and everything that is queued is released.

        :param why: the refusal with which the connection is closed, if any.
        """
        self.is_closed = True
        self.closed_for = why
        self.threshold = NEVER
        self.starts.clear()
        if self._outbox is not None:
            self._outbox.clear()
        if self.catch_up is not None:
            self.catch_up.take_held()
        self._outbox = self.catch_up = self.handle = self._lookup = self._ends = self._ended = self._origins = None
        self._set_unsent(0)
        self.hold_commands(0)
        self.outlet = CLOSED_OUTLET
        self._call_on_drained()

    def _accepts(self, delivery: Delivery) -> bool:
        message = delivery.message
        if delivery.excluded and delivery.excluded == self.peer.number:
            return False
        if self._is_live(message):
            return True
        catch_up = self.catch_up
        if catch_up is not None and catch_up.covers(message.channel):
            catch_up.hold(delivery)
        return False

    def _is_replayed(self, catch_up: CatchUp, message: Message) -> bool:
        """Return whether a message belongs to the replay, and was not received by another topic."""
        return catch_up.covers(message.channel) and not self._was_received(message)

    def _forget_ends(self, topics: Iterable[str]) -> None:
        for ends in (self._ends, self._ended):
            if ends:
                for topic in topics:
                    ends.pop(topic, None)

    def _lower_floor(self) -> None:
        """Compute the floor after the starts have changed; if there are many, only when the next batch needs it."""
        self._floor = self.threshold = UNKNOWN
        if len(self.starts) <= FEW_TOPICS:
            self._exact_floor()

    def _exact_floor(self) -> int:
        if self._floor == UNKNOWN:
            self._floor = self._highest_start()
            self._set_threshold()
        return self._floor
