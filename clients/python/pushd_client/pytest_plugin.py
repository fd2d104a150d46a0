"""The plugin of pytest: the fixture `pushd` is a real daemon on free ports.

It is registered by the entry point ``pytest11``. The daemon is started once for each process of the tests, when the
first test asks for it; each test finds it without channels. It must be installed in the same environment:
``pip install pushd``.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest

from .errors import Refused
from .messages import Message
from .sync import Pushd

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 10.0
_LISTEN: Final = "tcp:0:interface=127.0.0.1"
_COMMAND: Final = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", "pushd")
_POLL_SECONDS: Final = 0.01
_CHANNELS: Final = 1000
_MESSAGES: Final = 10_000
"""As many as the daemon returns in one answer."""


class PushdDaemon:
    """A running daemon.

    :param directory: its working directory, which also has its log.
    :param config: the text of its configuration file.
    :param token: that of `client`.
    """

    def __init__(self, directory: Path, config: str = "", token: str | None = None) -> None:
        self._log = directory / "pushd.log"
        self._process = _start(directory, self._log, config)
        try:
            self.url = f"http://127.0.0.1:{self._port('http')}"
            """Its URL, without a slash at the end."""
            self.tcp_port = self._port("tcp")
            """The port of TCP lines."""
            self.client = Pushd(self.url, token, timeout=10, retry_seconds=5)
            """A client; with authentication it has the token of the fixture `pushd_token`."""
        except BaseException:
            self.stop()
            raise

    @property
    def log(self) -> str:
        """The log of the daemon."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def published(self, topics: str = "**") -> list[Message]:
        """Return the messages of topics that are in the history, oldest first."""
        return self.client.history(topics, since="all", limit=_MESSAGES).messages

    def subscribers(self, channel: str) -> int:
        """Return the number of subscribers of a channel."""
        with self._missing_allowed():
            return int(self.client.call("GET", f"/pub/{quote(channel)}")["subscribers"])
        return 0

    def wait_for_subscribers(self, channel: str, count: int = 1, seconds: float = 10.0) -> None:
        """Wait until a channel has so many subscribers.

        :raises TimeoutError: when it has not within the time.
        """
        wait_for(lambda: self.subscribers(channel) == count, f"{count} subscribers of {channel}", seconds)

    def clear(self) -> None:
        """Delete all channels with their histories."""
        while channels := self.client.call("GET", "/channels", query={"limit": _CHANNELS})["channels"]:
            for channel in channels:
                with self._missing_allowed():
                    self.client.delete(channel)

    def stop(self) -> None:
        """Stop it, and wait for its exit."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()

    @contextmanager
    def _missing_allowed(self) -> Iterator[None]:
        """Ignore that a channel does not exist."""
        try:
            yield
        except Refused as refusal:
            if refusal.status != 404:
                raise

    @property
    def _is_running(self) -> bool:
        return self._process.poll() is None

    def _port(self, name: str) -> int:
        listening = re.compile(rf"{name} listens on 127\.0\.0\.1:([0-9]+)")
        wait_for(lambda: listening.search(self.log) or not self._is_running, "start of pushd", START_SECONDS)
        found = listening.search(self.log)
        if found is None:
            raise RuntimeError(f"pushd did not start:\n{self.log}")
        return int(found[1])


@pytest.fixture(scope="session")
def pushd_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of the daemon: files that `pushd_config` names."""
    return tmp_path_factory.mktemp("pushd")


@pytest.fixture(scope="session")
def pushd_config() -> str:
    """The configuration of the daemon, in TOML. Override it to use other settings than the defaults."""
    return ""


@pytest.fixture(scope="session")
def pushd_token() -> str | None:
    """The token of `PushdDaemon.client`. Override it where `pushd_config` has authentication: it needs all rights."""
    return None


@pytest.fixture(scope="session")
def pushd_daemon(pushd_directory: Path, pushd_config: str, pushd_token: str | None) -> Iterator[PushdDaemon]:
    """A daemon for all tests, which keeps its channels between them. Most tests use `pushd`."""
    with running_daemon(pushd_directory, pushd_config, pushd_token) as daemon:
        yield daemon


@pytest.fixture
def pushd(pushd_daemon: PushdDaemon) -> PushdDaemon:
    """A daemon without channels."""
    pushd_daemon.clear()
    return pushd_daemon


@contextmanager
def running_daemon(directory: Path, config: str = "", token: str | None = None) -> Iterator[PushdDaemon]:
    """Run a daemon. Without pushd, the test is skipped, or fails where the variable ``CI`` is set."""
    if find_spec("pushd") is None or find_spec("twisted") is None:
        reason = f"pushd is not installed for {sys.executable}: pip install pushd"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    daemon = PushdDaemon(directory, config, token)
    try:
        yield daemon
    finally:
        daemon.client.close()
        daemon.stop()


def wait_for(condition: Callable[[], object], what: str, seconds: float) -> None:
    """Wait until a condition is true.

    :raises TimeoutError: when it is not within the time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} within {seconds:g} s")
        time.sleep(_POLL_SECONDS)


def _start(directory: Path, log: Path, config: str) -> "subprocess.Popen[bytes]":
    file = directory / "pushd.toml"
    file.write_text(config, encoding="utf-8")
    options = ("--config", str(file), "--http", _LISTEN, "--tcp", _LISTEN, "--log-format", "text")
    with log.open("wb") as output:
        return subprocess.Popen(
            [*_COMMAND, *options],
            cwd=directory,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _environment() -> Mapping[str, str]:
    """Return the environment of the daemon: without settings of another one, and with the packages of this process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PUSHD_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
