"""Subscriber counts are requested and cached."""

from typing import Any

import pytest

from pushd.client import AuthenticationFailed, ConnectionFailed, PushdError
from pushd.ctl.subscriber_counts import SubscriberCounts


class FakeApiClient:
    """A client that records requests."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.error: PushdError = ConnectionFailed("gone")
        self.transports: dict[str, int] | None = {"sse": 3, "tcp": 1}

    def request_json(self, method: str, path: str) -> Any:
        """Return the counts, or fail."""
        self.requests.append(path)
        if self.transports is None:
            raise self.error
        return {"transports": self.transports}


@pytest.fixture
def client() -> FakeApiClient:
    return FakeApiClient()


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def counts(client: FakeApiClient, now: list[float]) -> SubscriberCounts:
    return SubscriberCounts(client, lambda: now[0])  # type: ignore[arg-type]


def test_counts_are_requested_once_per_second(
    client: FakeApiClient, now: list[float], counts: SubscriberCounts
) -> None:
    assert [counts.get("a") for _ in range(5)] == ["sse=3 tcp=1"] * 5
    assert client.requests == ["/pub/a"]
    client.transports = {}
    now[0] += 1
    assert counts.get("a") == "-"


def test_many_channels_do_not_cause_many_requests(
    client: FakeApiClient, now: list[float], counts: SubscriberCounts
) -> None:
    for number in range(5000):
        counts.get(f"c/{number}")
        now[0] += 0.001
    assert len(client.requests) <= 101
    assert len(counts._cache) <= 1000


def test_unreachable_daemon_yields_a_dash(client: FakeApiClient, counts: SubscriberCounts) -> None:
    client.transports = None
    assert counts.get("a") == "-"


def test_refused_token_is_not_sent_with_every_message(
    client: FakeApiClient, now: list[float], counts: SubscriberCounts
) -> None:
    client.transports, client.error = None, AuthenticationFailed("token-expired", "gone")
    for number in range(1000):
        assert counts.get(f"c/{number}") == "-"
        now[0] += 0.02
    assert len(client.requests) == 1
    now[0] += 30
    counts.get("a")
    assert len(client.requests) == 2
