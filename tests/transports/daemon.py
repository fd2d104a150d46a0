"""The complete daemon in this process: real sockets on loopback, the real reactor, and settings of the test."""

import json
import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from twisted.internet.base import DelayedCall
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IProtocol, IReactorSocket
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock, deferLater
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher

from pushd.config.loader import load
from pushd.core.budget import Budget
from pushd.core.peer import DAEMON
from pushd.core.subscriber import Subscriber
from pushd.metrics import Counters
from pushd.service.daemon import make_service
from tests.transports.http_client import Answer, HttpClient, address, encode_request

_LISTEN = "tcp:0:interface=127.0.0.1"
_SMALL = 8 << 10
_LAST_RESORTS = {"abortConnection", "_notify_bucket"}
"""The only delayed calls that may be left after all connections are closed: they abort a connection that was not closed
in time. One is of pushd, the other of Autobahn."""
_LAST_RESORT_SECONDS = 5.0
_LEAST_TURNS = 1000
_BUSY_TURNS = 20
"""After which a condition is examined every millisecond, so that other processes can go on."""


async def until(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Wait until `condition` holds. If the process is stopped for longer, it still has a number of reactor turns."""
    from twisted.internet import reactor

    deadline, turn = reactor.seconds() + seconds, 0
    while not condition():
        assert reactor.seconds() < deadline or turn < _LEAST_TURNS, f"not within {seconds} s: {what}"
        await deferLater(reactor, 0 if turn < _BUSY_TURNS else 0.001)
        turn += 1


async def until_ready(daemon: "RunningDaemon") -> None:
    """Wait until a daemon is ready."""
    from twisted.internet import reactor

    while (await daemon.request("GET", "/health/ready")).status != 200:
        await deferLater(reactor, 0.01)


async def turns(count: int = 20) -> None:
    """Wait for some reactor turns, so that sent bytes arrive."""
    from twisted.internet import reactor

    for _ in range(count):
        await deferLater(reactor, 0)


def connect(port: int, protocol: IProtocol, *, small: bool = False) -> Any:
    """Connect; with a small receive buffer if the kernel should buffer little."""
    from twisted.internet import reactor

    with socket.socket() as sock:
        if small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL)
        sock.connect(("127.0.0.1", port))
        sock.setblocking(False)
        factory: Any = _Ready(protocol)
        IReactorSocket(reactor).adoptStreamConnection(sock.fileno(), socket.AF_INET, factory)
    return protocol


class _Ready(Factory):
    """Returns an existing protocol."""

    noisy = False

    def __init__(self, protocol: IProtocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: object) -> Any:
        return self._protocol


class MovableReactor:
    """The reactor, but with a clock that only the test advances. Delays under a second are real."""

    def __init__(self) -> None:
        from twisted.internet import reactor

        self._reactor: Any = reactor
        self._clock = Clock()
        self.seconds = self._clock.seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def callLater(self, delay: float, call: Callable[..., object], *args: object, **kwargs: object) -> Any:
        """See `IReactorTime`."""
        return (self._reactor if delay < 1 else self._clock).callLater(delay, call, *args, **kwargs)

    async def pass_time(self, seconds: int) -> None:
        """Advance the clock second by second, and wait for the consequences."""
        for _ in range(seconds):
            self._clock.advance(1)
            await turns()


class RunningDaemon:
    """A daemon between its start and its stop."""

    def __init__(self, settings: Mapping[str, object], reactor: Any = None, file: Path | None = None) -> None:
        """`settings` have precedence over the `file`. `reactor` is a `MovableReactor`, or the real one."""
        if reactor is None:
            from twisted.internet import reactor

        options = {
            "http.listen": [_LISTEN],
            "tcp.listen": [_LISTEN],
            "stop.patience": ["0"],
            "dialects.enable": ["bayeux", "iframe", "pushlet", "comet4j"],
        }
        options |= {key: [str(value)] for key, value in settings.items()}
        self.log: list[str] = []
        """Its log, without debug messages."""
        self.ports: dict[str, int] = {}
        self._clients: list[Any] = []
        self._is_cut_off = False
        self._load = partial(load, file, {}, options)
        self._service: Any = make_service(self._load(), reactor)
        self._observer = cast(ILogObserver, self._watch)
        globalLogPublisher.addObserver(self._observer)

    async def start(self) -> "RunningDaemon":
        """Start, and wait until both listeners are open."""
        self._service.privilegedStartService()
        self._service.startService()
        await until(lambda: len(self.ports) >= 2, "all listeners")
        return self

    async def reload(self) -> None:
        """Read the configuration file again, as on a signal."""
        await self._service.reconfigure(self._load())

    async def stop(self) -> None:
        """Stop, as on a signal; connections that are left are aborted."""
        if self._service.running:
            await maybeDeferred(self._service.stopService)
            await turns()
            await self.cut_off()
            self._cancel_last_resorts()
            globalLogPublisher.removeObserver(self._observer)

    async def cut_off(self) -> None:
        """Abort the connections of all clients, and prevent new ones."""
        self._is_cut_off = True
        for client in self._clients:
            client.transport.abortConnection()
        await until(lambda: not self.open_connections, "all connections closed")

    def _cancel_last_resorts(self) -> None:
        from twisted.internet import reactor

        for call in reactor.getDelayedCalls():
            assert isinstance(call, DelayedCall)
            if (
                getattr(call.func, "__name__", "") in _LAST_RESORTS
                and call.getTime() <= reactor.seconds() + _LAST_RESORT_SECONDS
            ):
                call.cancel()

    def connect(self, listener: str, protocol: Any, *, small: bool = False) -> Any:
        """Connect a client to the `http` or `tcp` listener; it is closed with the daemon at the latest."""
        if self._is_cut_off:
            raise ConnectionRefusedError
        connect(self.ports[listener], protocol, small=small)
        self._clients.append(protocol)
        return protocol

    # Requests

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        listener: str = "http",
    ) -> Answer:
        """Send an HTTP request, and return the answer."""
        client: HttpClient = self.connect(listener, HttpClient(encode_request(method, path, body, headers)))
        return await client.answer

    async def publish(self, channel: str, data: bytes | str = b"x", kind: str | None = None, **query: object) -> str:
        """Publish one message by HTTP; return its id."""
        body = data.encode() if isinstance(data, str) else data
        headers = {"Content-Type": kind} if kind else {}
        answer = await self.request("POST", address("pub", channel, **query), body, headers)
        assert answer.status in (201, 202), answer
        return str(answer.json["id"])

    async def publish_all(self, *messages: tuple[str, str]) -> list[str]:
        """Publish pairs of channel and text as one batch; return the ids."""
        lines = (json.dumps({"channel": channel, "data": text}) for channel, text in messages)
        answer = await self.request("POST", "/pub", "\n".join(lines).encode(), {"Content-Type": "application/x-ndjson"})
        return [json.loads(line)["id"] for line in answer.body.splitlines()]

    async def info(self, channel: str) -> Any:
        """Return the answer of `GET /pub/CH`; None if the channel is unknown."""
        answer = await self.request("GET", address("pub", channel))
        return answer.json if answer.status == 200 else None

    async def history(self, topics: str) -> list[str]:
        """Return the ids in the answer of `GET /history`."""
        return [message["id"] for message in (await self.request("GET", address("history", topics))).json]

    async def metric(self, name: str) -> float:
        """Return a sample of `GET /metrics`; 0 if there is none."""
        lines = (await self.request("GET", "/metrics")).body.decode().splitlines()
        return next((float(line.split()[-1]) for line in lines if line.rpartition(" ")[0] == name), 0.0)

    # Internals

    def subscribers(self, topic: str) -> list[Subscriber]:
        """Return the subscribers to `topic` by that name, the oldest first."""
        return list(self._service.hub.dispatcher.subscribers_by_name(topic))

    @property
    def budget(self) -> Budget:
        """The memory budget."""
        budget: Budget = self._service.hub.budget
        return budget

    @property
    def counters(self) -> Counters:
        """The counters of the metrics."""
        counters: Counters = self._service._counters
        return counters

    @property
    def is_idle(self) -> bool:
        """Whether everything that was accepted is delivered."""
        return bool(self._service.hub.dispatcher.is_idle)

    @property
    def stalled(self) -> int:
        """The number of paused subscribers."""
        return sum(
            subscriber.is_paused for subscriber in self._service.hub.queries.connections(DAEMON, None, None, 10**6)
        )

    @property
    def open_connections(self) -> int:
        """The number of connections that hold a slot."""
        return len(self._service._admission)

    def _watch(self, event: LogEvent) -> None:
        is_own = len(self.ports) < len(self._service._listeners)  # else another daemon in this process has started
        if event.get("log_format") == "{name} listens on {where} ({endpoint})" and is_own:
            self.ports[event["name"]] = int(event["where"].rpartition(":")[2])
        if event["log_namespace"].startswith("pushd.") and event["log_level"] >= LogLevel.info:
            self.log.append(formatEvent(event))
