"""Keys from a URL: how often they are fetched, how long they are used, and what is logged."""

import json
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider

from pushd.auth.jwks import (
    FIRST_KEYS_SECONDS,
    LAST_GOOD_SECONDS,
    REFRESH_SECONDS,
    UNKNOWN_KEY_SECONDS,
    JwksKeys,
    JwksSources,
)
from pushd.auth.verification_keys import KeySet
from pushd.core.errors import TokenInvalid, Unavailable
from pushd.net.outgoing_requests import RequestFailed
from pushd.service.authentication import open_sending
from tests.auth.jwt_issuer import issuer, jwks, private_key, signed_token, verifier
from tests.auth.test_document_fetch import DocumentServer, response, server

__all__ = ["server"]


class Harness:
    """Keys whose documents the test provides."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.fetches: list[Deferred[bytes]] = []
        self.withdrawn = 0
        self.keys = JwksKeys("shop", self._fetch, self.clock, self._on_withdrawn)

    def _fetch(self) -> Deferred[bytes]:
        self.fetches.append(Deferred())
        return self.fetches[-1]

    def _on_withdrawn(self) -> None:
        self.withdrawn += 1

    def ask(self, key_id: str | None = "k1") -> Deferred[KeySet]:
        return Deferred.fromCoroutine(self.keys.key_set(key_id))

    def publish(self, *names: str) -> None:
        self.fetches[-1].callback(document(*names))

    def fail(self, reason: str = "broken") -> None:
        self.fetches[-1].errback(RequestFailed(reason))

    def has(self, key_id: str) -> bool:
        """Return whether the key is known, without waiting."""
        results: list[Any] = []
        self.ask(key_id).addBoth(results.append)
        return bool(results) and isinstance(results[0], KeySet) and results[0].knows(key_id)


def document(*names: str) -> bytes:
    return json.dumps(jwks(*(private_key("ES256", name) for name in names))).encode("utf-8")


@pytest.fixture
def harness():
    return Harness()


@pytest.fixture
def log():
    lines: list[str] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event.get("log_namespace") == "pushd.auth.jwks.JwksKeys":
            lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def failure_of(deferred: Deferred[Any]) -> Any:
    results: list[Any] = []
    deferred.addErrback(results.append)
    return results[0].value


def test_concurrent_requests_share_a_fetch(harness):
    asked = [harness.ask() for _ in range(100)]
    assert len(harness.fetches) == 1
    harness.publish("k1")
    assert all(each.called and each.result.knows("k1") for each in asked)
    assert harness.has("k1") and len(harness.fetches) == 1


def test_a_request_that_is_cancelled_does_not_cancel_the_fetch(harness):
    left, stays = harness.ask(), harness.ask()
    left.addErrback(lambda _: None)
    left.cancel()
    harness.publish("k1")
    assert stays.result.knows("k1")


def test_an_unknown_key_id_fetches_at_most_every_30_seconds(harness):
    harness.ask()
    harness.publish("k1")
    for number in range(1000):
        assert not harness.has(f"forged-{number}")
    assert len(harness.fetches) == 1
    harness.clock.advance(UNKNOWN_KEY_SECONDS - 1)
    assert not harness.has("k2") and len(harness.fetches) == 1
    harness.clock.advance(1)
    asked = [harness.ask("k2"), harness.ask("forged")]
    assert len(harness.fetches) == 2
    harness.publish("k1", "k2")
    assert asked[0].result.knows("k2") and not asked[1].result.knows("forged")


def test_unknown_key_ids_do_not_fetch_more_often_while_fetches_fail(harness):
    for _ in range(3):
        for _ in range(100):
            failing = harness.ask()
            if not harness.fetches[-1].called:
                harness.fail()
            assert isinstance(failure_of(failing), Unavailable)
        harness.clock.advance(UNKNOWN_KEY_SECONDS)
    assert len(harness.fetches) == 3


def test_the_last_keys_are_used_for_24_hours(harness):
    harness.keys.start()
    harness.publish("k1")
    harness.clock.advance(REFRESH_SECONDS)
    harness.fail()
    elapsed = REFRESH_SECONDS
    while elapsed + UNKNOWN_KEY_SECONDS < LAST_GOOD_SECONDS:
        harness.clock.advance(UNKNOWN_KEY_SECONDS)
        elapsed += UNKNOWN_KEY_SECONDS
        harness.fail()
        assert harness.has("k1")
    assert harness.keys.failure == "broken"
    harness.clock.advance(UNKNOWN_KEY_SECONDS)
    harness.fail()
    assert not harness.has("k1")
    harness.keys.stop()


def test_keys_are_refreshed_and_withdrawn_ones_forgotten(harness):
    harness.keys.start()
    harness.keys.start()
    harness.publish("k1", "k2")
    harness.clock.advance(REFRESH_SECONDS)
    harness.publish("k1", "k2", "k3")
    assert harness.withdrawn == 1  # the first keys
    harness.clock.advance(REFRESH_SECONDS)
    harness.publish("k2")
    assert harness.withdrawn == 2
    assert not harness.has("k1") and harness.has("k2")
    harness.keys.stop()
    assert harness.clock.getDelayedCalls() == []


def test_an_issuer_that_starts_late(harness):
    harness.keys.start()
    harness.fail()
    harness.clock.advance(FIRST_KEYS_SECONDS)
    harness.publish("k1")
    assert harness.has("k1")
    harness.keys.stop()


def test_an_empty_set_withdraws_all_keys(harness):
    harness.ask()
    harness.publish("k1")
    harness.keys.refresh()
    harness.publish()
    assert not harness.has("k1") and harness.withdrawn == 2


BAD = [b"", b"<html>", b"[]", b"null", b'{"keys":{}}', b"[" * 60_000, b"\xff\xfe\xfa", b'{"keys":[]} x']


@pytest.mark.parametrize("body", BAD, ids=range(len(BAD)))
def test_a_bad_document_keeps_the_last_keys(harness, body):
    harness.ask()
    harness.publish("k1")
    harness.keys.refresh()
    harness.fetches[-1].callback(body)
    assert harness.has("k1") and harness.keys.failure


def test_unusable_keys_are_left_out_and_logged(harness, log):
    harness.ask()
    good = jwks(private_key("ES256", "k1"))["keys"]
    bad = [{"kty": "oct", "k": "AAAA"}, {"kty": "EC"}, 7, {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "small"}]
    harness.fetches[-1].callback(json.dumps({"keys": [*bad, *good]}).encode("utf-8"))
    assert harness.has("k1") and not harness.has("small")
    assert "4 unusable keys are ignored: key 1 is symmetric" in log[0]


def test_the_log_of_failures_is_limited(harness, log):
    harness.keys.start()
    harness.publish("k1")
    harness.clock.advance(REFRESH_SECONDS)
    harness.fail()
    for _ in range(10):
        harness.clock.advance(UNKNOWN_KEY_SECONDS)
        harness.fail()
    harness.clock.advance(UNKNOWN_KEY_SECONDS)
    harness.fail("another reason")
    harness.clock.advance(UNKNOWN_KEY_SECONDS)
    harness.publish("k1")
    harness.keys.stop()
    assert [line.partition(";")[0] for line in log] == [
        "JWKS of issuer shop fetched: 1 keys",
        "JWKS of issuer shop not fetched: broken",
        "JWKS of issuer shop not fetched: another reason",
        "JWKS of issuer shop fetched: 1 keys",
    ]
    assert "the last keys are used for another 1430 minutes" in log[1]


def test_stopping_cancels_the_fetch(harness, log):
    harness.keys.start()
    asked = harness.ask()
    harness.keys.stop()
    assert isinstance(failure_of(asked), Unavailable)
    assert harness.clock.getDelayedCalls() == [] and log == []


def test_an_unexpected_error_is_logged_and_not_fatal(harness, expected_failures):
    asked = harness.ask()
    harness.fetches[-1].errback(RuntimeError("bug"))
    assert isinstance(failure_of(asked), Unavailable)
    assert harness.keys.failure == "internal error"


def test_a_reload_keeps_the_keys_of_an_unchanged_url():
    clock: Any = Clock()
    sending: Any = object
    sources = JwksSources(sending, clock, lambda: None)
    first, other = sources.open("shop", "https://a.example"), sources.open("blog", "https://a.example")
    assert first is not other
    sources.retain([first, other])
    assert sources.open("shop", "https://a.example") is first
    changed = sources.open("shop", "https://b.example")
    assert changed is not first
    sources.retain([changed, object()])
    assert sources.open("shop", "https://a.example") is not first
    assert sources.failures() == {}


@pytest_twisted.ensureDeferred
async def test_tokens_with_a_real_server_that_rotates_and_fails(server: DocumentServer):
    from twisted.internet import reactor

    clock: Any = Clock()
    clock.callLater = reactor.callLater
    sources = JwksSources(lambda: open_sending(reactor), clock, lambda: None)
    keys = sources.open("shop", server.url)
    checked = verifier(issuer("ES256", keys))
    server.answer = response(document("k1"))
    assert await checked.verify(signed_token("ES256", "k1"))
    server.answer = response(document("k2"))
    with pytest.raises(TokenInvalid, match="kid"):
        await checked.verify(signed_token("ES256", "k2"))
    clock.rightNow += UNKNOWN_KEY_SECONDS
    assert await checked.verify(signed_token("ES256", "k2"))
    with pytest.raises(TokenInvalid, match="kid"):
        await checked.verify(signed_token("ES256", "k1"))
    server.answer = response(b"", "500 Error")
    clock.rightNow += UNKNOWN_KEY_SECONDS
    with pytest.raises(TokenInvalid, match="kid"):
        await checked.verify(signed_token("ES256", "k3"))
    assert sources.failures() == {"shop": "the response has the status 500"}
    assert await checked.verify(signed_token("ES256", "k2"))
    assert len(server.requests) == 3


@pytest_twisted.ensureDeferred
async def test_no_request_to_an_address_that_is_refused():
    """Nor to one that a name leads to: the name is resolved once, and only what was checked is connected to."""
    from twisted.internet import reactor

    untyped: Any = reactor
    sources = JwksSources(lambda: open_sending(untyped), untyped, lambda: None)
    keys = sources.open("shop", "https://169.254.169.254/keys")
    with pytest.raises(Unavailable):
        await keys.key_set("k1")
    assert "169.254.169.254 is a link-local address" in sources.failures()["shop"]
