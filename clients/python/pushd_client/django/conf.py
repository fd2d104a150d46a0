"""The settings: a dictionary ``PUSHD`` in the settings of the project.

A secret is a string, or a `pathlib.Path` of the file that contains it.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from math import inf
from time import monotonic
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from ..errors import ConnectionFailed, TemporarilyRefused
from ..key_material import Secret, read_secret
from ..source_urls import SourceUrls
from ..sync import Pushd

NAME: Final = "PUSHD"
DEFAULTS: Final[Mapping[str, Any]] = {
    "URL": "http://127.0.0.1:8080",
    "PUBLIC_URL": None,
    "TOKEN": None,
    "URL_KEY": None,
    "EXP": 300,
    "UNTIL": 8 * 3600,
    "HOOK_SECRET": None,
    "CALLBACK_SECRET": None,
    "TIMEOUT": 3.0,
}
"""``URL``: the daemon, as this application reaches it; ``PUBLIC_URL``: as browsers reach it, by default the same.
``TOKEN``: with which the application publishes. ``URL_KEY``: id and secret of the key that signs URLs. ``EXP``,
``UNTIL``: for how many seconds after rendering a page may connect and reconnect. ``HOOK_SECRET``,
``CALLBACK_SECRET``: a secret or a list of them. ``TIMEOUT``: the seconds that a request may wait for the daemon."""
CURSOR_SECONDS: Final = 1.0
"""The most that rendering a page waits for the daemon."""
QUICK_SECONDS: Final = 0.25
AWAY_SECONDS: Final = 5.0
"""For so long after a failure a message or a page waits at most `QUICK_SECONDS`."""


class PushdSettings:
    """The settings, with the clients that use them.

    :param values: those of `DEFAULTS`.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self._away_until = -inf

    @property
    def token(self) -> Secret | None:
        """The token of the application."""
        token: Secret | None = self.values["TOKEN"]
        return token

    @cached_property
    def sources(self) -> SourceUrls:
        """What makes the URLs for pages."""
        exp, until = (timedelta(seconds=self.values[name]) for name in ("EXP", "UNTIL"))
        public_url = (self.values["PUBLIC_URL"] or self.values["URL"]).rstrip("/")
        return SourceUrls(public_url, self.values["URL_KEY"], exp, until)

    @cached_property
    def client(self) -> Pushd:
        """The client that publishes; all threads share it."""
        return self._client(self.values["TIMEOUT"])

    @cached_property
    def cursor_client(self) -> Pushd:
        """The client that asks for the cursor while a page is rendered."""
        return self._client(min(CURSOR_SECONDS, self.values["TIMEOUT"]))

    @cached_property
    def quick_client(self) -> Pushd:
        """The client during an outage."""
        return self._client(min(QUICK_SECONDS, self.values["TIMEOUT"]))

    @contextmanager
    def reaching(self, client: Pushd) -> Iterator[Pushd]:
        """Yield a client; for some seconds after a failure, one that fails fast.

        So requests do not wait for a daemon that is away one message after the other.
        """
        is_away = monotonic() < self._away_until
        try:
            yield self.quick_client if is_away else client
        except (ConnectionFailed, TemporarilyRefused):
            self._away_until = monotonic() + AWAY_SECONDS
            raise
        self._away_until = -inf

    def secrets(self, name: str) -> list[Secret]:
        """Return the secrets of a setting.

        :raises ImproperlyConfigured: when it is not set.
        """
        value: Secret | Iterable[Secret] | None = self.values[name]
        if not value:
            raise ImproperlyConfigured(f'{NAME}["{name}"] must be set: the secret with which pushd signs')
        return list(value) if isinstance(value, (list, tuple)) else [value]  # type: ignore[list-item]

    def close(self) -> None:
        """Close the clients that were used."""
        for name in ("client", "cursor_client", "quick_client"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()

    def _client(self, seconds: float) -> Pushd:
        token = self.token
        read = None if token is None else lambda: read_secret(token).decode("utf-8").strip()
        return Pushd(self.values["URL"], read, timeout=seconds, retry_seconds=seconds)


def load() -> PushdSettings:
    """Return the present settings, with their defaults."""
    return PushdSettings({**DEFAULTS, **getattr(settings, NAME, {})})
