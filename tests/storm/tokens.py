"""The storm of clients that return with tokens: what their authentication costs, beside a daemon without it."""

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.daemon.clients import HANDSHAKE
from tests.daemon.real import Daemon, eventually
from tests.soak.transports import Ports
from tests.storm.client_swarm import ClientSwarm
from tests.storm.live_latency import LatencyProbe, p99
from tests.storm.testbed import OPTIONS, StormTestbed

_ROUNDS = 3
"""Rounds, of which the median counts: the machine has other load."""
_TIMEOUT = 120.0
_FEW = 100
"""More open files than a daemon without clients has."""
_MISSED = 20
_CHANNEL = "storm/tokens"
_ISSUER = "https://storm.example"
_MAX_AGAIN_RATIO = 1.6
"""The factor by which the CPU time of a returning client may rise because of its token, which was verified before. The
goal is 1.3; the machine has other load.
"""
_MAX_FIRST_RATIO = 4.0
"""The same for tokens that have not been verified yet, as after a restart of the daemon."""
_UPGRADE = "".join(f"{name}: {value}\r\n" for name, value in HANDSHAKE.items())
_CONFIG = """\
[auth.anonymous]
subscribe = ["**"]
publish = ["**"]
operate = ["*"]
[auth.issuer.storm]
issuer = "{issuer}"
audience = "pushd"
algorithms = ["ES256"]
keys_file = "{keys}"
"""


class _Transport(NamedTuple):
    name: str
    port: int
    request: str
    """Formatted with `since` and, in `token`, with `credential`."""
    credential: str
    end: bytes


def _transports(ports: Ports) -> Sequence[_Transport]:
    http, tcp = ports
    address, host = f"/{_CHANNEL}?since={{since}} HTTP/1.1\r\n", "Host: localhost\r\n"
    handshake = f"{host}{_UPGRADE}Sec-WebSocket-Protocol: pushd.v1{{token}}\r\n\r\n"
    lines = f"{{token}}SUB {_CHANNEL} since={{since}}\r\n"
    return (
        _Transport("sse", http, f"GET /sse{address}{host}{{token}}\r\n", "Authorization: Bearer {0}\r\n", b"\n\n\r\n"),
        _Transport("websocket", http, f"GET /ws{address}{handshake}", ", bearer.{0}", b'"}'),
        _Transport("lines", tcp, lines, "AUTH {0}\r\n", b"\r\n"),
    )


def return_with_tokens(testbed: StormTestbed, size: int) -> str:
    """Reconnect a swarm whose clients have a token each, signed with ES256: with new tokens, and with the same again.

    The CPU time of the daemon is compared with that of one without authentication. Both are daemons of this storm, and
    have no other clients.
    """
    key = ECKey.generate_key("P-256")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        directory = Path(name)
        keys, config = directory / "keys.pem", directory / "pushd.toml"
        keys.write_bytes(key.as_pem(private=False))
        config.write_text(_CONFIG.format(issuer=_ISSUER, keys=keys), encoding="utf-8")
        plain = _Swarms(directory, "plain")
        stack.callback(plain.daemon.stop)
        tokens = _Swarms(directory, "tokens", "--config", str(config))
        stack.callback(tokens.daemon.stop)
        costs = {
            transport.name: _measure(number, plain, tokens, key, size)
            for number, transport in enumerate(plain.transports)
        }
        delays = [(plain.live_p99(size), tokens.live_p99(size, _issue(key, size))) for _ in range(_ROUNDS)]
        for swarms in (plain, tokens):
            swarms.daemon.assert_healthy()
    figures = "; ".join(
        f"{name} {each.plain:.0f} µs of CPU each without authentication, {each.first:.0f} ({each.first_ratio:.2f}) "
        f"with new tokens, {each.again:.0f} ({each.again_ratio:.2f}) with known ones"
        for name, each in costs.items()
    )
    without, during = (median(column) * 1000 for column in zip(*delays, strict=True))
    figures = f"{size}: {figures}; live p99 {without:.1f} ms without authentication, {during:.1f} ms with new tokens"
    for each in costs.values():
        assert each.first_ratio <= _MAX_FIRST_RATIO and each.again_ratio <= _MAX_AGAIN_RATIO, figures
    return figures


class _Swarms:
    """A daemon, and swarms of its clients.

    :param name: that of the daemon.
    :param options: those of the daemon.
    """

    def __init__(self, directory: Path, name: str, *options: str) -> None:
        self.daemon = Daemon(directory, *OPTIONS, *options, log=f"{name}.log")
        self._ports = Ports(self.daemon.http_port, self.daemon.tcp_port)
        ids = [self.daemon.publish(_CHANNEL, b"no%d." % number)["id"] for number in range(_MISSED + 1)]
        self.transports = _transports(self._ports)
        self._since = ids[0]
        self._process = psutil.Process(self.daemon.pid)

    def cpu_micros(self, number: int, size: int, tokens: Sequence[str] = ()) -> float:
        """Return the microseconds of CPU time that the daemon takes for each client of a swarm over a transport.

        :param tokens: one for each client; if empty, they have none.
        """
        before = sum(self._process.cpu_times()[:2])
        taken = self._serve(number, size, tokens) - before
        assert eventually(self._is_alone, _TIMEOUT), "connections are left"
        return taken / size * 1e6

    def _serve(self, number: int, size: int, tokens: Sequence[str]) -> float:
        """Serve a swarm; return the CPU time of the daemon before the clients disconnect."""
        transport = self.transports[number]
        credentials = [transport.credential.format(token) for token in tokens] or [""]
        requests = [transport.request.format(since=self._since, token=each).encode() for each in credentials]
        with ClientSwarm([transport.port], size, requests) as swarm:
            swarm.wait_connected(_TIMEOUT)
            swarm.wait_received(b"no%d." % _MISSED + transport.end, _TIMEOUT)
            return sum(self._process.cpu_times()[:2])

    def live_p99(self, size: int, tokens: Sequence[str] = ()) -> float:
        """Return the p99 of live delivery to others, in seconds, during a swarm of server-sent events."""
        with LatencyProbe(self._ports) as probe:
            probe.delays()
            self._serve(0, size, tokens)
            delay = p99(probe.delays())
        assert eventually(self._is_alone, _TIMEOUT), "connections are left"
        return delay

    def _is_alone(self) -> bool:
        return self.daemon.counter("process_open_fds") < _FEW


class _Costs(NamedTuple):
    """Microseconds of CPU time of the daemon for each client, and their ratios to those without authentication."""

    plain: float
    first: float
    """With tokens that have not been verified before."""
    again: float
    """With tokens that have been."""
    first_ratio: float
    again_ratio: float


def _measure(number: int, plain: _Swarms, tokens: _Swarms, key: ECKey, size: int) -> _Costs:
    """Return the medians of the rounds with a transport."""
    rounds = []
    for _ in range(_ROUNDS):
        issued = _issue(key, size)
        base = plain.cpu_micros(number, size)
        first, again = tokens.cpu_micros(number, size, issued), tokens.cpu_micros(number, size, issued)
        rounds.append((base, first, again, first / base, again / base))
    return _Costs(*map(median, zip(*rounds, strict=True)))


def _issue(key: ECKey, size: int) -> list[str]:
    now = int(time.time())
    claims = {"iss": _ISSUER, "aud": "pushd", "iat": now, "exp": now + 3600, "pushd": {"subscribe": ["storm/**"]}}
    return [jwt.encode({"alg": "ES256"}, claims | {"sub": f"user{number}"}, key) for number in range(size)]
