"""The service of authentication: the verifiers that the settings describe, and what a reload changes for open peers."""

import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pushd.audit.log import AuditLog
from pushd.auth.authenticator import Authenticator, Verifier
from pushd.auth.callback import Callback, make_pool
from pushd.auth.callback_client import CallbackEndpoint, CallbackTools
from pushd.auth.claims import LEEWAY
from pushd.auth.jwks import JwksSources
from pushd.auth.jwt import FixedKeys, Issuer, JwtVerifier
from pushd.auth.signed_urls import URL_KEY, SignedUrls, UrlMemory
from pushd.auth.static_tokens import StaticTokens
from pushd.auth.verification_keys import KeySet
from pushd.config.auth import AuthSettings, build_url_keys
from pushd.config.issuers import OpenJwks, build_issuers
from pushd.config.mistakes import ConfigError, InvalidSettings, Mistake, Mistakes
from pushd.config.table import Config
from pushd.core.answered_grant import UNASKED, AnonymousGrant, NarrowedGrant
from pushd.core.errors import Kicked, TokenRevoked
from pushd.core.grant import FULL, Grant
from pushd.core.identity import STATIC, Identity
from pushd.core.peer import Peer
from pushd.core.revocations import Revocation, Revocations
from pushd.hub.hub import Hub
from pushd.hub.revocations import DEFAULT_LIFETIME, RevocationControl
from pushd.metrics import Counters
from pushd.net.outgoing_requests import QuietConnectionPool, Send, checked_sending
from pushd.net.unix_clock import UnixClock

_NAMED: Final = 10
"""The most static tokens that are named in one log line."""
_SETBACK_SECONDS: Final = 10.0
"""How far the clock may be set back before the health of the daemon reports it: as far as the leeway of tokens."""


class Credentials(NamedTuple):
    """What the files of the settings contain."""

    tokens: StaticTokens
    issuers: tuple[Issuer, ...]
    url_keys: Mapping[str, bytes]
    """The secrets of signed URLs, by the ids of their keys."""
    callback: CallbackEndpoint | None
    """Where the application is asked; None if it is not."""


async def _renew_none(renew: Callable[[Peer], None]) -> None:
    """Renew nothing: there are no connections yet."""


def read_credentials(settings: AuthSettings, open_jwks: OpenJwks) -> Credentials:
    """Read the tokens file, the keys of the issuers, those of signed URLs, and the secrets of the callback.

    :raises InvalidSettings: with each file that cannot be read or is invalid.
    """
    mistakes = Mistakes()
    nothing = Credentials(StaticTokens({}), (), {}, None)
    tokens, issuers, url_keys, callback = nothing
    with mistakes.collected(("auth", "tokens_file")):
        tokens = StaticTokens.from_file(Path(settings.tokens_file)) if settings.tokens_file else tokens
    with mistakes.collected():
        issuers = build_issuers(settings.issuers, open_jwks)
    with mistakes.collected():
        url_keys = build_url_keys(settings.url_keys)
    with mistakes.collected():
        callback = None if settings.callback is None else settings.callback.build()
    mistakes.check()
    return Credentials(tokens, issuers, url_keys, callback)


def check_credentials(config: Config) -> Iterator[Mistake]:
    """Check the files of tokens, keys and secrets. Nothing is fetched."""
    try:
        read_credentials(config.auth, lambda name, url: FixedKeys(KeySet([])))
    except InvalidSettings as error:
        yield from error.mistakes


def open_sending(reactor: Any) -> Send:
    """Return what sends the requests of one issuer, each over its own connection to an address that was checked."""
    return checked_sending(reactor, QuietConnectionPool(reactor, persistent=False))


def make_callback(reactor: Any, counters: Counters) -> Callback:
    """Return the callback, which asks nothing until it is configured."""
    pool = make_pool(reactor)
    tools = CallbackTools(checked_sending(reactor, pool), reactor, time.time, counters)
    return Callback(tools, pool)


class AuthenticationService(MultiService):
    """Authentication as the settings describe it, and the fetches of keys.

    :param reactor: for connections to issuers.
    :param memory: remembers the signed URLs that were used.
    :param unix_time: returns unix seconds, and never goes back.
    :raises ConfigError: when a file of the settings cannot be read or is invalid.
    """

    log = Logger()

    def __init__(
        self,
        settings: AuthSettings,
        reactor: Any,
        memory: UrlMemory,
        unix_time: UnixClock | None = None,
        counters: Counters | None = None,
    ) -> None:
        super().__init__()
        self._unix_time = unix_time = unix_time or UnixClock()
        self.authenticator = Authenticator((), unix_time, FULL)
        self.jwt = JwtVerifier((), unix_time)
        self._jwks = JwksSources(partial(open_sending, reactor), reactor, self._on_withdrawn)
        self._jwks.setServiceParent(self)
        self.callback = make_callback(reactor, counters or Counters())
        self.callback.setServiceParent(self)
        self.tokens = StaticTokens({})
        self._revocations: RevocationControl | None = None
        self._audit: AuditLog | None = None
        self._renew_all: Callable[[Callable[[Peer], None]], Coroutine[Any, Any, None]] = _renew_none
        self._changed_issuers: frozenset[str] = frozenset()
        """The names of issuers whose rules a reload has changed, until their connections are closed."""
        self.signed_urls = SignedUrls({}, memory, unix_time)
        try:
            credentials = read_credentials(settings, self._jwks.open)
        except ValueError as error:
            raise ConfigError(*str(error).splitlines()) from error
        self._log_count("Authentication is on", settings, credentials)
        self._apply(settings, credentials)

    def use(self, hub: Hub) -> None:
        """Check credentials for revocations, record changes of static tokens, and ask the application, from now on. The
        connections of the hub are those that `renew_connections` renews.
        """
        hub.callbacks.application = self.callback
        self._audit, self._renew_all = hub.audit, hub.renew_grants
        revocations = hub.revocations
        self._revocations = self.authenticator.revocations = revocations
        revocations.on_kept = self._warn_of_static_tokens
        revocations.on_changed = self._forget_answers
        self._set_times()

    def failures(self) -> list[str]:
        """Return what does not work at present, for the health of the daemon."""
        failures = [
            f"the keys of issuer {issuer} cannot be fetched: {why}"
            for issuer, why in sorted(self._jwks.failures().items())
        ]
        if self.callback.failure:
            failures.append(f"the last request of the callback to the application failed: {self.callback.failure}")
        if not self.authenticator.is_enabled:
            return failures
        if self._revocations is not None and self._revocations.is_blind:
            failures.append("revocations of tokens are not known, since the backend is not reached: tokens are refused")
        if (setback := self._unix_time.setback) > _SETBACK_SECONDS:
            failures.append(f"the clock was set back by {setback:.0f} s: until a restart, tokens expire that early")
        return failures

    def reconfigure(self, settings: AuthSettings) -> None:
        """Apply settings, and read their files again; if one cannot be read, the previous tokens and keys are kept."""
        try:
            credentials = read_credentials(settings, self._jwks.open)
        except ValueError as error:
            reason = "; ".join(str(error).splitlines())
            self.log.error("Tokens and keys not reloaded, the previous ones stay in use: {reason}", reason=reason)
            issuers = tuple(self.jwt.issuers)
            credentials = Credentials(self.tokens, issuers, self.signed_urls.keys, self.callback.endpoint)
        else:
            self._log_count("Tokens and keys read again", settings, credentials)
            self._record_changes(credentials.tokens)
        self._apply(settings, credentials)
        self._set_times()

    def renew(self, peer: Peer) -> None:
        """Renew the grant of the peer of an open connection, after its credential was changed or removed.

        :raises TokenRevoked: when its credential is not accepted any more.
        :raises Kicked: when it must be verified again, since the rules for it have changed.
        """
        identity = peer.identity
        if identity is None:
            peer.grant = self._renewed_anonymous(peer.grant)
        elif identity.authority == STATIC:
            self._renew_token(peer, identity)
        elif identity.issuer.startswith(URL_KEY):
            if not self.signed_urls.has_key(identity):
                raise TokenRevoked("key of the signed URL has been removed")
        else:
            self._check_issuer(identity)

    async def renew_connections(self) -> None:
        """Renew the grants of the peers of all open connections, and close those of credentials that are not accepted
        any more.
        """
        await self._renew_all(self.renew)
        self._changed_issuers = frozenset()

    def _check_issuer(self, identity: Identity) -> None:
        """Check the issuer of the JSON Web Token of an open connection. The token itself is not kept."""
        issuer = next((each for each in self.jwt.issuers if each.name == identity.issuer), None)
        if issuer is None:
            raise TokenRevoked("issuer of the token has been removed")
        if issuer.keys.has_key(identity.key) is False:
            raise TokenRevoked("key of the token has been removed")
        if issuer.name in self._changed_issuers:
            raise Kicked("the rules for tokens of this issuer have changed")

    def _on_withdrawn(self) -> None:
        """Called when a key of an issuer may have been withdrawn."""
        self.authenticator.forget()
        renewing = Deferred.fromCoroutine(self.renew_connections())
        renewing.addErrback(lambda failure: self.log.failure("Checking open connections failed", failure))

    def _log_count(self, what: str, settings: AuthSettings, credentials: Credentials) -> None:
        if settings.is_enabled:
            self.log.info(
                "{what}; static tokens: {tokens}, issuers: {issuers}",
                what=what,
                tokens=len(credentials.tokens),
                issuers=len(credentials.issuers),
            )

    def _record_changes(self, tokens: StaticTokens) -> None:
        if self._audit is not None:
            for event, identity in tokens.changes_since(self.tokens):
                self._audit.token_changed(event, identity)

    def _renewed_anonymous(self, grant: Grant) -> Grant:
        """Return the grant of an open connection without a credential. What the application has answered is kept."""
        if self.callback.asks_connect and (grant is UNASKED or isinstance(grant, AnonymousGrant)):
            return grant
        if self.callback.asks_subscribe and isinstance(grant, AnonymousGrant):
            return replace(grant, answer=self.authenticator.anonymous)
        return self.authenticator.anonymous

    def _renew_token(self, peer: Peer, identity: Identity) -> None:
        current = self.tokens.current(identity)
        if current is None or current.subject != identity.subject:
            raise TokenRevoked("token has been removed")
        answer = peer.grant.answer if isinstance(peer.grant, NarrowedGrant) else None
        peer.grant = current.grant if answer is None else NarrowedGrant.of(current.grant, answer)
        peer.identity = current

    def _warn_of_static_tokens(self, revocation: Revocation) -> None:
        """Warn of static tokens, which are accepted again when their revocation has expired."""
        known = Revocations()
        known.add((revocation,), 0)
        names = self.tokens.names_of(lambda identity: known.covering(identity) is not None)
        if names:
            self.log.warn(
                "Static tokens {names} are revoked until unix time {until} only: remove them from the tokens file",
                names=", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else ""),
                until=revocation.until,
            )

    def _forget_answers(self, revocations: Sequence[Revocation]) -> None:
        """Forget what the application has answered about revoked subjects: their next tokens are asked about anew."""
        if subjects := {revocation.value for revocation in revocations if revocation.kind == "sub"}:
            self.callback.forget(subjects)

    def _set_times(self) -> None:
        """Keep revocations for as long as tokens can be valid, and set how long they may be unknown."""
        lifetimes = [issuer.rules.max_lifetime + LEEWAY for issuer in self.jwt.issuers]
        if self._revocations is not None:
            self._revocations.reconfigure(max(lifetimes, default=DEFAULT_LIFETIME), self._blind_seconds)

    def _apply(self, settings: AuthSettings, credentials: Credentials) -> None:
        self.tokens = credentials.tokens
        self._blind_seconds = settings.blind_seconds
        before = {issuer.name: issuer for issuer in self.jwt.issuers}
        changed = (each.name for each in credentials.issuers if each.differs_from(before.get(each.name, each)))
        self._changed_issuers |= frozenset(changed)
        self.jwt.reconfigure(credentials.issuers)
        self.signed_urls.keys = credentials.url_keys
        self.callback.reconfigure(credentials.callback)
        self._jwks.retain(issuer.keys for issuer in credentials.issuers)
        verifiers: tuple[Verifier, ...] = (self.tokens, self.jwt)
        self.authenticator.reconfigure(verifiers, settings.anonymous if settings.is_enabled else FULL)
