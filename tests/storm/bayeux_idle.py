"""Measures idle long polls of Bayeux: `python -m tests.storm.bayeux_idle [COUNT]` prints KiB each, and threads."""

import json
import resource
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from tests.daemon.clients import SECONDS
from tests.daemon.real import Daemon

_WARM = 200
"""Sessions before the measurement, so that what is allocated once does not count."""


class _Session:
    """A session with a held connect."""

    def __init__(self, port: int, number: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        fields = {"version": "1.0", "supportedConnectionTypes": ["long-polling"], "ext": {"ack": True}}
        self._id = ""
        self._id = self._ask("/meta/handshake", **fields)["clientId"]
        self._ask("/meta/connect", connectionType="long-polling")
        self._ask("/meta/subscribe", subscription=f"/room/{number % 100}")
        self._send("/meta/connect", connectionType="long-polling", advice={"timeout": 300_000}, ext={"ack": 0})

    def _send(self, channel: str, **content: Any) -> None:
        body = json.dumps([{"channel": channel, "clientId": self._id, **content}]).encode()
        fields = "Host: localhost", "Content-Type: application/json", f"Content-Length: {len(body)}"
        self._socket.sendall("\r\n".join(["POST /cometd HTTP/1.1", *fields, "", ""]).encode() + body)

    def _ask(self, channel: str, **fields: Any) -> Any:
        self._send(channel, **fields)
        received = b""
        while not received.endswith(b"}]"):
            piece = self._socket.recv(65536)
            assert piece, received
            received += piece
        return json.loads(received.partition(b"\r\n\r\n")[2])[0]


def main(count: int = 10_000) -> None:
    """Open the sessions, and print what each takes."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder), "--dialects", "bayeux")
        try:
            process = psutil.Process(daemon.pid)
            sessions = [_Session(daemon.http_port, number) for number in range(_WARM)]
            before = process.memory_info().rss
            sessions += [_Session(daemon.http_port, number) for number in range(count)]
            time.sleep(1)
            each = (process.memory_info().rss - before) / count / 1024
            print(f"{len(sessions)} idle long polls: {each:.1f} KiB each, {process.num_threads()} threads")
        finally:
            daemon.stop()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
