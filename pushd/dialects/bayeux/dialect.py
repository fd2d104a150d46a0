"""Bayeux as a dialect: its routes, its sessions and their settings."""

from collections.abc import Mapping, Sequence

from twisted.web.resource import Resource

from pushd.dialects.bayeux.settings import Timing
from pushd.dialects.interface import DialectContext
from pushd.http.resource import NotFoundResource
from pushd.transports.interface import Transport


class Bayeux:
    """Bayeux 1.0 under one or more paths.

    :param paths: their first segments.
    """

    def __init__(self, context: DialectContext, paths: Sequence[bytes], timing: Timing) -> None:
        self._timing = timing
        self.routes: Mapping[bytes, Resource] = {path: NotFoundResource(context.http) for path in paths}
        self.transports: Sequence[Transport] = ()

    def reconfigure(self, timing: Timing) -> None:
        """Apply other times, to what begins from now on."""
        self._timing = timing

    def stop(self) -> None:
        """Cancel all timers."""
