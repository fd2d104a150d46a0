"""Goals: each is judged where all that it needs was measured, and met on the right side of its limit."""

import pytest

from bench.figures import Figures
from bench.goals import Goal, goals


def measured(case, **rows):
    figures = Figures()
    for row, values in rows.items():
        figures.add(case, row.replace("_", " "), values)
    return figures


def judged(figures):
    return {goal.what: goal for goal in goals(figures)}


@pytest.mark.parametrize(
    ("measured", "limit", "is_maximum", "met"),
    [
        (1.2, 1.25, True, True),
        (1.25, 1.25, True, True),
        (1.3, 1.25, True, False),
        (5, 4, False, True),
        (3, 4, False, False),
    ],
)
def test_a_goal_is_met_on_the_right_side_of_its_limit(measured, limit, is_maximum, met):
    assert Goal("one", "x", measured, limit, is_maximum).is_met is met


def test_a_goal_says_what_is_wanted():
    assert Goal("one", "x", 1, 1.25).expected == "at most 1.25"
    assert Goal("one", "x", 1, 100_000, is_maximum=False, digits=0).expected == "at least 100,000"


def test_nothing_is_judged_that_was_not_measured():
    assert goals(Figures()) == []


def test_one_message_is_judged_by_the_loop_and_by_nchan_with_the_same_technique():
    figures = measured("one", pushd_SSE={"paced": 9}, C_loop={"paced": 8}, nchan_SSE={"paced": 12})
    found = judged(figures)
    assert found["pushd SSE, 25 a second: CPU per delivery, of the C loop's"].measured == 9 / 8
    assert found["pushd SSE, 25 a second: CPU per delivery, of nchan's"].measured == 9 / 12
    assert len(found) == 2


def test_a_burst_of_a_technique_that_nchan_lacks_is_judged_by_its_better_one():
    figures = measured("burst", pushd_TCP={"per_cpu": 60}, nchan_SSE={"per_cpu": 10}, nchan_WebSocket={"per_cpu": 20})
    assert judged(figures)["pushd TCP: deliveries per CPU second, times nchan's"].measured == 3


def test_memory_for_stalled_readers_is_what_comes_on_top_and_bounded_by_their_queues():
    figures = Figures()
    figures.add("stalled", "pushd TCP, readers alone", {"p99": 1, "rate": 1, "mib": 4, "stalled": 0})
    figures.add("stalled", "pushd TCP, a tenth more stalled", {"p99": 1, "rate": 1, "mib": 9, "stalled": 20})
    goal = judged(figures)["pushd TCP: MiB grown for 20 stalled readers"]
    assert (goal.measured, goal.limit) == (5, 20)
