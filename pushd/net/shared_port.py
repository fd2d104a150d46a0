"""TCP ports that several processes share with SO_REUSEPORT: Linux hands each new connection to one of them (socket(7)).

Endpoint strings have no such option, but endpoints listen through the reactor that is passed to them. This one adds the
option. A listener with TLS listens through `RenewingReactor`, which calls `listenTCP` too.
"""

from typing import Any

from twisted.internet.tcp import makeBinding


class SharingReactor:
    """A proxy of the reactor whose TCP ports are shared."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """See `IReactorTCP`."""
        binding = makeBinding(interface, port, reuseAddress=True, reusePort=True)
        return self._reactor.listenTCP(binding, factory, backlog, interface)
