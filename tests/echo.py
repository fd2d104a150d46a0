"""`python -m tests.echo [PORT]`: pushd with an additional address that echoes WebSocket messages.

It is for conformance suites of RFC 6455: run one against ws://127.0.0.1:9001/echo/any. The echo uses the HTTP server,
the WebSocket reader and the limits of the daemon. No setting of the daemon enables it.
"""

import sys
import time
from typing import Any

from twisted.logger import globalLogBeginner, textFileLogObserver

from pushd.config.loader import load
from pushd.service.daemon import Daemon
from pushd.service.routes import Root
from pushd.transports.websocket import WebSocket, WebSocketResource
from pushd.wire.websocket_frames import BINARY, TEXT, frame

MESSAGE = "8MiB"
"""Frames and messages may be twice as large: 16 MiB, the largest that the Autobahn suite sends."""


class Echo(WebSocket):
    """A WebSocket that echoes messages."""

    __slots__ = ()

    def message(self, payload: bytes, is_binary: bool) -> None:
        """Echo a message."""
        self.write(frame(BINARY if is_binary else TEXT, payload))


class EchoResource(WebSocketResource):
    """The resource of the echo."""

    opens = Echo


class EchoDaemon(Daemon):
    """The daemon with the echo."""

    def _make_root(self) -> Root:
        root, keepalive = super()._make_root(), self._keepalive
        echo = EchoResource(
            self._context,
            self.hub,
            self._reactor,
            keepalive.ping,
            keepalive.pongs,
            keepalive.messages,
            keepalive.credentials,
        )
        root.transports.append(echo)
        root.putChild(b"echo", echo)
        return root


def main(port: int) -> None:
    """Serve until a signal arrives; the address is logged."""
    from twisted.internet import reactor

    clock: Any = reactor
    clock.seconds = time.monotonic
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
    listen = {"http.listen": [f"tcp:{port}:interface=127.0.0.1"], "tcp.listen": []}
    daemon = EchoDaemon(load(None, {}, listen | {"limits.message": [MESSAGE]}), clock)
    daemon.privilegedStartService()
    daemon.startService()
    clock.addSystemEventTrigger("before", "shutdown", daemon.stopService)
    clock.run()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9001)
