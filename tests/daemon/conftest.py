"""The daemons of these tests: with small size limits, with few connections, and with short timeouts."""

import itertools
from collections.abc import Iterator

import pytest

from tests.daemon.clients import Http, Lines
from tests.daemon.real import Daemon

ORIGIN = "https://app.example"
"""The allowed origin of the first daemon."""
TIMEOUT = 2.0
"""The timeouts of the last daemon, in seconds."""
_numbers = itertools.count(1)


def run(factory: pytest.TempPathFactory, *options: str) -> Iterator[Daemon]:
    daemon = Daemon(factory.mktemp("pushd"), *options)
    try:
        yield daemon
        daemon.assert_healthy()
    finally:
        daemon.stop()


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with small size limits. After all tests it must be running, without a traceback in its log."""
    yield from run(
        tmp_path_factory,
        *("--limits-message", "64KiB"),
        *("--limits-batch", "256KiB"),
        *("--limits-headers", "8KiB"),
        *("--limits-event", "100"),
        *("--limits-topics", "20"),
        *("--limits-subscriptions", "30"),
        *("--http-allow-origins", ORIGIN),
        *("--dialects", "iframe,pushlet,comet4j"),
    )


@pytest.fixture(scope="session")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with few connections and channels, and no allowed origins."""
    yield from run(
        tmp_path_factory,
        *("--limits-channels", "3"),
        *("--limits-connections", "20"),
        *("--limits-connections-per-address", "1"),
        *("--http-trusted-proxies", "127.0.0.1"),
    )


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with short timeouts."""
    yield from run(
        tmp_path_factory,
        *("--limits-handshake", f"{TIMEOUT:g}s"),
        *("--limits-upload", f"{TIMEOUT:g}s"),
    )


@pytest.fixture
def http(daemon: Daemon) -> Iterator[Http]:
    """An HTTP connection to the daemon."""
    with daemon.http() as http:
        yield http


@pytest.fixture
def lines(daemon: Daemon) -> Iterator[Lines]:
    """A connection to the line listener of the daemon."""
    with daemon.lines() as lines:
        yield lines


@pytest.fixture
def channel() -> str:
    """A channel that no other test uses."""
    return f"test/{next(_numbers)}"
