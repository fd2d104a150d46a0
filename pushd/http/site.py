"""The site: admits connections, and has what they share: limits, deadlines, known hosts, date and access log."""

import time
from collections.abc import Callable, Iterable
from typing import Any, Final
from wsgiref.handlers import format_date_time

from twisted.internet.interfaces import IAddress, IProtocolNegotiationFactory, IReactorTime
from twisted.internet.protocol import ServerFactory
from twisted.web.resource import IResource
from zope.interface import implementer

from pushd.core.errors import Refusal, TooManyConnections
from pushd.http.access_log import AccessLog, AccessLogEntry
from pushd.http.connection import HttpConnection
from pushd.http.limits import HttpLimits
from pushd.http.refusals import UnknownHost
from pushd.http.request import Request
from pushd.metrics import Counters
from pushd.net.addresses import host_of
from pushd.net.admission import Admission, Slot
from pushd.net.keepalive import Deadlines
from pushd.net.listeners import is_on_loopback
from pushd.net.sockets import has_unread
from pushd.net.turn_slices import Slices

_LINGER_SECONDS: Final = 5.0
"""How long a client may take to read the last answer before the connection is aborted."""
_IDLE_SECONDS: Final = 60.0
"""How long a connection may wait for its next request, and a body for its next bytes."""
_SHARED: Final = b"Server: pushd\r\nX-Content-Type-Options: nosniff\r\n%bDate: %b\r\n"
_SHOWN_HOST: Final = 255
"""Bytes of an unknown host that its refusal shows: no host name is longer."""


@implementer(IProtocolNegotiationFactory)
class PushSite(ServerFactory):
    """The factory of HTTP connections."""

    noisy = False

    def __init__(
        self,
        root: IResource,
        clock: IReactorTime,
        limits: HttpLimits,
        admission: Admission,
        counters: Counters,
        is_proxy: Callable[[str | None], bool] = lambda address: False,
        open_cors: Callable[[Request], object] = lambda request: None,
        access: AccessLog | None = None,
        client_of: Callable[[Request], str] = lambda request: host_of(request.client) or "unix",
        serves_host: Callable[[bytes], bool] = lambda authority: True,
        embedding_headers: Callable[[], bytes] = lambda: b"",
    ) -> None:
        self.limits = limits
        self.counters = counters
        self.clock = clock
        self.slices = Slices(clock)
        """The reactor turns of connections whose requests take more than one time slice."""
        self.open_cors = open_cors
        self.on_head: Deadlines[HttpConnection] = Deadlines(
            clock, limits.handshake, HttpConnection.head_timed_out, _has_unread
        )
        self.on_body: Deadlines[HttpConnection] = Deadlines(
            clock, limits.upload, HttpConnection.body_timed_out, _has_unread
        )
        self.on_idle: Deadlines[HttpConnection] = Deadlines(
            clock, _IDLE_SECONDS, HttpConnection.idle_timed_out, _has_unread
        )
        self.on_close: Deadlines[HttpConnection] = Deadlines(clock, _LINGER_SECONDS, _abort)
        self.root = root
        self.is_stopping = False
        """Whether connections are closed after their next answer, which announces it."""
        self.admission = admission
        self._is_proxy = is_proxy
        self._access = access or AccessLog()
        self._client_of = client_of
        self._serves_host = serves_host
        self._embedding_headers = embedding_headers
        self.known_host: bytes | None = None
        """The known host that was judged last: most requests name it again."""
        self._second = 0
        self._date = b""

    def reconfigure(self, limits: HttpLimits) -> None:
        """Change the limits of requests that are received from now on."""
        self.limits = limits
        self.known_host = None
        self.on_head.reconfigure(limits.handshake)
        self.on_body.reconfigure(limits.upload)

    def begin_shutdown(self) -> None:
        """Close each connection after its next answer."""
        self.is_stopping = True

    def close_idle(self) -> None:
        """Close the connections that clients keep for another request, and those whose last answer is sent."""
        for connection in (*self.on_idle.expected, *self.on_close.expected):
            connection.close_if_idle()

    def startFactory(self) -> None:
        """Start to check the deadlines."""
        for deadline in self._deadlines():
            deadline.start()

    def stopFactory(self) -> None:
        """Stop checking the deadlines."""
        for deadline in self._deadlines():
            deadline.stop()

    def acceptableProtocols(self) -> list[bytes]:
        """Return the protocols for ALPN (RFC 7301). Without any, Twisted aborts connections of clients that use it."""
        return [b"http/1.1"]

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Admit a connection, for one short request only if all regular slots are taken; None closes it at once."""
        host = host_of(addr)
        try:
            slot = self.admission.admit_spare(host, count_address=not self._is_proxy(host))
        except TooManyConnections as refusal:
            self.counters.count_refusal(refusal, f"http {host}")
            return None
        return HttpConnection(self, addr, slot)

    def resume(self, transport: Any, slot: Slot, early: bytes) -> None:
        """Take a connection back from another protocol; see `DetachedConnection`."""
        HttpConnection(self, transport.getPeer(), slot).resume(transport, slot, early)

    def start_log_entry(self, request: Request, method: bytes, path: bytes) -> None:
        """Start an entry of the access log, if the log picks the request.

        :param method: as it is to be logged.
        :param path: as it is to be logged, without the query.
        """
        if self._access.picks():
            request.log_entry = AccessLogEntry(self._access, f"http {self._client_of(request)}", method, path)

    def judge_hosts(self, hosts: Iterable[bytes], transport: Any) -> Refusal | None:
        """Return why a connection does not serve a request for some hosts; None if it does. Only loopback listeners are
        limited to known hosts.
        """
        for host in hosts:
            if self._serves_host(host):
                self.known_host = host
            elif is_on_loopback(transport):
                shown = host[:_SHOWN_HOST].decode("ascii", "backslashreplace")
                return UnknownHost(
                    f"a loopback listener does not serve the host {shown!r}: accepted are localhost, *.localhost, "
                    "IP addresses and the names in http.hosts"
                )
        return None

    def date(self) -> bytes:
        """Return the header lines that all answers of this second share."""
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._date = _SHARED % (self._embedding_headers(), format_date_time(now).encode("ascii"))
        return self._date

    def _deadlines(self) -> tuple[Deadlines[HttpConnection], ...]:
        return self.on_head, self.on_body, self.on_idle, self.on_close


def _has_unread(connection: HttpConnection) -> bool:
    return has_unread(connection.transport)


def _abort(connection: HttpConnection) -> None:
    connection.transport.abortConnection()
