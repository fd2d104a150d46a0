"""The listener for operators: which addresses it has, and which ones the public listener has without and with it."""

from collections.abc import AsyncIterator

import pytest
import pytest_twisted

from pushd.config.checks import check_listeners
from pushd.config.loader import load
from tests.transports.daemon import RunningDaemon

MOVED = ("/metrics", "/connections", "/channels", "/version")
STAYING = ("/", "/history/a", "/cursor", "/demo/", "/favicon.ico")


@pytest_twisted.async_yield_fixture(params=[True, False], ids=["own listener", "one listener"])
async def daemon(request: pytest.FixtureRequest) -> AsyncIterator[RunningDaemon]:
    """A daemon with a listener for operators, and one without."""
    settings = {"http.admin_listen": "tcp:0:interface=127.0.0.1"} if request.param else {}
    daemon = await RunningDaemon(settings).start()
    yield daemon
    await daemon.stop()


async def statuses(daemon: RunningDaemon, listener: str, addresses: tuple[str, ...]) -> set[int]:
    return {(await daemon.request("GET", each, listener=listener)).status for each in addresses}


async def test_addresses_are_on_one_listener(daemon: RunningDaemon) -> None:
    is_own = "admin" in daemon.ports
    assert await statuses(daemon, "http", MOVED) == ({404, 405} if is_own else {200})
    assert await statuses(daemon, "http", STAYING) == {200}
    if is_own:
        assert await statuses(daemon, "admin", MOVED) == {200}
        assert await statuses(daemon, "admin", STAYING) == {404}


async def test_health_is_on_every_listener_and_deletion_on_the_public_one(daemon: RunningDaemon) -> None:
    for listener in daemon.ports.keys() - {"tcp"}:
        assert await statuses(daemon, listener, ("/health/live", "/health/ready")) == {200}
    await daemon.publish("a")
    assert (await daemon.request("DELETE", "/pub/a")).status == 200


async def test_unknown_hosts_are_refused_on_every_listener(daemon: RunningDaemon) -> None:
    for listener in daemon.ports.keys() - {"tcp"}:
        answer = await daemon.request("GET", "/health/live", headers={"Host": "evil.example"}, listener=listener)
        assert answer.status == 421


async def test_grants_count_on_the_listener_for_operators() -> None:
    settings = {"http.admin_listen": "tcp:0:interface=127.0.0.1", "auth.query_tokens": "false"}
    daemon = await RunningDaemon(settings).start()
    try:
        assert await statuses(daemon, "admin", MOVED[:3]) == {401}
    finally:
        await daemon.stop()


def test_open_listener_for_operators_needs_authentication_or_the_operators_word() -> None:
    from twisted.internet import reactor

    exposed = {"http.admin_listen": ["tcp:0"]}
    [mistake] = check_listeners(load(None, {}, exposed), reactor)
    assert str(mistake).startswith("http.admin_listen: tcp:0 is open to other machines")
    for more in ({"access.open": ["true"]}, {"auth.query_tokens": ["false"]}):
        assert list(check_listeners(load(None, {}, exposed | more), reactor)) == []
