"""Subscribes by the TCP line protocol."""

import json
import re
from collections.abc import Iterable
from io import BufferedReader

from pushd.client import ConnectionFailed, Refused
from pushd.client.core.address import Address
from pushd.client.core.interface import Closed, Connection, HttpRequest, HttpResponse
from pushd.client.core.refusals import refusal
from pushd.client.network.deadline_socket import DeadlineSocket
from pushd.client.network.sync_http import SyncHttp
from pushd.client.network.sync_subscription import SyncSubscriptionNetwork
from pushd.ctl.raw_connections import unreachable
from pushd.ctl.wires.request import parameters_of, token_of, topics_of

_ENDPOINT = "localhost", 8081
_IDLE_SECONDS = 86400.0
"""The line protocol has no keepalive, so TCP keepalive detects a lost peer."""
_EXPIRING = re.compile(rb"EXPIRING ([0-9]{1,11})\s")
"""The line that precedes the expiry of the token."""
_END = b'{"type":"end"'
_ENDED = Closed(4410, "all channels have ended")
_OPTIONS = ("since", "slow", "responder")


class TcpNetwork(SyncSubscriptionNetwork):
    """Opens connections of lines.

    :param endpoint: host and port.
    """

    def __init__(
        self, address: Address, http: SyncHttp, max_message_bytes: int, endpoint: tuple[str, int] = _ENDPOINT
    ) -> None:
        super().__init__(address, http, max_message_bytes)
        self._endpoint = endpoint

    async def open_stream(self, request: HttpRequest, idle_seconds: float) -> tuple[HttpResponse, Connection | None]:
        """See `SyncSubscriptionNetwork`."""
        sock = DeadlineSocket(*self._endpoint)
        sock.set_seconds(request.seconds)
        self.shut_down_by(sock.shut_down)
        try:
            sock.connect(None)
            sock.sendall(_commands(request))
        except OSError as error:
            sock.close()
            raise unreachable("{}:{}".format(*self._endpoint), error) from error
        return HttpResponse(200, {}), TcpConnection(sock, topics_of(request).split(","))


class TcpConnection:
    """Receives lines, until all channels have ended: then the daemon keeps the connection open."""

    def __init__(self, sock: DeadlineSocket, topics: Iterable[str]) -> None:
        self._socket = sock
        self._open = set(topics)
        self._lines: BufferedReader = sock.makefile("rb")

    async def receive(self) -> bytes | str | Closed:
        """Return the next object.

        :raises ConnectionFailed: when the connection is lost.
        :raises Refused: when the daemon refuses a command, or ends the subscription.
        """
        if not self._open:
            return _ENDED
        self._socket.set_seconds(_IDLE_SECONDS)
        try:
            while (line := self._lines.readline()).endswith(b"\n"):
                if line.startswith(b"-ERR "):
                    raise _refusal(line)
                if expiring := _EXPIRING.match(line):
                    return json.dumps({"type": "expiring", "at": int(expiring[1])})
                if line.startswith(b"{"):
                    if line.startswith(_END):
                        self._open.discard(json.loads(line)["channel"])
                    return line.decode("utf-8", "replace")
        except OSError as error:
            raise ConnectionFailed(f"the connection was lost: {error.strerror or error}") from error
        if line:
            raise ConnectionFailed("the connection was lost within a line")
        return Closed(None)

    async def send(self, text: str) -> None:
        """Refuse: the token is renewed by HTTP."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the connection."""
        self._socket.shut_down()
        self._lines.close()
        self._socket.close()


def auth_line(token: str | None) -> str:
    """Return the TCP command that authenticates the connection; empty without a token."""
    return "" if token is None else f"AUTH {token}\r\n"


def _commands(request: HttpRequest) -> bytes:
    """Return the commands of a subscription."""
    parameters = parameters_of(request)
    options = "".join(f" {name}={parameters[name]}" for name in _OPTIONS if name in parameters)
    return f"{auth_line(token_of(request))}FORMAT json\r\nSUB {topics_of(request)}{options} begin=1\r\n".encode()


def _refusal(line: bytes) -> Refused:
    """Return the exception for ``-ERR CODE SENTENCE``."""
    code, _, sentence = line[5:].decode("utf-8", "replace").strip().partition(" ")
    return refusal(code, sentence)
