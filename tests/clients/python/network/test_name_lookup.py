"""Lookups of host names, which the system may not answer, end with the timeout of the call and with the client."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pushd_client import ClientClosed, ConnectionFailed, Pushd
from pushd_client.network.name_lookup import NameLookup

SECONDS = 20.0
"""What a test waits for comes at once."""


class SilentResolver:
    """Answers no lookup of a name until the end of the test."""

    def __init__(self) -> None:
        self.asked, self.ends = threading.Event(), threading.Event()
        self._real = socket.getaddrinfo

    def __call__(self, host: str, *args: Any, **options: Any) -> Any:
        if options.get("flags"):
            return self._real(host, *args, **options)
        self.asked.set()
        self.ends.wait()
        return []


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[SilentResolver]:
    """A resolver that does not answer; no real one can be made silent."""
    resolver = SilentResolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    yield resolver
    resolver.ends.set()


def test_lookup_ends_with_the_timeout(resolver: SilentResolver) -> None:
    with Pushd("http://silent.invalid:1", timeout=0.05, retry_seconds=0) as pushd:
        with pytest.raises(ConnectionFailed, match=r"looking up silent\.invalid timed out") as raised:
            pushd.publish("a")
        assert not raised.value.is_sent
        for transport in ("sse", "websocket"):
            with pytest.raises(ConnectionFailed, match="timed out"):
                next(pushd.subscribe("a", transport=transport))


def test_close_ends_a_lookup(resolver: SilentResolver) -> None:
    pushd = Pushd("http://silent.invalid:1", timeout=SECONDS)
    raised: list[BaseException] = []

    def publish() -> None:
        try:
            pushd.publish("a")
        except ClientClosed as error:
            raised.append(error)

    thread = threading.Thread(target=publish)
    thread.start()
    assert resolver.asked.wait(SECONDS)
    pushd.close()
    thread.join(SECONDS)
    assert len(raised) == 1


def test_address_needs_no_lookup(resolver: SilentResolver) -> None:
    for host in ("127.0.0.1", "::1"):
        assert NameLookup(host, 80).addresses(SECONDS)[0][4][0] == host
    assert not resolver.asked.is_set()


def test_name_that_cannot_be_looked_up_is_unreachable() -> None:
    assert NameLookup("localhost", 80).addresses(SECONDS)
    with pytest.raises(ConnectionFailed, match="cannot be reached"):
        Pushd(f"http://{'x' * 64}:1", retry_seconds=0).cursor()
