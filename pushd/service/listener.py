"""Listeners: one service for each endpoint string."""

import os
from typing import Any

from twisted.application.service import Service
from twisted.internet.endpoints import serverFromString
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.core.errors import TooManyConnections
from pushd.metrics import Counters
from pushd.net.addresses import local_url, plain_host
from pushd.net.admission import Slot
from pushd.net.certificates import RenewingReactor
from pushd.net.inherited_sockets import InheritingReactor
from pushd.net.listeners import (
    CannotStart,
    Reach,
    exposed,
    on_too_many_files,
    prepare,
    with_defaults,
    without_proxy_protocol,
)
from pushd.net.low_priority import LowPriorityReaders, deprioritize
from pushd.net.proxy_protocol import ProxyProtocolFactory
from pushd.net.unix_sockets import UnixSocketReactor

_BACKLOG = 4096
"""Connections that may wait to be accepted, as far as the kernel permits. With Twisted's default of 50, most of many
clients that connect at once have to retry after a second or more.
"""


_SETTINGS = {"http": "http.listen", "admin": "http.admin_listen", "tcp": "tcp.listen"}
"""The setting of the endpoints of each kind of listener."""


class ListenerService(Service):
    """A listening endpoint.

    :param name: what it serves: ``http``, ``admin`` or ``tcp``.
    :param dead_peer: seconds; see `set_dead_peer_timeout`.
    :param low_priority: the readers of its connections, until they publish.
    :param is_open: whether other machines may reach it. If they can and may not, it does not start.
    :param is_authenticated: whether what peers may do depends on their credentials.
    """

    log = Logger()

    def __init__(
        self,
        name: str,
        endpoint: str,
        factory: Any,
        reactor: Any,
        dead_peer: int,
        low_priority: LowPriorityReaders,
        *,
        is_open: bool,
        is_authenticated: bool = False,
    ) -> None:
        super().__init__()
        self._name = name
        self._endpoint = endpoint
        self._is_open = is_open
        self._is_authenticated = is_authenticated
        self._counters: Counters = factory.counters
        self._served = factory
        self._dead_peer = dead_peer
        self._low_priority = low_priority
        self._port: Any = None
        endpoint, self._is_behind_proxy = without_proxy_protocol(with_defaults(endpoint, _BACKLOG))
        if self._is_behind_proxy:
            factory = ProxyProtocolFactory(factory, factory.clock, self._admit_proxy, self._on_invalid_proxy_header)
        self._factory = factory
        self._renewing = RenewingReactor(endpoint, factory, UnixSocketReactor(InheritingReactor(reactor)))
        self._listen_on: Any = serverFromString(self._renewing, endpoint)

    def privilegedStartService(self) -> None:
        """Open the port, perhaps with the privileges of root.

        :raises CannotListenError: when the port is in use or may not be opened.
        """
        super().privilegedStartService()
        outcomes: list[Any] = []
        self._listen_on.listen(self._factory).addBoth(outcomes.append)
        [outcome] = outcomes  # all endpoints of Twisted listen synchronously
        if isinstance(outcome, Failure):
            outcome.raiseException()
        self._port = outcome

    def startService(self) -> None:
        """Open the port, if `privilegedStartService` has not; configure it and log its address.

        :raises CannotListenError: when the port is in use or may not be opened.
        :raises CannotStart: when other machines can reach the endpoint, and may not.
        """
        super().startService()
        if self._port is None:
            self.privilegedStartService()
        port = self._port
        prepare(port, self._dead_peer)
        if port.reach is Reach.OTHERS:
            if not (self._is_open or self._is_authenticated):
                key = _SETTINGS[self._name]
                raise CannotStart(f"{key}: {exposed(self._endpoint, port.socket.getsockname())}")
            if not self._is_authenticated:
                self.log.warn("Anyone who can connect to {endpoint} may publish and subscribe", endpoint=self._endpoint)
        deprioritize(port, self._low_priority)
        on_too_many_files(port, self._on_too_many_files)
        where = _address(port.getHost())
        self.log.info("{name} listens on {where} ({endpoint})", name=self._name, where=where, endpoint=self._endpoint)

    @property
    def url(self) -> str | None:
        """The URL by which a program at this machine reaches it; None if it serves no HTTP over TCP."""
        port = self._port
        if port is None or self._name != "http" or self._is_behind_proxy or not hasattr(port.getHost(), "port"):
            return None
        scheme = "https" if self._endpoint.startswith("ssl:") else "http"
        return local_url(scheme, port.getHost().host, port.getHost().port)

    def stopService(self) -> Any:
        """Close the port; the Deferred fires when it is closed."""
        super().stopService()
        port, self._port = self._port, None
        return None if port is None else port.stopListening()

    def renew_certificates(self) -> None:
        """Load the certificates again, for new connections. If they cannot be loaded, log the reason."""
        try:
            self._renewing.reload()
        except ValueError as error:
            self.log.error(
                "{name}: {reason}; new connections use the previous certificates", name=self._name, reason=str(error)
            )

    def reconfigure(self, dead_peer: int, *, is_authenticated: bool) -> None:
        """Change the timeout of dead peers, for new connections, and whether credentials count."""
        self._dead_peer, self._is_authenticated = dead_peer, is_authenticated
        if self._port is not None:
            prepare(self._port, dead_peer)

    def _admit_proxy(self, host: str | None) -> Slot | None:
        """Admit a connection until its PROXY protocol header arrives; then the address of its client counts."""
        try:
            slot: Slot = self._served.admission.admit_spare(None)
        except TooManyConnections as refusal:
            self._counters.count_refusal(refusal, f"{self._name} {host or 'unix'}")
            return None
        return slot

    def _on_invalid_proxy_header(self, host: str | None) -> None:
        self._counters.log_invalid_proxy_header(f"{self._name} {host or 'unix'}")

    def _on_too_many_files(self, host: str | None) -> None:
        refusal = TooManyConnections("open file limit reached")
        self._counters.count_refusal(refusal, f"{self._name} {plain_host(host) if host else 'unix'}")


def _address(address: Any) -> str:
    if hasattr(address, "port"):
        return f"{address.host}:{address.port}"
    name = getattr(address, "name", address)
    return os.fsdecode(name) if isinstance(name, bytes) else str(name)
