"""Repeated events are counted, and their number of kinds is bounded."""

from pushd.audit.repeats import Repeats


def test_first_event_of_a_kind_is_written_and_the_others_are_counted() -> None:
    repeats = Repeats()
    assert not repeats
    firsts = [repeats.is_first(kind, "refused", "forbidden", {"topic": "a"}) for kind in ("x", "x", "y", "x")]
    assert firsts == [True, False, True, False]
    assert repeats and repeats.take() == [({"topic": "a"}, 2)]
    assert not repeats and repeats.take() == []
    assert repeats.is_first("x", "refused", "forbidden", {})


def test_fields_that_differ_are_left_out() -> None:
    repeats = Repeats()
    for topic in ("a", "b", "a"):
        repeats.is_first("x", "refused", "forbidden", {"topic": topic, "sub": "alice"})
    assert repeats.take() == [({"topic": None, "sub": "alice"}, 2)]


def test_events_of_too_many_kinds_are_counted_by_their_code() -> None:
    repeats = Repeats(max_kinds=2)
    for number in range(10):
        for code in ("forbidden", "token-invalid"):
            repeats.is_first(number, "refused", code, {})
    counted = repeats.take()
    assert counted[2:] == [
        ({"event": "refused", "code": "forbidden"}, 8),
        ({"event": "refused", "code": "token-invalid"}, 8),
    ]
    assert [count for _, count in counted[:2]] == [1, 1]
