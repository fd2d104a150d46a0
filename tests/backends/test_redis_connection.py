"""Every way to reach a Redis is a way to the same log, and what is not the Redis that is meant is not used."""

import datetime
import ipaddress
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import Factory, Protocol

from pushd.backends.interface import BackendUnusable
from pushd.core.cursor import NOW
from pushd.core.errors import Unavailable
from pushd.core.peer import DAEMON
from tests.backends.nodes import Ear, Node
from tests.backends.redis_server import RedisServer, free_port, until
from tests.worst.turns import ReactorTurns

Start = Callable[..., Awaitable[Node]]
Redis = Callable[..., RedisServer]

PERMITTED = """on >s3cret resetkeys ~pushd:* resetchannels &* -@all +eval +evalsha +publish +subscribe +psubscribe
+unsubscribe +punsubscribe +select +role +info +time +@read +@write +exists"""
"""What docs/operations or README say that a user of pushd needs."""


async def works(node: Node) -> Ear:
    """See that a message goes through to a subscriber, and return it."""
    ear = await node.ear("a", "b/*")
    await node.publish("a", "1")
    await node.publish("b/c", "2")
    await until(lambda: ear.texts == ["1", "2"], "the messages")
    return ear


class Impostor(Protocol):
    """A server that sends the same bytes whenever it receives something; a banner is sent at the start."""

    transport: ITransport

    def __init__(self, reply: bytes) -> None:
        self._reply = reply

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        if self._reply.startswith(b"SSH"):
            self.transport.write(self._reply)

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        self.transport.write(self._reply)


async def does_not_connect(url: str, why: str, **options: Any) -> None:
    """See that a node says why it does not work."""
    node = Node(url, **options)
    await node.hub.start()
    try:
        await until(
            lambda: node.hub.unavailable_reason and why in node.hub.unavailable_reason,
            lambda: f"{why!r}: {node.hub.unavailable_reason}",
        )
    finally:
        await node.stop()


async def test_by_unix_socket(own_redis: Redis, node: Start, tmp_path: Path) -> None:
    own_redis("--unixsocket", str(tmp_path / "sock"))
    await works(await node(f"unix://{tmp_path}/sock?db=3"))


async def test_by_password_and_by_user_with_the_least_rights(own_redis: Redis, node: Start) -> None:
    redis = own_redis()
    redis.ask("ACL", "SETUSER", "somebody", *PERMITTED.split())
    redis.ask("CONFIG", "SET", "requirepass", "pass")
    place = f"127.0.0.1:{redis.port}"
    await works(await node(f"redis://:pass@{place}"))
    await works(await node(f"redis://somebody:s3cret@{place}/1"))
    await does_not_connect(f"redis://{place}", "NOAUTH")
    await does_not_connect(f"redis://:wrong@{place}", "WRONGPASS")
    await does_not_connect(f"redis://somebody:s3cret@{place}/1", "lacks a permission", prefix="other:")


async def test_by_tls_with_a_certificate_that_is_checked(own_redis: Redis, node: Start, tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path, "127.0.0.1")
    port = free_port()
    options = ("--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key))
    try:
        own_redis(*options, "--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no")
    except AssertionError as error:
        pytest.skip(f"this redis-server knows no TLS: {error}")
    await works(await node(f"rediss://127.0.0.1:{port}", ca_file=str(certificate)))
    await does_not_connect(f"rediss://127.0.0.1:{port}", "certificate verify failed")
    await does_not_connect(f"rediss://localhost:{port}", "DNSMismatch", ca_file=str(certificate))


@pytest.mark.parametrize("content", [None, "nothing", "-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----"])
async def test_certificates_that_are_none_stop_the_start(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "ca").write_text(content)
    node = Node("rediss://127.0.0.1", ca_file=str(tmp_path / "ca"))
    with pytest.raises(BackendUnusable, match=r"backend\.ca_file"):
        await node.hub.start()


async def test_a_replica_is_not_used(own_redis: Redis) -> None:
    redis = own_redis("--replicaof", "127.0.0.1 1")
    await does_not_connect(redis.url, "replica")


async def test_where_nobody_listens_that_is_said() -> None:
    await does_not_connect(f"redis://127.0.0.1:{free_port()}", "refused")


HTTP = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<html>"
IMPOSTORS = {
    "http": (HTTP, "does not speak the protocol of Redis"),
    "ssh": (b"SSH-2.0-x\r\n", "does not speak the protocol of Redis"),
    "simple string": (b"+OK\r\n", "does not answer like a Redis server"),
    "number": (b":1\r\n", "does not answer like a Redis server"),
    "null": (b"$-1\r\n", "does not answer like a Redis server"),
    "empty list": (b"*0\r\n", "does not answer like a Redis server"),
    "error": (b"-WHAT is this\r\n", "WHAT is this"),
    "two replies": (b"+OK\r\n:1\r\n:1\r\n", "does not answer like a Redis server"),
}


@pytest.mark.parametrize("is_sentinel", [False, True])
@pytest.mark.parametrize("reply", IMPOSTORS)
async def test_a_server_that_is_no_redis_is_named_in_one_sentence(reply: str, *, is_sentinel: bool) -> None:
    """A traceback in the log would fail the test."""
    from twisted.internet import reactor

    raw, why = IMPOSTORS[reply]
    if is_sentinel:
        why = "no Sentinel names a master"
    endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    port: Any = await endpoint.listen(Factory.forProtocol(partial(Impostor, raw)))
    place = f"127.0.0.1:{port.getHost().port}"
    url = f"redis+sentinel://{place}/mymaster" if is_sentinel else f"redis://{place}"
    await does_not_connect(url, why, publish_timeout=0.5)
    await port.stopListening()


async def test_an_error_reply_that_is_not_known_is_refused_as_unavailable(own_redis: Redis, node: Start) -> None:
    redis = own_redis()
    one = await node(redis.url)
    ear = await works(one)
    redis.ask("SET", "pushd:log", "not a log")
    for _ in range(2):
        for ask in (
            one.publish("a", "x"),
            one.ear("c"),
            one.hub.queries.status(DAEMON, "a"),
            one.hub.queries.channels(DAEMON, "", "", 1),
        ):
            with pytest.raises(Unavailable, match="Redis refused a command"):
                await ask
    await until(lambda: one.hub.unavailable_reason, "that it shows")
    redis.ask("DEL", "pushd:log")
    await one.until_well()
    await one.publish("a", "3")
    await until(lambda: ear.texts[-1] == "3", "the message after the error")


def _certificate(folder: Path, address: str) -> tuple[Path, Path]:
    """Make a certificate for an address that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis")])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    certificate = builder.sign(key, hashes.SHA256())
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@pytest.mark.system
async def test_lost_connection_with_pending_calls_does_not_block_the_reactor(own_redis: Redis, node: Start) -> None:
    redis = own_redis("--appendonly", "yes")
    one = await node(redis.url)
    redis.freeze()
    calls: list[Deferred[Any]] = [
        Deferred.fromCoroutine(one.hub.queries.history(DAEMON, ("a",), NOW, 10, 1000)) for _ in range(3)
    ]
    calls.append(Deferred.fromCoroutine(one.backend.kick("alice")))
    with ReactorTurns() as turns:
        redis.kill()
        await until(lambda: one.backend._commands.link.protocol is None, "the loss")
        redis.start()
        for call in calls:
            await call
    assert turns.longest < 1.0
