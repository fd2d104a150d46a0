"""Keys of issuers that publish them as a JWK set (RFC 7517) at a URL of the configuration.

Each issuer has its own keys, so that a key of one never verifies a token of another. They are fetched again at an
interval and, when a token has an unknown key id, at most every `UNKNOWN_KEY_SECONDS`, however many such tokens arrive.
"""

import json
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from pushd.auth.document_fetch import fetch_document
from pushd.auth.verification_keys import KeySet, parse_key_set
from pushd.core.errors import Unavailable
from pushd.net.outgoing_requests import RequestFailed, Send

REFRESH_SECONDS = 600
"""How long keys are used before they are fetched again, so that a withdrawn key is not accepted for longer."""
UNKNOWN_KEY_SECONDS = 30
"""The least time between a fetch and another one that a token causes; also between attempts while they fail."""
FIRST_KEYS_SECONDS = 5
"""The time between attempts while there have not been any keys yet, as when the issuer starts together with pushd."""
LAST_GOOD_SECONDS = 24 * 3600
"""How long the last keys are used while they cannot be fetched."""
_LOG_SECONDS = 600
"""The least time between two log lines about the same failure of an issuer."""


class JwksKeys:
    """The keys of one issuer; a `KeySource`.

    :param issuer: the name of the issuer's section, for the log.
    :param fetch: returns the document; raises `RequestFailed`.
    :param clock: the reactor, or a clock of a test.
    :param on_withdrawn: called when a key is not in the set any more: then tokens that it verified must be verified
        again.
    """

    log = Logger()

    def __init__(
        self,
        issuer: str,
        fetch: Callable[[], Awaitable[bytes]],
        clock: IReactorTime,
        on_withdrawn: Callable[[], object] = lambda: None,
    ) -> None:
        self.failure = ""
        """Why the last fetch failed, for the health of the daemon; empty if it succeeded."""
        self._issuer = issuer
        self._fetch = fetch
        self._clock = clock
        self._on_withdrawn = on_withdrawn
        self._keys: KeySet | None = None
        self._fetched_at = 0.0
        self._attempted_at: float | None = None
        self._fetching: Deferred[None] | None = None
        self._waiters: list[Deferred[None]] = []
        self._timer: IDelayedCall | None = None
        self._is_running = False
        self._is_stopped = False
        self._log_again_at = 0.0

    def start(self) -> None:
        """Fetch the keys, and again at an interval. Does nothing when it has been started."""
        if not self._is_running:
            self._is_running, self._is_stopped = True, False
            self._refresh_by_timer()

    def stop(self) -> None:
        """Stop fetching."""
        self._is_running, self._is_stopped = False, True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._fetching is not None:
            self._fetching.cancel()

    async def key_set(self, key_id: str | None) -> KeySet:
        """Return the keys. They are fetched first if none has this id, unless the last attempt is recent.

        :raises Unavailable: when there are none.
        """
        keys = self._good_keys()
        if (keys is None or not keys.knows(key_id)) and self._may_fetch():
            await self.refresh()
            keys = self._good_keys()
        if keys is None:
            raise Unavailable("the keys of the token's issuer are not available at present")
        return keys

    def has_key(self, thumbprint: str) -> bool | None:
        """Return whether a key is among the present ones; None if there are none at present."""
        keys = self._good_keys()
        return None if keys is None else thumbprint in keys.thumbprints

    def refresh(self) -> Deferred[None]:
        """Fetch the keys, or join the fetch that is running. The Deferred fires after it, also if it failed."""
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        if self._fetching is None:
            self._attempted_at = self._clock.seconds()
            # Assigned before it runs: a document that is there at once ends the fetch at once.
            start: Deferred[None] = Deferred()
            self._fetching = start
            start.addCallback(lambda _: Deferred.fromCoroutine(self._fetch_keys()))
            start.addErrback(self._on_unexpected)
            start.addBoth(self._on_fetched)
            start.callback(None)
        return waiter

    def _good_keys(self) -> KeySet | None:
        """Return the keys, unless they are too old."""
        if self._keys is not None and self._clock.seconds() - self._fetched_at >= LAST_GOOD_SECONDS:
            self._keys = None
        return self._keys

    def _may_fetch(self) -> bool:
        is_recent = self._attempted_at is not None and self._clock.seconds() - self._attempted_at < UNKNOWN_KEY_SECONDS
        return self._fetching is not None or not is_recent

    async def _fetch_keys(self) -> None:
        try:
            keys = parse_key_set(json.loads(await self._fetch()))
        except RequestFailed as error:
            self._on_failure(str(error))
        except (ValueError, RecursionError) as error:
            self._on_failure(str(error) if type(error) is ValueError else "the response is not JSON")
        else:
            self._on_keys(keys)

    def _on_keys(self, keys: KeySet) -> None:
        unusable = self._keys.unusable if self._keys is not None else ()
        if keys.unusable != unusable:
            self.log.warn(
                "JWKS of issuer {issuer}: {count} unusable keys are ignored: {reasons}",
                issuer=self._issuer,
                count=len(keys.unusable),
                reasons="; ".join(keys.unusable[:5]),
            )
        if self._keys is None or self.failure:
            self.log.info("JWKS of issuer {issuer} fetched: {count} keys", issuer=self._issuer, count=len(keys))
        before, self._keys = self._keys, keys
        self._fetched_at = self._clock.seconds()
        self.failure = ""
        if before is None:
            self._on_withdrawn()  # keys that were used before a reload with another URL
        elif not before.thumbprints <= keys.thumbprints:
            self.log.info("JWKS of issuer {issuer}: a key was withdrawn", issuer=self._issuer)
            self._on_withdrawn()

    def _on_failure(self, reason: str) -> None:
        if self._is_stopped:
            return
        now = self._clock.seconds()
        if reason != self.failure or now >= self._log_again_at:
            self._log_again_at = now + _LOG_SECONDS
            self.log.warn(
                "JWKS of issuer {issuer} not fetched: {reason}; {consequence}",
                issuer=self._issuer,
                reason=reason,
                consequence=self._consequence(),
            )
        self.failure = reason

    def _consequence(self) -> str:
        if self._good_keys() is None:
            return "tokens of this issuer are refused as unavailable"
        left = LAST_GOOD_SECONDS - (self._clock.seconds() - self._fetched_at)
        return f"the last keys are used for another {left / 60:.0f} minutes"

    def _on_unexpected(self, failure: Any) -> None:
        if self._is_stopped:
            return
        self.log.failure("Fetching the JWKS of issuer {issuer} failed", failure, issuer=self._issuer)
        self.failure = "internal error"

    def _on_fetched(self, _: object) -> None:
        self._fetching = None
        waiters, self._waiters = self._waiters, []
        self._schedule()
        for waiter in waiters:
            waiter.callback(None)

    def _schedule(self) -> None:
        if not self._is_running:
            return
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        seconds = UNKNOWN_KEY_SECONDS if self.failure else REFRESH_SECONDS
        seconds = FIRST_KEYS_SECONDS if self._keys is None else seconds
        self._timer = self._clock.callLater(seconds, self._refresh_by_timer)

    def _refresh_by_timer(self) -> None:
        self._timer = None
        self.refresh()


class JwksSources(Service):
    """The JWK sets of all issuers. A reload keeps those whose issuer and URL have not changed.

    :param open_sending: returns what sends the requests of one issuer.
    :param clock: the reactor, or a clock of a test.
    :param on_withdrawn: called when a key may not be in its set any more: then tokens must be verified again.
    """

    def __init__(self, open_sending: Callable[[], Send], clock: Any, on_withdrawn: Callable[[], object]) -> None:
        self._open_sending = open_sending
        self._clock = clock
        self._on_withdrawn = on_withdrawn
        self._sources: dict[tuple[str, str], JwksKeys] = {}

    def open(self, issuer: str, url: str) -> JwksKeys:
        """Return the keys of an issuer at a URL, which are fetched once `retain` is called with them."""
        source = self._sources.get((issuer, url))
        if source is None:
            fetch = partial(fetch_document, self._open_sending(), url)
            source = JwksKeys(issuer, fetch, self._clock, self._on_withdrawn)
            self._sources[issuer, url] = source
        return source

    def retain(self, sources: Iterable[object]) -> None:
        """Start these sources and forget all others."""
        retained = list(map(id, sources))
        for key, source in list(self._sources.items()):
            if id(source) not in retained:
                del self._sources[key]
                source.stop()
            elif self.running:
                source.start()

    def failures(self) -> dict[str, str]:
        """Return why keys could not be fetched, by the name of the issuer."""
        return {issuer: source.failure for (issuer, _), source in self._sources.items() if source.failure}

    def startService(self) -> None:
        """Start to fetch keys."""
        super().startService()
        for source in self._sources.values():
            source.start()

    def stopService(self) -> None:
        """Stop fetching keys."""
        super().stopService()
        for source in self._sources.values():
            source.stop()
