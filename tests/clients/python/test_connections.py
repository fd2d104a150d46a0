"""Connections of the three clients: time-outs, closing, tokens, slow readers, what other servers answer."""

import hashlib
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pushd_client import (
    AuthenticationFailed,
    Backoff,
    ClientClosed,
    ConnectionFailed,
    End,
    Gap,
    Message,
    NotPermitted,
    Refused,
    issue_token,
)
from twisted.internet.defer import gatherResults
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate
from twisted.internet.task import deferLater
from twisted.web.client import BrowserLikePolicyForHTTPS

from tests.clients.python.conftest import Connect
from tests.clients.python.cutting_proxy import CuttingProxy
from tests.clients.python.flavours import End as IterationEnd
from tests.clients.python.flavours import Flavour, Twisted
from tests.system.test_tls_and_unix import make_certificate
from tests.transports.daemon import RunningDaemon, until

TRANSPORTS = pytest.mark.parametrize("transport", ["sse", "websocket"])
PROMPT = 2.0
"""Within so many seconds a close must end everything."""
ATTEMPTS = 3
"""Of which the best counts: a busy machine may stop a process for some seconds."""


async def assert_prompt(close: Callable[[], Awaitable[float]]) -> None:
    """Check that a close ends everything in time, in one of some attempts.

    :param close: opens something, closes it, and returns the time at which it began to close it.
    """
    times: list[float] = []
    while not times or (times[-1] >= PROMPT and len(times) < ATTEMPTS):
        began = await close()
        times.append(time.monotonic() - began)
    assert times[-1] < PROMPT, times


class Server:
    """Listens on a free port, and answers each request with the same bytes."""

    def __init__(self, answer: bytes = b"") -> None:
        from twisted.internet import reactor

        self.connections: list[Protocol] = []
        server = self

        class Answering(Protocol):
            def connectionMade(self) -> None:
                server.connections.append(self)

            def dataReceived(self, data: bytes) -> None:
                if answer:
                    self.transport.write(answer)  # type: ignore[union-attr]

        factory: Any = Factory.forProtocol(Answering)
        listening: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self._listening = listening
        self.port = listening.getHost().port

    async def close(self) -> None:
        """Stop listening, and close all connections."""
        await self._listening.stopListening()
        for connection in self.connections:
            connection.transport.abortConnection()  # type: ignore[union-attr]


@TRANSPORTS
async def test_items_of_a_subscription(start_daemon, connect: Connect, transport: str) -> None:
    daemon = await start_daemon({"history.messages": 2})
    client = connect(daemon.ports["http"])
    start = await client.cursor()
    for number in range(4):
        await client.publish("a", number, end=number == 3)
    items = await client.subscribe("a", since=start, transport=transport).rest()
    assert [type(each) for each in items] == [Gap, Message, Message, End]
    assert items[0].reason == "evicted"
    assert [each.data for each in items[1:3]] == [2, 3]


@TRANSPORTS
async def test_subscription_is_open_before_the_block_begins(
    daemon: RunningDaemon, connect: Connect, transport: str
) -> None:
    client = connect(daemon.ports["http"])
    subscription = client.subscribe("a", transport=transport)
    await subscription.open()
    own = subscription.subscription.connection
    assert own is not None
    await client.publish("a", "not to me", except_=own)
    await client.publish("a", "ephemeral", keep=False)
    last = await client.publish("a", "kept")
    assert [each.data for each in await subscription.take(2)] == ["ephemeral", "kept"]
    assert subscription.subscription.cursor == last.id
    await subscription.close()


@TRANSPORTS
async def test_close_ends_a_waiting_subscription(daemon: RunningDaemon, connect: Connect, transport: str) -> None:
    client = connect(daemon.ports["http"])

    async def close() -> float:
        subscription = client.subscribe("a", transport=transport)
        await subscription.open()
        waiting = subscription.next()
        began = time.monotonic()
        await subscription.close()
        with pytest.raises(IterationEnd):
            await waiting
        with pytest.raises(IterationEnd):
            await subscription.next()
        return began

    await assert_prompt(close)
    await until(lambda: not daemon.open_connections or transport == "sse", "the connection is closed")
    assert (await client.publish("a", "x")).subscribers == 0


@TRANSPORTS
async def test_close_of_the_client_ends_everything(connect: Connect, transport: str) -> None:
    silent = Server()

    async def close() -> float:
        client, before = connect(silent.port), len(silent.connections)
        waiting = [client.subscribe("a", transport=transport).next(), client.publish("a"), client.request("a", 1)]
        failed: list[Any] = []
        for each in waiting:
            each.addErrback(lambda failure: failed.append(failure.type))
        await until(lambda: len(silent.connections) == before + 3, "three connections")
        began = time.monotonic()
        await client.run(client.pushd, "close", "close")
        await gatherResults(waiting)
        assert sorted(failed, key=str) == [ClientClosed, ClientClosed, IterationEnd]
        with pytest.raises(ClientClosed):
            await client.publish("a")
        return began

    await assert_prompt(close)
    await silent.close()


@TRANSPORTS
async def test_close_ends_the_wait_for_a_reconnect(connect: Connect, transport: str) -> None:
    gone = Server()
    await gone.close()
    from twisted.internet import reactor

    async def close() -> float:
        client = connect(gone.port, backoff=Backoff(60, 60))
        waiting = client.subscribe("a", transport=transport).next()
        await deferLater(reactor, 0.1)
        began = time.monotonic()
        await client.close()
        with pytest.raises((IterationEnd, ConnectionFailed)):
            await waiting
        return began

    await assert_prompt(close)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", b"HTTP/1.1 20"])
async def test_answer_that_is_not_complete_in_time_fails(connect: Connect, answer: bytes) -> None:
    server = Server(answer)
    client = connect(server.port, timeout=0.1, retry_seconds=0)
    with pytest.raises(ConnectionFailed, match="did not answer"):
        await client.cursor()
    for transport in ("sse", "websocket") if not answer.endswith(b"{}") else ():
        with pytest.raises(ConnectionFailed):
            await client.subscribe("a", transport=transport).next()
    await server.close()


@TRANSPORTS
async def test_connection_without_a_byte_is_lost(daemon: RunningDaemon, connect: Connect, transport: str) -> None:
    from twisted.internet import reactor

    proxy: Any = CuttingProxy(reactor, daemon.ports["http"], seed=1, longest=0)
    client = connect(proxy.port)
    subscription = client.subscribe("a", transport=transport, idle_timeout=0.2)
    await subscription.open()
    waiting = subscription.next()
    proxy.is_silent = True
    before = set(proxy.links)
    await daemon.publish("a", "x")
    await until(lambda: proxy.links != before, "the client has noticed")
    proxy.is_silent = False
    proxy.cut()
    assert (await waiting).data == "x"
    await subscription.close()
    await proxy.close()


async def test_unreachable_daemon_is_no_endless_wait(connect: Connect) -> None:
    gone = Server()
    await gone.close()
    client = connect(gone.port, retry_seconds=0)
    with pytest.raises(ConnectionFailed, match="cannot be reached") as raised:
        await client.publish("a")
    assert not raised.value.is_sent
    for transport in ("sse", "websocket"):
        with pytest.raises(ConnectionFailed, match="cannot be reached"):
            await client.subscribe("a", transport=transport).next()


@TRANSPORTS
async def test_refusal_has_the_code_and_the_sentence(daemon: RunningDaemon, connect: Connect, transport: str) -> None:
    client = connect(daemon.ports["http"])
    with pytest.raises(Refused) as raised:
        await client.subscribe("a b", transport=transport).next()
    error = raised.value
    assert (error.code, error.status) == ("bad-topic", 400)
    assert "must not contain white space" in error.message


@TRANSPORTS
async def test_slow_reader_receives_everything(start_daemon, connect: Connect, transport: str) -> None:
    daemon = await start_daemon({"history.bytes": "16MiB", "limits.queue_bytes": "16MiB"})
    client = connect(daemon.ports["http"])
    subscription = client.subscribe("a", transport=transport)
    await subscription.open()
    for number in range(60):
        await client.publish("a", f"{number} {'x' * 100_000}")
    received = await subscription.take(60)
    assert [int(each.data.split()[0]) for each in received] == list(range(60))
    await subscription.close()


TOKENS = ("first", "second", "narrow")


@pytest.fixture
def guarded(tmp_path: Path) -> Path:
    """A configuration with tokens."""
    lines = []
    for token in TOKENS:
        digest = hashlib.sha256(token.encode()).hexdigest()
        topics = '["a"]' if token != "narrow" else '["b"]'
        lines.append(f'[{token}]\nsha256 = "{digest}"\nsub = "bob"\nsubscribe = {topics}\npublish = {topics}\n')
    (tmp_path / "tokens.toml").write_text("".join(lines))
    return tmp_path / "tokens.toml"


@TRANSPORTS
async def test_token_is_renewed_when_it_is_refused(
    start_daemon, connect: Connect, guarded: Path, transport: str
) -> None:
    daemon = await start_daemon({"auth.tokens_file": guarded})
    issued = iter(["wrong", "first", "wrong", "second"])
    client = connect(daemon.ports["http"], token=lambda: next(issued))
    assert (await client.publish("a", "x")).channel == "a"
    other = connect(daemon.ports["http"], token=lambda: next(issued))
    assert (await other.subscribe("a", since="all", transport=transport).next()).sender == "bob"


@TRANSPORTS
async def test_refused_token_and_topic_are_raised(
    start_daemon, connect: Connect, guarded: Path, transport: str
) -> None:
    daemon = await start_daemon({"auth.tokens_file": guarded})
    wrong, narrow = connect(daemon.ports["http"], token="wrong"), connect(daemon.ports["http"], token="narrow")
    with pytest.raises(AuthenticationFailed, match="token-invalid"):
        await wrong.publish("a", "x")
    with pytest.raises(NotPermitted, match="forbidden"):
        await narrow.publish("a", "x")
    with pytest.raises(AuthenticationFailed, match="token-invalid"):
        await wrong.subscribe("a", transport=transport).next()
    with pytest.raises(AuthenticationFailed, match="token-missing"):
        await connect(daemon.ports["http"]).subscribe("a", transport=transport).next()
    with pytest.raises(NotPermitted, match="forbidden"):
        await narrow.subscribe("a", transport=transport).next()


@TRANSPORTS
async def test_withdrawn_token_is_replaced_and_nothing_is_missed(
    start_daemon, connect: Connect, guarded: Path, transport: str
) -> None:
    daemon = await start_daemon({"auth.tokens_file": guarded})
    issued = iter(["first", "second"])
    client = connect(daemon.ports["http"], token=lambda: next(issued))
    publisher = connect(daemon.ports["http"], token="second")
    subscription = client.subscribe("a", transport=transport)
    await subscription.open()
    guarded.write_text(guarded.read_text().replace(hashlib.sha256(b"first").hexdigest(), "0" * 64))
    await daemon.reload()
    for number in range(3):
        await publisher.publish("a", number)
    assert [each.data for each in await subscription.take(3)] == [0, 1, 2]
    await subscription.close()


@TRANSPORTS
async def test_token_is_renewed_on_the_open_connection_before_it_expires(
    start_daemon, connect: Connect, tmp_path: Path, transport: str
) -> None:
    secret = tmp_path / "shop.secret"
    secret.write_text("s" * 40)
    config = tmp_path / "pushd.toml"
    config.write_text(
        '[auth.issuer.shop]\nissuer = "shop"\naudience = "pushd"\nalgorithms = ["HS256"]\n'
        f'secret_files = ["{secret}"]\n'
    )
    daemon = await start_daemon({}, file=config)
    lifetimes = iter([30.6, 600, 600])
    issued: list[str] = []

    def issue() -> str:
        grant = {"subscribe": ["a"], "publish": ["a"]}
        token = issue_token(secret=secret, sub="bob", aud="pushd", iss="shop", grant=grant, ttl=next(lifetimes))
        issued.append(token)
        return token

    client = connect(daemon.ports["http"], token=issue)
    subscription = client.subscribe("a", transport=transport)
    await subscription.open()
    connection = subscription.subscription.connection
    waiting = subscription.next()
    await until(lambda: len(issued) == 2, "the token was renewed", 30)
    publisher = connect(daemon.ports["http"], token=issue)
    for text in ("x", "y"):
        await publisher.publish("a", text)
        assert (await waiting).data == text
        waiting = subscription.next()
    assert subscription.subscription.connection == connection
    await subscription.close()
    with pytest.raises(IterationEnd):
        await waiting


@TRANSPORTS
async def test_tls_is_verified(start_daemon, connect: Connect, flavour, tmp_path: Path, transport: str) -> None:
    key, certificate = make_certificate(tmp_path)
    daemon = await start_daemon({"http.listen": f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1"})
    url = f"https://localhost:{daemon.ports['http']}"
    stranger = flavour(url, retry_seconds=0)
    with pytest.raises(ConnectionFailed, match=r"(?i)certificate"):
        await stranger.cursor()
    with pytest.raises(ConnectionFailed):
        await stranger.subscribe("a", transport=transport).next()
    await stranger.close()

    async def close() -> float:
        trusting = flavour(url, **trust(flavour, certificate))
        subscription = trusting.subscribe("a", transport=transport)
        await subscription.open()
        for number in range(3):
            await trusting.publish("a", number)
        assert [each.data for each in await subscription.take(3)] == [0, 1, 2]
        waiting = subscription.next()
        began = time.monotonic()
        await trusting.close()
        with pytest.raises(IterationEnd):
            await waiting
        return began

    await assert_prompt(close)


def trust(flavour: type[Flavour], certificate: Path) -> dict[str, Any]:
    """Return the options of a client that trusts a certificate."""
    if flavour is Twisted:
        return {"policy": BrowserLikePolicyForHTTPS(Certificate.loadPEM(certificate.read_bytes()))}
    return {"ssl_context": ssl.create_default_context(cafile=str(certificate))}
