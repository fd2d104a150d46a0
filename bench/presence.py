"""`python -m bench.presence`: presence on three nodes that are killed and frozen. Needs redis-server.

Members enter rooms by line connections to three nodes on one Redis. Then in each round a node is killed: its members
must have left at the other nodes within 15 s. They enter again at a new node. Afterwards a node is frozen for 40 s,
and half of all connections are lost and return within the grace, which must be no event. At each checkpoint the list
must be the replay of all events, and have those who are connected and nobody else.

With `--failover`, Sentinels watch the Redis and a replica. In every third round the master is killed with the node,
while other members leave and enter; members of the node must have left within 15 s of the failover. In the last round
Redis is flushed. Where the replay reports a gap then, it continues from the list, as clients do.
"""

import argparse
import asyncio
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.nodes import Node
from tests.backends.sentinels import Watched

_NODES = 3
_ROOMS = 10
_LEAVE_SECONDS = 15.0
_AT_A_TIME = 200
"""Connections that are opened at a time."""
_AWAY_SECONDS = 30.0
"""The most seconds for which a node may refuse something since Redis is away."""


class Member:
    """A connection that has entered a room."""

    def __init__(self, number: int) -> None:
        self.room, self.id = f"room/{number % _ROOMS}", f"m{number:05}"
        self.node: Daemon
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def enter(self, node: "Daemon") -> None:
        """Connect to a node, and enter."""
        self.node = node
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", node.port)
        deadline = time.monotonic() + _AWAY_SECONDS
        while (answer := await self._ask(f'ENTER {self.room} id={self.id} {{"n":1}}')).startswith("-ERR unavailable"):
            assert time.monotonic() < deadline, answer
            await asyncio.sleep(0.2)
        assert answer.startswith("+OK ENTER"), answer

    async def quit(self) -> None:
        """Leave, by a clean end of the connection."""
        self._writer.write(b"QUIT\r\n")
        await self._reader.read()
        self._writer.close()

    def lose(self) -> None:
        """Lose the connection."""
        self._writer.transport.abort()

    async def _ask(self, command: str) -> str:
        self._writer.write(f"{command}\r\n".encode())
        line = b""
        while not line.startswith((b"+OK", b"-ERR")):
            line = await self._reader.readline()
            if not line:
                raise ConnectionError(f"{self.id} was disconnected")
        return line.decode()


class Daemon(Node):
    """A node with the address of its HTTP listener."""

    @property
    def url(self) -> str:
        """The address of the HTTP listener."""
        found = re.search(r"http listens on 127\.0\.0\.1:([0-9]+)", self._log.read_text())
        assert found is not None
        return f"http://127.0.0.1:{found[1]}"

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self._process.wait()

    def get(self, path: str) -> Any:
        """Return the JSON answer of a request."""
        return self.get_with_gap(path)[0]

    def get_with_gap(self, path: str) -> tuple[Any, str | None]:
        """Return the JSON answer of a request, and the reason of a gap. While Redis is away, try again."""
        deadline = time.monotonic() + _AWAY_SECONDS
        while True:
            try:
                with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                    return json.load(answer), answer.headers["Pushd-Gap"]
            except urllib.error.HTTPError as refused:
                if refused.code != 503 or time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def members(self, room: str) -> set[str]:
        """Return the listed members of a room."""
        found: set[str] = set()
        after = ""
        while True:
            page = self.get(f"/presence/{room}?limit=1000{f'&after={after}' if after else ''}")
            found |= {member["id"] for member in page["members"]}
            if page["next"] is None:
                return found
            after = page["next"]


class Replay:
    """What a subscriber to the events of all rooms makes of them."""

    def __init__(self) -> None:
        self.rooms: dict[str, set[str]] = {f"room/{number}": set() for number in range(_ROOMS)}
        self.cursor = ""
        self.messages = 0
        self.gaps = 0

    def follow(self, node: Daemon) -> None:
        """Read on."""
        since = f"since={self.cursor}" if self.cursor else "since=all"
        messages, gap = node.get_with_gap(f"/history/$presence/room/*?{since}&limit=10000")
        if gap is not None:
            print(f"gap: {gap}", flush=True)
            return self._begin_anew(node)
        for message in messages:
            event, members = message["data"], self.rooms[message["channel"].removeprefix("$presence/")]
            is_diff = event["action"] == "diff"
            changes = event if is_diff else {event["action"]: [event]}
            for each in (*changes.get("enter", ()), *changes.get("update", ())):
                members.add(each["id"])
            for each in changes.get("leave", ()):
                members.discard(each["id"])
        self.messages += len(messages)
        self.cursor = messages[-1]["id"] if messages else self.cursor

    def _begin_anew(self, node: Daemon) -> None:
        """Begin with the list. The cursor is taken before all pages."""
        self.gaps += 1
        self.cursor = node.get("/presence/room/0?limit=1")["cursor"]
        self.rooms = {room: node.members(room) for room in self.rooms}

    def checkpoint(self, node: Daemon, expected: Sequence[Member], what: str, seconds: float = 10.0) -> None:
        """Check that the list is the replay, and what is expected, within some seconds."""
        deadline = time.monotonic() + seconds
        while True:
            listed = {room: node.members(room) for room in self.rooms}
            self.follow(node)
            wanted = {room: {each.id for each in expected if each.room == room} for room in self.rooms}
            if listed == self.rooms == wanted:
                break
            assert time.monotonic() < deadline, f"{what}: {_difference(listed, self.rooms, wanted)}"
            time.sleep(0.5)
        print(f"{what}: {len(expected)} members, list = replay of {self.messages} events", flush=True)


async def enter_all(members: Sequence[Member], nodes: Sequence[Daemon]) -> None:
    """Let members enter, evenly at some nodes."""
    for first in range(0, len(members), _AT_A_TIME):
        some = members[first : first + _AT_A_TIME]
        await asyncio.gather(*[each.enter(nodes[place % len(nodes)]) for place, each in enumerate(some)])


def _difference(listed: dict[str, set[str]], replayed: dict[str, set[str]], wanted: dict[str, set[str]]) -> str:
    names = {"listed": listed, "replayed": replayed, "connected": wanted}
    pairs = [(one, other) for one in names for other in names if one != other]
    return "; ".join(
        f"{sum(len(names[one][room] - names[other][room]) for room in wanted)} {one} but not {other}"
        for one, other in pairs
    )


def until_left(node: Daemon, gone: Sequence[Member], start: float | None = None) -> float:
    """Wait until members have left; return the seconds since the start."""
    start = time.monotonic() if start is None else start
    left = {each.id for each in gone}
    while left:
        left &= {id for number in range(_ROOMS) for id in node.members(f"room/{number}")}
        seconds = time.monotonic() - start
        assert seconds < _LEAVE_SECONDS or not left, f"{len(left)} members are left after {seconds:.1f} s"
        time.sleep(0.2 if left else 0)
    return time.monotonic() - start


async def fail_over(watched: Watched, victim: Daemon, moving: Sequence[Member], nodes: Sequence[Daemon]) -> float:
    """Kill a node and the master while members leave and enter; return the time when there was a new master."""

    moved = 0

    async def move() -> None:
        nonlocal moved
        while not (moved and watched.is_failed_over()):
            first = moved % len(moving)
            some = moving[first : first + _AT_A_TIME // 10]
            await asyncio.gather(*[each.quit() for each in some])
            await enter_all(some, nodes)
            moved += len(some)

    while not watched.is_ready():
        await asyncio.sleep(0.1)
    moves = asyncio.create_task(move())
    await asyncio.sleep(0.3)
    victim.signal(signal.SIGKILL)
    watched.master.kill()
    killed, before = time.monotonic(), moved
    while not watched.is_failed_over():
        await asyncio.sleep(0.05)
    ended = time.monotonic()
    await moves
    print(f"failover within {ended - killed:.1f} s, amid moves: {before} before, {moved - before} after", flush=True)
    watched.rejoin()
    return ended


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Run a Redis; yield its URL."""
    path = folder / "redis.sock"
    process = subprocess.Popen(
        ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    try:
        while not path.exists():
            time.sleep(0.05)
        yield f"unix://{path}"
    finally:
        process.kill()
        process.wait()


async def run(
    count: int, rounds: int, frozen: float, folder: Path, url: str, watched: Watched | None, stack: ExitStack
) -> None:
    """Run everything; an assertion fails if a promise is broken."""

    def start() -> Daemon:
        node = Daemon(folder, "--redis", url)
        stack.callback(node._process.kill)
        return node

    nodes = [start() for _ in range(_NODES)]
    members = [Member(number) for number in range(count)]
    replay = Replay()
    begun = time.monotonic()
    await enter_all(members, nodes)
    print(f"{count} members entered in {time.monotonic() - begun:.1f} s", flush=True)
    replay.checkpoint(nodes[0], members, "start")
    slowest = 0.0
    for number in range(1, rounds + 1):
        victim, others = nodes[number % _NODES], [each for each in nodes if each is not nodes[number % _NODES]]
        gone = [each for each in members if each.node is victim]
        start_time = None
        if watched is not None and number % 3 == 2:
            moving = [each for each in members if each.node is not victim][::4]
            start_time = await fail_over(watched, victim, moving, others)
        victim.signal(signal.SIGKILL)
        if watched is not None and number == rounds:
            watched.master.ask("FLUSHALL")
        seconds = until_left(others[0], gone, start_time)
        slowest = max(slowest, seconds)
        replay.checkpoint(
            others[0], [each for each in members if each.node is not victim], f"kill {number}", _LEAVE_SECONDS
        )
        print(f"kill {number}: {len(gone)} members left within {seconds:.1f} s", flush=True)
        nodes[number % _NODES] = start()
        await enter_all(gone, nodes)
        replay.checkpoint(nodes[number % _NODES], members, f"return {number}")
    print(f"slowest: {slowest:.1f} s", flush=True)
    if frozen:
        held = [each for each in members if each.node is nodes[0]]
        nodes[0].signal(signal.SIGSTOP)
        print(f"frozen: {len(held)} members left within {until_left(nodes[1], held):.1f} s", flush=True)
        time.sleep(frozen)
        nodes[0].signal(signal.SIGCONT)
        replay.checkpoint(nodes[1], members, "thawed")
    before = replay.messages
    for first in range(0, len(members) // 2, _AT_A_TIME):
        some = members[first : first + _AT_A_TIME]
        for each in some:
            each.lose()
        await enter_all(some, nodes)
    await asyncio.sleep(17)
    replay.checkpoint(nodes[0], members, "reconnects")
    assert replay.messages == before, f"{replay.messages - before} events of reconnects within the grace"
    print(f"{len(members) // 2} reconnects within the grace: no event", flush=True)


def main() -> int:
    """Run the command."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--members", type=int, default=10_000)
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--frozen", type=float, default=40.0, help="seconds for which a node is frozen")
    options.add_argument("--failover", action="store_true", help="kill and flush Redis amid the rounds")
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        watched = Watched(folder) if args.failover else None
        if watched is not None:
            stack.callback(watched.kill)
        url = stack.enter_context(redis(folder)) if watched is None else watched.url
        asyncio.run(run(args.members, args.rounds, args.frozen, folder, url, watched, stack))
    return 0


if __name__ == "__main__":
    sys.exit(main())
