"""Signed URLs: who has one may send that one request, until a time, without any other credential."""

import hmac
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from pushd.auth.token_checks import Check, CheckFailed, Verdict
from pushd.auth.url_signature import Parameters, canonical_form, signature_of, signed_method
from pushd.core.errors import BadParameter, Refusal
from pushd.core.grant import Action, Grant
from pushd.core.identity import MAX_SUBJECT_BYTES, Identity
from pushd.core.names import PRESENCE, is_pattern, parse_topics

URL_KEY: Final = "url:"
"""The prefix of the issuer of a signed URL; the id of its key follows."""
RECONNECT_SECONDS: Final = 3600
"""How long after ``exp`` a URL may be used to reconnect if it has no ``until``."""
_TIME: Final = re.compile(rb"[0-9]{1,10}")
"""Unix seconds up to the year 2286."""
_MAX_TOPICS: Final = 1000
_DIGEST_BYTES: Final = 16


class UrlMemory(Protocol):
    """Where the URLs that were used are remembered, for all nodes: the backend."""

    async def remember_url(self, digest: bytes, until: float) -> None:
        """Remember that a URL was used.

        :raises Refusal: when that is not possible now.
        """

    async def is_url_remembered(self, digest: bytes) -> bool:
        """Return whether a URL was used.

        :raises Refusal: when that cannot be found out now.
        """


class SignedUrl(NamedTuple):
    """A URL whose signature is valid."""

    identity: Identity
    digest: bytes
    """Tells it from other URLs; the URL cannot be found from it."""
    expires: int
    """When its first use is not accepted any more, in unix seconds."""
    until: int
    """When no use is accepted any more, in unix seconds."""


class SignedUrls:
    """Authenticates requests for signed URLs. A reload reconfigures it.

    :param memory: remembers the first use of each URL.
    :param time: returns unix seconds.
    """

    def __init__(self, keys: Mapping[str, bytes], memory: UrlMemory, time: Callable[[], float]) -> None:
        self.keys = keys
        """The secrets, by the ids of keys. If there is none, signed URLs are not accepted."""
        self._memory = memory
        self._time = time

    async def authenticate(self, method: bytes, path: bytes, parameters: Parameters) -> Identity:
        """Return the identity of a request for a signed URL, which is granted this request and nothing else.

        :param path: the decoded path.
        :raises BadParameter: when a parameter of the signature is given more than once.
        :raises TokenInvalid: when the signature is not valid for the request.
        :raises TokenExpired: when it is valid, and the URL has expired.
        :raises Refusal: when the backend cannot tell now whether the URL was used before it expired.
        """
        keys = self.keys
        try:
            url = verify(keys, method, path, parameters)
            await self._check_times(url)
            if url.until > url.expires > self._time():
                # If it cannot be remembered, it is good nevertheless; only a reconnect after `exp` will be refused.
                with suppress(Refusal):
                    await self._memory.remember_url(url.digest, url.until)
            if self.keys is not keys:  # a reload may have removed the key meanwhile
                verify(self.keys, method, path, parameters)
        except CheckFailed as failure:
            raise failure.refusal() from None
        return url.identity

    async def examine(self, method: bytes, path: bytes, parameters: Parameters) -> Verdict:
        """Return the verdict on a request for a signed URL, with the check that decided. It does not count as a use."""
        issuer = f"{URL_KEY}{parameters.get(b'kid', [b''])[0].decode('latin-1')}"
        try:
            url = verify(self.keys, method, path, parameters)
            await self._check_times(url)
        except CheckFailed as failure:
            known = issuer if failure.check not in (Check.METHOD, Check.KEY) else ""
            return Verdict(None, failure.refusal(), failure.check, failure.claim, known)
        except BadParameter as refusal:
            return Verdict(None, refusal, Check.PARAMETERS)
        except Refusal as refusal:
            return Verdict(None, refusal, Check.FIRST_USE, "exp", issuer)
        return Verdict(url.identity, issuer=issuer, claim_of=lambda key: "path")

    def has_key(self, identity: Identity) -> bool:
        """Return whether the key that has verified a URL is still one of the keys, with the same secret."""
        secret = self.keys.get(identity.issuer.removeprefix(URL_KEY))
        return secret is not None and _fingerprint(secret) == identity.key

    async def _check_times(self, url: SignedUrl) -> None:
        """Check that a URL may be used now.

        :raises CheckFailed: when it may not.
        :raises Refusal: when the backend cannot tell now whether it was used before.
        """
        now = self._time()
        if now < url.expires:
            return
        check, claim = (Check.EXPIRY, "until") if now >= url.until else (Check.FIRST_USE, "exp")
        if check is Check.EXPIRY or not await self._memory.is_url_remembered(url.digest):
            text = "signed URL has expired; a client that used it before exp may reconnect before until"
            raise CheckFailed(check, claim, text, subject=url.identity.subject)


def verify(keys: Mapping[str, bytes], method: bytes, path: bytes, parameters: Parameters) -> SignedUrl:
    """Verify the signature of a request; its times are not compared with the clock.

    :param keys: the secrets, by the ids of keys.
    :param path: the decoded path.
    :raises BadParameter: when a parameter of the signature is given more than once.
    :raises CheckFailed: when the signature is missing, malformed, or not valid for the request.
    """
    as_signed = signed_method(method)
    signature, key_id = _parameter(parameters, b"sig"), _parameter(parameters, b"kid")
    secret = keys.get((key_id or b"").decode("latin-1"))
    if as_signed is None:
        raise CheckFailed(Check.METHOD, "", "signed URL is accepted only for GET, HEAD, POST and PUT")
    if secret is None:
        raise CheckFailed(Check.KEY, "kid", "kid of the signed URL must be the id of a key of this daemon")
    form = canonical_form(as_signed, path, parameters)
    if signature is None or not hmac.compare_digest(signature_of(form, secret), signature):
        raise CheckFailed(Check.SIGNATURE, "sig", "signature of the URL is not valid for this method, path and query")
    return _verified(as_signed == b"GET", path, parameters, signature, secret)


def _fingerprint(secret: bytes) -> str:
    """Return what tells a secret from others; the secret cannot be found from it."""
    return sha256(b"pushd1 key\n" + secret).hexdigest()[: 2 * _DIGEST_BYTES]


def _verified(is_reading: bool, path: bytes, parameters: Parameters, signature: bytes, secret: bytes) -> SignedUrl:
    expires, until = _time(parameters, b"exp"), _time(parameters, b"until")
    if expires is None:
        raise CheckFailed(Check.PARAMETERS, "exp", "signed URL must have the parameter exp")
    if until is None:
        until = expires + RECONNECT_SECONDS
    if until < expires:
        raise CheckFailed(Check.PARAMETERS, "until", "until of the signed URL must not be before exp")
    if not is_reading:
        until = expires  # who publishes does not reconnect
    digest = sha256(signature).digest()[:_DIGEST_BYTES]
    grant = _grant(is_reading, path, _subject(parameters), enters=b"presence" in parameters)
    key_id = parameters[b"kid"][0].decode("latin-1")
    identity = Identity(grant.subject, grant, f"{URL_KEY}{key_id}", until, digest.hex(), key=_fingerprint(secret))
    return SignedUrl(identity, digest, expires, until)


def _parameter(parameters: Parameters, name: bytes) -> bytes | None:
    values = parameters.get(name, ())
    if len(values) > 1:
        raise BadParameter(f"{name.decode('ascii')} must not be given more than once")
    return values[0] if values else None


def _time(parameters: Parameters, name: bytes) -> int | None:
    text = _parameter(parameters, name)
    if text is not None and not _TIME.fullmatch(text):
        shown = name.decode("ascii")
        raise CheckFailed(Check.PARAMETERS, shown, f"{shown} of the signed URL must be unix seconds, a whole number")
    return None if text is None else int(text)


def _subject(parameters: Parameters) -> str | None:
    raw = _parameter(parameters, b"sub")
    if raw is None:
        return None
    try:
        subject = raw.decode("utf-8") if len(raw) <= MAX_SUBJECT_BYTES else ""
    except UnicodeDecodeError:
        subject = ""
    if not subject:
        text = f"sub of the signed URL must have 1 to {MAX_SUBJECT_BYTES} bytes of UTF-8"
        raise CheckFailed(Check.PARAMETERS, "sub", text)
    return subject


def _grant(is_reading: bool, path: bytes, subject: str | None, *, enters: bool) -> Grant:
    """Return the grant of a URL: its method on the topics in its path, which follow the name of the resource.

    :param enters: whether the URL enters its channels.
    """
    topics = topics_of(path)
    if is_reading:
        shown = tuple(topic.removeprefix(PRESENCE) for topic in topics)
        allow: dict[Action, tuple[str, ...]] = {"subscribe": topics, "history": topics, "presence": shown}
        if enters:
            allow["enter"] = topics
    else:
        allow = {"publish": tuple(topic for topic in topics if not is_pattern(topic))}
    return Grant(subject, MappingProxyType(allow))


def topics_of(path: bytes) -> tuple[str, ...]:
    """Return the topics in a path; none if they are not valid, which the resource reports."""
    try:
        return parse_topics(path.removeprefix(b"/").partition(b"/")[2].decode("utf-8"), _MAX_TOPICS)
    except (Refusal, UnicodeDecodeError):
        return ()
