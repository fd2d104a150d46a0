"""Reload of TLS certificates without a restart: the listening port stays, new connections use the new certificate.

Twisted loads certificates once, when it parses the endpoint string. A reload parses the string again, with a reactor
that does not listen but records the factory. That factory then serves new connections.
"""

from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ServerFactory
from twisted.protocols.tls import TLSMemoryBIOFactory

from pushd.net.endpoint_errors import reason_of


class _TlsOverTcpReactor:
    """A proxy of the reactor on which `listenSSL` wraps the factory with TLS and calls `listenTCP`."""

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


class RenewingReactor(_TlsOverTcpReactor):
    """A proxy of the reactor for one endpoint string, which can reload the certificates of its TLS listener."""

    def __init__(self, endpoint: str, factory: Any, reactor: Any) -> None:
        """Keep the arguments; listening is up to the endpoint.

        :param endpoint: the endpoint string.
        :param factory: the protocol factory that serves the endpoint.
        """
        super().__init__(reactor)
        self._endpoint = endpoint
        self._factory = factory
        self._replaceable: _ReplaceableFactory | None = None

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """See `IReactorTCP`."""
        if isinstance(factory, TLSMemoryBIOFactory):
            factory = self._replaceable = _ReplaceableFactory(factory)
        return self._reactor.listenTCP(port, factory, backlog, interface)

    def reload(self) -> None:
        """Load the certificates again, for new connections. Does nothing if the endpoint has no TLS.

        :raises ValueError: when they cannot be loaded; nothing is changed then.
        """
        if self._replaceable is None:
            return
        recorder = _FactoryRecorder(self._reactor)
        try:
            endpoint: Any = serverFromString(recorder, self._endpoint)
            endpoint.listen(self._factory)
            # Twisted accepts a directory without a usable certificate, and would then refuse every connection.
            if (creator := getattr(endpoint, "connectionCreator", None)) and not _has_certificate(creator):
                raise ValueError("no key with a certificate for a host name was found")
        except Exception as error:  # OpenSSL, the file system and Twisted raise different exceptions
            raise ValueError(f"certificates of {self._endpoint!r} cannot be loaded ({reason_of(error)})") from error
        self._replaceable.replace(recorder.factory)


class _FactoryRecorder(_TlsOverTcpReactor):
    """A proxy of the reactor that records the factory and does not listen."""

    factory: Any = None

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """See `IReactorTCP`."""
        self.factory = factory


def _has_certificate(creator: Any) -> bool:
    """Return whether connections of an `IOpenSSLServerConnectionCreator` have a certificate."""
    return creator.serverConnectionForTLS(None).get_certificate() is not None


class _ReplaceableFactory(ServerFactory):
    """A factory that delegates to another one, which can be replaced."""

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

    def replace(self, factory: Any) -> None:
        """Delegate to another factory.

        It is started before the old one is stopped, so that an inner factory shared by both keeps running.
        """
        factory.doStart()
        self._factory.doStop()
        self._factory = factory
