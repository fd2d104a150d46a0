"""Who hears a channel, by technique, asked for now and then."""

import time
from collections import OrderedDict
from collections.abc import Callable

from pushd.ctl.api_client import Web, in_path
from pushd.ctl.errors import Failure

_FRESH_SECONDS = 1.0
_PAUSE_SECONDS = 0.05
"""Between two questions, so that a busy daemon is not asked for each message."""
_REMEMBERED = 1000


class Crowds:
    """Remembers who hears which channel."""

    def __init__(self, web: Web, seconds: Callable[[], float] = time.monotonic) -> None:
        self._web = web
        self._seconds = seconds
        self._known: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._asked = -_PAUSE_SECONDS

    def of(self, channel: str) -> str:
        """Give the subscribers by technique, ``sse=3 tcp=1``, a second old at most unless there are very many channels.
        A dash where it is not known.
        """
        now = self._seconds()
        asked, crowd = self._known.get(channel, (-_FRESH_SECONDS, "-"))
        if now - asked < _FRESH_SECONDS or now - self._asked < _PAUSE_SECONDS:
            return crowd
        self._asked = now
        try:
            transports = self._web.ask("GET", f"/pub/{in_path(channel)}")["transports"]
            crowd = " ".join(f"{name}={count}" for name, count in transports.items()) or "-"
        except Failure:
            crowd = "-"
        self._known[channel] = now, crowd
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return crowd
