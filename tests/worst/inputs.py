"""The most expensive inputs: each prepares, and then requests as much as the default limits allow.

An input is a generator. What it does before the first `yield` is preparation. What it does between the first and
the second one is measured, and so is the end, which closes all its connections.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from itertools import product
from random import Random

from websockets.frames import Frame, Opcode

from tests.soak.transports import Ports
from tests.worst.clients import Connection, frame, lines, publish, request, stream, subscribe, websocket

Input = Callable[[Ports], Iterator[None]]

_PIECE = "x" * (60 << 10)
_SHALLOW = [tuple(choice) for choice in product("a*", repeat=5)] * 150
_TOPICS = 9_000
_CHANNELS = 99_900


def stalled_patterns(ports: Ports) -> Iterator[None]:
    """Publish 1,000 messages to ten stalled subscribers of 9,000 patterns each, one of which is catching up."""
    patterns = [f"k/{number}/**" for number in range(_TOPICS)]
    with ExitStack() as stack:
        publish(ports, [("k/0/x", _PIECE)] * 40)
        for _ in range(9):
            subscribe(lines(stack, ports, small=True), patterns, " slow=drop")
        late = lines(stack, ports, small=True)
        subscribe(late, patterns[1000:], " slow=drop")
        late.send(f"SUB {','.join(patterns[:1000])} since=all\r\n".encode())
        publish(ports, [("k/0/x", _PIECE)] * 10)
        yield
        publish(ports, [(f"k/{number}/x", "x") for number in range(1_000)])
        yield


def multipart_viewers(ports: Ports) -> Iterator[None]:
    """Publish ten times to each of the 900 channels that 30 stalled viewers watch."""
    with ExitStack() as stack:
        for _ in range(30):
            stream(stack, ports, "/multipart/m/**", small=True)
        publish(ports, [("m/0", _PIECE)] * 10)
        yield
        for _ in range(10):
            publish(ports, [(f"m/{number}", "x") for number in range(900)])
        yield


def many_stalled_subscribers(ports: Ports) -> Iterator[None]:
    """Publish 5,000 messages to 300 stalled subscribers of one channel with the policy `drop`."""
    with ExitStack() as stack:
        for _ in range(300):
            stream(stack, ports, "/sse/c?slow=drop", small=True)
        publish(ports, [("c", _PIECE)] * 10)
        yield
        publish(ports, [("c", "x")] * 5_000)
        yield


def many_subscribers_of_many_channels(ports: Ports) -> Iterator[None]:
    """Publish to 1,000 channels at once, to all of which 800 clients subscribe by a pattern."""
    with ExitStack() as stack:
        for _ in range(800):
            stream(stack, ports, "/sse/p/**")
        yield
        publish(ports, [(f"p/{number}", "x") for number in range(1_000)])
        yield


def large_message_for_many(ports: Ports) -> Iterator[None]:
    """Publish messages of 1 MiB to 300 subscribers that do not read."""
    with ExitStack() as stack:
        for _ in range(300):
            stream(stack, ports, "/sse/l?slow=latest")
        yield
        for _ in range(3):
            assert request(ports, "POST", "/pub/l", b"x" * (1 << 20)) in (201, 202)
        yield


def subscriptions_one_by_one(ports: Ports) -> Iterator[None]:
    """Subscribe to 10,000 patterns and unsubscribe, one line command each, all sent at once."""
    with ExitStack() as stack:
        peer = lines(stack, ports)
        yield
        commands = [f"{verb} s/{number}/*\r\n" for verb in ("SUB", "UNSUB") for number in range(10_000)]
        peer.exchange("".join(commands).encode(), b"+OK", len(commands))
        yield


def subscriptions_by_the_thousand(ports: Ports) -> Iterator[None]:
    """Subscribe ten times to 1,000 patterns and unsubscribe, over a WebSocket and over TCP lines."""
    with ExitStack() as stack:
        peer, other = websocket(stack, ports), lines(stack, ports)
        yield
        topics = [",".join(f"t/{part}/{number}/*" for number in range(1_000)) for part in range(10)]
        frames = [frame({verb: several}) for verb in ("subscribe", "unsubscribe") for several in topics]
        peer.exchange(b"".join(frames), b'"ok"', len(frames))
        commands = [f"{verb} {several}\r\n" for verb in ("SUB", "UNSUB") for several in topics]
        other.exchange("".join(commands).encode(), b"+OK", len(commands))
        yield


def disconnects(ports: Ports) -> Iterator[None]:
    """Disconnect ten subscribers of 10,000 patterns each at once."""
    with ExitStack() as stack:
        for number in range(10):
            subscribe(lines(stack, ports), [f"d/{number}/{each}/*" for each in range(10_000)])
        yield
        stack.close()
        assert request(ports, "GET", "/health/live") == 200
        yield


def unsubscriptions_while_stalled(ports: Ports) -> Iterator[None]:
    """Unsubscribe one by one from 9,000 patterns while 1,000 messages are queued."""
    with ExitStack() as stack:
        peer = websocket(stack, ports)
        patterns = [f"u/{number}/**" for number in range(_TOPICS)]
        for first in range(0, _TOPICS, 1000):
            peer.send(frame({"subscribe": ",".join(patterns[first : first + 1000])}))
            peer.read_until(b'"ok"')
        yield
        publish(ports, [(f"u/{number}/x", "x") for number in range(900)])
        commands = [frame({"unsubscribe": pattern}) for pattern in patterns]
        peer.exchange(b"".join(commands), b'"ok"', len(commands))
        yield


def deep_patterns(ports: Ports) -> Iterator[None]:
    """Publish to 500 channels of 100 segments, all of which the 10,000 deep patterns of each of five clients match."""
    with ExitStack() as stack:
        random = Random(1)
        for _ in range(5):
            patterns = [f"{'/'.join(random.choice('a*') for _ in range(100))}/**" for _ in range(10_000)]
            peer = lines(stack, ports)
            for first in range(0, len(patterns), 250):
                peer.send(f"SUB {','.join(patterns[first : first + 250])}\r\n".encode())
                peer.read_until(b"+OK")
        yield
        publish(ports, [(f"{'a/' * 100}{number}", "x") for number in range(500)])
        yield


def pattern_changes_between_publishes(ports: Ports) -> Iterator[None]:
    """Publish 2,000 messages one by one for 5,000 patterns of a client, while another changes its patterns."""
    with ExitStack() as stack:
        subscribe(lines(stack, ports), [f"{'/'.join(bits)}/*/{number}/**" for number, bits in enumerate(_SHALLOW)])
        changing, publishing = lines(stack, ports), lines(stack, ports)
        yield
        changing.send(b"SUB z/*\r\nUNSUB z/*\r\n" * 2_000)
        publishing.exchange(b"PUB a/a/a/a/a/1/2 x\r\n" * 2_000, b"+OK", 2_000)
        changing.read_until(b"+OK", 4_000)
        yield


def unread_pings(ports: Ports) -> Iterator[None]:
    """Send pings, commands and lines without reading the answers, until nothing more is accepted."""
    with ExitStack() as stack:
        peers = [
            (websocket(stack, ports), Frame(Opcode.PING, b"x").serialize(mask=True)),
            (websocket(stack, ports), frame({"ping": 1})),
            (lines(stack, ports), b"x\n"),
        ]
        yield
        for peer, request_ in peers:
            peer.socket.settimeout(0.5)
            with suppress(TimeoutError):
                peer.socket.sendall(request_ * 2_000_000)
        yield


def batch_of_tiny_lines(ports: Ports) -> Iterator[None]:
    """Publish a batch of 50,000 lines, and one of 50,000 invalid lines."""
    with ExitStack():
        yield
        for line in (b'{"channel":"b","data":"x"}\n', b"{}\n"):
            assert request(ports, "POST", "/pub", line * 50_000, {"Content-Type": "application/x-ndjson"}) == 200
        yield


def batch_of_empty_lines(ports: Ports) -> Iterator[None]:
    """Publish 16 MiB of line ends."""
    with ExitStack():
        yield
        for line in (b"\n", b"\r\n", b" \n"):
            body = line * ((16 << 20) // len(line))
            assert request(ports, "POST", "/pub", body, {"Content-Type": "application/x-ndjson"}) in (200, 400, 413)
        yield


def pipelined_publishes(ports: Ports) -> Iterator[None]:
    """Send 20,000 publishes at once over TCP lines, and 5,000 over a WebSocket."""
    with ExitStack() as stack:
        peer, other = lines(stack, ports), websocket(stack, ports)
        yield
        peer.exchange(b"PUB q x\r\n" * 20_000, b"+OK", 20_000)
        other.exchange(frame({"publish": "q", "data": "x"}) * 5_000, b'"ok"', 5_000)
        yield


def pipelined_history(ports: Ports) -> Iterator[None]:
    """Request the newest 1,000 messages of all channels 50 times at once."""
    with ExitStack() as stack:
        peer = lines(stack, ports)
        publish(ports, [(f"h/{number}", json.dumps([number] * 100)) for number in range(5_000)])
        yield
        peer.exchange(b"HIST ** 1000\r\n" * 50, b"+OK HIST", 50)
        yield


def history_by_patterns(ports: Ports) -> Iterator[None]:
    """Request the history of 1,000 patterns, each of which covers some of 100,000 channels."""
    with ExitStack():
        _fill(ports)
        yield
        topics = ",".join(f"f/*/{number}" for number in range(1_000))
        assert request(ports, "GET", f"/history/{topics}?since=all&limit=1000") == 200
        yield


def pipelined_heads(ports: Ports) -> Iterator[None]:
    """Request the history of 100,000 channels by HEAD, 20 times at once."""
    with ExitStack() as stack:
        _fill(ports)
        peer = Connection(ports.http)
        stack.callback(peer.close)
        yield
        head = b"HEAD /history/**?since=all HTTP/1.1\r\nHost: localhost\r\n\r\n"
        peer.exchange(head * 20, b"\r\n\r\n", 20)
        yield


def _fill(ports: Ports) -> None:
    """Publish a message to each of 100,000 channels, minus those of other tests."""
    channels = [f"f/{number // 1_000}/{number % 1_000}" for number in range(_CHANNELS)]
    for first in range(0, len(channels), 20_000):
        publish(ports, [(channel, "x") for channel in channels[first : first + 20_000]])


def _by_name(inputs: Iterable[Input]) -> dict[str, Input]:
    return {each.__name__.replace("_", "-"): each for each in inputs}


INPUTS = _by_name(
    (
        stalled_patterns,
        multipart_viewers,
        many_stalled_subscribers,
        many_subscribers_of_many_channels,
        large_message_for_many,
        subscriptions_one_by_one,
        subscriptions_by_the_thousand,
        disconnects,
        unsubscriptions_while_stalled,
        deep_patterns,
        pattern_changes_between_publishes,
        unread_pings,
        batch_of_tiny_lines,
        batch_of_empty_lines,
        pipelined_publishes,
        pipelined_history,
    )
)
"""The inputs of which each reactor turn is measured."""

HISTORY_INPUTS = _by_name((history_by_patterns, pipelined_heads))
"""Inputs whose turns are measured in test_history.py."""
