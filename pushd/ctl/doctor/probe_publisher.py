"""The publisher of a probe run: it publishes as a web page would, else as a program, else directly to pushd."""

import time
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException

from pushd.client import ConnectionFailed, Refused
from pushd.ctl.api_client import ApiClient, quote_path
from pushd.ctl.doctor.diagnosis import PUBLISHED_STATUSES
from pushd.ctl.doctor.observation import Response
from pushd.ctl.doctor.probe_subscriber import read_response, server_headers
from pushd.ctl.raw_connections import http_connection, unreachable

_TIMEOUT_SECONDS = 30.0
_PADDING = "." * 1000
"""Prepended to the first message: some proxies compress, and so buffer, only bodies of more than some hundred bytes.
The other messages are short, so that they do not overflow a proxy's buffer.
"""
BODY_BYTES = 2 << 20
"""Size of the large batch: twice the default limit of nginx, well below that of pushd."""


class ProbePublisher:
    """Publishes markers to one channel.

    :param through: the address to check.
    :param direct: pushd itself; may be the same.
    :param ttl: seconds after which the messages expire if the channel is not deleted.
    """

    def __init__(self, through: ApiClient, direct: ApiClient, channel: str, ttl: float) -> None:
        self.responses: list[Response] = []
        """Responses to the first publish, as far as it went through the proxies."""
        self.later_refusal: Response | None = None
        """Response to a later publish that was refused."""
        self.servers: set[str] = set()
        """Values of the ``Server`` and ``Via`` headers of all responses."""
        self.can_publish = False
        """Whether one of the routes accepts publishes."""
        self._channel, self._path, self._ttl = channel, f"/pub/{quote_path(channel)}", ttl
        self._routes: list[tuple[ApiClient, Mapping[str, str]]] = [
            (through, {"Origin": through.address.origin}),
            (through, {}),
        ]
        self._through = through
        if direct is not through:
            self._routes.append((direct, {}))

    def publish_first(self, marker: str) -> None:
        """Publish the first marker by the first route that accepts it.

        :raises ConnectionFailed: when the address to check cannot be connected to.
        """
        while self._routes and not self.can_publish:
            try:
                response = self._publish(f"{_PADDING}{marker}")
            except ConnectionFailed as error:
                if not self.responses:
                    raise
                response = Response(0, error=str(error))
            if self._is_through_proxies:
                self.responses.append(response)
            self.can_publish = response.status in PUBLISHED_STATUSES
            if not self.can_publish:
                self._routes.pop(0)

    def publish(self, marker: str, *, end: bool = False) -> bool:
        """Publish a marker; return whether it was accepted. Raises the same exceptions as `publish_first`."""
        response = self._publish(marker, end)
        if response.status not in PUBLISHED_STATUSES:
            self.later_refusal = response
        return response.status in PUBLISHED_STATUSES

    def send_large_body(self) -> Response | None:
        """Send a large batch without messages; return None if publishes do not go through the proxies."""
        if not self._is_through_proxies:
            return None
        return self._request("POST", "/pub", {}, b" " * BODY_BYTES, "application/x-ndjson")

    def client_addresses(self) -> set[str]:
        """Return the subscribers' addresses as pushd sees them; empty if ``/connections`` is unavailable."""
        api, _ = self._routes[0]
        try:
            return {
                str(each["address"]) for each in api.request_json("GET", "/connections", {"channel": self._channel})
            }
        except (Refused, ConnectionFailed, LookupError, TypeError):
            return set()

    def delete_channel(self) -> bool:
        """Delete the channel; return whether it no longer exists."""
        if not self._routes:
            return True
        while self._routes:
            if self._request("DELETE", self._path, {}).status in (200, 404):
                return True
            self._routes.pop(0)
        return False

    @property
    def _is_through_proxies(self) -> bool:
        return self._routes[0][0] is self._through

    def _publish(self, marker: str, end: bool = False) -> Response:
        query = {"ttl": self._ttl, "end": 1 if end else None}
        return self._request("POST", self._path, query, marker.encode(), "text/plain")

    def _request(
        self, method: str, path: str, query: Mapping[str, object], body: bytes | None = None, content_type: str = ""
    ) -> Response:
        api, route_headers = self._routes[0]
        headers = {**api.credential.headers(), **route_headers} | (
            {"Content-Type": content_type} if content_type else {}
        )
        connection = http_connection(api.address, _TIMEOUT_SECONDS)
        try:
            connection.connect()
        except OSError as error:
            raise unreachable(api.address, error) from error
        start = time.monotonic()
        try:
            with suppress(ConnectionError):  # a refusal may arrive before the body was sent completely
                connection.request(method, api.address.target(path, query), body, headers)
            response = connection.getresponse()
            self.servers.update(server_headers(response))
            return read_response(response, time.monotonic() - start)
        except (OSError, HTTPException) as error:
            return Response(0, error=f"no response: {error}")
        finally:
            connection.close()
