"""Many subscribers of one subject at several nodes, over all transports, and what these nodes need."""

import base64
import hmac
import json
import selectors
import socket
import time
from hashlib import sha256
from pathlib import Path

from tests.daemon.real import Daemon, eventually

SECONDS = 60.0
SECRET = b"a secret of a test, 32 bytes or more"
CONFIG = """[auth.issuer.shop]
issuer = "https://shop.example.org"
audience = "pushd"
algorithms = ["HS256"]
secret_files = ["{secret}"]
"""


def start_nodes(folder: Path, url: str, count: int = 3, more: str = "") -> list[Daemon]:
    """Start nodes on one Redis, and wait until they are ready.

    :param more: further lines of the configuration.
    """
    (folder / "secret").write_bytes(SECRET)
    config = folder / "pushd.toml"
    config.write_text(CONFIG.format(secret=folder / "secret") + more)
    nodes = []
    for number in range(count):
        (folder / f"node{number}").mkdir()
        nodes.append(Daemon(folder / f"node{number}", "--redis", url, "--config", str(config)))
    for each in nodes:
        assert eventually(lambda node=each: node.request("GET", "/health/ready").status == 200, SECONDS), each.log
    return nodes


def token(subject: str, **grant: object) -> str:
    """Return a token that was issued a minute ago."""
    now = int(time.time())
    claims = {"iss": "https://shop.example.org", "aud": "pushd", "sub": subject, "iat": now - 60, "exp": now + 3600}
    parts = [{"alg": "HS256"}, claims | {"pushd": grant}]
    signed = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    signature = hmac.new(SECRET, signed, sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def requests_of(bearer: str) -> list[tuple[str, bytes]]:
    """Return the listener and the first bytes of a subscriber of each transport."""
    head = f"Host: localhost\r\nAuthorization: Bearer {bearer}\r\n"
    upgrade = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: pushd.v1\r\n"
    )
    return [
        ("http", f"GET /sse/a HTTP/1.1\r\n{head}\r\n".encode()),
        ("http", f"GET /ws/a HTTP/1.1\r\n{head}{upgrade}\r\n".encode()),
        ("http", f"GET /longpoll/a?timeout=300 HTTP/1.1\r\n{head}\r\n".encode()),
        ("tcp", f"AUTH {bearer}\r\nSUB a\r\n".encode()),
    ]


class Swarm:
    """Many subscribers of one subject."""

    def __init__(self, nodes: list[Daemon], subject: str, count: int) -> None:
        self._selector = selectors.DefaultSelector()
        self.open: set[socket.socket] = set()
        self.received = b""
        asked = requests_of(token(subject, subscribe=["a"]))
        for number in range(count * len(nodes)):
            node, (listener, data) = nodes[number % len(nodes)], asked[number // len(nodes) % len(asked)]
            port = node.http_port if listener == "http" else node.tcp_port
            sock = socket.create_connection(("127.0.0.1", port), SECONDS)
            sock.sendall(data)
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ)
            self.open.add(sock)

    def read(self, seconds: float) -> float:
        """Read for at most some seconds, or until all are closed or answered by a refusal; return the time of that."""
        until = time.monotonic() + seconds
        last = time.monotonic()
        while self.open and (left := until - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                try:
                    data = sock.recv(1 << 16)
                except ConnectionError:
                    data = b""
                self.received += data if b"s3cret" in data else b""
                if not data or b"HTTP/1.1 401 " in data or b"\x11\x31" in data:  # a close frame with 4401
                    last = time.monotonic()
                    self.open.discard(sock)
                    self._selector.unregister(sock)
                    sock.close()
        return last

    def close(self) -> None:
        """Close all."""
        for sock in self.open:
            sock.close()


def connections(node: Daemon) -> int:
    """Return the number of subscriptions at a node."""
    operator = {"Authorization": f"Bearer {token('ops', operate=['*'])}"}
    metrics = node.request("GET", "/metrics", headers=operator).body.decode()
    lines = [line for line in metrics.splitlines() if line.startswith("pushd_subscriptions{")]
    return sum(int(float(line.rpartition(" ")[2])) for line in lines)
