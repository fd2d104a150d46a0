"""The daemon: the object graph, and its start, reconfiguration and shutdown."""

import ipaddress
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web.resource import Resource

from pushd import __version__
from pushd.config.table import Config
from pushd.core.budget import Budget
from pushd.core.errors import Stopping
from pushd.core.outbox import QueueLimits
from pushd.dialects.interface import DialectContext
from pushd.http.access_log import AccessLog
from pushd.http.authentication import Carriers
from pushd.http.limits import HttpLimits
from pushd.http.resource import HttpContext
from pushd.http.site import PushSite
from pushd.hub.hub import Hub
from pushd.hub.presence import PresenceSettings
from pushd.metrics import Counters
from pushd.net.admission import Admission, raise_file_limit
from pushd.net.keepalive import Deadlines, Ticks, Wheel
from pushd.net.loop_delay import LoopDelay
from pushd.net.low_priority import LowPriorityReaders
from pushd.net.shared_port import SharingReactor
from pushd.net.supervisor import Supervisor
from pushd.net.unix_clock import UnixClock
from pushd.service.audit import open_audit, reopen_audit
from pushd.service.authentication import AuthenticationService
from pushd.service.backend import BackendService, channel_rules, make_backend
from pushd.service.dialects import Dialects
from pushd.service.greeting import greeting
from pushd.service.hooks import open_hooks, reload_hooks
from pushd.service.listener import ListenerService
from pushd.service.routes import AdminRoot, Keepalive, Root
from pushd.sources.running_sources import RunningSources, SourceFactories
from pushd.transports.credential_deadlines import CredentialDeadlines
from pushd.transports.interface import Transport
from pushd.transports.nul_lines import NulLineFactory
from pushd.transports.tcp_lines import LineFactory, LineLimits
from pushd.transports.websocket import WebSocket
from pushd.wire.line_commands import CommandLimits
from pushd.wire.nul_lines import NulLines

_TICK_SECONDS = 0.02
"""The interval at which the shutdown checks whether connections are drained or closed."""
_MAX_CLOSE_TICKS = 50
"""The most checks for closed connections before the daemon stops without waiting for them: one second."""


def make_service(config: Config, reactor: Any) -> "Daemon":
    """Build the daemon.

    Starting it opens its listeners at once; a port in use raises `twisted.internet.error.CannotListenError`.

    :param reactor: its `seconds` must be monotonic.
    :raises ConfigError: when a file that it needs cannot be read, or the audit log cannot be opened.
    """
    return Daemon(config, reactor)


class Daemon(MultiService):
    """All parts, from the backend to the listeners.

    Each part that has settings is registered in `_on_reload` where it is built.
    """

    log = Logger()

    def __init__(self, config: Config, reactor: Any) -> None:
        super().__init__()
        self._config = config
        self._reactor = reactor
        self._on_reload: list[Callable[[Config], None]] = []
        self._listeners: list[ListenerService] = []
        limits = config.limits
        self._counters = Counters(reactor.seconds)
        self._admission = Admission(raise_file_limit(limits.connections), limits.connections_per_address)
        self._budget = Budget(limits.waiting_bytes, reactor.seconds)
        unix_time = UnixClock()
        backend = make_backend(config, reactor)
        self.hub = Hub(
            backend,
            reactor,
            self._counters,
            limits.subscriptions,
            self._budget,
            unix_time,
            limits.messages_per_second,
            channel_rules(config),
        )
        open_audit(self.hub.audit, config)
        open_hooks(self.hub.hooks, config.hooks)
        self._on_reload += [
            lambda new: reopen_audit(self.hub.audit, new),
            lambda new: reload_hooks(self.hub.hooks, new.hooks),
            lambda new: self._budget.reconfigure(new.limits.waiting_bytes),
            lambda new: self._admission.reconfigure(
                raise_file_limit(new.limits.connections), new.limits.connections_per_address
            ),
            lambda new: self.hub.reconfigure(new.limits.subscriptions, new.limits.messages_per_second),
            lambda new: self.hub.channel_settings.reconfigure(channel_rules(new)),
            lambda new: self.hub.credentials.reconfigure(new.auth.grace),
            lambda new: self.hub.presence.reconfigure(_presence_of(new)),
        ]
        self.hub.presence.reconfigure(_presence_of(config))
        self.hub.credentials.reconfigure(config.auth.grace)
        ticks, low_priority = Ticks(reactor), LowPriorityReaders(reactor)
        ticks.on_tick(self.hub.dispatcher.on_tick)
        self._keepalive = self._make_keepalive(ticks)
        loop_delay = LoopDelay(reactor, self._counters.loop_delay.observe)
        keepalive = self._keepalive
        timers = (ticks, keepalive.pongs, keepalive.messages, keepalive.credentials, loop_delay, low_priority)
        BackendService(self.hub, timers).setServiceParent(self)
        self._sources = RunningSources(self._source_factories(config))
        self._sources.setServiceParent(self)
        self._authentication = AuthenticationService(config.auth, reactor, backend, unix_time, self._counters)
        self._authentication.setServiceParent(self)
        self._authentication.use(self.hub)
        self._context = self._make_context(config)
        self._on_reload.append(lambda new: self._context.reconfigure(self._make_context(new)))
        self._nul_lines = NulLines()
        self._dialects = Dialects(config.dialects, self._dialect_context())
        self._dialects.setServiceParent(self)
        self._on_reload.append(lambda new: self._dialects.reconfigure(new.dialects))
        self._root = self._make_root()
        self._site, self._lines = self._make_site(self._root), self._make_lines()
        has_console, failures = config.http.console, self._authentication.failures
        admin = self._make_site(AdminRoot(self._context, self.hub, failures, has_console=has_console))
        self._sites = self._site, admin
        self._transports: list[Transport] = [*self._root.transports, self._lines]
        listeners = (
            ("http", config.http.listen, config.http.reuse_port, self._site),
            ("admin", config.http.admin_listen, config.http.reuse_port, admin),
            ("tcp", config.tcp.listen, config.tcp.reuse_port, self._lines),
        )
        for name, endpoints, is_shared, factory in listeners:
            for endpoint in endpoints:
                where = SharingReactor(reactor) if is_shared else reactor
                self._add_listener(name, endpoint, factory, where, low_priority)
        self.supervisor = Supervisor(reactor, lambda: self.hub.unavailable_reason is None, os.environ)
        self.supervisor.setServiceParent(self)

    def startService(self) -> None:
        """Start all parts."""
        super().startService()
        config = self._config
        if (config.http.reuse_port or config.tcp.reuse_port) and not config.backend.url:
            self.log.warn(
                "reuse_port without Redis: processes that share a port have separate histories and subscribers, and a "
                "message reaches the clients of one process only"
            )
        for sentence in greeting(config, self._listeners):
            self.log.info("{sentence}", sentence=sentence)

    # Reload

    def reopen_logs(self) -> bool:
        """Open the audit log anew, since another program may have renamed its file; return whether there is one."""
        return self.hub.audit.reopen()

    async def reconfigure(self, config: Config) -> None:
        """Apply the settings that do not need a restart.

        Those that a connection gets at its start, such as the limits of its queue, apply to new connections.
        Certificates that cannot be loaded are logged, and the previous ones stay in use.
        """
        self._config = config
        for reconfigure in self._on_reload:
            reconfigure(config)
        for listener in self._listeners:
            listener.renew_certificates()
        self._authentication.reconfigure(config.auth)
        await self._authentication.renew_connections()
        await self._sources.reconfigure(self._source_factories(config))

    # Stop

    def stopService(self) -> Deferred[Any]:
        """Report not ready, stop listening, drain and close all connections, and stop."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.supervisor.stopping()
        self.hub.begin_shutdown()
        await DeferredList([maybeDeferred(listener.disownServiceParent) for listener in self._listeners])
        await self._close_connections()
        for site in self._sites:
            site.begin_shutdown()
            site.close_idle()
        await maybeDeferred(super().stopService)
        for _ in range(_MAX_CLOSE_TICKS):
            if not len(self._admission):
                return
            await deferLater(self._reactor, _TICK_SECONDS)

    async def _close_connections(self) -> None:
        """Close all connections: those with a queue when it is drained, or after `stop.patience` seconds."""
        why = Stopping("the daemon is shutting down")
        until = self._reactor.seconds() + self._config.stop.patience
        is_over = False
        while not is_over:
            is_over = not self.hub.has_backlog or self._reactor.seconds() >= until
            for transport in self._transports:
                transport.close_all(why, busy=is_over)
            if not is_over:
                await deferLater(self._reactor, _TICK_SECONDS)

    # Parts

    def _source_factories(self, config: Config) -> SourceFactories:
        """Return the factories of the sources; the largest message is a part of their identity."""
        arguments = self.hub, self._counters, self._reactor, config.limits.message
        return {(source, config.limits.message): partial(source.service, *arguments) for source in config.sources}

    def _make_keepalive(self, ticks: Ticks) -> Keepalive:
        times = self._config.keepalive
        sse, stream, ping = Wheel(ticks, times.sse), Wheel(ticks, times.stream), Wheel(ticks, times.ping)
        pongs = Deadlines(self._reactor, times.pong, WebSocket.overdue, lambda websocket: websocket.has_unread)
        messages = Deadlines(
            self._reactor,
            self._config.limits.upload,
            WebSocket.message_timed_out,
            lambda websocket: websocket.has_unread,
        )
        credentials = CredentialDeadlines(self._reactor, self._config.limits.handshake, self.hub)
        self._on_reload += [
            lambda new: credentials.reconfigure(new.limits.handshake),
            lambda new: messages.reconfigure(new.limits.upload),
            lambda new: sse.reconfigure(new.keepalive.sse),
            lambda new: stream.reconfigure(new.keepalive.stream),
            lambda new: ping.reconfigure(new.keepalive.ping),
            lambda new: pongs.reconfigure(new.keepalive.pong),
        ]
        return Keepalive(sse, stream, ping, pongs, messages, credentials)

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
            config.http.allow_credentials,
            frozenset(config.http.hosts),
            frozenset(config.http.pull_hosts),
            tuple(ipaddress.ip_network(network) for network in config.http.trusted_proxies),
            AccessLog(config.log.access, self._reactor.seconds),
            self._authentication.authenticator,
            Carriers(config.auth.cookie, config.auth.query_tokens),
            self._authentication.signed_urls,
            callbacks=self.hub.callbacks,
        )

    def _dialect_context(self) -> DialectContext:
        keepalive, renew = self._keepalive, self._authentication.renew
        return DialectContext(
            self._context,
            self.hub,
            self._reactor,
            keepalive.stream,
            keepalive.ping,
            self._config.backend.data_dir,
            renew,
            self._nul_lines,
        )

    def _make_root(self) -> Root:
        spread = self._config.stop.spread
        root = Root(
            self._context,
            self.hub,
            self._reactor,
            self._keepalive,
            spread,
            self._authentication.failures,
            serves_admin=not self._config.http.admin_listen,
            has_console=self._config.http.console,
            dialects=self._dialects.all,
        )
        self._on_reload += [
            lambda new: root.sse.reconfigure(new.stop.spread),
            lambda new: root.websocket.reconfigure(),
        ]
        return root

    def _make_site(self, root: Resource) -> PushSite:
        context = self._context
        site = PushSite(
            root,
            self._reactor,
            context.limits,
            self._admission,
            self._counters,
            context.is_proxy,
            context.open_cors,
            context.access,
            context.client_of,
            context.serves_host,
            context.embedding_headers,
        )
        self._on_reload.append(lambda new: site.reconfigure(self._context.limits))
        return site

    def _make_lines(self) -> LineFactory:
        limits = self._line_limits(self._config)
        is_plain = self._nul_lines.policy is None
        factory_class = LineFactory if is_plain else partial(NulLineFactory, self._nul_lines)
        factory = factory_class(
            self.hub,
            self._reactor,
            limits,
            self._admission,
            self._counters,
            __version__,
            self._keepalive.credentials,
            self._authentication.authenticator,
        )
        self._on_reload.append(lambda new: factory.reconfigure(self._line_limits(new)))
        return factory

    def _add_listener(
        self, name: str, endpoint: str, factory: Any, reactor: Any, low_priority: LowPriorityReaders
    ) -> None:
        listener = ListenerService(
            name,
            endpoint,
            factory,
            reactor,
            round(self._config.keepalive.dead_peer),
            low_priority,
            is_open=self._config.access.open,
            is_authenticated=self._config.auth.is_enabled,
        )
        listener.setServiceParent(self)
        self._listeners.append(listener)
        self._on_reload.append(
            lambda new: listener.reconfigure(round(new.keepalive.dead_peer), is_authenticated=new.auth.is_enabled)
        )

    def _queue_limits(self, config: Config) -> QueueLimits:
        return QueueLimits(config.limits.queue_messages, config.limits.queue_bytes, budget=self._budget)

    def _line_limits(self, config: Config) -> LineLimits:
        limits = config.limits
        command = CommandLimits(limits.message, limits.event, limits.topics)
        return LineLimits(command, self._queue_limits(config), limits.upload)


def _presence_of(config: Config) -> PresenceSettings:
    """Return the settings of presence that need no restart."""
    settings = config.presence
    return PresenceSettings(
        not settings.disabled, settings.grace, settings.members, settings.heartbeat_channel, settings.heartbeat_ttl
    )
