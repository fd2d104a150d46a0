"""A schedule returns each item once, when it is due, whatever was changed before."""

from hypothesis import given
from hypothesis import strategies as st

from pushd.core.schedule import Schedule

OPERATIONS = st.lists(
    st.tuples(st.sampled_from(("set", "discard", "take")), st.integers(0, 4), st.floats(0, 20)), max_size=60
)


def test_items_are_returned_when_their_second_is_reached_the_earliest_first() -> None:
    schedule: Schedule[str] = Schedule()
    for item, at in (("c", 3.5), ("a", 1.0), ("b", 1.2)):
        schedule.set(item, at)
    assert schedule.take_due(0.9) == []
    assert schedule.take_due(1.0) == ["a"]
    assert schedule.take_due(10) == ["b", "c"]
    assert len(schedule) == 0


@given(OPERATIONS)
def test_schedule_equals_a_model(operations: list[tuple[str, int, float]]) -> None:
    schedule: Schedule[int] = Schedule()
    model: dict[int, float] = {}
    for operation, item, time in operations:
        if operation == "set":
            schedule.set(item, time)
            model[item] = time
        elif operation == "discard":
            schedule.discard(item)
            model.pop(item, None)
        else:
            due = schedule.take_due(int(time))
            assert set(due) == {item for item, at in model.items() if at <= int(time)}
            assert len(due) == len(set(due))
            model = {item: at for item, at in model.items() if item not in due}
        assert len(schedule) == len(model)
