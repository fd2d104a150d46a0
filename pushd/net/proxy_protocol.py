"""The PROXY protocol (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt), versions 1 and 2: a proxy sends the
address of its client before the bytes of the client.

Twisted's own ``haproxy:`` endpoint builds the protocol of a connection before it has read the header, so the protocol
knows only the address of the proxy. Here the protocol is built afterwards. Twisted parses the header.
"""

import ipaddress
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IReactorTime
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.protocols.haproxy._v1parser import V1Parser
from twisted.protocols.haproxy._v2parser import V2Parser
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from pushd.net.addresses import host_of, plain_host
from pushd.net.admission import Slot

_HEADER_SECONDS: Final = 5.0
"""Seconds within which the header must arrive: the proxy sends it at once."""
_MAX_V1: Final = 107
_MAX_V2: Final = 4096
"""The most bytes of a header. Those of version 2 may have extensions, which are ignored."""
_UNKNOWN_V1: Final = b"PROXY UNKNOWN"
"""A valid header that Twisted refuses."""
_FIXED_V2: Final = 16
"""Bytes of the fixed part of a version 2 header, the last two of which are the size of the rest."""


class InvalidHeader(Exception):
    """A connection does not begin with a PROXY protocol header."""


def split_header(data: bytes) -> tuple[IAddress | None, bytes] | None:
    """Parse a header.

    :return: the address of the client, None if the header has none, and the bytes after the header; None alone
        while the header is incomplete.
    :raises InvalidHeader: when it is no header.
    """
    if _may_begin(data, V2Parser.PREFIX):
        size = _FIXED_V2 + int.from_bytes(data[_FIXED_V2 - 2 : _FIXED_V2], "big") if len(data) >= _FIXED_V2 else _MAX_V2
        is_complete, is_long, parse = len(data) >= size, size > _MAX_V2, V2Parser.parse
        header, rest = data[:size], data[size:]
    elif _may_begin(data, V1Parser.PROXYSTR + b" "):
        header, end, rest = data.partition(V1Parser.NEWLINE)
        is_complete, is_long, parse = bool(end), len(header) > _MAX_V1, V1Parser.parse
    else:
        raise InvalidHeader
    if is_long:
        raise InvalidHeader
    if not is_complete:
        return None
    if header == _UNKNOWN_V1:
        return None, rest
    try:
        return _canonical(parse(header).source), rest
    except Exception as error:  # the parsers raise whatever invalid input causes
        raise InvalidHeader from error


def _may_begin(data: bytes, prefix: bytes) -> bool:
    return data[: len(prefix)] == prefix[: len(data)]


def _canonical(address: Any) -> IAddress | None:
    """Return an internet address in canonical form; None for others.

    :raises ValueError: when the host is not an IP address.
    """
    if not isinstance(address, IPv4Address | IPv6Address):
        return None
    parsed = ipaddress.ip_address(plain_host(str(ipaddress.ip_address(address.host))))
    if getattr(parsed, "scope_id", None):
        raise ValueError("a scope id has no meaning here")
    kind = IPv4Address if parsed.version == 4 else IPv6Address
    return kind("TCP", str(parsed), address.port)


@implementer(IHalfCloseableProtocol)
class _ProxiedConnection(ProtocolWrapper):
    """A connection of a proxy: the transport of the protocol that is built once the header is read."""

    wrappedProtocol: Any
    factory: "ProxyProtocolFactory"

    def __init__(self, factory: "ProxyProtocolFactory", slot: Slot) -> None:
        super().__init__(factory, _Nothing())  # type: ignore[arg-type]
        self.wrappedProtocol = None
        self._slot = slot
        self._header = b""
        self._client: IAddress | None = None
        self._timeout: Any = None

    def makeConnection(self, transport: Any) -> None:
        """Begin to wait for the header. The protocol, which does not exist yet, is connected later."""
        self.wrappedProtocol = _Nothing()
        super().makeConnection(transport)
        self.wrappedProtocol = None
        self._timeout = self.factory.clock.callLater(_HEADER_SECONDS, self._refuse)

    def dataReceived(self, data: bytes) -> None:
        """Pass bytes to the protocol, or read the header and build it."""
        if self.wrappedProtocol is not None:
            self.wrappedProtocol.dataReceived(data)
        elif self._timeout is not None:
            self._header += data
            try:
                found = split_header(self._header)
            except InvalidHeader:
                self._refuse()
                return
            if found is not None:
                self._header = b""
                self._begin(*found)

    def readConnectionLost(self) -> None:
        """Called when the proxy sends nothing more."""
        if IHalfCloseableProtocol.providedBy(self.wrappedProtocol):
            self.wrappedProtocol.readConnectionLost()
        else:
            self.loseConnection()

    def writeConnectionLost(self) -> None:
        """Called when the proxy does not read any more."""
        if IHalfCloseableProtocol.providedBy(self.wrappedProtocol):
            self.wrappedProtocol.writeConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Connection lost: release everything."""
        self._stop_waiting()
        if self.wrappedProtocol is None:
            self.wrappedProtocol = _Nothing()
        super().connectionLost(reason)

    def getPeer(self) -> Any:
        """Return the address of the client."""
        return self._client or self.transport.getPeer()  # type: ignore[union-attr]

    def _begin(self, client: IAddress | None, early: bytes) -> None:
        self._stop_waiting()
        self._client = client
        protocol = self.factory.wrappedFactory.buildProtocol(self.getPeer())
        if protocol is None:
            self.abortConnection()
            return
        self.wrappedProtocol = protocol
        protocol.makeConnection(self)
        if early:
            self.dataReceived(early)

    def _refuse(self) -> None:
        self._stop_waiting()
        self.factory.on_invalid(host_of(self.getPeer()))
        self.abortConnection()

    def _stop_waiting(self) -> None:
        """Release the slot for the time of waiting; the protocol gets its own."""
        timeout, self._timeout = self._timeout, None
        if timeout is not None and timeout.active():
            timeout.cancel()
        self._slot.release()


class _Nothing:
    """In place of a protocol."""

    def makeConnection(self, transport: Any) -> None:
        pass

    def connectionLost(self, reason: Failure) -> None:
        pass


class ProxyProtocolFactory(WrappingFactory):
    """Builds the connections of another factory for the clients of a proxy.

    :param clock: measures the time until the header arrives.
    :param admit: returns the slot of a connection until then; None when there is none.
    :param on_invalid: called with the host of a proxy that sends no header.
    """

    noisy = False
    wrappedFactory: Any

    def __init__(
        self,
        factory: ServerFactory,
        clock: IReactorTime,
        admit: Callable[[str | None], Slot | None],
        on_invalid: Callable[[str | None], None],
    ) -> None:
        super().__init__(factory)
        self.clock = clock
        self.on_invalid = on_invalid
        self._admit = admit

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Return a connection that waits for the header; None to close it at once."""
        slot = self._admit(host_of(addr))
        return None if slot is None else _ProxiedConnection(self, slot)
