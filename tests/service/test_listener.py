"""A listener opens its port before privileges are dropped, configures it when it starts, and closes it."""

import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock

from pushd.metrics import Counters
from pushd.net.direct_send import DirectServer
from pushd.net.listeners import CannotStart
from pushd.net.low_priority import LowPriorityReaders
from pushd.service.listener import ListenerService


class CountingFactory(Factory):
    """A factory with the attributes that a listener needs."""

    noisy = False
    counters = Counters()
    clock = Clock()


Listen = Callable[..., ListenerService]


@pytest_twisted.async_yield_fixture
async def listener() -> AsyncIterator[Listen]:
    """A function that builds a listener; all are stopped at the end."""
    from twisted.internet import reactor

    built: list[ListenerService] = []

    def build(endpoint: str, *, is_open: bool = False) -> ListenerService:
        readers = LowPriorityReaders(reactor)
        built.append(ListenerService("http", endpoint, CountingFactory(), reactor, 50, readers, is_open=is_open))
        return built[-1]

    yield build
    for each in built:
        await maybeDeferred(each.stopService)


def port_of(listener: ListenerService) -> Any:
    """Return the listening port of a listener."""
    return listener._port


def test_port_is_opened_before_the_start_and_configured_by_it(listener: Listen) -> None:
    http = listener("tcp:0:interface=127.0.0.1")
    http.privilegedStartService()
    port = port_of(http)
    assert port.transport is not DirectServer
    http.startService()
    assert port_of(http) is port
    assert port.transport is DirectServer


def test_port_is_opened_by_the_start_alone(listener: Listen) -> None:
    http = listener("tcp:0:interface=127.0.0.1")
    http.startService()
    assert port_of(http).backlog == 4096


def test_backlog_of_the_endpoint_is_kept(listener: Listen) -> None:
    http = listener("tcp:0:interface=127.0.0.1:backlog=7")
    http.startService()
    assert port_of(http).backlog == 7


def test_port_in_use_is_reported_at_once(listener: Listen) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        http = listener(f"tcp:{other.getsockname()[1]}:interface=127.0.0.1")
        with pytest.raises(CannotListenError):
            http.privilegedStartService()


def test_exposed_port_is_refused_unless_open(listener: Listen) -> None:
    with pytest.raises(CannotStart, match=r"^http\.listen: .*which is open to other machines"):
        listener("tcp:0:interface=0.0.0.0").startService()
    http = listener("tcp:0:interface=0.0.0.0", is_open=True)
    http.startService()
    assert port_of(http).transport is DirectServer


async def test_stop_closes_the_port(listener: Listen) -> None:
    http = listener("tcp:0:interface=127.0.0.1")
    http.startService()
    number = port_of(http).getHost().port
    stopping = maybeDeferred(http.stopService)
    http.reconfigure(60, is_authenticated=False)  # a reload may arrive while the daemon stops
    await stopping
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", number))


@pytest.mark.parametrize(
    ("endpoint", "scheme"), [("tcp:0:interface=127.0.0.1", "http"), ("haproxy:tcp:0:interface=127.0.0.1", None)]
)
def test_url_of_a_listener_is_known_while_it_is_open(listener: Listen, endpoint: str, scheme: str | None) -> None:
    http = listener(endpoint)
    assert http.url is None
    http.startService()
    port = port_of(http).getHost().port
    assert http.url == (scheme and f"{scheme}://localhost:{port}")


def test_unix_socket_has_no_url(listener: Listen, tmp_path: Path) -> None:
    http = listener(f"unix:{tmp_path / 'pushd.sock'}")
    http.startService()
    assert http.url is None
