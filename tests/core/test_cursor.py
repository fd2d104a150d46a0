"""Cursors: every form of `since`, and nothing else."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core.cursor import EVERYTHING, LATEST, NOW, Age, Last, MessageId, Since, Time, parse_since
from pushd.core.errors import BadSince


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("", NOW),
        ("all", EVERYTHING),
        ("4f2a-0", MessageId("4f2a", 0)),
        ("4f2a-17", MessageId("4f2a", 17)),
        ("10m-5", MessageId("10m", 5)),
        ("7-5", MessageId("7", 5)),
        ("latest", LATEST),
        ("last:1", Last(1)),
        ("last:1000", Last(1000)),
        ("250ms", Age(0.25)),
        ("1s", Age(1.0)),
        ("1.5s", Age(1.5)),
        ("10m", Age(600.0)),
        ("24h", Age(86400.0)),
        ("7d", Age(604800.0)),
        ("0", Time(0.0)),
        ("1763751574", Time(1763751574.0)),
        ("1763751574.123", Time(1763751574.123)),
    ],
)
def test_each_form_of_since_is_parsed(text: str, since: Since) -> None:
    read = parse_since(text)
    assert type(read) is type(since)
    assert read == since


@pytest.mark.parametrize(
    "text",
    [
        "garbage",
        "ALL",
        "LATEST",
        "latest:1",
        " all",
        "all\n",
        "-",
        "-5",
        "4f2a-",
        "4f2a",
        "4f2a-x",
        "4f2a-1-2",
        "4f2a--1",
        "4f2a-1\n",
        "4f_a-1",
        "épo-1",
        "4f2a-١",
        "e" * 33 + "-1",
        "4f2a-" + "1" * 19,
        "last:",
        "last:0",
        "last:-1",
        "last:01",
        "last:x",
        "last:1.5",
        "last:" + "9" * 10,
        "10 m",
        "10w",
        "-10m",
        "1e3",
        ".5s",
        "5.s",
        "1_000",
        "+1",
        "nan",
        "inf",
        "١٢٣",
        "1" * 13,
        "null",
        "*",
    ],
)
def test_invalid_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadSince):
        parse_since(text)


@given(st.from_regex(r"[A-Za-z0-9]{1,32}", fullmatch=True), st.integers(0, 10**18 - 1))
def test_message_id_round_trips(epoch: str, seq: int) -> None:
    written = MessageId(epoch, seq)
    assert parse_since(str(written)) == written


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        parse_since(text)
    except BadSince as refusal:
        assert text
        assert len(str(refusal).splitlines()) == 1


@given(st.integers(1, 10**9 - 1), st.decimals(0, 10**12 - 1, places=3), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_counts_durations_and_times_are_parsed_exactly(count: int, number: Decimal, unit: str) -> None:
    seconds = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}[unit]
    assert parse_since(f"last:{count}") == Last(count)
    assert parse_since(f"{number}") == Time(float(number))
    assert parse_since(f"{number}{unit}") == Age(float(number) * seconds)


def test_start_positions_of_different_kinds_are_not_equal() -> None:
    starts = [NOW, EVERYTHING, LATEST, Last(1), Age(1.0), Time(1.0)]
    assert [[one == other for other in starts] for one in starts] == [
        [one is other for other in starts] for one in starts
    ]
    assert len(set(starts)) == len(starts)
