"""The daemon's HTTP door, from outside."""

import json
import socket
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from pushd.ctl.errors import Later, NotReachable, Refused

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

_SECONDS = 30.0
"""Without a word of the daemon, which on a stream gives a sign of life every 25 s."""
_LATER = (429, 503)
"""Statuses that may be another one soon."""


class Web:
    """A daemon by the address of its HTTP listener.

    :param url: ``http://HOST[:PORT][/PATH]`` or ``https://…``.
    :raises ValueError: it is no such address.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{url!r} is not an address such as http://localhost:8080")
        self._kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path.rstrip("/")
        self._shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{self._path}"
        host = f"[{self._host}]" if ":" in self._host else self._host
        port = "" if self._port in (None, self._kind.default_port) else f":{self._port}"
        self._authority = f"{host}{port}"
        self.origin = f"{parts.scheme}://{self._authority}"
        """Of the pages that are served there, as a browser says it (RFC 6454, section 6.2)."""

    def open(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HTTPResponse:
        """Ask, and give the answer with its body still to be read.

        :param query: parameters; those that are None are left out.
        :raises NotReachable: nobody answers.
        :raises Refused: the answer is a no.
        """
        connection = self.connection()
        try:
            connection.request(method, self.target(path, query), body, dict(headers or {}))
            response = connection.getresponse()
        except (OSError, HTTPException) as error:
            raise self.not_reachable(error) from error
        if response.status >= 400:
            raise _refused(response.status, response.reason, _body_of(response))
        return response

    def connection(self, seconds: float = _SECONDS) -> HTTPConnection:
        """Make a connection, which opens with its first request.

        :param seconds: of silence that are waited through.
        """
        return self._kind(self._host, self._port, timeout=seconds)

    def target(self, path: str, query: Mapping[str, object] | None = None) -> str:
        """Give the target of a request; parameters that are None are left out."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        return self._path + path + ("?" + urlencode(given) if given else "")

    def not_reachable(self, error: Exception) -> NotReachable:
        """Say that nobody answers, and why."""
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return NotReachable(f"{self._shown} can not be reached: {reason}")

    def connect(self) -> socket.socket:
        """Open a connection to send requests on by hand.

        :raises NotReachable: nobody answers.
        """
        connection = self.connection()
        try:
            connection.connect()
        except OSError as error:
            raise self.not_reachable(error) from error
        sock: socket.socket = connection.sock
        return sock

    def head(self, method: str, path: str, lines: str = "") -> bytes:
        """Encode the head of a request (RFC 9112, section 3).

        :param lines: header lines, each ended by CRLF.
        """
        request = f"{method} {self.target(path)} HTTP/1.1\r\nHost: {self._authority}\r\n{lines}\r\n"
        return request.encode("ascii")

    def websocket(self, path: str, query: Mapping[str, object], subprotocol: str) -> "ClientConnection":
        """Open a WebSocket. Raises as `open` does."""
        # Only who needs it waits for this: it takes longer than all else of the program.
        from websockets.exceptions import InvalidHandshake, InvalidStatus
        from websockets.sync.client import connect
        from websockets.typing import Subprotocol

        scheme = "wss" if self._kind is HTTPSConnection else "ws"
        try:
            return connect(
                f"{scheme}://{self._authority}{self.target(path, query)}",
                subprotocols=[Subprotocol(subprotocol)],
                open_timeout=_SECONDS,
                ping_interval=_SECONDS,
                max_size=None,
                compression=None,
                proxy=None,
            )
        except InvalidStatus as refusal:
            answer = refusal.response
            raise _refused(answer.status_code, answer.reason_phrase, bytes(answer.body or b"")) from refusal
        except InvalidHandshake as error:
            raise Refused(f"{self._shown} does not answer as pushd does: {error}") from error
        except OSError as error:
            raise self.not_reachable(error) from error

    def ask(self, method: str, path: str, query: Mapping[str, object] | None = None) -> Any:
        """Ask for JSON; give its value. Raises as `open` does."""
        response = self.open(method, path, query)
        try:
            return json.loads(response.read())
        except (OSError, HTTPException, ValueError) as error:
            raise Refused(f"{self._shown} does not answer as pushd does") from error


def in_path(name: str) -> str:
    """Encode channels, patterns and what joins them for the path of an address."""
    return quote(name, safe="/,*")


def _refused(status: int, reason: str, body: bytes) -> Refused:
    try:
        error = json.loads(body)["error"]
        sentence = f"{error['code']}: {error['message']}"
    except (ValueError, LookupError, TypeError):
        sentence = f"refused with {status} {reason}"
    return (Later if status in _LATER else Refused)(sentence)


def _body_of(response: HTTPResponse) -> bytes:
    try:
        return response.read(65536)
    except (OSError, HTTPException):
        return b""
