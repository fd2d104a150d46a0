"""`python -m bench.presence`: presence on three nodes that are killed and frozen. Needs redis-server.

Members enter rooms by line connections to three nodes on one Redis. Then in each round a node is killed: its members
must have left at the other nodes within 15 s. They enter again at a new node. Afterwards a node is frozen for 40 s,
and half of all connections are lost and return within the grace, which must be no event. At each checkpoint the list
must be the replay of all events, and have those who are connected and nobody else.
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
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.nodes import Node

_NODES = 3
_ROOMS = 10
_LEAVE_SECONDS = 15.0
_AT_A_TIME = 200
"""Connections that are opened at a time."""


class Member:
    """A connection that has entered a room."""

    def __init__(self, number: int) -> None:
        self.room, self.id = f"room/{number % _ROOMS}", f"m{number:05}"
        self.node: Daemon
        self._writer: asyncio.StreamWriter

    async def enter(self, node: "Daemon") -> None:
        """Connect to a node, and enter."""
        self.node = node
        reader, self._writer = await asyncio.open_connection("127.0.0.1", node.port)
        self._writer.write(f'ENTER {self.room} id={self.id} {{"n":1}}\r\n'.encode())
        line = b""
        while not line.startswith((b"+OK", b"-ERR")):
            line = await reader.readline()
            if not line:
                raise ConnectionError(f"{self.id} was disconnected")
        assert line.startswith(b"+OK ENTER"), line

    def lose(self) -> None:
        """Lose the connection."""
        self._writer.transport.abort()


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
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)

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

    def follow(self, node: Daemon) -> None:
        """Read on."""
        since = f"since={self.cursor}" if self.cursor else "since=all"
        messages = node.get(f"/history/$presence/room/*?{since}&limit=10000")
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

    def checkpoint(self, node: Daemon, expected: Sequence[Member], what: str) -> None:
        """Check that the list is the replay, and what is expected."""
        deadline = time.monotonic() + 10
        while True:
            listed = {room: node.members(room) for room in self.rooms}
            self.follow(node)
            wanted = {room: {each.id for each in expected if each.room == room} for room in self.rooms}
            if listed == self.rooms == wanted:
                break
            assert time.monotonic() < deadline, f"{what}: list, replay and connections differ"
            time.sleep(0.5)
        print(f"{what}: {len(expected)} members, list = replay of {self.messages} events", flush=True)


async def enter_all(members: Sequence[Member], nodes: Sequence[Daemon]) -> None:
    """Let members enter, evenly at some nodes."""
    for first in range(0, len(members), _AT_A_TIME):
        some = members[first : first + _AT_A_TIME]
        await asyncio.gather(*[each.enter(nodes[place % len(nodes)]) for place, each in enumerate(some)])


def until_left(node: Daemon, gone: Sequence[Member], seconds: float) -> float:
    """Wait until members have left; return the seconds."""
    start = time.monotonic()
    total = sum(node.get(f"/presence/room/{number}?count=1")["count"] for number in range(_ROOMS))
    wanted = total - len(gone)
    while total > wanted:
        assert time.monotonic() - start < seconds, f"{total - wanted} members are left after {seconds} s"
        time.sleep(0.2)
        total = sum(node.get(f"/presence/room/{number}?count=1")["count"] for number in range(_ROOMS))
    return time.monotonic() - start


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


async def run(count: int, rounds: int, frozen: float, folder: Path, url: str, stack: ExitStack) -> None:
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
        victim.signal(signal.SIGKILL)
        seconds = until_left(others[0], gone, _LEAVE_SECONDS)
        slowest = max(slowest, seconds)
        replay.checkpoint(others[0], [each for each in members if each.node is not victim], f"kill {number}")
        print(f"kill {number}: {len(gone)} members left within {seconds:.1f} s", flush=True)
        nodes[number % _NODES] = start()
        await enter_all(gone, nodes)
        replay.checkpoint(nodes[number % _NODES], members, f"return {number}")
    print(f"slowest: {slowest:.1f} s", flush=True)
    if frozen:
        held = [each for each in members if each.node is nodes[0]]
        nodes[0].signal(signal.SIGSTOP)
        print(f"frozen: {len(held)} members left within {until_left(nodes[1], held, _LEAVE_SECONDS):.1f} s", flush=True)
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
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        url = stack.enter_context(redis(Path(name)))
        asyncio.run(run(args.members, args.rounds, args.frozen, Path(name), url, stack))
    return 0


if __name__ == "__main__":
    sys.exit(main())
