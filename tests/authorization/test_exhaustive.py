"""Nothing can be forgotten: every route, method and command is in the table, and every call of the hub takes a peer."""

import inspect
import re
from typing import get_args

import pytest_twisted

from pushd.core import command as commands
from pushd.http.resource import HttpResource
from pushd.hub.hub import Hub
from pushd.service.routes import AdminRoot
from pushd.wire.line_commands import _PARSERS, CommandLimits, parse
from pushd.wire.websocket_commands import _VERBS, CommandFrame
from tests.authorization.rows import COMMAND_ROWS, HTTP_ROWS, V1, Http, Line
from tests.daemon_fixtures import Start
from tests.transports.daemon import RunningDaemon

PUBLIC_CALLS = {
    "start", "begin_shutdown", "reconfigure", "stop", "turn", "renew_grants",  # the life of the daemon
    "in_slices",  # encodes what a query has returned
}  # fmt: skip
"""The calls of the hub without a peer: none reads, changes or returns anything of a channel."""
WITHOUT_ANSWER = {("HEAD", "ws")}
"""HEAD of a WebSocket is always refused, because it needs an upgrade."""
LIMITS = CommandLimits(1000, 1000, 1000)


def routes_of(daemon: RunningDaemon) -> dict[str, HttpResource]:
    """Return the resources of both listeners for HTTP, by the first segment of the path."""
    service = daemon._service
    roots = (service._root, AdminRoot(service._context, service.hub, list))
    routes: dict[str, HttpResource] = {}
    for root in roots:
        routes |= {segment.decode(): resource for segment, resource in root.children.items()}
    return routes


@pytest_twisted.ensureDeferred
async def test_every_method_of_every_route_has_a_row(start_daemon: Start) -> None:
    routes = routes_of(await start_daemon({}))
    rows = {
        (row.send.method, row.send.path.split("/")[1].partition("?")[0])
        for row in HTTP_ROWS
        if isinstance(row.send, Http) and row.send.path != "*"
    }
    rows |= {("GET", row.send.path.split("/")[1]) for row in COMMAND_ROWS if isinstance(row.send, V1)}
    exist = {(method.decode(), segment) for segment, resource in routes.items() for method in resource._methods}
    exist |= {("HEAD", segment) for method, segment in exist if method == "GET"}
    assert exist - rows == WITHOUT_ANSWER
    assert {(method, segment) for method, segment in rows if method != "OPTIONS"} - exist == set()
    assert len(routes) >= 20


@pytest_twisted.ensureDeferred
async def test_what_is_open_does_not_use_the_hub(start_daemon: Start) -> None:
    routes = routes_of(await start_daemon({}))
    is_open = {segment for segment, resource in routes.items() if resource.is_open}
    assert is_open == {"", "demo", "favicon.ico", "health"}
    for segment in is_open - {"health"}:
        assert not [value for value in vars(routes[segment]).values() if isinstance(value, Hub)]
    source = inspect.getsource(type(routes["health"]))
    assert set(re.findall(r"_hub\.(\w+)", source)) == {"unavailable_reason", "degraded"}


def test_every_command_has_a_row() -> None:
    lines = {row.send.line.split()[0].encode() for row in COMMAND_ROWS if isinstance(row.send, Line)}
    assert lines == set(_PARSERS) - {b"AUTH"}
    frames = {
        verb for row in COMMAND_ROWS if isinstance(row.send, V1) and row.send.command for verb in row.send.command
    }
    assert frames & set(_VERBS) == set(_VERBS) - {"auth"}
    texts = {
        *(row.send.line.format(cursor="all") for row in COMMAND_ROWS if isinstance(row.send, Line)),
        "AUTH x",
    }
    assert {type(parse(text.encode(), LIMITS)) for text in texts} == set(get_args(commands.Command))
    assert CommandFrame(b'{"auth":"x"}').command(LIMITS) == commands.Authenticate("x")


def test_every_call_of_the_hub_takes_a_peer_or_a_subscriber() -> None:
    calls = {
        name: list(inspect.signature(member).parameters)
        for name, member in vars(Hub).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }
    assert calls.keys() >= PUBLIC_CALLS
    without = {name for name, parameters in calls.items() if parameters[1:2] not in (["peer"], ["subscriber"])}
    assert without == PUBLIC_CALLS
    assert len(calls) >= 20
