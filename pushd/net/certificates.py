"""Certificates that are read again while their listener stays, so that a renewed one needs no restart.

Twisted reads them once, when it reads the endpoint string. So the string is read again, by a reactor that does not
listen, and what it would have listened with serves those who connect from then on.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ServerFactory
from twisted.protocols.tls import TLSMemoryBIOFactory


class _Wrapping:
    """The reactor, but that TLS is wrapped around a factory before it is asked to listen by TCP."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """See `IReactorTCP`."""
        raise NotImplementedError

    def listenSSL(self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = "") -> Any:
        """See `IReactorSSL`."""
        wrapped = TLSMemoryBIOFactory(contextFactory, False, factory, self._reactor)
        return self.listenTCP(port, wrapped, backlog, interface)


class RenewingReactor(_Wrapping):
    """The reactor for one endpoint string: what listens there by TLS can have its certificates read again."""

    def __init__(self, endpoint: str, factory: Any, reactor: Any) -> None:
        """`factory`: what the endpoint listens with."""
        super().__init__(reactor)
        self._endpoint = endpoint
        self._factory = factory
        self._switch: _Switch | None = None

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """See `IReactorTCP`."""
        if isinstance(factory, TLSMemoryBIOFactory):
            factory = self._switch = _Switch(factory)
        return self._reactor.listenTCP(port, factory, backlog, interface)

    def read_again(self) -> Callable[[], None] | None:
        """Read the certificates; give what lets those have them who connect from then on. None where there are none.

        :raises ValueError: they can not be read; the text is a phrase.
        """
        if self._switch is None:
            return None
        reading = _Reading(self._reactor)
        try:
            endpoint: Any = serverFromString(reading, self._endpoint)
            endpoint.listen(self._factory)
            # Twisted takes a folder with nothing of use in it, and would refuse everybody.
            if (creator := getattr(endpoint, "connectionCreator", None)) and not _has_certificate(creator):
                raise ValueError("there is no key with a certificate for a name")
        except Exception as error:  # OpenSSL, the file system and Twisted each fail in their own way
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"the certificates of {self._endpoint!r} can not be read ({reason})") from error
        switch, renewed = self._switch, reading.factory
        return lambda: switch.turn(renewed)


class _Reading(_Wrapping):
    """Keeps what it is to listen with, and does not listen."""

    factory: Any = None

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """See `IReactorTCP`."""
        self.factory = factory


def _has_certificate(creator: Any) -> bool:
    """Tell whether connections of an `IOpenSSLServerConnectionCreator` would have a certificate to show."""
    return creator.serverConnectionForTLS(None).get_certificate() is not None


class _Switch(ServerFactory):
    """A factory that hands each connection to another one, which can be exchanged."""

    noisy = False

    def __init__(self, factory: Any) -> None:
        self._factory = factory

    def startFactory(self) -> None:
        """See `IProtocolFactory`."""
        self._factory.doStart()

    def stopFactory(self) -> None:
        """See `IProtocolFactory`."""
        self._factory.doStop()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """See `IProtocolFactory`."""
        return self._factory.buildProtocol(addr)

    def turn(self, factory: Any) -> None:
        """Hand over to another factory from now on. What both are made around is started before it is stopped."""
        factory.doStart()
        self._factory.doStop()
        self._factory = factory
