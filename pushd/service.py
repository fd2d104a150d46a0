"""The object graph: what belongs to what, and the order in which it starts and stops."""

import ipaddress
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.application.strports import service as listen
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from pushd import __version__
from pushd.api.channels import ChannelsResource
from pushd.api.connections import ConnectionsResource
from pushd.api.demo import DemoResource
from pushd.api.health import HealthResource
from pushd.api.history import HistoryResource
from pushd.api.metrics import MetricsResource
from pushd.api.pages import FAVICON, INDEX
from pushd.api.publish import PublishResource
from pushd.api.static_page import PageResource
from pushd.backends.interface import Backend, BackendUnusable
from pushd.backends.memory import MemoryBackend
from pushd.backends.redis.address import parse_url
from pushd.config.table import Config, ConfigError
from pushd.core.budget import Budget
from pushd.core.errors import Stopping, TooManyConnections
from pushd.core.history import Bounds
from pushd.core.outbox import QueueLimits as QueueLimits
from pushd.http.access_log import AccessLog
from pushd.http.limits import HttpLimits
from pushd.http.resource import HttpContext, HttpResource, NotFoundResource
from pushd.http.site import PushSite
from pushd.hub.hub import Hub
from pushd.metrics import Counters
from pushd.net.admission import Admission, raise_file_limit
from pushd.net.certificates import RenewingReactor
from pushd.net.keepalive import Deadlines, Ticks, Wheel
from pushd.net.listeners import CannotStart, Reach, exposed, on_too_many_files, prepare
from pushd.net.loop_delay import LoopDelay
from pushd.net.low_priority import LowPriorityReaders, deprioritize
from pushd.net.shared_port import SharingReactor
from pushd.net.supervisor import Supervisor
from pushd.sources.running_sources import RunningSources, SourceFactories
from pushd.transports.held_requests import HeldRequests
from pushd.transports.http_stream import StreamResource
from pushd.transports.multipart import MixedResource, ReplaceResource
from pushd.transports.ndjson import NdjsonResource
from pushd.transports.negotiation import NegotiatingResource, SubscribingResource
from pushd.transports.polls import LongPollResource, PollResource
from pushd.transports.pull import PullResource
from pushd.transports.sse import SseResource
from pushd.transports.tcp_lines import LineFactory, LineLimits
from pushd.transports.websocket import WebSocket, WebSocketResource
from pushd.wire.line_commands import CommandLimits as CommandLimits

_TICK_SECONDS = 0.02
_LAST_WORDS_TICKS = 50
"""How often it is looked whether all connections are closed: for a second."""
_BACKLOG = 4096
"""Connections that may wait to be accepted, as far as the kernel lets them: with Twisted's 50, most of a crowd that
comes at once has to try again, after a second and more.
"""


def make_service(config: Config, reactor: Any) -> "Daemon":
    """Build the daemon.

    Starting it opens its listeners, at once; a port that is taken raises `twisted.internet.error.CannotListenError`.

    :param reactor: gives monotonic seconds.
    """
    return Daemon(config, reactor)


def check_backend_usable(config: Config) -> str | None:
    """Look at what is stored already, if anything is stored on this machine; give a sentence about it.

    :raises Unusable: it can not be used; the text is a sentence.
    """
    if not config.backend.data_dir:
        return None
    from pushd.backends.sqlite.checking import check_history

    return check_history(config.backend.data_dir)


def _make_backend(config: Config, bounds: Bounds, reactor: Any) -> Backend:
    # Stores are imported where they are chosen: whoever has no Redis needs neither the time nor the memory that its
    # client takes.
    chosen = config.backend
    if chosen.data_dir:
        from pushd.backends.sqlite.backend import SqliteBackend

        return SqliteBackend(chosen.data_dir, bounds, reactor, time.time, chosen.sync)
    if not chosen.url:
        return MemoryBackend(bounds, reactor, time.time)
    from pushd.backends.redis.backend import RedisBackend, RedisOptions

    options = RedisOptions(chosen.prefix, chosen.publish_timeout, chosen.when_away == "local", chosen.ca_file)
    return RedisBackend(parse_url(chosen.url), options, bounds, reactor, time.time)


class Daemon(MultiService):
    """Everything, from the store to the listeners."""

    log = Logger()

    def __init__(self, config: Config, reactor: Any) -> None:
        super().__init__()
        self._config = config
        self._reactor = reactor
        limits, keepalive = config.limits, config.keepalive
        self._counters = Counters(reactor.seconds)
        self._admission = Admission(raise_file_limit(limits.connections), limits.connections_per_address)
        bounds = Bounds(
            config.history.messages,
            config.history.bytes,
            config.history.age,
            config.history.total_bytes,
            limits.channels,
        )
        backend = _make_backend(config, bounds, reactor)
        self._budget = Budget(limits.waiting_bytes)
        self.hub = Hub(backend, reactor, self._counters, limits.subscriptions, self._budget)
        hours = Ticks(reactor)
        self._pongs = Deadlines(reactor, keepalive.pong, WebSocket.overdue, lambda websocket: websocket.has_unread)
        self._wheels = Wheel(hours, keepalive.sse), Wheel(hours, keepalive.stream), Wheel(hours, keepalive.ping)
        hours.on_tick(self.hub.dispatcher.on_tick)
        self._closing: list[StreamResource | WebSocketResource | HeldRequests | LineFactory] = []
        self._listeners: list[_ListenerService] = []
        lateness = LoopDelay(reactor, self._counters.loop_delay.observe)
        row = LowPriorityReaders(reactor)
        _BackendService(self.hub, (hours, self._pongs, lateness, row)).setServiceParent(self)
        self._sources = RunningSources(self._wanted(config))
        self._sources.setServiceParent(self)
        self._context = self._make_context(config)
        self._sse: SseResource
        self._websocket: WebSocketResource
        self._site, self._lines = self._make_site(), self._make_lines()
        for name, section, factory in (("http", config.http, self._site), ("tcp", config.tcp, self._lines)):
            for endpoint in section.listen:
                dead_peer = round(config.keepalive.dead_peer)
                where = SharingReactor(reactor) if section.reuse_port else reactor
                listener = _ListenerService(name, endpoint, factory, where, dead_peer, row, config.access.open)
                listener.setServiceParent(self)
                self._listeners.append(listener)
        self.supervisor = Supervisor(reactor, lambda: self.hub.unavailable_reason is None, os.environ)
        self.supervisor.setServiceParent(self)

    async def reconfigure(self, config: Config) -> None:
        """Take over other settings while it runs: all whose row in the table does not wait for a restart.

        What is told a connection as it begins, as the limits of its queue, holds for those that come from now on.

        :raises ConfigError: certificates can not be read; nothing is changed.
        """
        try:
            renewals = [listener.reload_certificates() for listener in self._listeners]
        except ValueError as error:
            raise ConfigError(str(error)) from error
        limits, keepalive = config.limits, config.keepalive
        self._config = config
        self._budget.limit = limits.waiting_bytes
        self._admission.reconfigure(raise_file_limit(limits.connections), limits.connections_per_address)
        self.hub.max_subscriptions = limits.subscriptions
        self._context.reconfigure(self._make_context(config))
        self._site.reconfigure(self._context.limits)
        self._lines.reconfigure(self._line_limits(config))
        self._websocket.reconfigure()
        self._sse.spread = config.stop.spread
        self._pongs.seconds = keepalive.pong
        for wheel, seconds in zip(self._wheels, (keepalive.sse, keepalive.stream, keepalive.ping), strict=True):
            wheel.reconfigure(seconds)
        for listener, renew in zip(self._listeners, renewals, strict=True):
            listener.set_dead_peer_timeout(round(keepalive.dead_peer))
            if renew is not None:
                renew()
        await self._sources.reconfigure(self._wanted(config))

    def stopService(self) -> Deferred[Any]:
        """Look unwell, let nobody in, hand out what waits, tell everybody to come back, and stop."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.supervisor.stopping()
        self.hub.begin_shutdown()
        await DeferredList([maybeDeferred(listener.disownServiceParent) for listener in self._listeners])
        await self._close_connections()
        self._site.close_idle()
        await maybeDeferred(super().stopService)
        for _ in range(_LAST_WORDS_TICKS):
            if not len(self._admission):
                return
            await deferLater(self._reactor, _TICK_SECONDS)

    async def _close_connections(self) -> None:
        """Close all connections; those who have more to read are waited for, as long as that may be."""
        why = Stopping("the daemon is shutting down")
        until = self._reactor.seconds() + self._config.stop.patience
        is_over = False
        while not is_over:
            is_over = not self.hub.has_backlog or self._reactor.seconds() >= until
            for door in self._closing:
                door.close_all(why, busy=is_over)
            if not is_over:
                await deferLater(self._reactor, _TICK_SECONDS)

    def _wanted(self, config: Config) -> SourceFactories:
        """Give the sources of a configuration: what they may publish at most is part of what they are."""
        surroundings = self.hub, self._counters, self._reactor, config.limits.message
        return {(source, config.limits.message): partial(source.service, *surroundings) for source in config.sources}

    def _make_context(self, config: Config) -> HttpContext:
        limits = HttpLimits(
            message=config.limits.message,
            batch=config.limits.batch,
            event=config.limits.event,
            topics=config.limits.topics,
            headers=config.limits.headers,
            handshake=config.limits.handshake,
            upload=config.limits.upload,
            queue=self._queue_limits(config),
        )
        return HttpContext(
            limits,
            self._counters,
            self._admission,
            frozenset(config.http.allow_origins),
            frozenset(config.http.hosts),
            frozenset(config.http.pull_hosts),
            tuple(ipaddress.ip_network(network) for network in config.http.trusted_proxies),
            AccessLog(config.log.access, self._reactor.seconds),
        )

    def _make_site(self) -> PushSite:
        rules = self._context
        root, limits = self._root(rules), rules.limits
        return PushSite(
            root,
            self._reactor,
            limits,
            self._admission,
            self._counters,
            rules.is_proxy,
            rules.open_cors,
            rules.access,
            rules.client_of,
            rules.serves_host,
        )

    def _root(self, rules: HttpContext) -> Resource:
        hub, clock = self.hub, self._reactor
        on_sse, on_stream, on_ping = self._wheels
        sse = self._sse = SseResource(rules, hub, clock, on_sse, self._config.stop.spread)
        stream = NdjsonResource(rules, hub, clock, on_stream)
        replace, mixed = ReplaceResource(rules, hub, clock, on_stream), MixedResource(rules, hub, clock, on_stream)
        websocket = self._websocket = WebSocketResource(rules, hub, clock, on_ping, self._pongs)
        room = HeldRequests(rules, hub, clock)
        longpoll = LongPollResource(rules, room)
        by_type: dict[str, SubscribingResource] = {
            "text/event-stream": sse,
            "multipart/x-mixed-replace": replace,
            "multipart/mixed": mixed,
            "application/x-ndjson": stream,
        }
        self._closing += [sse, stream, replace, mixed, websocket, room]
        doors: dict[bytes, HttpResource] = {
            b"": PageResource(rules, b"text/html; charset=utf-8", INDEX),
            b"pub": PublishResource(rules, hub),
            b"sse": sse,
            b"stream": stream,
            b"multipart": replace,
            b"mixed": mixed,
            b"longpoll": longpoll,
            b"poll": PollResource(rules, hub),
            b"pull": PullResource(rules, hub, room),
            b"sub": NegotiatingResource(rules, by_type, websocket, longpoll),
            b"ws": websocket,
            b"channels": ChannelsResource(rules, hub),
            b"connections": ConnectionsResource(rules, hub),
            b"history": HistoryResource(rules, hub),
            b"metrics": MetricsResource(rules, hub),
            b"health": HealthResource(rules, hub),
            b"demo": DemoResource(rules),
            b"favicon.ico": PageResource(rules, b"image/x-icon", FAVICON),
        }
        root = Root(NotFoundResource(rules))
        for name, door in doors.items():
            root.putChild(name, door)
        return root

    def _make_lines(self) -> LineFactory:
        limits = self._line_limits(self._config)
        factory = LineFactory(self.hub, self._reactor, limits, self._admission, self._counters, __version__)
        self._closing.append(factory)
        return factory

    def _queue_limits(self, config: Config) -> QueueLimits:
        return QueueLimits(config.limits.queue_messages, config.limits.queue_bytes, budget=self._budget)

    def _line_limits(self, config: Config) -> LineLimits:
        limits = config.limits
        return LineLimits(CommandLimits(limits.message, limits.event, limits.topics), self._queue_limits(config))


class Root(Resource):
    """The address tree: a door for each first segment, and one for all that is not there."""

    def __init__(self, nowhere: HttpResource) -> None:
        super().__init__()
        self._not_found = nowhere

    def getChild(self, path: bytes, request: Any) -> Resource:
        """Find no door."""
        return self._not_found


class _BackendService(Service):
    """The hub with its store, the timers, and the back row."""

    log = Logger()

    def __init__(
        self, hub: Hub, timers: tuple[Ticks | Deadlines[WebSocket] | LoopDelay | LowPriorityReaders, ...]
    ) -> None:
        self._hub = hub
        self._timers = timers

    def startService(self) -> None:
        super().startService()
        for timer in self._timers:
            timer.start()
        starting = Deferred.fromCoroutine(self._hub.start())
        outcome = getattr(starting, "result", None)
        if isinstance(outcome, Failure) and outcome.check(BackendUnusable):
            starting.addErrback(lambda _: None)
            raise CannotStart(outcome.getErrorMessage())
        starting.addErrback(lambda failure: self.log.failure("Backend failed to start", failure))

    def stopService(self) -> Deferred[Any]:
        super().stopService()
        for timer in self._timers:
            timer.stop()
        return Deferred.fromCoroutine(self._hub.stop())


class _ListenerService(MultiService):
    """A listening endpoint, which says where it is reached."""

    log = Logger()

    def __init__(
        self,
        name: str,
        endpoint: str,
        factory: Any,
        reactor: Any,
        dead_peer: int,
        row: LowPriorityReaders,
        is_open: bool,
    ) -> None:
        """`is_open`: whether other machines may reach it; else it does not start where they can."""
        super().__init__()
        self._name = name
        self._endpoint = endpoint
        self._is_open = is_open
        self._counters: Counters = factory.counters
        self._dead_peer = dead_peer
        self._low_priority = row
        self._port: Any = None
        if endpoint.startswith("tcp:") and "backlog=" not in endpoint:
            endpoint += f":backlog={_BACKLOG}"
        self._renewing = RenewingReactor(endpoint, factory, reactor)
        self._server = listen(endpoint, factory, self._renewing)  # type: ignore[arg-type]
        self._server.setServiceParent(self)

    def startService(self) -> None:
        super().startService()
        waiting = self._server._waitingForPort
        if waiting is not None:
            waiting.addCallback(self._prepare)
            outcome = getattr(waiting, "result", None)
            if isinstance(outcome, Failure) and isinstance(outcome.value, CannotStart):
                waiting.addErrback(lambda _: self._port)
                raise outcome.value

    def reload_certificates(self) -> Callable[[], None] | None:
        """Read its certificates again; see `RenewingReactor`."""
        return self._renewing.reload()

    def set_dead_peer_timeout(self, seconds: int) -> None:
        """Take another time after which TCP gives up on a silent peer, for those who connect from now on."""
        self._dead_peer = seconds
        if self._port is not None:
            prepare(self._port, seconds)

    def _prepare(self, port: Any) -> Any:
        """Set up what all its connections have from the port, and say where it is.

        :raises CannotStart: other machines can reach it and may not.
        """
        self._port = port
        prepare(port, self._dead_peer)
        if port.reach is Reach.OTHERS:
            if not self._is_open:
                raise CannotStart(f"{self._name}.listen: {exposed(self._endpoint, port.socket.getsockname())}")
            self.log.warn("Anyone who can connect to {endpoint} may publish and subscribe", endpoint=self._endpoint)
        deprioritize(port, self._low_priority)
        on_too_many_files(port, self._refused)
        self.log.info("{name} listens on {where}", name=self._name, where=_where(port.getHost()))
        return port

    def _refused(self, host: str | None) -> None:
        refusal = TooManyConnections("open file limit reached")
        self._counters.count_refusal(refusal, f"{self._name} {host or 'unix'}")


def _where(address: Any) -> str:
    if hasattr(address, "port"):
        return f"{address.host}:{address.port}"
    name = getattr(address, "name", address)
    return os.fsdecode(name) if isinstance(name, bytes) else str(name)
