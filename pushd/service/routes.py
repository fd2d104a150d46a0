"""The routes: the resource of each path."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.web.resource import Resource

from pushd.api.channels import ChannelsResource
from pushd.api.connections import ConnectionsResource, RenewalResource
from pushd.api.console import ConsoleResource
from pushd.api.cursor import CursorResource
from pushd.api.demo import DemoResource
from pushd.api.explain import ExplainResource
from pushd.api.health import HealthResource
from pushd.api.heartbeat import HeartbeatResource
from pushd.api.history import HistoryResource
from pushd.api.hooks import HooksResource
from pushd.api.metrics import MetricsResource
from pushd.api.pages import FAVICON, INDEX, INDEX_POLICY, SCRIPTS
from pushd.api.presence import PresenceResource
from pushd.api.publish import PublishResource
from pushd.api.request import RequestResource
from pushd.api.revocations import RevocationsResource
from pushd.api.script import ScriptResource
from pushd.api.static_page import PageResource
from pushd.api.version import VersionResource
from pushd.dialects.interface import Dialect
from pushd.http.resource import HttpContext, NotFoundResource
from pushd.hub.hub import Hub
from pushd.net.keepalive import Deadlines, Wheel
from pushd.transports.credential_deadlines import CredentialDeadlines
from pushd.transports.held_requests import HeldRequests
from pushd.transports.interface import Transport
from pushd.transports.multipart import MixedResource, ReplaceResource
from pushd.transports.ndjson import NdjsonResource
from pushd.transports.negotiation import NegotiatingResource, SubscribingResource
from pushd.transports.polls import LongPollResource, PollResource
from pushd.transports.pull import PullResource
from pushd.transports.sse import SseResource
from pushd.transports.websocket import WebSocket, WebSocketResource


class Keepalive:
    """The keepalive of each kind of stream.

    :ivar pongs: the deadlines of WebSockets for their pongs.
    :ivar messages: the deadlines of WebSockets for the rest of a message.
    :ivar credentials: the deadlines of WebSockets and TCP lines for the credential of the peer.
    """

    def __init__(
        self,
        sse: Wheel,
        stream: Wheel,
        ping: Wheel,
        pongs: Deadlines[WebSocket],
        messages: Deadlines[WebSocket],
        credentials: CredentialDeadlines,
    ) -> None:
        self.sse = sse
        self.stream = stream
        self.ping = ping
        self.pongs = pongs
        self.messages = messages
        self.credentials = credentials


class _Branch(Resource):
    """The resources below a path: one for each next segment, and one for all other paths and the path itself."""

    def __init__(self, context: HttpContext, routes: Mapping[bytes, Resource]) -> None:
        super().__init__()
        self._not_found = NotFoundResource(context)
        for segment, resource in routes.items():
            self.putChild(segment, resource)

    def max_body(self, request: Any) -> int:
        """Return the most bytes of the body of a request for the path itself."""
        return self._not_found.max_body(request)

    def render(self, request: Any) -> Any:
        """Answer a request for the path itself."""
        return self._not_found.render(request)

    def getChild(self, path: bytes, request: Any) -> Resource:
        """Return the resource for paths that do not exist."""
        return self._not_found


class AdminRoot(_Branch):
    """The addresses for operators, on a listener of their own."""

    def __init__(
        self, context: HttpContext, hub: Hub, failures: Callable[[], list[str]], *, has_console: bool = True
    ) -> None:
        routes = _admin_routes(context, hub, has_console=has_console)
        super().__init__(context, routes | {b"health": HealthResource(context, hub, failures)})


class Root(_Branch):
    """The addresses of all transports and, unless they have a listener of their own, those for operators.

    :ivar transports: the resources with live connections.
    """

    def __init__(
        self,
        context: HttpContext,
        hub: Hub,
        clock: Any,
        keepalive: Keepalive,
        spread: float,
        failures: Callable[[], list[str]],
        *,
        serves_admin: bool,
        has_console: bool = True,
        dialects: Sequence[Dialect] = (),
    ) -> None:
        """Build the resources.

        :param spread: the seconds over which reconnects are distributed after a shutdown.
        :param failures: returns what of the parts besides the hub does not work.
        :param serves_admin: whether it also has the addresses for operators.
        :param has_console: whether the console is among the addresses for operators.
        :param dialects: whose addresses it has, too; none of them hides another.
        """
        self.sse = SseResource(context, hub, clock, keepalive.sse, spread)
        stream = NdjsonResource(context, hub, clock, keepalive.stream)
        replace = ReplaceResource(context, hub, clock, keepalive.stream)
        mixed = MixedResource(context, hub, clock, keepalive.stream)
        self.websocket = WebSocketResource(
            context, hub, clock, keepalive.ping, keepalive.pongs, keepalive.messages, keepalive.credentials
        )
        held_requests = HeldRequests(context, hub, clock)
        longpoll = LongPollResource(context, held_requests)
        by_media_type: dict[str, SubscribingResource] = {
            "text/event-stream": self.sse,
            "multipart/x-mixed-replace": replace,
            "multipart/mixed": mixed,
            "application/x-ndjson": stream,
        }
        self.transports: list[Transport] = [self.sse, stream, replace, mixed, self.websocket, held_requests]
        routes: dict[bytes, Resource] = {
            b"": PageResource(context, b"text/html; charset=utf-8", INDEX, INDEX_POLICY),
            b"pub": PublishResource(context, hub),
            b"request": RequestResource(context, hub),
            b"sse": self.sse,
            b"stream": stream,
            b"multipart": replace,
            b"mixed": mixed,
            b"longpoll": longpoll,
            b"poll": PollResource(context, hub),
            b"pull": PullResource(context, hub, held_requests),
            b"sub": NegotiatingResource(context, by_media_type, self.websocket, longpoll),
            b"ws": self.websocket,
            b"cursor": CursorResource(context, hub),
            b"history": HistoryResource(context, hub),
            b"health": HealthResource(context, hub, failures),
            b"presence": PresenceResource(context, hub),
            b"heartbeat": HeartbeatResource(context, hub),
            b"demo": DemoResource(context),
            b"favicon.ico": PageResource(context, b"image/x-icon", FAVICON),
        }
        routes |= {name.encode("ascii"): ScriptResource(context, script) for name, script in SCRIPTS.items()}
        renewal: dict[bytes, Resource] = {b"connections": RenewalResource(context, hub)}
        admin = _admin_routes(context, hub, has_console=has_console) if serves_admin else renewal
        of_dialects = {path: resource for dialect in dialects for path, resource in dialect.routes.items()}
        self.transports += [transport for dialect in dialects for transport in dialect.transports]
        super().__init__(context, of_dialects | routes | admin)


def _admin_routes(context: HttpContext, hub: Hub, *, has_console: bool) -> dict[bytes, Resource]:
    auth = {b"explain": ExplainResource(context), b"revocations": RevocationsResource(context, hub)}
    console: dict[bytes, Resource] = {b"console": ConsoleResource(context)} if has_console else {}
    return console | {
        b"auth": _Branch(context, auth),
        b"channels": ChannelsResource(context, hub),
        b"connections": ConnectionsResource(context, hub),
        b"hooks": HooksResource(context, hub),
        b"metrics": MetricsResource(context, hub),
        b"version": VersionResource(context),
    }
