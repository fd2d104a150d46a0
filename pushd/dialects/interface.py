"""The contract between the daemon and a dialect. docs/adding-a-dialect.md is the guide.

A dialect translates a protocol into channels, cursors, grants and presence of the hub, and keeps nothing that the hub
keeps. `pushd/service/dialects.py` builds those that are enabled, adds their routes to the others, closes their
transports on shutdown, and passes on each reload.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource

from pushd.core.peer import Peer
from pushd.http.resource import HttpContext
from pushd.hub.hub import Hub
from pushd.net.keepalive import Wheel
from pushd.transports.interface import Transport
from pushd.wire.nul_lines import NulLines


class DialectContext(NamedTuple):
    """What the daemon provides to every dialect."""

    http: HttpContext
    hub: Hub
    clock: IReactorTime
    stream: Wheel
    """The keepalive of streams."""
    ping: Wheel
    """The keepalive of WebSockets."""
    data_dir: str
    """The directory of the history on disk, if that survives a restart; else empty."""
    renew: Callable[[Peer], None]
    """Sets the grant of a peer whose credential was verified earlier; raises a refusal when it is not accepted now."""
    nul_lines: NulLines
    """What line connections accept besides lines that end with LF."""


class Dialect(Protocol):
    """A dialect that is enabled."""

    @property
    def routes(self) -> Mapping[bytes, Resource]:
        """The resource of each path, by its first segment."""

    @property
    def transports(self) -> Sequence[Transport]:
        """What has live connections, which are closed on shutdown."""

    def stop(self) -> None:
        """Cancel all timers. The transports are closed already."""
