"""The subscribers of a probe run: one thread per transport, which records what arrives when."""

import json
import socket
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http.client import HTTPException, HTTPMessage, HTTPResponse
from threading import Condition, Thread
from typing import NamedTuple

from pushd.ctl.api_client import ApiClient, quote_path
from pushd.ctl.doctor.observation import Observation, Response
from pushd.ctl.doctor.websocket_client import WebSocketClosed, build_handshake, is_accepted, new_key, receive_payloads
from pushd.ctl.raw_connections import http_connection

_BLOCK = 65536
_SERVER_HEADERS = ("Server", "Via")
_REQUEST_HEADERS: dict[str, str] = {"Accept-Encoding": "gzip"}
"""As browsers send; some proxies buffer what they compress."""


class ProbeTransport(NamedTuple):
    """A transport, and the request that subscribes by it."""

    name: str
    path: str
    query: Mapping[str, object] = {}
    is_poll: bool = False
    is_websocket: bool = False


PROBE_TRANSPORTS = (
    ProbeTransport("sse", "/sse/"),
    ProbeTransport("stream", "/stream/"),
    ProbeTransport("raw", "/stream/", {"format": "raw"}),
    ProbeTransport("multipart", "/multipart/"),
    ProbeTransport("mixed", "/mixed/"),
    ProbeTransport("longpoll", "/longpoll/", is_poll=True),
    ProbeTransport("websocket", "/ws/", is_websocket=True),
)


class ProbeSubscriber:
    """Subscribes to a channel by one transport until the stream ends, fails, or is closed.

    :param markers: markers of the expected messages, the last one last.
    :param changed: notified of each change; its lock guards the observation.
    :param idle_timeout: read timeout in seconds.
    """

    def __init__(
        self,
        transport: ProbeTransport,
        api: ApiClient,
        channel: str,
        markers: tuple[str, ...],
        changed: Condition,
        idle_timeout: float,
    ) -> None:
        self.observation = Observation(transport.name, transport.is_websocket)
        self.is_finished = False
        self.servers: set[str] = set()
        """Values of the ``Server`` and ``Via`` headers of all responses."""
        self.local_address = ""
        """Local address of the connection."""
        self._transport, self._api, self._markers, self._changed = transport, api, markers, changed
        self._channel, self._idle_timeout = channel, idle_timeout
        self._socket: socket.socket | None = None
        self._body = b""
        self._thread = Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self.observation.requested_at = time.monotonic()
        self._thread.start()

    def close(self) -> None:
        """Close the connection; the observation does not change any more."""
        with self._changed:
            self.is_finished = True
        if self._socket is not None:
            with suppress(OSError):  # already closed
                self._socket.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join(1.0)

    def has_received(self, marker: str) -> bool:
        """Return whether the message with this marker has arrived."""
        return marker in self.observation.received

    def _run(self) -> None:
        reason = "closed"
        try:
            if self._transport.is_poll:
                reason = self._poll()
            else:
                self._stream()
        except WebSocketClosed as error:
            reason = str(error)
        except (OSError, HTTPException, zlib.error) as error:
            reason = "broken off"
            if self.observation.response is None:
                self._set_response(Response(0, error=str(error) or type(error).__name__))
        with self._changed:
            if not self.is_finished:
                self.observation.closed_at = time.monotonic()
                self.observation.close_reason = reason
                self.is_finished = True
            self._changed.notify_all()

    def _stream(self) -> None:
        key = new_key()
        headers = build_handshake(key) | {"Origin": self._api.address.origin} if self._transport.is_websocket else {}
        sock, response = self._request({"since": "all"}, headers)
        if self._transport.is_websocket and response.status == 403:
            self.observation.is_origin_refused = True
            sock, response = self._request({"since": "all"}, build_handshake(key))
        self._set_response(read_response(response, time.monotonic() - self.observation.requested_at), response.headers)
        if response.status == 200:
            for data in _decoded(response):
                self._receive(data)
        elif response.status == 101:
            if not is_accepted(response.headers.get("Sec-WebSocket-Accept", ""), key):
                raise WebSocketClosed("closed by pushctl: wrong Sec-WebSocket-Accept in the handshake")
            for data in receive_payloads(response.fp.read1, sock.sendall):
                self._receive(data)

    def _poll(self) -> str:
        since = "all"
        while True:
            self.observation.activity.append(time.monotonic())
            _, response = self._request({"since": since}, {})
            body = b"".join(_decoded(response)) if response.status == 200 else b""
            if self.observation.response is None:
                self._set_response(
                    read_response(response, time.monotonic() - self.observation.requested_at), response.headers
                )
            if response.status not in (200, 204, 304):
                return str(response.status)
            self._receive(body)
            since = response.headers.get("Pushd-Id") or since
            if self.has_received(self._markers[-1]) or self.is_finished:
                return "done"

    def _request(self, query: Mapping[str, object], headers: Mapping[str, str]) -> tuple[socket.socket, HTTPResponse]:
        if self._socket is not None:
            self._socket.close()
        connection = http_connection(self._api.address, self._idle_timeout)
        connection.connect()
        self._socket = sock = connection.sock
        self.local_address = sock.getsockname()[0]
        target = self._api.address.target(
            self._transport.path + quote_path(self._channel), {**self._transport.query, **query}
        )
        connection.request("GET", target, headers=_REQUEST_HEADERS | self._api.credential.headers() | dict(headers))
        response = connection.getresponse()
        self.servers.update(server_headers(response))
        return sock, response

    def _set_response(self, response: Response, headers: HTTPMessage | None = None) -> None:
        with self._changed:
            self.observation.response = response
            if headers is not None:
                self.observation.content_type = headers.get_content_type()
                self.observation.content_encoding = headers.get("Content-Encoding", "")
            self._changed.notify_all()

    def _receive(self, data: bytes) -> None:
        now, body = time.monotonic(), self._body + data
        self._body = body[-_BLOCK:]
        with self._changed:
            self.observation.activity.append(now)
            for marker in self._markers:
                if marker not in self.observation.received and marker.encode() in body:
                    self.observation.received[marker] = now
            self._changed.notify_all()


def read_response(response: HTTPResponse, seconds: float) -> Response:
    """Return status and error code of a response; the body of a refusal is read to see whether it is from pushd.

    :param seconds: time since the request.
    """
    code = ""
    if response.status >= 400:
        try:
            code = str(json.loads(_decoder(response)(response.read(_BLOCK)))["error"]["code"])
        except (OSError, HTTPException, zlib.error, ValueError, LookupError, TypeError):
            code = ""
    return Response(response.status, code, seconds)


def server_headers(response: HTTPResponse) -> Iterator[str]:
    """Yield the values of the ``Server`` and ``Via`` headers."""
    for name in _SERVER_HEADERS:
        yield from response.headers.get_all(name, [])


def _decoded(response: HTTPResponse) -> Iterator[bytes]:
    """Yield the decoded bytes of a body as they arrive."""
    decode = _decoder(response)
    while data := response.read1(_BLOCK):
        yield decode(data)


def _decoder(response: HTTPResponse) -> Callable[[bytes], bytes]:
    is_gzip = response.headers.get("Content-Encoding") == "gzip"
    return zlib.decompressobj(wbits=31).decompress if is_gzip else bytes
