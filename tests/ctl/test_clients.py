"""The client of each transport of `pushctl sub`."""

import time

import pytest

from pushd.core import errors
from pushd.ctl.api_client import ApiClient
from pushd.ctl.clients import TEMPORARY_CODES, TRANSPORTS, Target
from tests.daemon.real import Daemon

pytestmark = pytest.mark.system

IMMEDIATE_SECONDS = 10.0
"""Less than a long poll waits, even on a busy machine."""


@pytest.mark.parametrize("since", [None, "last:1", "10s"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_first_item_is_a_cursor_that_stays_valid(daemon: Daemon, transport: str, since: str | None) -> None:
    """`last:1` and times mean something else at a reconnect, after more messages were published."""
    channel = f"first/{transport}/{since}"
    target = Target(ApiClient(f"http://127.0.0.1:{daemon.http_port}"), ("127.0.0.1", daemon.tcp_port), channel)
    items = TRANSPORTS[transport](target, since)
    started = time.monotonic()
    begin = next(item for item in items if item.get("type") != "ping")
    assert time.monotonic() - started < IMMEDIATE_SECONDS
    items.close()  # type: ignore[attr-defined]
    texts = ["missed", "missed, too"]
    for text in texts:
        daemon.publish(channel, text.encode(), Content_Type="text/plain")
    assert begin["type"] == "begin"
    received = (item for item in TRANSPORTS[transport](target, begin["cursor"]) if "id" in item)
    assert [next(received)["data"] for _ in texts] == texts


def test_temporary_codes_are_those_of_a_temporary_status() -> None:
    refusals = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.Refusal)]
    assert {kind.code for kind in refusals if kind.status in (429, 503)} == TEMPORARY_CODES
