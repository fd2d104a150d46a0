"""Who hears a channel is asked for, but not for each message."""

from typing import Any

import pytest

from pushd.ctl.errors import Unreachable
from pushd.ctl.subscriber_counts import SubscriberCounts


class ApiClient:
    """A daemon that counts what it is asked."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.transports: dict[str, int] | None = {"sse": 3, "tcp": 1}

    def request_json(self, method: str, path: str) -> Any:
        """Answer."""
        self.requests.append(path)
        if self.transports is None:
            raise Unreachable("gone")
        return {"transports": self.transports}


@pytest.fixture
def client() -> ApiClient:
    return ApiClient()


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def counts(client: ApiClient, now: list[float]) -> SubscriberCounts:
    return SubscriberCounts(client, lambda: now[0])  # type: ignore[arg-type]


def test_a_channel_is_asked_about_once_a_second(client: ApiClient, now: list[float], counts: SubscriberCounts) -> None:
    assert [counts.get("a") for _ in range(5)] == ["sse=3 tcp=1"] * 5
    assert client.requests == ["/pub/a"]
    client.transports = {}
    now[0] += 1
    assert counts.get("a") == "-"


def test_many_channels_do_not_make_many_questions(
    client: ApiClient, now: list[float], counts: SubscriberCounts
) -> None:
    for number in range(5000):
        counts.get(f"c/{number}")
        now[0] += 0.001
    assert len(client.requests) <= 101
    assert len(counts._cache) <= 1000


def test_a_daemon_that_is_away_is_a_dash(client: ApiClient, counts: SubscriberCounts) -> None:
    client.transports = None
    assert counts.get("a") == "-"
