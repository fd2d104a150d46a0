"""The routes: the resource of each path."""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from twisted.web.resource import Resource

from pushd.api.channels import ChannelsResource
from pushd.api.connections import ConnectionsResource
from pushd.api.cursor import CursorResource
from pushd.api.demo import DemoResource
from pushd.api.explain import ExplainResource
from pushd.api.health import HealthResource
from pushd.api.history import HistoryResource
from pushd.api.metrics import MetricsResource
from pushd.api.pages import FAVICON, INDEX
from pushd.api.publish import PublishResource
from pushd.api.static_page import PageResource
from pushd.api.version import VersionResource
from pushd.http.resource import HttpContext, HttpResource, NotFoundResource
from pushd.hub.hub import Hub
from pushd.net.keepalive import Deadlines, Wheel
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
    """

    def __init__(
        self, sse: Wheel, stream: Wheel, ping: Wheel, pongs: Deadlines[WebSocket], messages: Deadlines[WebSocket]
    ) -> None:
        self.sse = sse
        self.stream = stream
        self.ping = ping
        self.pongs = pongs
        self.messages = messages


class Branch(Resource):
    """The resources of the paths below one segment."""

    def __init__(self, not_found: NotFoundResource, routes: Mapping[bytes, HttpResource]) -> None:
        super().__init__()
        self._not_found = not_found
        for segment, resource in routes.items():
            self.putChild(segment, resource)

    def max_body(self, request: Any) -> int:
        """Return the limit of a request to the segment itself, where nothing is."""
        return self._not_found.max_body(request)

    def render(self, request: Any) -> Any:
        """Answer a request to the segment itself."""
        return self._not_found.render(request)

    def getChild(self, path: bytes, request: Any) -> Resource:
        """Return the resource for paths that do not exist."""
        return self._not_found


class Root(Resource):
    """The root of the resources: one for each first path segment, and one for all other paths.

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
    ) -> None:
        """`spread`: the seconds over which reconnects are distributed after a shutdown. `failures`: returns what of the
        parts besides the hub does not work.
        """
        super().__init__()
        self._not_found = NotFoundResource(context)
        self.sse = SseResource(context, hub, clock, keepalive.sse, spread)
        stream = NdjsonResource(context, hub, clock, keepalive.stream)
        replace = ReplaceResource(context, hub, clock, keepalive.stream)
        mixed = MixedResource(context, hub, clock, keepalive.stream)
        self.websocket = WebSocketResource(context, hub, clock, keepalive.ping, keepalive.pongs, keepalive.messages)
        held_requests = HeldRequests(context, hub, clock)
        longpoll = LongPollResource(context, held_requests)
        by_media_type: dict[str, SubscribingResource] = {
            "text/event-stream": self.sse,
            "multipart/x-mixed-replace": replace,
            "multipart/mixed": mixed,
            "application/x-ndjson": stream,
        }
        self.transports: list[Transport] = [self.sse, stream, replace, mixed, self.websocket, held_requests]
        routes: dict[bytes, HttpResource | Branch] = {
            b"": PageResource(context, b"text/html; charset=utf-8", INDEX),
            b"pub": PublishResource(context, hub),
            b"sse": self.sse,
            b"stream": stream,
            b"multipart": replace,
            b"mixed": mixed,
            b"longpoll": longpoll,
            b"poll": PollResource(context, hub),
            b"pull": PullResource(context, hub, held_requests),
            b"sub": NegotiatingResource(context, by_media_type, self.websocket, longpoll),
            b"ws": self.websocket,
            b"auth": Branch(self._not_found, {b"explain": ExplainResource(context)}),
            b"channels": ChannelsResource(context, hub),
            b"connections": ConnectionsResource(context, hub),
            b"cursor": CursorResource(context, hub),
            b"history": HistoryResource(context, hub),
            b"metrics": MetricsResource(context, hub),
            b"health": HealthResource(context, hub, failures),
            b"version": VersionResource(context),
            b"demo": DemoResource(context),
            b"favicon.ico": PageResource(context, b"image/x-icon", FAVICON),
        }
        for segment, resource in routes.items():
            self.putChild(segment, resource)

    def getChild(self, path: bytes, request: Any) -> Resource:
        """Return the resource for paths that do not exist."""
        return self._not_found
