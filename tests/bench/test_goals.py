"""Goals: each is evaluated if its figures were measured, and met within its limit."""

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
def test_goal_is_met_within_its_limit(measured, limit, is_maximum, met):
    assert Goal("one", "x", measured, limit, is_maximum).is_met is met


def test_goal_formats_its_limit():
    assert Goal("one", "x", 1, 1.25).expected == "at most 1.25"
    assert Goal("one", "x", 1, 100_000, is_maximum=False, digits=0).expected == "at least 100,000"


def test_no_goals_without_figures():
    assert goals(Figures()) == []


def test_one_message_is_compared_with_loop_and_nchan():
    figures = measured("one", pushd_SSE={"paced": 9}, C_loop={"paced": 8}, nchan_SSE={"paced": 12})
    found = judged(figures)
    assert found["pushd SSE, 25 per second: CPU per delivery, of the C loop's"].measured == 9 / 8
    assert found["pushd SSE, 25 per second: CPU per delivery, of nchan's"].measured == 9 / 12
    assert len(found) == 2


def test_burst_is_compared_with_the_better_nchan_transport():
    figures = measured("burst", pushd_TCP={"per_cpu": 60}, nchan_SSE={"per_cpu": 10}, nchan_WebSocket={"per_cpu": 20})
    assert judged(figures)["pushd TCP: deliveries per CPU second, times nchan's"].measured == 3


def test_memory_of_stalled_readers_is_the_difference():
    figures = Figures()
    figures.add("stalled", "pushd TCP, without stalled readers", {"p99": 1, "rate": 1, "mib": 4, "stalled": 0})
    figures.add("stalled", "pushd TCP, with a tenth stalled", {"p99": 1, "rate": 1, "mib": 9, "stalled": 20})
    goal = judged(figures)["pushd TCP: MiB grown for 20 stalled readers"]
    assert (goal.measured, goal.limit) == (5, 20)
