"""The pauses between attempts."""

from email.utils import formatdate

import pytest

from pushd.hooks.backoff import LONGEST_SECONDS, MAX_RETRY_AFTER, asked_pause, pause_after


def test_pauses_grow_up_to_a_limit_with_jitter() -> None:
    assert [pause_after(failures, 1.0) for failures in (1, 2, 3)] == [1.0, 2.0, 4.0]
    assert [pause_after(failures, 0.0) for failures in (1, 2, 3)] == [0.5, 1.0, 2.0]
    assert pause_after(1_000_000, 1.0) == LONGEST_SECONDS


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0.0),
        ("", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("5", 5.0),
        (" 120 ", 120.0),
        ("9" * 400, MAX_RETRY_AFTER),
        ("٣", 0.0),
        (formatdate(1_060, usegmt=True), 60.0),
        (formatdate(900, usegmt=True), 0.0),
        (formatdate(10_000_000, usegmt=True), MAX_RETRY_AFTER),
        ("Fri, 99 Foo 2026 00:00:00 GMT", 0.0),
    ],
    ids=range(12),
)
def test_retry_after(text: str | None, seconds: float) -> None:
    assert asked_pause(text, 1_000.0) == seconds
