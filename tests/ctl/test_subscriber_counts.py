"""Who hears a channel is asked for, but not for each message."""

from typing import Any

import pytest

from pushd.ctl.errors import NotReachable
from pushd.ctl.subscriber_counts import Crowds


class Web:
    """A daemon that counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.transports: dict[str, int] | None = {"sse": 3, "tcp": 1}

    def ask(self, method: str, path: str) -> Any:
        """Answer."""
        self.asked.append(path)
        if self.transports is None:
            raise NotReachable("gone")
        return {"transports": self.transports}


@pytest.fixture
def web() -> Web:
    return Web()


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def crowds(web: Web, now: list[float]) -> Crowds:
    return Crowds(web, lambda: now[0])  # type: ignore[arg-type]


def test_a_channel_is_asked_about_once_a_second(web: Web, now: list[float], crowds: Crowds) -> None:
    assert [crowds.of("a") for _ in range(5)] == ["sse=3 tcp=1"] * 5
    assert web.asked == ["/pub/a"]
    web.transports = {}
    now[0] += 1
    assert crowds.of("a") == "-"


def test_many_channels_do_not_make_many_questions(web: Web, now: list[float], crowds: Crowds) -> None:
    for number in range(5000):
        crowds.of(f"c/{number}")
        now[0] += 0.001
    assert len(web.asked) <= 101
    assert len(crowds._known) <= 1000


def test_a_daemon_that_is_away_is_a_dash(web: Web, crowds: Crowds) -> None:
    web.transports = None
    assert crowds.of("a") == "-"
