"""A load test of a running daemon: N subscribers, one publisher; each delivery is checked and timed.

Every message carries its number and send time in a marker that can be found in the frames of any transport.
"""

import resource
import secrets
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from pushd.client import PushdError
from pushd.ctl.api_client import ApiClient, quote_path
from pushd.ctl.bench_client import READ_BYTES, BenchClient, encode_marker
from pushd.ctl.errors import CtlError
from pushd.ctl.latency import Latencies
from pushd.ctl.raw_connections import connect, encode_head, unreachable
from pushd.ctl.wires.tcp import auth_line

_SUBSCRIBE_SECONDS, _DRAIN_SECONDS = 30.0, 10.0
"""Time allowed for all subscriptions to be acknowledged, and for the last messages to arrive."""
_SPARE_FILES = 50
_POLL_SECONDS = 0.05
_MAX_UNACKNOWLEDGED = 1000
"""Maximum number of publishes without an acknowledgement."""
_HANDSHAKE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: cHVzaGN0bCBpcyBoZXJlIQ==\r\n"
)
_PING, _PONG = b"\x89\x00", b"\x8a\x80\x00\x00\x00\x00"
"""An empty ping from the server and the pong that answers it (RFC 6455, section 5.5)."""
_AUTH_REPLIES = b"+OK AUTH ", b"+OK no token"
"""The beginnings of the replies to AUTH."""
BENCH_TRANSPORTS = ("sse", "stream", "mixed", "websocket", "tcp")


class BenchPlan(NamedTuple):
    """The parameters of a load test."""

    transport: str = "sse"
    subscribers: int = 100
    channels: int = 1
    rate: float = 100.0
    """Messages per second."""
    seconds: float = 10.0
    size: int = 100
    """Message size in bytes."""

    @property
    def messages(self) -> int:
        """Total number of messages to publish."""
        return max(1, round(self.rate * self.seconds))


@dataclass
class BenchResult:
    """The figures of a load test."""

    published: int = 0
    expected: int = 0
    """Number of deliveries if nothing is lost."""
    delivered: int = 0
    repeated: int = 0
    """Deliveries that arrived twice or out of order."""
    cut: int = 0
    """Subscriber connections closed by the daemon."""
    seconds: float = 0.0
    """Time from the first publish to the last publish or delivery, whichever is later."""
    busy: float = 0.0
    """Fraction of that time that pushctl itself used the CPU, from 0 to 1."""
    latencies: Latencies = field(default_factory=Latencies)

    @property
    def lost(self) -> int:
        """Number of deliveries that did not arrive."""
        return self.expected - self.delivered

    def as_dict(self) -> dict[str, float]:
        """Return all figures except the latencies, by name."""
        names = ("published", "expected", "delivered", "lost", "repeated", "cut", "seconds", "busy")
        return {name: getattr(self, name) for name in names}

    def format_lines(self, plan: BenchPlan) -> Iterator[str]:
        """Yield lines of text for all figures except the latencies."""
        rate = self.delivered / self.seconds if self.seconds else 0.0
        yield f"published  {self.published:,} messages of {plan.size} bytes in {self.seconds:.1f} s"
        yield f"delivered  {self.delivered:,} of {self.expected:,}, {rate:,.0f} a second"
        yield f"     lost  {self.lost:,}, repeated {self.repeated:,}"
        yield f"      cut  {self.cut:,} of {plan.subscribers:,} connections by {plan.transport}"

    @property
    def is_ok(self) -> bool:
        """Whether every subscriber received every message once and in order."""
        return not (self.lost or self.repeated)


class BenchRun:
    """One execution of a `BenchPlan`.

    :param tcp: host and port of the TCP line listener.
    :param progress: called regularly with a label, the amount done and the total.
    """

    def __init__(
        self, api: ApiClient, tcp: tuple[str, int], plan: BenchPlan, progress: Callable[[str, float, float], None]
    ) -> None:
        self._api = api
        self._tcp = tcp
        self._token = api.credential.token()
        self._plan = plan
        self._progress = progress
        self._authorization = "" if self._token is None else f"Authorization: Bearer {self._token}\r\n"
        self._run_id = secrets.token_hex(4)
        self._channels = [f"bench/{self._run_id}/{number}" for number in range(plan.channels)]
        self._selector = selectors.DefaultSelector()
        self._clients: list[BenchClient] = []
        self._publisher: socket.socket | None = None
        self._acknowledged = 0
        self._partial_line = b""
        self._result = BenchResult()
        self._last_delivery = 0.0
        """Monotonic time of the last delivery in seconds."""

    def run(self) -> BenchResult:
        """Run the load test, then close all connections and delete its channels.

        :raises CtlError: when a subscription or a publish is refused, or a connection fails.
        """
        try:
            self._subscribe_all()
            self._publish()
        except OSError as error:
            raise CtlError(f"connection failed: {error.strerror or error}") from error
        finally:
            for client in self._clients:
                client.socket.close()
            if self._publisher is not None:
                self._publisher.close()
            self._selector.close()
            for channel in self._channels:
                with suppress(PushdError):
                    self._api.request_json("DELETE", f"/pub/{quote_path(channel)}")
        return self._result

    def _subscribe_all(self) -> None:
        plan = self._plan
        for number in range(plan.subscribers):
            client = BenchClient(self._connect(), number % plan.channels)
            self._clients.append(client)
            client.socket.sendall(self._encode_subscribe(self._channels[number % plan.channels]))
            client.socket.setblocking(False)
            self._selector.register(client.socket, selectors.EVENT_READ, client)
            self._progress("subscribing", number + 1, plan.subscribers)
            self._poll(0)
        deadline = time.monotonic() + _SUBSCRIBE_SECONDS
        while not all(client.is_subscribed for client in self._clients):
            if time.monotonic() > deadline:
                raise CtlError(
                    f"{sum(not client.is_subscribed for client in self._clients)} subscriptions were not acknowledged"
                )
            self._poll(_POLL_SECONDS)
        self._publisher = self._connect()
        if plan.transport == "tcp":
            self._publisher.sendall(auth_line(self._token).encode())
        self._publisher.setblocking(False)
        self._selector.register(self._publisher, selectors.EVENT_READ)

    def _publish(self) -> None:
        plan, result = self._plan, self._result
        start, cpu = time.monotonic(), time.process_time()
        self._last_delivery = start
        unsent = b""
        while result.published < plan.messages or unsent:
            elapsed = time.monotonic() - start
            due = min(plan.messages, int(elapsed * plan.rate) + 1, self._acknowledged + _MAX_UNACKNOWLEDGED)
            if result.published < due:
                unsent += b"".join([self._encode_publish(number) for number in range(result.published, due)])
                result.published = due
            unsent = self._send(unsent)
            self._progress("publishing", result.published, plan.messages)
            is_blocked = unsent or result.published == self._acknowledged + _MAX_UNACKNOWLEDGED
            self._poll(_POLL_SECONDS if is_blocked else self._seconds_until_next(start))
        result.expected = sum(
            len(range(client.first_number, result.published, plan.channels)) for client in self._clients
        )
        published = time.monotonic()
        self._wait_for_deliveries()
        result.seconds = max(self._last_delivery, published) - start
        result.busy = (time.process_time() - cpu) / result.seconds

    def _wait_for_deliveries(self) -> None:
        """Read until every message has arrived, or nothing has arrived for `_DRAIN_SECONDS`."""
        result = self._result
        while result.delivered < result.expected and time.monotonic() < self._last_delivery + _DRAIN_SECONDS:
            self._progress("waiting for the last", result.delivered, result.expected)
            self._poll(_POLL_SECONDS)

    def _seconds_until_next(self, start: float) -> float:
        """Return the seconds until the next message is due, at most `_POLL_SECONDS`."""
        return min(_POLL_SECONDS, max(0.0, start + self._result.published / self._plan.rate - time.monotonic()))

    def _poll(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                self._read_acknowledgements()
            else:
                self._read_client(key.data)

    def _read_client(self, client: BenchClient) -> None:
        data, plan = client.read(), self._plan
        if data is None:
            self._selector.unregister(client.socket)
            if not client.is_subscribed:
                raise CtlError("subscription refused: the connection was closed")
            self._result.cut += 1
            return
        if not client.is_subscribed:
            client.is_subscribed = self._is_acknowledged(data)
            if not client.is_subscribed:
                client.unparsed = data
                return
        if plan.transport == "websocket" and _PING in data:
            client.socket.send(_PONG)
        now = time.monotonic_ns()
        for number, sent_at in client.markers(data):
            self._record_delivery(client, number, (now - sent_at) / 1e9)

    def _record_delivery(self, client: BenchClient, number: int, seconds: float) -> None:
        result = self._result
        if number < client.next_number:
            result.repeated += 1
            return
        client.next_number = number + self._plan.channels
        self._last_delivery = time.monotonic()
        result.delivered += 1
        result.latencies.add(seconds)

    def _is_acknowledged(self, data: bytes) -> bool:
        if self._plan.transport == "tcp":
            return b"+OK SUB" in data or self._raise_if_refused(data, b"-ERR")
        is_success = data.startswith((b"HTTP/1.1 200", b"HTTP/1.1 101"))
        return b"\r\n\r\n" in data and (is_success or self._raise_if_refused(data, b"HTTP"))

    def _raise_if_refused(self, data: bytes, marker: bytes) -> bool:
        if marker in data:
            raise CtlError(f"subscription refused: {data[data.index(marker) :].splitlines()[0].decode('latin-1')}")
        return False

    def _read_acknowledgements(self) -> None:
        assert self._publisher is not None
        try:
            data = self._publisher.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        if not data:
            raise CtlError("connection of the publisher was closed")
        *lines, self._partial_line = (self._partial_line + data).split(b"\n")
        for line in lines:
            if line.startswith(_AUTH_REPLIES):
                continue
            if line.startswith((b"+OK ", b"HTTP/1.1 20")):
                self._acknowledged += 1
            elif line.startswith((b"-ERR", b"HTTP/1.1 ")):
                raise CtlError(f"publish refused: {line.decode('latin-1')}")

    def _send(self, data: bytes) -> bytes:
        """Send as much as the socket accepts; return the rest."""
        assert self._publisher is not None
        if not data:
            return data
        try:
            return data[self._publisher.send(data) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            return data
        except OSError as error:
            raise CtlError(f"connection of the publisher failed: {error.strerror or error}") from error

    def _connect(self) -> socket.socket:
        if self._plan.transport != "tcp":
            return connect(self._api.address)
        try:
            return socket.create_connection(self._tcp, _SUBSCRIBE_SECONDS)
        except OSError as error:
            raise unreachable("{}:{}".format(*self._tcp), error) from error

    def _encode_subscribe(self, channel: str) -> bytes:
        transport = self._plan.transport
        if transport == "tcp":
            return f"{auth_line(self._token)}FORMAT raw\r\nSUB {channel}\r\n".encode()
        is_websocket = transport == "websocket"
        lines = self._authorization + (_HANDSHAKE if is_websocket else "")
        return encode_head(self._api.address, "GET", f"/{'ws' if is_websocket else transport}/{channel}", lines)

    def _encode_publish(self, number: int) -> bytes:
        channel = self._channels[number % self._plan.channels]
        marker = encode_marker(self._run_id, number, time.monotonic_ns()).ljust(self._plan.size, b".")
        if self._plan.transport == "tcp":
            return b"PUB %b %b\r\n" % (channel.encode(), marker)
        lines = f"{self._authorization}Content-Type: text/plain\r\nContent-Length: {len(marker)}\r\n"
        return encode_head(self._api.address, "POST", f"/pub/{channel}", lines) + marker


def raise_file_limit(connections: int) -> None:
    """Raise the limit of open files (RLIMIT_NOFILE) so that this many connections can be opened.

    :raises CtlError: when the hard limit is too low.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise CtlError(
                f"too many subscribers for the limit of {hard} open files (at most {hard - _SPARE_FILES} are possible)"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
