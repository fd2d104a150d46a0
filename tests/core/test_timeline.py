"""The timeline agrees with a list, also after most messages were removed."""

import random

from hypothesis import given
from hypothesis import strategies as st

from pushd.core.message import Message
from pushd.core.timeline import Timeline
from tests.build import message

Model = list[tuple[Message, float]]


def check(timeline: Timeline, model: Model, seq: int, before: float) -> None:
    """Compare every result with that of a list."""
    messages = [each for each, _ in model]
    assert len(timeline) == len(model)
    assert list(timeline.after(seq)) == [each for each in messages if each.seq > seq]
    assert list(timeline.backward(seq)) == [each for each in messages[::-1] if each.seq <= seq]
    old = [each for each, time in model if time < before]
    assert timeline.before(before, 10_000) == old
    assert timeline.before(before, 3) == old[:3]
    assert timeline.time_after(0) == (model[0][1] if model else None)
    assert timeline.get(seq) is next((each for each in messages if each.seq == seq), None)


APPEND = st.tuples(st.just("append"), st.integers(1, 3), st.floats(0, 2))
DISCARD = st.tuples(st.just("discard"), st.integers(0, 10), st.just(0.0))


@given(st.lists(APPEND | DISCARD, max_size=40), st.integers(0, 60), st.floats(0, 30))
def test_timeline_agrees_with_list(changes: list[tuple[str, int, float]], seq: int, before: float) -> None:
    timeline, model = Timeline(), Model()
    head, now = 0, 0.0
    for change, number, seconds in changes:
        if change == "append":
            head, now = head + number, now + seconds
            newest = message(head)
            timeline.append(newest, now)
            model.append((newest, now))
        elif model:
            removed, _ = model.pop(number % len(model))
            timeline.discard(removed.seq)
        check(timeline, model, seq, before)
        check(timeline, model, head, now)


def test_timeline_agrees_with_list_after_thousands_of_removals() -> None:
    chance = random.Random(1)
    timeline, model = Timeline(), Model()
    for seq in range(1, 6001):
        newest = message(seq)
        timeline.append(newest, seq / 10)
        model.append((newest, seq / 10))
    for left in range(5900):
        removed, _ = model.pop(chance.randrange(len(model)))
        timeline.discard(removed.seq)
        if left % 590 == 0:
            check(timeline, model, chance.randrange(6000), chance.randrange(600))
    check(timeline, model, 3000, 300.0)
    newest = message(6001)
    timeline.append(newest, 601.0)
    check(timeline, [*model, (newest, 601.0)], 3000, 602.0)


def test_slots_of_removed_messages_are_freed() -> None:
    timeline = Timeline()
    for seq in range(1, 20_001):
        timeline.append(message(seq), 0.0)
        timeline.discard(seq)
    assert len(timeline) == 0
    assert sum(len(block.seqs) for block in timeline._blocks) < 5000


def test_sparse_messages_are_packed_into_few_blocks() -> None:
    timeline = Timeline()
    for seq in range(1, 100_001):
        timeline.append(message(seq), 0.0)
    left = list(range(500, 100_001, 1000))
    for seq in range(1, 100_001):
        if seq % 1000 != 500:
            timeline.discard(seq)
    assert [each.seq for each in timeline.after(0)] == left
    assert len(timeline._blocks) < 5
    assert sum(len(block.seqs) for block in timeline._blocks) < 5000


def test_before_excludes_equal_time() -> None:
    timeline = Timeline()
    first, second = message(1), message(2)
    timeline.append(first, 1.0)
    timeline.append(second, 2.0)
    assert timeline.before(1.0, 9) == []
    assert timeline.before(2.0, 9) == [first]
    assert timeline.before(2.5, 9) == [first, second]
