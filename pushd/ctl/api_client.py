"""A client of the daemon's HTTP API."""

import json
import socket
from argparse import Namespace
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from pushd.ctl.credential import Credential, choose_credential
from pushd.ctl.errors import CredentialRefused, RequestRefused, TemporarilyRefused, Unreachable

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

_TIMEOUT_SECONDS = 30.0
"""Read timeout; streams send a keepalive every 25 s."""
_TEMPORARY_STATUSES = (429, 503)
"""Statuses after which a retry may succeed."""


class ApiClient:
    """A client of one daemon, given the address of its HTTP listener.

    :param url: ``http://HOST[:PORT][/PATH]`` or ``https://…``.
    :param credential: sent with each request; None: nothing.
    :raises ValueError: when the URL has another form.
    """

    def __init__(self, url: str, credential: Credential | None = None) -> None:
        self.credential = credential or Credential()
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(
                f"address must be http:// or https:// with a host, such as http://localhost:8080 (got {url!r})"
            )
        self._connection_class = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path.rstrip("/")
        self._display_url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{self._path}"
        host = f"[{self._host}]" if ":" in self._host else self._host
        port = "" if self._port in (None, self._connection_class.default_port) else f":{self._port}"
        self._authority = f"{host}{port}"
        self.origin = f"{parts.scheme}://{self._authority}"
        """Origin of pages served at this address, as browsers serialize it (RFC 6454, section 6.2)."""

    def open(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float = _TIMEOUT_SECONDS,
        accept: int | None = None,
    ) -> HTTPResponse:
        """Send a request and return the response, whose body has not been read yet.

        :param query: query parameters; those that are None are omitted.
        :param seconds: read timeout.
        :param accept: a status of 400 or above that is an answer too.
        :raises Unreachable: when there is no response.
        :raises RequestRefused: when the status is another one of 400 or above.
        """
        connection = self.connection(seconds)
        try:
            connection.request(method, self.target(path, query), body, {**self.credential.headers(), **(headers or {})})
            response = connection.getresponse()
        except (OSError, HTTPException) as error:
            raise self.unreachable(error) from error
        if response.status >= 400 and response.status != accept:
            raise _refusal(response.status, response.reason, _read_body(response))
        return response

    def connection(self, seconds: float = _TIMEOUT_SECONDS) -> HTTPConnection:
        """Return a connection, which is opened by its first request.

        :param seconds: read timeout.
        """
        return self._connection_class(self._host, self._port, timeout=seconds)

    def target(self, path: str, query: Mapping[str, object] | None = None) -> str:
        """Return the request target (RFC 9112, section 3.2) for a path; query parameters that are None are omitted."""
        parameters = {name: value for name, value in (query or {}).items() if value is not None}
        return self._path + path + ("?" + urlencode(parameters) if parameters else "")

    def unreachable(self, error: Exception) -> Unreachable:
        """Return the exception for a failed connection or request."""
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Unreachable(f"{self._display_url} cannot be reached: {reason}")

    def connect(self) -> socket.socket:
        """Return a connected socket for requests that are encoded by `encode_head`.

        :raises Unreachable: when the connection cannot be opened.
        """
        connection = self.connection()
        try:
            connection.connect()
        except OSError as error:
            raise self.unreachable(error) from error
        sock: socket.socket = connection.sock
        return sock

    def encode_head(self, method: str, path: str, lines: str = "") -> bytes:
        """Return the encoded request line and headers (RFC 9112, section 3).

        :param lines: additional header lines, each terminated by CRLF.
        """
        request = f"{method} {self.target(path)} HTTP/1.1\r\nHost: {self._authority}\r\n{lines}\r\n"
        return request.encode("ascii")

    def websocket(self, path: str, query: Mapping[str, object], subprotocol: str) -> "ClientConnection":
        """Return an open WebSocket. Raises the same exceptions as `open`."""
        # Imported lazily: this import takes longer than the start of the rest of the program.
        from websockets.exceptions import InvalidHandshake, InvalidStatus
        from websockets.sync.client import connect
        from websockets.typing import Subprotocol

        scheme = "wss" if self._connection_class is HTTPSConnection else "ws"
        try:
            return connect(
                f"{scheme}://{self._authority}{self.target(path, query)}",
                subprotocols=[Subprotocol(subprotocol)],
                additional_headers=self.credential.headers(),
                open_timeout=_TIMEOUT_SECONDS,
                ping_interval=_TIMEOUT_SECONDS,
                max_size=None,
                compression=None,
                proxy=None,
            )
        except InvalidStatus as error:
            response = error.response
            raise _refusal(response.status_code, response.reason_phrase, bytes(response.body or b"")) from error
        except InvalidHandshake as error:
            raise RequestRefused(f"{self._display_url} did not respond as pushd does: {error}") from error
        except OSError as error:
            raise self.unreachable(error) from error

    def request_json(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: bytes | None = None,
        *,
        accept: int | None = None,
    ) -> Any:
        """Send a request and return the decoded JSON body. Takes and raises the same as `open`."""
        response = self.open(method, path, query, body, accept=accept)
        try:
            return json.loads(response.read())
        except (OSError, HTTPException, ValueError) as error:
            raise RequestRefused(f"{self._display_url} did not respond as pushd does") from error

    def request_text(self, method: str, path: str) -> str:
        """Send a request and return the body, which is UTF-8. Raises the same exceptions as `open`."""
        response = self.open(method, path)
        try:
            return response.read().decode("utf-8", "replace")
        except (OSError, HTTPException) as error:
            raise self.unreachable(error) from error


def api_of(args: Namespace) -> ApiClient:
    """Return a client of the daemon that ``--url`` names, with the token that the command line or the environment has.

    :raises ValueError: when the URL is invalid.
    :raises CtlError: when the token is.
    """
    return ApiClient(args.url, choose_credential(args))


def quote_path(name: str) -> str:
    """Return comma-separated topics, percent-encoded for the path of a URL."""
    return quote(name, safe="/,*")


def _refusal(status: int, reason: str, body: bytes) -> RequestRefused:
    try:
        error = json.loads(body)["error"]
        sentence = f"{error['code']}: {error['message']}"
    except (ValueError, LookupError, TypeError):
        sentence = f"request refused with {status} {reason}"
    kind = CredentialRefused if status == 401 else RequestRefused
    return (TemporarilyRefused if status in _TEMPORARY_STATUSES else kind)(sentence)


def _read_body(response: HTTPResponse) -> bytes:
    try:
        return response.read(65536)
    except (OSError, HTTPException):
        return b""
