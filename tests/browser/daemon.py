"""The daemon as a separate process, and the HTTP requests that tests send to it."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from tests.daemon.fork_server import ForkedProcess
from tests.daemon.real import start

HOST = "pushd.test"
"""A name that the browsers resolve to 127.0.0.1, like the name of a proxy."""
START_SECONDS = 30.0
STOP_SECONDS = 30.0


class Daemon:
    """A daemon that can be started and stopped.

    :param folder: its working directory, which also has its log.
    :param config: the text of its configuration file, if any.
    :param headers: those of all requests of the test, such as a token.
    """

    def __init__(self, folder: Path, config: str = "", headers: Mapping[str, str] | None = None) -> None:
        self.port = 0
        self._headers = dict(headers or {})
        self._folder = folder
        self._log = folder / "log"
        self._options: list[str] = []
        if config:
            (folder / "pushd.toml").write_text(config)
            self._options = ["--config", str(folder / "pushd.toml")]
        self._process: subprocess.Popen[bytes] | ForkedProcess | None = None

    @property
    def url(self) -> str:
        """Its URL, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "Daemon":
        """Start it. After a stop it uses the same port again."""
        self._log.write_bytes(b"")
        endpoint = f"tcp:{self.port}:interface=127.0.0.1"
        words = ["pushd", "--http", endpoint, "--tcp", "none", "--http-hosts", HOST, *self._options]
        self._process = start(self._log, words)
        self.port = wait(self._find_port, "the daemon listens", START_SECONDS)
        return self

    def stop(self) -> None:
        """Stop it, and wait for its exit."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        finally:
            process.kill()

    def kill(self) -> None:
        """Kill it, and wait for its exit. Its connections are cut."""
        process, self._process = self._process, None
        assert process is not None
        process.kill()
        process.wait(STOP_SECONDS)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Send a request; return the status and the body."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request(method, path, body, self._headers | dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def publish(self, channel: str, data: str | bytes, content_type: str | None = None, **query: object) -> str:
        """Publish a message; return its id."""
        body = data.encode() if isinstance(data, str) else data
        path = f"/pub/{quote(channel)}?{urlencode(query)}"
        status, response = self.request("POST", path, body, {"Content-Type": content_type} if content_type else None)
        assert status in (201, 202), response
        return str(json.loads(response)["id"])

    def delete_channel(self, channel: str) -> None:
        """Delete a channel, if it exists."""
        status, response = self.request("DELETE", f"/pub/{quote(channel)}")
        assert status in (200, 404), response

    def cut(self, channel: str) -> None:
        """Close the connections of all subscribers of a channel."""
        _, response = self.request("GET", f"/connections?channel={quote(channel)}")
        for connection in json.loads(response):
            assert self.request("DELETE", f"/connections/{connection['id']}")[0] == 200
        self.wait_for_subscribers(channel, 0)

    def subscribers(self, channel: str) -> int:
        """Return the number of subscribers of a channel."""
        status, response = self.request("GET", f"/pub/{quote(channel)}")
        return int(json.loads(response)["subscribers"]) if status == 200 else 0

    def wait_for_subscribers(self, channel: str, count: int = 1, seconds: float = 30.0) -> float:
        """Wait until a channel has this many subscribers; return the seconds that it took."""
        begin = time.monotonic()
        wait(lambda: self.subscribers(channel) == count, f"{count} subscribers of {channel}", seconds)
        return time.monotonic() - begin

    def wait_for_pings(self, count: int) -> None:
        """Wait until a new stream has received this many pings: every older stream has received them too."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/stream/pings")
            stream = connection.getresponse()
            for _ in range(count):
                assert json.loads(stream.readline()) == {"type": "ping"}
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        """Return a value of ``/metrics``."""
        lines = self.request("GET", "/metrics")[1].decode().splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))

    def _find_port(self) -> int:
        text = self._log.read_text()
        assert self._process is not None and self._process.poll() is None, text
        found = re.search(r"http listens on \S+:(\d+)", text)
        return int(found[1]) if found else 0


def wait(condition: Callable[[], Any], description: str, seconds: float = 30.0) -> Any:
    """Wait until `condition` returns something true, and return it."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"timeout after {seconds} s: {description}"
        time.sleep(0.02)
    return result
