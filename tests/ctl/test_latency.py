"""Latencies are counted in buckets, exact to within 2 %."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.ctl.latency import Latencies, format_duration


def latencies_of(*seconds: float) -> Latencies:
    latencies = Latencies()
    for each in seconds:
        latencies.add(each)
    return latencies


def test_quantiles_of_uniform_durations() -> None:
    quantiles = latencies_of(*(number / 1000 for number in range(1, 1001))).quantiles()
    for name, seconds in {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}.items():
        assert quantiles[name] == pytest.approx(seconds, rel=0.02)


@given(st.floats(1e-6, 100))
def test_quantiles_are_exact_within_two_percent(seconds: float) -> None:
    quantiles = latencies_of(seconds).quantiles()
    assert quantiles["p50"] == pytest.approx(seconds, rel=0.021)
    assert quantiles["max"] == seconds


def test_no_durations_yield_no_quantiles_and_no_histogram() -> None:
    assert latencies_of().quantiles() == {}
    assert list(latencies_of().histogram()) == []


def test_histogram_spans_the_durations_and_the_largest_bar_is_full() -> None:
    lines = list(latencies_of(0.0015, 0.0015, 0.015).histogram())
    assert [line.partition("|")[0].strip() for line in lines] == ["2 ms", "5 ms", "10 ms", "20 ms"]
    assert [line.count("#") for line in lines] == [50, 0, 0, 25]
    assert [line.split()[-1] for line in lines] == ["2", "0", "0", "1"]


def test_longest_durations_have_a_bar_of_their_own() -> None:
    assert next(latencies_of(99).histogram()).split()[0] == "more"


@pytest.mark.parametrize(("seconds", "words"), [(0.0000012, "1.2 µs"), (0.0123, "12.3 ms"), (2, "2 s")])
def test_duration_is_formatted_with_its_unit(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words
