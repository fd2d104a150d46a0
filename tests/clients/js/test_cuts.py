"""The client in Node.js: what it does with each transport, and behind a proxy that cuts each connection later than the
previous one.
"""

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.daemon import Daemon
from tests.clients.js.cutting_proxy import CuttingProxy
from tests.programs import find_client_node

pytestmark = pytest.mark.system

FOLLOW = Path(__file__).parent / "follow.mjs"
BEHAVIOUR = Path(__file__).parent / "behaviour.mjs"
TOPICS = Path(__file__).parent / "topics.mjs"
TRANSPORTS = ("websocket", "sse", "longpoll")
MESSAGES = 400


def publish_numbers(daemon: Daemon, channel: str, count: int) -> str:
    """Publish numbers to a channel; return the cursor before them."""
    cursor = str(json.loads(daemon.request("GET", f"/cursor/{channel}")[1])["cursor"])
    lines = "\n".join(json.dumps({"channel": channel, "data": number}) for number in range(count))
    status, _ = daemon.request("POST", "/pub", lines.encode(), {"Content-Type": "application/x-ndjson"})
    assert status == 200
    return cursor


def run(script: Path, task: dict[str, Any]) -> str:
    """Run a script with a task on its standard input; return what it prints."""
    node, _ = find_client_node()
    done = subprocess.run(
        [node, script], input=json.dumps(task), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def follow(daemon: Daemon, transport: str, budgets: Iterable[int], count: int) -> int:
    """Follow a channel with cuts; return the number of cuts."""
    channel = f"cuts/{transport}/{count}"
    since = publish_numbers(daemon, channel, count)
    with CuttingProxy(daemon.port, budgets) as proxy:
        task = {"url": proxy.url, "channel": channel, "since": since, "count": count}
        printed = run(FOLLOW, task | {"options": {"transports": [transport]}})
    assert json.loads(printed) == {"received": list(range(count)), "gaps": []}
    return proxy.cuts


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_behaviour(daemon: Daemon, transport: str) -> None:
    with CuttingProxy(daemon.port, range(1, 500, 20)) as proxy:
        run(BEHAVIOUR, {"url": daemon.url, "proxy": proxy.url, "transport": transport})
        assert proxy.cuts > 20


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_cuts_lose_and_double_nothing(daemon: Daemon, transport: str) -> None:
    assert follow(daemon, transport, range(1, 1500, 13), MESSAGES) > 50


@pytest.mark.slow
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_cuts_at_every_byte_lose_and_double_nothing(daemon: Daemon, transport: str) -> None:
    assert follow(daemon, transport, range(1, 1500), 2 * MESSAGES) > 1000


@pytest.mark.parametrize(
    ("transport", "prefix", "fits", "code"),
    [
        ("websocket", "topics", 5, ""),
        ("sse", "s", 4, "too-many-topics"),
        ("longpoll", "l", 4, "too-many-topics"),
        ("sse", "s" * 40, 1, "headers-too-large"),
    ],
)
def test_more_topics_than_fit(daemon: Daemon, transport: str, prefix: str, fits: int, code: str) -> None:
    task = {"url": daemon.url, "transport": transport, "groups": 5, "topics": 250, "prefix": prefix}
    run(TOPICS, task | {"fits": fits, "code": code})
