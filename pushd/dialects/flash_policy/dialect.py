"""The dialect of plug-in sockets: it sets what line connections accept, and has no address."""

from collections.abc import Mapping, Sequence

from twisted.web.resource import Resource

from pushd.dialects.interface import DialectContext
from pushd.transports.interface import Transport
from pushd.wire.nul_lines import NulLines

_POLICY = b'<?xml version="1.0"?><cross-domain-policy>%b</cross-domain-policy>'
_ALLOW = '<allow-access-from domain="%s" to-ports="%s"/>'


def policy_file(domains: Sequence[str], ports: Sequence[str]) -> bytes:
    """Return the policy file: only these domains may connect, and only to these ports.

    :param domains, ports: checked, so that they need no escape.
    """
    entries = [_ALLOW % (domain, ",".join(ports)) for domain in domains] if ports else []
    return _POLICY % "".join(entries).encode("ascii")


class FlashPolicy:
    """Answers policy requests on line connections."""

    routes: Mapping[bytes, Resource] = {}
    transports: Sequence[Transport] = ()

    def __init__(self, context: DialectContext, domains: Sequence[str], ports: Sequence[str]) -> None:
        self._nul_lines: NulLines = context.nul_lines
        self.reconfigure(domains, ports)

    def reconfigure(self, domains: Sequence[str], ports: Sequence[str]) -> None:
        """Apply other settings, to all requests from now on."""
        self._nul_lines.policy = policy_file(domains, ports)

    def stop(self) -> None:
        """See `Dialect`; there are no timers."""
