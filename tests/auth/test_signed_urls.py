"""Signed URLs: what a request may do, until when, and which ones are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pushd_client import sign_url

from pushd.auth.signed_urls import RECONNECT_SECONDS, SignedUrls, verify
from pushd.auth.token_checks import Check, CheckFailed
from pushd.auth.url_signature import canonical_form, parse_query, signature_of
from pushd.core.errors import BadParameter, Refusal, TokenInvalid, Unavailable
from pushd.core.grant import ACTIONS, OPERATIONS
from pushd.core.identity import Identity
from pushd.core.remembered_urls import RememberedUrls
from tests.auth.signed_url_vectors import KEY_ID, NOW, SECRET
from tests.auth.test_authenticator import now as result_of

KEYS = {KEY_ID: SECRET, "old": SECRET[::-1]}
VECTORS = json.loads((Path(__file__).parents[2] / "docs/signed-urls.json").read_text(encoding="utf-8"))["accepted"]


def raw(path: bytes, query: str, *, method: bytes = b"GET", key_id: str = KEY_ID) -> dict[bytes, list[bytes]]:
    """Return the parameters of a URL with a genuine signature, whatever its parameters are."""
    parameters = parse_query(query.encode())
    parameters[b"sig"] = [signature_of(canonical_form(method, path, parameters), KEYS[key_id])]
    return parameters


def grants(identity: Identity) -> dict[str, tuple[str, ...]]:
    """Return the topics of each action that a grant allows."""
    assert not identity.grant.is_full and not identity.grant.deny
    assert not any(identity.grant.may_operate(operation) for operation in OPERATIONS)
    return {action: topics for action, topics in identity.grant.allow.items() if topics}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["about"])
def test_each_vector_is_accepted_and_every_change_of_it_is_refused(vector: dict[str, str]) -> None:
    _, _, query = vector["target"].partition("?")
    path = vector["canonical"].split("\n", 2)[2].rpartition("\n")[0].encode()
    parameters = parse_query(query.encode())
    method = vector["method"].encode()
    url = verify(KEYS, method, path, parameters)
    assert (url.identity.issuer, url.expires) == ("url:web", NOW + 300)
    changes: list[tuple[bytes, bytes, dict[bytes, list[bytes]]]] = [
        (b"POST" if method in (b"GET", b"HEAD") else b"GET", path, parameters),
        (b"DELETE", path, parameters),
        (method, path + b"/", parameters),
        (method, path[:-1], parameters),
        (method, path, parameters | {b"more": [b""]}),
        (method, path, parameters | {b"exp": [b"9%d" % (NOW + 300)]}),
        (method, path, parameters | {b"sub": [b"mallory"]}),
        (method, path, parameters | {b"kid": [b"old"]}),
        (method, path, parameters | {b"since": [b"all"]}),
    ]
    for changed in changes:
        with pytest.raises(CheckFailed):
            verify(KEYS, *changed)


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("resource", ["sse", "stream", "longpoll", "history", "sub", "ws", "cursor", "pub"])
def test_reading_is_granted_on_the_topics_of_the_path_only(method: bytes, resource: str) -> None:
    path = f"/{resource}/news/*,a".encode()
    identity = verify(KEYS, method, path, raw(path, f"exp={NOW}&kid=web&sub=alice")).identity
    topics = ("news/*", "a")
    assert grants(identity) == {"subscribe": topics, "history": topics, "presence": topics}
    assert identity.subject == identity.grant.subject == "alice"
    assert not any(identity.grant.may(action, "b") for action in ACTIONS)
    assert not identity.grant.may("subscribe", "news/**")


def test_presence_channel_is_granted_by_presence_on_its_channel() -> None:
    path = b"/sse/$presence/chat/1"
    grant = verify(KEYS, b"GET", path, raw(path, f"exp={NOW}&kid=web")).identity.grant
    assert grant.may("subscribe", "$presence/chat/1") and grant.may("history", "$presence/chat/1")
    assert not grant.may("subscribe", "chat/1") and not grant.may("subscribe", "$presence/chat/2")


@pytest.mark.parametrize("method", [b"POST", b"PUT"])
def test_publishing_is_granted_on_the_channels_of_the_path_only(method: bytes) -> None:
    path = b"/pub/chat/42,*,b"
    identity = verify(KEYS, method, path, raw(path, f"exp={NOW}&kid=web", method=b"POST")).identity
    assert grants(identity) == {"publish": ("chat/42", "b")}
    assert identity.subject is None and identity.expires == NOW


@pytest.mark.parametrize(
    "path", [b"/channels", b"/sse/", b"/sse/a//b", b"/sse/\xff", b"/", b"/ws", b"/sse/" + b"a," * 1000]
)
def test_path_without_valid_topics_grants_nothing(path: bytes) -> None:
    assert grants(verify(KEYS, b"GET", path, raw(path, f"exp={NOW}&kid=web")).identity) == {}


def test_braces_in_a_path_are_not_replaced_by_the_subject() -> None:
    path = b"/sse/users/{sub}"
    grant = verify(KEYS, b"GET", path, raw(path, f"exp={NOW}&kid=web&sub=alice")).identity.grant
    assert grant.may("subscribe", "users/{sub}") and not grant.may("subscribe", "users/alice")


@pytest.mark.parametrize(
    "query",
    [
        "kid=web",  # no exp
        "exp=&kid=web",
        "exp=-1&kid=web",
        "exp=%2B5&kid=web",
        "exp=1e9&kid=web",
        "exp=1.5&kid=web",
        "exp=12345678901&kid=web",
        f"exp={'9' * 5000}&kid=web",
        "exp=%D9%A1%D9%A2&kid=web",  # digits that are not ASCII
        "exp=0x10&kid=web",
        "exp=nan&kid=web",
        "exp=10&until=9&kid=web",
        "exp=10&until=&kid=web",
        "exp=10&until=-1&kid=web",
        "exp=10&until=99999999999&kid=web",
        "exp=10&kid=web&sub=",
        "exp=10&kid=web&sub=%FF",
        f"exp=10&kid=web&sub={'a' * 256}",
        "exp=10",  # no kid
        "exp=10&kid=",
        "exp=10&kid=unknown",
        "exp=10&kid=w%C3%A9b",
        "exp=10&kid=web%00",
    ],
)
def test_genuine_signature_of_invalid_parameters_is_refused(query: str) -> None:
    with pytest.raises(CheckFailed):
        verify(KEYS, b"GET", b"/sse/a", raw(b"/sse/a", query))


@pytest.mark.parametrize("name", [b"exp", b"until", b"sub", b"kid", b"sig"])
@pytest.mark.parametrize("second", [None, b"x"])
def test_parameter_of_the_signature_must_not_be_given_twice(name: bytes, second: bytes | None) -> None:
    query = f"exp={NOW}&until={NOW}&sub=alice&kid=web"
    parameters = raw(b"/sse/a", query)
    value = parameters[name][0]
    if name == b"sig":
        parameters[b"sig"] = [value, second or value]
    else:
        parameters = raw(b"/sse/a", f"{query}&{name.decode()}={(second or value).decode()}")
    with pytest.raises(BadParameter, match=f"{name.decode()} must not be given more than once"):
        verify(KEYS, b"GET", b"/sse/a", parameters)


def altered_signatures(signature: bytes) -> list[bytes]:
    """Return texts that are not that signature, though some decode to the same bytes."""
    last = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".index(signature[-1:])
    same_bits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last ^ 1 :][:1]
    return [
        b"",
        signature + b"=",
        signature + b"\n",
        signature[:-1],
        signature[:-1] + same_bits,
        signature * 100,
        b"\xff",
    ]


def test_signature_is_compared_as_text() -> None:
    parameters = raw(b"/sse/a", f"exp={NOW}&kid=web")
    for signature in altered_signatures(parameters[b"sig"][0]):
        with pytest.raises(CheckFailed):
            verify(KEYS, b"GET", b"/sse/a", parameters | {b"sig": [signature]})
    del parameters[b"sig"]
    with pytest.raises(CheckFailed):
        verify(KEYS, b"GET", b"/sse/a", parameters)


def test_refusals_have_nothing_of_the_url_in_their_text() -> None:
    texts = set()
    for query in ("exp=secretvalue&kid=web", "exp=5&kid=secretvalue", "exp=5&sub=secretvalue&kid=web"):
        parameters = raw(b"/sse/secretvalue", query) | {b"sig": [b"secretvalue"]}
        with pytest.raises(CheckFailed) as raised:
            verify(KEYS, b"GET", b"/sse/secretvalue", parameters)
        texts.add(str(raised.value))
    assert texts and not any("secretvalue" in text for text in texts)


class Memory:
    """Remembers URLs as a backend does; it can be unavailable."""

    def __init__(self, time: Callable[[], float]) -> None:
        self.urls = RememberedUrls()
        self.is_available = True
        self._time = time

    async def remember_url(self, digest: bytes, until: float) -> None:
        """See `UrlMemory`."""
        if not self.is_available:
            raise Unavailable("unavailable")
        self.urls.add(digest, until, self._time())

    async def is_url_remembered(self, digest: bytes) -> bool:
        """See `UrlMemory`."""
        if not self.is_available:
            raise Unavailable("unavailable")
        return self.urls.contains(digest, self._time())


class World:
    """The verifier of signed URLs with a clock that the test sets."""

    def __init__(self) -> None:
        self.now = float(NOW)
        self.memory = Memory(lambda: self.now)
        self.signed_urls = SignedUrls(KEYS, self.memory, lambda: self.now)

    def use(self, url: str, method: str = "GET") -> str:
        """Use a URL; return ``accepted`` or the code of the refusal."""
        path, _, query = url.partition("?")
        try:
            result_of(self.signed_urls.authenticate(method.encode(), path.encode(), parse_query(query.encode())))
        except Refusal as refusal:
            return refusal.code
        return "accepted"


@pytest.fixture
def world() -> World:
    """A verifier at time `NOW`."""
    return World()


def signed(path: str = "/sse/a", **options: Any) -> str:
    """Return a URL that expires in five minutes."""
    return sign_url(path, (KEY_ID, SECRET), **({"exp": NOW + 300} | options))


@pytest.mark.parametrize("until", [None, NOW + 1000])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_reconnect_is_accepted_until_until_if_the_url_was_used_before_exp(
    world: World, until: int | None, method: str
) -> None:
    used, unused = signed(until=until, method=method), signed("/sse/b", until=until, method=method)
    end = until or NOW + 300 + RECONNECT_SECONDS
    world.now = NOW + 299.9
    assert world.use(used, method) == "accepted"
    for world.now, expected in (
        (NOW + 300, "accepted"),
        (end - 0.1, "accepted"),
        (end, "token-expired"),
        (end + 10**6, "token-expired"),
    ):
        assert world.use(f"{used}&lastEventId=x-1", method) == expected
        assert world.use(unused, method) == "token-expired"


def test_until_equal_to_exp_allows_no_reconnect(world: World) -> None:
    url = signed(until=NOW + 300)
    assert world.use(url) == "accepted"
    assert len(world.memory.urls) == 0
    world.now = NOW + 300
    assert world.use(url) == "token-expired"


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("until", [None, NOW + 1000])
def test_publishing_is_accepted_until_exp(world: World, method: str, until: int | None) -> None:
    url = signed("/pub/a", method=method, until=until)
    assert [world.use(url, method), world.use(url, method)] == ["accepted", "accepted"]
    world.now = NOW + 300
    assert world.use(url, method) == "token-expired"


def test_other_method_of_a_used_url_is_refused(world: World) -> None:
    url = signed()
    assert [world.use(url), world.use(url, "HEAD"), world.use(url, "POST")] == ["accepted", "accepted", "token-invalid"]


def test_forged_url_is_invalid_even_if_it_has_expired(world: World) -> None:
    world.now = NOW + 10**6
    assert world.use(signed()) == "token-expired"
    assert world.use(signed()[:-1]) == "token-invalid"


def test_use_before_exp_is_accepted_without_the_backend_and_a_reconnect_is_not(world: World) -> None:
    url = signed()
    world.memory.is_available = False
    assert world.use(url) == "accepted"
    world.now = NOW + 300
    assert world.use(url) == "unavailable"
    world.memory.is_available = True
    assert world.use(url) == "token-expired"
    world.now = NOW
    assert world.use(url) == "accepted"
    world.now = NOW + 300
    assert world.use(url) == "accepted"


def test_url_of_a_removed_key_is_refused_and_another_key_is_accepted(world: World) -> None:
    old, new = sign_url("/sse/a", ("old", KEYS["old"]), exp=NOW + 300), signed()
    assert [world.use(old), world.use(new)] == ["accepted", "accepted"]
    world.signed_urls.keys = {KEY_ID: SECRET}
    assert [world.use(old), world.use(new)] == ["token-invalid", "accepted"]
    world.signed_urls.keys = {KEY_ID: SECRET[::-1]}
    assert world.use(new) == "token-invalid"


def test_identity_expires_with_the_last_reconnect() -> None:
    identity = verify(KEYS, b"GET", b"/sse/a", raw(b"/sse/a", f"exp={NOW}&until={NOW + 7}&kid=web")).identity
    assert (identity.expires, identity.issuer) == (NOW + 7, "url:web")
    assert identity.token_id is not None and len(identity.token_id) == 32


class ReloadedMemory:
    """Remembers URLs; a reload removes the keys before it answers."""

    urls: SignedUrls

    async def remember_url(self, digest: bytes, until: float) -> None:
        """See `UrlMemory`."""
        self.urls.keys = {"old": KEYS["old"]}

    async def is_url_remembered(self, digest: bytes) -> bool:
        """See `UrlMemory`."""
        self.urls.keys = {"old": KEYS["old"]}
        return True


@pytest.mark.parametrize("seconds", [-1, 1], ids=["first use", "reconnect"])
@pytest.mark.parametrize("key_id", KEYS)
def test_key_that_is_removed_while_the_backend_answers(seconds: int, key_id: str) -> None:
    memory = ReloadedMemory()
    urls = memory.urls = SignedUrls(KEYS, memory, lambda: NOW + seconds)
    parameters = raw(b"/sse/a", f"exp={NOW}&kid={key_id}", key_id=key_id)
    if key_id == "old":
        assert result_of(urls.authenticate(b"GET", b"/sse/a", parameters)).issuer == "url:old"
    else:
        with pytest.raises(TokenInvalid):
            result_of(urls.authenticate(b"GET", b"/sse/a", parameters))


@pytest.mark.parametrize(
    ("query", "method", "at", "decision"),
    [
        (f"exp={NOW}&kid=web", b"GET", NOW - 1, (None, "")),
        (f"exp={NOW}&kid=web", b"DELETE", NOW - 1, (Check.METHOD, "")),
        (f"exp={NOW}&kid=gone", b"GET", NOW - 1, (Check.KEY, "kid")),
        (f"exp={NOW}", b"GET", NOW - 1, (Check.KEY, "kid")),
        (f"exp={NOW}&kid=web", b"POST", NOW - 1, (Check.SIGNATURE, "sig")),
        ("kid=web", b"GET", NOW, (Check.PARAMETERS, "exp")),
        ("exp=soon&kid=web", b"GET", NOW, (Check.PARAMETERS, "exp")),
        (f"exp={NOW}&until=soon&kid=web", b"GET", NOW, (Check.PARAMETERS, "until")),
        (f"exp={NOW}&until={NOW - 1}&kid=web", b"GET", NOW, (Check.PARAMETERS, "until")),
        (f"exp={NOW}&sub=&kid=web", b"GET", NOW, (Check.PARAMETERS, "sub")),
        (f"exp={NOW}&kid=web&kid=web", b"GET", NOW, (Check.PARAMETERS, "")),
        (f"exp={NOW}&kid=web", b"GET", NOW, (Check.FIRST_USE, "exp")),
        (f"exp={NOW}&until={NOW + 9}&kid=web", b"GET", NOW + 9, (Check.EXPIRY, "until")),
    ],
)
def test_verdict_names_the_check_and_the_parameter(
    world: World, query: str, method: bytes, at: int, decision: tuple[Check | None, str]
) -> None:
    world.now = at
    parameters = raw(b"/sse/a", query)
    verdict = result_of(world.signed_urls.examine(method, b"/sse/a", parameters))
    assert (verdict.check, verdict.claim, verdict.identity is None) == (*decision, decision[0] is not None)
    if verdict.refusal is not None:
        with pytest.raises(type(verdict.refusal)):
            result_of(world.signed_urls.authenticate(method, b"/sse/a", parameters))


def test_examining_a_url_is_no_use_of_it(world: World) -> None:
    parameters = raw(b"/sse/a", f"exp={NOW + 1}&kid=web")
    assert result_of(world.signed_urls.examine(b"GET", b"/sse/a", parameters)).identity is not None
    world.now = NOW + 1
    assert result_of(world.signed_urls.examine(b"GET", b"/sse/a", parameters)).check is Check.FIRST_USE
    world.memory.is_available = False
    verdict = result_of(world.signed_urls.examine(b"GET", b"/sse/a", parameters))
    assert (verdict.check, type(verdict.refusal)) == (Check.FIRST_USE, Unavailable)


def test_key_is_the_same_only_with_the_same_secret(world: World) -> None:
    identity = verify(KEYS, b"GET", b"/sse/a", raw(b"/sse/a", f"exp={NOW}&kid=web")).identity
    assert world.signed_urls.has_key(identity)
    for keys in ({}, {KEY_ID: SECRET[::-1]}, {"old": SECRET}):
        world.signed_urls.keys = keys
        assert not world.signed_urls.has_key(identity)
    assert identity.key not in repr(identity) and SECRET.hex() not in identity.key
