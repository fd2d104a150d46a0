"""Bayeux as a dialect: its parts, its routes, and its settings."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from twisted.web.resource import Resource

from pushd.core.errors import Refusal
from pushd.core.peer import Peer
from pushd.dialects.bayeux.browsers import Browsers
from pushd.dialects.bayeux.connects import Connects
from pushd.dialects.bayeux.event_stream import EventStreams
from pushd.dialects.bayeux.operations import Operations
from pushd.dialects.bayeux.requests import BayeuxResource
from pushd.dialects.bayeux.session import Session, Sessions
from pushd.dialects.bayeux.session_file import FileStore
from pushd.dialects.bayeux.settings import BayeuxSettings
from pushd.dialects.bayeux.sockets import Sockets
from pushd.dialects.bayeux.store import NoStore, SessionStore, SharedStore
from pushd.dialects.interface import DialectContext
from pushd.transports.interface import Transport

_FILE: Final = "bayeux-sessions"
"""The file of sessions, beside the history on disk."""


class Bayeux:
    """Bayeux 1.0 under one or more paths.

    :param paths: their first segments.
    """

    def __init__(self, context: DialectContext, paths: Sequence[bytes], settings: BayeuxSettings) -> None:
        http, hub, clock = context.http, context.hub, context.clock
        self._hub = hub
        self.sessions = Sessions(clock, settings, self._on_ended)
        connects = Connects(hub, clock, http.counters, self.sessions)
        self._store = _make_store(context, self.sessions)
        operations = Operations(
            hub, http.authenticator, self.sessions, connects, self._store, lambda: http.limits.topics, time.time
        )
        self._sockets = Sockets(http, operations, clock)
        browsers = Browsers(self.sessions)
        streams = EventStreams(http, operations, connects, browsers, clock, context.stream)
        resource = BayeuxResource(http, operations, self._sockets, streams, browsers)
        self.routes: Mapping[bytes, Resource] = dict.fromkeys(paths, resource)
        self.transports: Sequence[Transport] = (connects, self._sockets, streams)
        hub.renewals.append(self._renew)
        hub.revocations.check_others.append(self._check_sockets)

    def reconfigure(self, settings: BayeuxSettings) -> None:
        """Apply other settings, to what begins from now on."""
        self.sessions.settings = settings
        if not settings.max_inactive:  # what is recorded would be out of date when it is set again
            for session in self.sessions:
                session.active = None
        self._sockets.reconfigure()

    def stop(self) -> None:
        """End all sessions of this node, and with them their timers."""
        self._store.stop()
        for session in self.sessions:
            self.sessions.end(session)

    def _on_ended(self, session: Session) -> None:
        self._hub.requests.forget(session)
        self._store.forget(session)

    async def _check_sockets(self, check: Callable[[Peer], None]) -> None:
        """Close the WebSockets of revoked credentials. Sessions are checked at their next message."""
        self._sockets.renew(check)

    async def _renew(self, renew: Callable[[Peer], None]) -> None:
        """Renew the grants of the sessions, after a reload; those that are not accepted any more end."""
        self._sockets.renew(renew)
        for session in self.sessions:
            try:
                renew(session.peer)
            except Refusal as refusal:
                if session.held is not None:
                    session.held.refuse(refusal)
                self.sessions.end(session)


def _make_store(context: DialectContext, sessions: Sessions) -> SessionStore:
    """Return where sessions are kept: as long as the history is."""
    hub, records = context.hub, context.hub.records
    if records is not None:
        return SharedStore(hub, records, sessions, context.renew)
    if context.data_dir:
        return FileStore(hub, Path(context.data_dir) / _FILE, sessions, context.renew, context.clock)
    return NoStore()
