"""Answers to `pushctl` that are cut, at each byte: a command is repeated or fails, and misses and repeats nothing."""

import io
import json
import sys
import threading
from argparse import Namespace
from collections.abc import Iterator, Sequence
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from pushd.client import Pushd
from pushd.client.core.address import Address
from pushd.ctl.command_line import build_parser
from pushd.ctl.command_line.messages import TRANSPORTS
from pushd.ctl.errors import EXIT_FAILED, EXIT_UNREACHABLE
from pushd.ctl.execution import execute
from pushd.ctl.raw_connections import http_connection
from tests.cut_answers import AnswerCutter
from tests.daemon.real import Daemon

pytestmark = pytest.mark.system
SOME, EVERY = 37, 1
"""How many bytes one cut is after the other."""
STEPS = pytest.mark.parametrize(
    "step", [pytest.param(SOME, id="some bytes"), pytest.param(EVERY, id="every byte", marks=pytest.mark.slow)]
)


STREAMS = [(each, "new") for each in TRANSPORTS] + [(each, "old") for each in ("stream", "sse", "mixed", "longpoll")]
"""The transports, and the proxies through which they are cut."""


class Scene:
    """A daemon behind proxies that cut answers, and what it stores."""

    def __init__(self, directory: Path) -> None:
        self.daemon = Daemon(directory, "--history-messages", "4000")
        http, tcp = self.daemon.http_port, self.daemon.tcp_port
        self.cutters = {"new": AnswerCutter(http), "old": AnswerCutter(http, is_old=True), "tcp": AnswerCutter(tcp)}
        for number in range(3):
            self.daemon.publish("some/a", b"message %d" % number, Content_Type="text/plain")
        self.daemon.publish("some/end", b'{"number":1}', Content_Type="application/json")
        self.daemon.request("POST", "/pub/some/end?end=1", {"Content-Type": "text/plain"}, b"the last")
        self.daemon.request("PUT", "/presence/some/a/bob?ttl=1000", {}, b'{"name":"Bob"}')
        self._client = Pushd(f"http://127.0.0.1:{http}")
        self._requests = self._client.subscribe("clock").__enter__()
        self._responder = threading.Thread(target=self._respond, daemon=True)
        self._responder.start()

    def close(self) -> None:
        """Stop everything."""
        for cutter in self.cutters.values():
            cutter.close()
        self._client.close()
        self._responder.join(10)
        self.daemon.assert_healthy()
        self.daemon.stop()

    def parse(self, words: Sequence[str], proxy: str = "new") -> Namespace:
        """Return the arguments of a command for a daemon behind a proxy."""
        url, tcp = (f"127.0.0.1:{self.cutters[name].port}" for name in (proxy, "tcp"))
        return build_parser().parse_args(["--url", f"http://{url}", "--tcp", tcp, *words])

    def stored(self, channel: str) -> int:
        """Return the number of messages of a channel."""
        return int(self.daemon.request("GET", f"/pub/{channel}").json()["messages"])

    def _respond(self) -> None:
        for request in self._requests:
            self._client.reply(request, "twelve o'clock")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A daemon for the tests of this module."""
    scene = Scene(tmp_path_factory.mktemp("pushd"))
    yield scene
    scene.close()


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat and reconnect at once."""
    monkeypatch.setattr("pushd.client.core.backoff.Delays.delay", lambda *_, **__: 0.0)


class Run:
    """One run of a command in this process."""

    def __init__(self, args: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
        out, error = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True), io.StringIO()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", error)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\ntwo\n")))
            self.status = execute(args)
        self.out, self.error = out.buffer.getvalue().decode(), error.getvalue()


def cut_runs(scene: Scene, args: Namespace, step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run a command whose answers are cut at one byte after the other, until they have no more bytes."""
    size = 0
    while True:
        for cutter in scene.cutters.values():
            cutter.cut_after(size)
        run = Run(args, monkeypatch)
        cuts = [cutter.has_cut() for cutter in scene.cutters.values()]
        if not any(cuts):
            break
        yield run
        size += step
    assert size > 100


COMMANDS: Any = {
    "channels": ["channels"],
    "info": ["info", "some/a"],
    "connections": ["connections"],
    "who": ["who", "some/a"],
    "health": ["health"],
    "hooks": ["hooks"],
    "request": ["request", "clock", "what time is it?"],
    "kick": ["kick", "--sub", "bob"],
    "revoke": ["revoke", "--sub", "nobody"],
    "explain": ["token", "explain", "abc", "--action", "subscribe", "--topic", "some/a"],
}


@STEPS
@pytest.mark.parametrize("command", COMMANDS)
def test_command_whose_answer_is_cut_fails(
    scene: Scene, command: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = scene.parse(COMMANDS[command])
    assert Run(args, monkeypatch).status == 0
    for run in cut_runs(scene, args, step, monkeypatch):
        assert run.status == EXIT_UNREACHABLE, run.error
        assert " did not answer: " in run.error
        assert "the connection was lost within the answer" in run.error or "without response" in run.error


@STEPS
def test_publish_whose_answer_is_cut_fails_unless_it_is_repeated(
    scene: Scene, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    once, repeated, lines = (f"published/{name}/{step}" for name in ("once", "repeated", "lines"))
    fails = scene.parse(["pub", once, "hello"])
    runs = list(cut_runs(scene, fails, step, monkeypatch))
    assert {run.status for run in runs} == {EXIT_UNREACHABLE}
    assert all("it may have been published" in run.error for run in runs)
    assert scene.stored(once) == len(runs) + 1
    for words, channel, count in (
        (["pub", repeated, "hello", "--retry", "10s"], repeated, 1),
        (["pub", lines, "--lines"], lines, 2),
    ):
        runs = list(cut_runs(scene, scene.parse(words), step, monkeypatch))
        assert {(run.status, run.error, run.out.count("\n")) for run in runs} == {(0, "", count)}
        assert scene.stored(channel) == (len(runs) + 1) * count


@STEPS
@pytest.mark.parametrize(("transport", "proxy"), STREAMS)
def test_subscription_that_is_cut_goes_on_or_fails_before_it_begins(
    scene: Scene, transport: str, proxy: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = scene.parse(["sub", "some/end", "--since", "lostepoc-7", "--json", "--transport", transport], proxy)
    uncut = Run(args, monkeypatch)
    assert uncut.status == 0
    kinds = [json.loads(line).get("type", "message") for line in uncut.out.splitlines()]
    assert kinds == ["gap", "message", "message", "end"]
    for run in cut_runs(scene, args, step, monkeypatch):
        assert (run.status, run.out) in ((0, uncut.out), (EXIT_UNREACHABLE, "")), run.error


@STEPS
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_refusal_of_a_subscription_that_is_cut_is_no_other_refusal(
    scene: Scene, transport: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = scene.parse(["sub", "some//", "--transport", transport])
    refused = Run(args, monkeypatch)
    assert refused.status == EXIT_FAILED
    assert refused.error.startswith("pushctl: bad-topic: ")
    for run in cut_runs(scene, args, step, monkeypatch):
        assert run.out == ""
        assert run.status == EXIT_UNREACHABLE or run.error == refused.error


def read_all(response: HTTPResponse) -> None:
    """Read a body."""
    while response.read1():
        pass


def test_request_of_the_doctor_whose_answer_is_cut_fails(scene: Scene) -> None:
    cutter = scene.cutters["new"]
    for size in range(0, 250, SOME):
        cutter.cut_after(size)
        connection = http_connection(Address(f"http://127.0.0.1:{cutter.port}"))
        connection.request("GET", "/health/ready")
        with pytest.raises(HTTPException):
            read_all(connection.getresponse())
        assert cutter.has_cut()
