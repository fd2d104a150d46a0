"""Every way to reach a Redis is a way to the same log, and what is not the Redis that is meant is not used."""

import datetime
import ipaddress
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pushd.backends.interface import BackendUnusable
from tests.backends.nodes import Node
from tests.backends.redis_server import RedisServer, free_port, until

Start = Callable[..., Awaitable[Node]]
Redis = Callable[..., RedisServer]

PERMITTED = """on >s3cret resetkeys ~pushd:* resetchannels &* -@all +eval +evalsha +publish +subscribe +psubscribe
+unsubscribe +punsubscribe +select +role +info +time +@read +@write +exists"""
"""What docs/operations or README say that a user of pushd needs."""


async def works(node: Node) -> None:
    """See that a message goes through."""
    ear = await node.ear("a", "b/*")
    await node.publish("a", "1")
    await node.publish("b/c", "2")
    await until(lambda: ear.texts == ["1", "2"], "the messages")


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
