"""The outbox: bounded, with a named outcome for each policy when it is full."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from pushd.core.budget import Budget, SharedItem
from pushd.core.delivery import MEMORY_OVERHEAD, Delivery
from pushd.core.errors import BadSlow, NoRoom, TooSlow
from pushd.core.message import Message
from pushd.core.outbox import _MAX_RANGES, _RANGE_BYTES, DroppedRange, Outbox, Policy, QueueLimits, parse_policy
from tests.build import message

SIZE = message(data=b"x" * 100).size
ALL = 1 << 30


def delivery(seq: int, channel: str = "a", prev: int | None = None, data: bytes = b"x" * 100) -> Delivery:
    return Delivery(message(seq, channel, data, prev=prev))


def seqs(deliveries: list[Delivery]) -> list[int]:
    return [each.message.seq for each in deliveries]


def filled(limits: QueueLimits, *deliveries: Delivery, policy: Policy = Policy.DISCONNECT) -> Outbox:
    outbox = Outbox(limits)
    for each in deliveries:
        outbox.put(each, policy)
    return outbox


def test_default_limits_are_as_documented() -> None:
    assert (QueueLimits().messages, QueueLimits().bytes) == (1000, 1024 * 1024)
    assert not QueueLimits().eager


@pytest.mark.parametrize("policy", list(Policy))
def test_policy_is_parsed(policy: Policy) -> None:
    assert parse_policy(policy.value) is policy


@pytest.mark.parametrize("word", ["", "DROP", "drop ", "oldest"])
def test_unknown_policy_is_refused(word: str) -> None:
    with pytest.raises(BadSlow):
        parse_policy(word)


def test_deliveries_are_taken_in_order() -> None:
    outbox = filled(QueueLimits(), delivery(1), delivery(2, "b"), delivery(3))
    assert (len(outbox), outbox.bytes) == (3, 3 * SIZE)
    assert seqs(outbox.take(ALL)) == [1, 2, 3]
    assert (len(outbox), outbox.bytes) == (0, 0)
    assert not outbox


@pytest.mark.parametrize(
    ("enough", "taken"), [(1, [1]), (SIZE, [1]), (SIZE + 1, [1, 2]), (2 * SIZE, [1, 2]), (ALL, [1, 2, 3])]
)
def test_take_stops_at_enough_bytes(enough: int, taken: list[int]) -> None:
    outbox = filled(QueueLimits(), delivery(1), delivery(2), delivery(3))
    assert seqs(outbox.take(enough)) == taken
    assert outbox.bytes == (3 - len(taken)) * SIZE


@pytest.mark.parametrize("limits", [QueueLimits(messages=2), QueueLimits(bytes=2 * SIZE)])
def test_full_outbox_raises_too_slow_with_policy_disconnect(limits: QueueLimits) -> None:
    outbox = filled(limits, delivery(1), delivery(2))
    with pytest.raises(TooSlow):
        outbox.put(delivery(3), Policy.DISCONNECT)


@pytest.mark.parametrize("policy", list(Policy))
def test_single_message_is_queued_whatever_its_size(policy: Policy) -> None:
    outbox = Outbox(QueueLimits(messages=0, bytes=10))
    assert outbox.put(delivery(1), policy) == 0
    assert seqs(outbox.take(ALL)) == [1]


@pytest.mark.parametrize("limits", [QueueLimits(messages=2), QueueLimits(bytes=2 * SIZE)])
def test_drop_discards_and_counts_oldest(limits: QueueLimits) -> None:
    outbox = filled(limits, delivery(1), delivery(2))
    assert outbox.put(delivery(3), Policy.DROP) == 1
    assert outbox.put(delivery(4, data=b"x" * 100), Policy.DROP) == 1
    assert seqs(outbox.take(ALL)) == [3, 4]


def test_drop_makes_room_for_large_message() -> None:
    outbox = filled(QueueLimits(bytes=3 * SIZE), delivery(1), delivery(2), delivery(3))
    assert outbox.put(delivery(4, data=b"x" * 250), Policy.DROP) == 3
    assert seqs(outbox.take(ALL)) == [4]


def test_dropped_ranges_are_returned_once_by_channel() -> None:
    outbox = filled(
        QueueLimits(messages=1),
        delivery(5, "a", prev=2),
        delivery(6, "b"),
        delivery(7, "a", prev=5),
        delivery(8, "a", prev=7),
        policy=Policy.DROP,
    )
    assert outbox.take_dropped() == {"a": DroppedRange("E-2", "E-7"), "b": DroppedRange(None, "E-6")}
    assert outbox.take_dropped() == {}


def test_outbox_with_only_dropped_ranges_is_true() -> None:
    outbox = filled(QueueLimits(messages=1), delivery(1), delivery(2), policy=Policy.DROP)
    outbox.take(ALL)
    assert len(outbox) == 0
    assert outbox
    outbox.take_dropped()
    assert not outbox


def test_latest_keeps_newest_message_of_each_channel_when_full() -> None:
    four = (delivery(1), delivery(2, "b"), delivery(3), delivery(4))
    outbox = filled(QueueLimits(messages=4), *four, policy=Policy.LATEST)
    assert len(outbox) == 4
    assert outbox.put(delivery(5), Policy.LATEST) == 3
    assert outbox.bytes == 2 * SIZE
    assert outbox.take_dropped() == {}
    assert seqs(outbox.take(ALL)) == [2, 5]


def test_eager_latest_keeps_newest_message_of_each_channel_always() -> None:
    limits = QueueLimits(eager=True)
    outbox = filled(limits, delivery(1), policy=Policy.LATEST)
    assert outbox.put(delivery(2, "b"), Policy.LATEST) == 0
    assert outbox.put(delivery(3), Policy.LATEST) == 1
    assert seqs(outbox.take(ALL)) == [2, 3]


@pytest.mark.parametrize("policy", [Policy.DISCONNECT, Policy.DROP])
def test_eager_applies_to_latest_only(policy: Policy) -> None:
    outbox = filled(QueueLimits(eager=True), delivery(1), delivery(2), policy=policy)
    assert seqs(outbox.take(ALL)) == [1, 2]


def test_latest_raises_too_slow_if_newest_of_each_channel_exceed_limits() -> None:
    outbox = filled(QueueLimits(messages=2), delivery(1), delivery(2, "b"))
    with pytest.raises(TooSlow):
        outbox.put(delivery(3, "c"), Policy.LATEST)


def test_retain_discards_messages_and_makes_room() -> None:
    outbox = filled(QueueLimits(messages=3), delivery(1), delivery(2, "b"), delivery(3))
    outbox.retain(lambda message: message.channel == "b")
    assert (len(outbox), outbox.bytes) == (1, SIZE)
    outbox.put(delivery(4), Policy.DISCONNECT)
    outbox.put(delivery(5), Policy.DISCONNECT)
    assert seqs(outbox.take(ALL)) == [2, 4, 5]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 300)), max_size=40),
    st.integers(1, 5),
    st.integers(1, 600),
)
def test_drop_stays_within_limits_and_every_message_is_queued_or_in_a_range(
    puts: list[tuple[str, int]], max_messages: int, max_bytes: int
) -> None:
    limits = QueueLimits(max_messages, max_bytes)
    outbox = Outbox(limits)
    last: dict[str, int] = {}
    channel_of: dict[int, str] = {}
    dropped = 0
    for seq, (channel, size) in enumerate(puts, 1):
        dropped += outbox.put(delivery(seq, channel, last.get(channel), b"x" * size), Policy.DROP)
        last[channel], channel_of[seq] = seq, channel
        assert len(outbox) == 1 or (len(outbox) <= limits.messages and outbox.bytes <= limits.bytes)
    lost = {channel: int(each.end.partition("-")[2]) for channel, each in outbox.take_dropped().items()}
    waiting = seqs(outbox.take(ALL))
    assert waiting == list(range(dropped + 1, len(puts) + 1))
    assert outbox.bytes == 0
    gone = range(1, dropped + 1)
    assert lost == {channel_of[seq]: seq for seq in gone}


def test_dropped_ranges_of_too_many_channels_become_one() -> None:
    limits = QueueLimits(messages=1)
    outbox = Outbox(limits)
    many = 3 * _MAX_RANGES
    for seq in range(5, many + 5):
        outbox.put(delivery(seq, f"c/{seq}"), Policy.DROP)
        assert limits.budget.used <= _RANGE_BYTES * _MAX_RANGES + outbox.bytes + MEMORY_OVERHEAD
    assert outbox and outbox.has_dropped
    outbox.attribute_dropped(lambda newest: [f"before {newest}", "other"])
    dropped = DroppedRange("E-4", f"E-{many + 3}")
    assert outbox.take_dropped(1) == {f"before {many + 3}": dropped}
    assert outbox.take_dropped() == {"other": dropped}
    assert not outbox.has_dropped
    assert seqs(outbox.take(ALL)) == [many + 4]
    assert limits.budget.used == 0


def test_more_may_be_dropped_while_ranges_wait_to_be_reported() -> None:
    outbox = Outbox(QueueLimits(messages=1))
    for seq in range(1, _MAX_RANGES + 4):
        outbox.put(delivery(seq, f"c/{seq}"), Policy.DROP)
    outbox.attribute_dropped(lambda newest: [f"t/{number}" for number in range(_MAX_RANGES)])
    outbox.take_dropped(1)
    outbox.put(delivery(5000, "d/1"), Policy.DROP)
    outbox.attribute_dropped(lambda newest: ["t"])
    assert outbox.take_dropped(1)["t/1"].start == "E-0"
    outbox.put(delivery(5001, "d/2"), Policy.DROP)
    outbox.put(delivery(5002, "d/3"), Policy.DROP)
    outbox.attribute_dropped(lambda newest: ["t"])
    assert outbox.take_dropped() == {"t": DroppedRange("E-0", "E-5001")}


def test_shed_with_drop_keeps_newest_message_and_records_the_others() -> None:
    outbox = filled(QueueLimits(), delivery(1), delivery(2, prev=1), delivery(3, prev=2))
    assert outbox.shed(Policy.DROP) == 2
    assert outbox.take_dropped() == {"a": DroppedRange(None, "E-2")}
    assert seqs(outbox.take(ALL)) == [3]


def test_shed_with_latest_keeps_newest_message_of_each_channel() -> None:
    outbox = filled(QueueLimits(), delivery(1), delivery(2, "b"), delivery(3))
    assert outbox.shed(Policy.LATEST) == 1
    assert seqs(outbox.take(ALL)) == [2, 3]


def test_shed_with_disconnect_raises_no_room() -> None:
    with pytest.raises(NoRoom):
        filled(QueueLimits(), delivery(1)).shed(Policy.DISCONNECT)


def ranges_memory(outbox: Outbox) -> int:
    """Return the memory of the dropped ranges, which counts in the budget."""
    return _RANGE_BYTES * len(outbox._dropped)


def is_of(channel: str, message: Message) -> bool:
    return message.channel == channel


_STEPS = ["put", "take", "keep", "shed", "clear"]


@given(
    steps=st.lists(st.tuples(st.sampled_from(_STEPS), st.integers(0, 3)), max_size=30),
    policy=st.sampled_from([Policy.DROP, Policy.LATEST]),
)
def test_message_in_several_outboxes_counts_once_in_budget(steps: list[tuple[str, int]], policy: Policy) -> None:
    limits = QueueLimits(messages=4)
    outboxes = Outbox(limits), Outbox(limits)
    for seq, (step, number) in enumerate(steps, 1):
        shared = delivery(seq, "ab"[number % 2])
        outbox = outboxes[number // 2]
        match step:
            case "put":
                for each in outboxes[: 1 + number // 2]:
                    each.put(shared, policy)
            case "take":
                outbox.take(SIZE)
            case "keep":
                outbox.retain(partial(is_of, "ab"[number % 2]))
            case "shed":
                outbox.shed(policy)
            case _:
                outbox.clear()
    waiting = {each for outbox in outboxes for each in outbox}
    assert limits.budget.used == sum(each.memory for each in waiting) + sum(map(ranges_memory, outboxes))
    for outbox in outboxes:
        outbox.clear()
    assert limits.budget.used == 0


class CountingBudget(Budget):
    """A budget that counts its calls: one for each delivery that is added to or removed from an outbox."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def hold(self, item: SharedItem) -> None:
        self.calls += 1
        super().hold(item)

    def release(self, item: SharedItem) -> None:
        self.calls += 1
        super().release(item)


@pytest.mark.parametrize(
    ("policy", "limits"),
    [
        pytest.param(Policy.LATEST, QueueLimits(eager=True), id="latest-eager"),
        pytest.param(Policy.LATEST, QueueLimits(messages=900), id="latest-by-messages"),
        pytest.param(Policy.LATEST, QueueLimits(bytes=900 * (SIZE + 2)), id="latest-by-bytes"),
        pytest.param(Policy.DROP, QueueLimits(messages=900), id="drop"),
    ],
)
def test_put_into_full_outbox_of_many_channels_takes_constant_work(policy: Policy, limits: QueueLimits) -> None:
    budget = CountingBudget()
    outbox = Outbox(replace(limits, budget=budget))
    puts = 20 * 900
    dropped = sum(outbox.put(delivery(seq, f"c{seq % 890:02}"), policy) for seq in range(puts))
    assert dropped == puts - len(outbox)
    assert budget.calls <= 2 * puts
    assert outbox.bytes == sum(each.size for each in outbox)
    assert budget.used == sum(each.memory for each in outbox) + ranges_memory(outbox)


class ModelOutbox:
    """A simple model of an outbox."""

    def __init__(self, limits: QueueLimits) -> None:
        self.waiting: list[Delivery] = []
        self.limits = limits

    def put(self, delivery: Delivery, policy: Policy) -> int:
        self.waiting.append(delivery)
        before = len(self.waiting)
        if policy is Policy.LATEST and (self.limits.eager or self.is_over):
            self.keep_newest()
        while policy is Policy.DROP and self.is_over:
            del self.waiting[0]
        if self.is_over:
            raise TooSlow
        return before - len(self.waiting)

    def shed(self, policy: Policy) -> int:
        before = len(self.waiting)
        if policy is Policy.LATEST:
            self.keep_newest()
        elif policy is Policy.DROP:
            del self.waiting[:-1]
        return before - len(self.waiting)

    def keep_newest(self) -> None:
        newest = {each.message.channel: each for each in self.waiting}
        self.waiting = [each for each in self.waiting if newest[each.message.channel] is each]

    @property
    def is_over(self) -> bool:
        size = sum(each.size for each in self.waiting)
        return len(self.waiting) > 1 and (len(self.waiting) > self.limits.messages or size > self.limits.bytes)


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["put", "put", "put", "put", "take", "keep", "shed"]),
            st.sampled_from("abcd"),
            st.sampled_from([Policy.LATEST, Policy.LATEST, Policy.DROP, Policy.DISCONNECT]),
        ),
        max_size=60,
    ),
    messages=st.integers(1, 8),
    eager=st.booleans(),
)
def test_outbox_agrees_with_model(steps: list[tuple[str, str, Policy]], messages: int, eager: bool) -> None:
    limits = QueueLimits(messages, 8 * SIZE, eager)
    outbox, model = Outbox(limits), ModelOutbox(limits)
    for seq, (step, channel, policy) in enumerate(steps, 1):
        if step == "put":
            each = delivery(seq, channel)
            assert outcome(lambda: outbox.put(each, policy)) == outcome(lambda: model.put(each, policy))  # noqa: B023
        elif step == "take":
            taken = outbox.take(SIZE)
            assert taken == model.waiting[:1]
            del model.waiting[:1]
        elif step == "keep":
            outbox.retain(lambda message: message.channel != channel)  # noqa: B023
            model.waiting = [each for each in model.waiting if each.message.channel != channel]
        elif policy is not Policy.DISCONNECT:
            assert outbox.shed(policy) == model.shed(policy)
        assert list(outbox) == model.waiting
        assert (len(outbox), outbox.bytes) == (len(model.waiting), sum(each.size for each in model.waiting))
        assert limits.budget.used == sum(each.memory for each in outbox) + ranges_memory(outbox)


def outcome(put: Callable[[], int]) -> int | None:
    """Return the number of dropped messages; None if the outbox raised `TooSlow`."""
    try:
        return put()
    except TooSlow:
        return None


# Ephemeral messages


def ephemeral(seq: int, channel: str = "a", data: bytes = b"x" * 100) -> Delivery:
    return Delivery(structs.replace(message(seq, channel, data), is_kept=False))


def orders(outbox: Outbox) -> list[int]:
    """Return the order of the queued messages: an ephemeral one after sequence N has N + 1."""
    return [each.order for each in outbox]


@pytest.mark.parametrize("policy", list(Policy))
def test_ephemeral_messages_are_dropped_before_any_other(policy: Policy) -> None:
    outbox = filled(QueueLimits(3), delivery(1), ephemeral(1), ephemeral(1, "b"), policy=policy)
    assert outbox.put(delivery(2, "b"), policy) == 2
    assert orders(outbox) == [1, 2]
    assert not outbox.has_dropped
    assert outbox.put(ephemeral(2), policy) == 0
    assert outbox.put(ephemeral(2, "b"), policy) == 1
    assert [each.message.channel for each in outbox] == ["a", "b", "b"]
    outbox.put(delivery(3, "c"), policy)
    assert outbox.put(ephemeral(3), policy) == 1
    assert orders(outbox) == [1, 2, 3]
    assert outbox.bytes == 3 * SIZE
    assert not outbox.has_dropped


def test_latest_keeps_a_message_that_only_an_ephemeral_one_has_followed() -> None:
    outbox = filled(QueueLimits(3), delivery(1), delivery(2, "b"), ephemeral(2), policy=Policy.LATEST)
    outbox.put(delivery(3, "b"), Policy.LATEST)
    outbox.put(ephemeral(3), Policy.LATEST)
    outbox.put(delivery(4, "b"), Policy.LATEST)
    assert orders(outbox) == [1, 4]
    outbox.put(ephemeral(4), Policy.LATEST)
    assert seqs(outbox.take(ALL)) == [1, 4, 4]


def test_an_eager_queue_replaces_a_picture_by_an_ephemeral_one() -> None:
    outbox = filled(QueueLimits(3, eager=True), delivery(1), ephemeral(1), ephemeral(1, "b"), policy=Policy.LATEST)
    assert orders(outbox) == [2, 2]
    outbox.put(ephemeral(1), Policy.LATEST)
    assert [each.message.channel for each in outbox] == ["b", "a"]
    outbox.put(delivery(2), Policy.LATEST)
    assert orders(outbox) == [2, 2]


@pytest.mark.parametrize("policy", list(Policy))
def test_relief_of_memory_drops_ephemeral_messages_first(policy: Policy) -> None:
    outbox = filled(QueueLimits(), delivery(1), ephemeral(1), delivery(2), ephemeral(2), policy=policy)
    outbox.shed(policy)
    assert len(outbox) == (2 if policy is Policy.DISCONNECT else 1)
    assert all(each.message.is_kept for each in outbox)
    if policy is Policy.DISCONNECT:
        with pytest.raises(NoRoom):
            outbox.shed(policy)


@given(st.data())
def test_no_kept_message_is_lost_to_ephemeral_ones(data: st.DataObject) -> None:
    """With room for all kept messages, they are received whatever else is queued."""
    policy = data.draw(st.sampled_from(list(Policy)))
    outbox, seq, taken = Outbox(QueueLimits(40)), 0, list[int]()
    for step in data.draw(st.lists(st.sampled_from("keteee"), max_size=120)):
        if step == "k" and len([each for each in outbox if each.message.is_kept]) < 40:
            seq += 1
            outbox.put(delivery(seq, "ab"[seq % 2]), policy)
        elif step == "e":
            outbox.put(ephemeral(seq, "ab"[len(outbox) % 2]), policy)
        elif step == "t":
            taken += [each.message.seq for each in outbox.take(250) if each.message.is_kept]
    taken += [each.message.seq for each in outbox.take(ALL) if each.message.is_kept]
    assert taken == list(range(1, seq + 1))
    assert (len(outbox), outbox.bytes, outbox._ephemeral) == (0, 0, 0)
