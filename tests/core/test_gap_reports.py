"""Each gap is reported once, and a loss beside a known gap is found by counting what is read."""

import pytest

from pushd.core.gap_reports import GapReports
from pushd.core.message import Gap
from pushd.core.replay import KeptMessages, StartPosition
from tests.build import at, message, page

KNOWN = Gap("a", "E-0", "E-5", "evicted")


def opened(*known: Gap, gaps: tuple[Gap, ...] = (), kept: tuple[KeptMessages, ...] = ()) -> GapReports:
    reports = GapReports()
    assert reports.opened(StartPosition(at(0), gaps, True, False, known, kept)) == list(gaps)
    return reports


def test_gap_is_reported_once_and_known_gap_never() -> None:
    first, second = Gap("a", "E-1", "E-3", "evicted"), Gap("b", "E-1", "E-3", "evicted")
    reports = opened(KNOWN, gaps=(first,))
    assert reports.of_page(page(upto=3, more=True, gaps=(first, second, KNOWN))) == [second]
    assert reports.of_page(page(upto=3, gaps=(first, second, KNOWN))) == []


def test_gaps_are_compared_by_topic_and_end() -> None:
    reports = opened(gaps=(Gap("a", "F-1", "E-3", "epoch"),))
    later = Gap("a", "E-0", "E-4", "expired")
    assert reports.of_page(page(upto=5, gaps=(Gap("a", "E-0", "E-3", "evicted"), later))) == [later]


@pytest.mark.parametrize("topic", ["a", "*"])
def test_kept_messages_that_are_read_are_no_gap(topic: str) -> None:
    known = Gap(topic, "E-0", "E-5", "evicted")
    reports = opened(known, kept=(KeptMessages(2, 5),))
    assert reports.of_page(page(message(1), message(2, "b/c"), upto=2, more=True, gaps=(known,))) == []
    assert reports.of_page(page(message(3), message(7), upto=7, gaps=(known,))) == []


@pytest.mark.parametrize("topic", ["a", "*"])
def test_kept_messages_that_are_not_read_are_a_gap_once_the_end_is_reached(topic: str) -> None:
    known = Gap(topic, "E-0", "E-5", "evicted")
    reports = opened(known, kept=(KeptMessages(2, 5),))
    assert reports.of_page(page(message(1), upto=2, more=True, gaps=(known,))) == []
    assert reports.of_page(page(message(6), upto=6, more=True, gaps=(known,))) == [known]
    assert reports.of_page(page(message(7), upto=7, gaps=(known,))) == []


def test_a_newer_gap_covers_the_messages_that_are_not_read() -> None:
    reports = opened(KNOWN, kept=(KeptMessages(2, 5),))
    newer = Gap("a", "E-0", "E-6", "evicted")
    assert reports.of_page(page(message(7), upto=7, gaps=(newer,))) == [newer]


def test_a_reported_gap_covers_the_messages_that_are_not_read() -> None:
    reports = opened(KNOWN, gaps=(KNOWN,), kept=(KeptMessages(2, 5),))
    assert reports.of_page(page(message(7), upto=7, gaps=(KNOWN,))) == []
