"""Nothing can be forgotten: every route, method and command is in the table, and every call of the hub takes a peer."""

import inspect
import re
from collections.abc import Collection, Iterable, Iterator
from typing import get_args

import pytest_twisted
from twisted.web.resource import Resource

from pushd.api.pages import SCRIPTS
from pushd.core import command as commands
from pushd.http.resource import HttpResource
from pushd.hub.hub import Hub
from pushd.hub.metrics_report import MetricsReport
from pushd.hub.queries import Queries
from pushd.service.routes import AdminRoot
from pushd.wire.line_commands import _PARSERS, CommandLimits, parse
from pushd.wire.websocket_commands import _VERBS, CommandFrame
from tests.authorization.command_rows import COMMAND_ROWS, V1, Line
from tests.authorization.dialect_rows import COMET4J_ROWS, DIALECT_ROWS, PUSHLET_ROWS, SessionRequests
from tests.authorization.http_rows import HTTP_ROWS, Http
from tests.authorization.row import Row
from tests.daemon_fixtures import Start
from tests.transports.daemon import RunningDaemon

PUBLIC_CALLS = {
    "start", "begin_shutdown", "reconfigure", "stop", "turn", "renew_grants",  # the life of the daemon
    "in_slices",  # of the queries: encodes what one has returned
}  # fmt: skip
"""The calls of the hub without a peer: none reads, changes or returns anything of a channel."""
WITHOUT_ANSWER = {("HEAD", "/ws"), ("HEAD", "/pushlet.srv"), ("HEAD", "/comet4j")}
"""HEAD of a WebSocket is always refused, because it needs an upgrade; that of a session, because it would change it."""
LIMITS = CommandLimits(1000, 1000, 1000)


def routes_of(daemon: RunningDaemon) -> dict[str, HttpResource]:
    """Return the resources of both listeners for HTTP, by their paths."""
    service = daemon._service
    roots = (service._root, AdminRoot(service._context, service.hub, list))
    return {path: resource for root in roots for path, resource in _leaves(root, "")}


def _leaves(resource: Resource, path: str) -> Iterator[tuple[str, HttpResource]]:
    for segment, child in resource.children.items():
        if isinstance(child, HttpResource):
            yield f"{path}/{segment.decode()}", child
        else:
            yield from _leaves(child, f"{path}/{segment.decode()}")


def route_of(path: str, routes: Collection[str]) -> str:
    """Return the path of the resource that answers requests for a path."""
    bare = path.partition("?")[0]
    return next(route for route in routes if bare == route or (route != "/" and bare.startswith(f"{route}/")))


@pytest_twisted.ensureDeferred
async def test_every_method_of_every_route_has_a_row(start_daemon: Start) -> None:
    # A request of Bayeux has several messages: its own tests have the credentials.
    routes = routes_of(await start_daemon({"dialects.enable": "iframe,pushlet,comet4j"}))
    requests = [row.send for row in HTTP_ROWS if isinstance(row.send, Http) and row.send.path != "*"]
    rows = {(request.method, route_of(request.path, routes)) for request in requests}
    rows |= {("GET", route_of(row.send.path, routes)) for row in COMMAND_ROWS if isinstance(row.send, V1)}
    rows |= {("GET", row.send.path) for row in DIALECT_ROWS if isinstance(row.send, SessionRequests)}
    exist = {(method.decode(), segment) for segment, resource in routes.items() for method in resource._methods}
    exist |= {("HEAD", segment) for method, segment in exist if method == "GET"}
    assert exist - rows == WITHOUT_ANSWER
    assert {(method, segment) for method, segment in rows if method != "OPTIONS"} - exist == set()
    assert len(routes) >= 20


@pytest_twisted.ensureDeferred
async def test_what_is_open_does_not_use_the_hub(start_daemon: Start) -> None:
    routes = routes_of(await start_daemon({}))
    is_open = {segment for segment, resource in routes.items() if resource.is_open}
    assert is_open == {"/", "/console", "/demo", "/favicon.ico", "/health", *(f"/{name}" for name in SCRIPTS)}
    for segment in is_open - {"/health"}:
        assert not [value for value in vars(routes[segment]).values() if isinstance(value, Hub)]
    source = inspect.getsource(type(routes["/health"]))
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


def names_of(rows: Iterable[Row], parameter: str) -> set[str]:
    """Return the values of a parameter of the requests of sessions."""
    return {query[parameter] for row in rows if isinstance(row.send, SessionRequests) for query in row.send.requests}


@pytest_twisted.ensureDeferred
async def test_every_event_of_pushlet_and_command_of_comet4j_has_a_row(start_daemon: Start) -> None:
    routes = routes_of(await start_daemon({"dialects.enable": "pushlet,comet4j"}))
    events = {"join", "join-listen", "listen", "refresh", *vars(routes["/pushlet.srv"])["_handlers"]}
    assert names_of(PUSHLET_ROWS, "p_event") == events
    assert names_of(COMET4J_ROWS, "cmd") == {"conn", "revival", "drop"}


def test_every_call_of_the_hub_takes_a_peer_or_a_subscriber() -> None:
    calls = {
        name: list(inspect.signature(member).parameters)
        for facade in (Hub, Queries, MetricsReport)
        for name, member in vars(facade).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }
    assert calls.keys() >= PUBLIC_CALLS
    without = {name for name, parameters in calls.items() if parameters[1:2] not in (["peer"], ["subscriber"])}
    assert without == PUBLIC_CALLS
    assert len(calls) >= 20
