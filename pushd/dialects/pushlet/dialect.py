"""Pushlet as a dialect: ``/pushlet.srv``."""

from collections.abc import Mapping, Sequence

from twisted.web.resource import Resource

from pushd.dialects.interface import DialectContext
from pushd.dialects.pushlet.resource import PushletResource
from pushd.dialects.pushlet.sessions import Session
from pushd.dialects.session_streams import SessionStreams
from pushd.dialects.sessions import Limits, Sessions
from pushd.transports.held_requests import HeldRequests
from pushd.transports.interface import Transport


class Pushlet:
    """The protocol of Pushlet."""

    def __init__(self, context: DialectContext, limits: Limits) -> None:
        held = HeldRequests(context.http, context.hub, context.clock)
        self.sessions: Sessions[Session] = Sessions(context.clock, limits)
        streams = SessionStreams(
            context.http, context.hub, context.clock, context.stream, self.sessions, "pushlet-stream"
        )
        resource = PushletResource(context.http, context.hub, held, self.sessions, streams)
        self.routes: Mapping[bytes, Resource] = {b"pushlet.srv": resource}
        self.transports: Sequence[Transport] = (held, streams)

    def reconfigure(self, limits: Limits) -> None:
        """Apply other limits, to what begins from now on."""
        self.sessions.limits = limits

    def stop(self) -> None:
        """See `Dialect`."""
        self.sessions.stop()
