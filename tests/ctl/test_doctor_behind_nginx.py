"""`pushctl doctor` through a real nginx: good and bad configurations, and the fixes."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pushd.ctl.doctor.checks import CHECKS
from pushd.ctl.doctor.diagnosis import ProblemKind
from pushd.ctl.doctor.fixes import FIXES
from tests.daemon.real import ROOT, Daemon, eventually
from tests.system.nginx import Nginx
from tests.system.proxies import documented

pytestmark = pytest.mark.system

SECONDS = 60
ATTEMPTS = 3
"""Of which the best counts: on a busy machine there may be a delay that is none of nginx."""
NOBODY = 1
"""A port on which nothing listens."""
STREAMS = ("sse", "stream", "raw", "multipart", "mixed")
_MAP, _DOCUMENTED, *_ = documented("nginx")
_PASS = "location / { proxy_pass http://127.0.0.1:8080; }"
_CONTEXT = "proxy_ignore_headers X-Accel-Buffering; proxy_bind 127.0.0.2;"
_FIXED = "\n".join(FIXES[kind]["nginx"] for kind in FIXES if kind not in (ProblemKind.PATH, ProblemKind.UNREACHED))
SERVERS = {
    "documented": _DOCUMENTED,
    "bad": f"proxy_http_version 1.0; {_CONTEXT} proxy_read_timeout 2s; {_PASS}",
    "mended": f"{_CONTEXT}\n{_FIXED.replace(_MAP, '')}\n{_PASS}",
    "readers": f"location /pub {{ limit_except GET {{ deny all; }} }} {_PASS}",
    "renamed": f"proxy_set_header Host push.example.org; {_PASS}",
    "nobody": _PASS.replace("8080", "1"),
}


class DoctorRunner:
    """Runs `pushctl doctor` through each nginx server, directly, and against a closed port."""

    def __init__(self, daemon: Daemon, ports: dict[str, int]) -> None:
        self.daemon = daemon
        self._ports = ports | {"direct": daemon.http_port, "none": NOBODY}
        self._started: list[subprocess.Popen[str]] = []

    def start(self, name: str, *words: str, url: str = "") -> "subprocess.Popen[str]":
        """Start `pushctl doctor` against the server of this name."""
        through = f"http://127.0.0.1:{self._ports[name]}"
        process = subprocess.Popen(
            [sys.executable, "-m", "pushd.ctl.main", "--url", url or through, "doctor", *words, through],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def stop(self) -> None:
        """Kill the processes that a failed test has left."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.communicate()


@pytest.fixture(scope="module")
def doctor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoctorRunner]:
    """A daemon with long keepalive intervals, and nginx in front of it."""
    long = [*("--keepalive-sse", "60"), *("--keepalive-stream", "60"), *("--keepalive-ping", "60")]
    daemon = Daemon(tmp_path_factory.mktemp("pushd"), *long, "--http-trusted-proxies", "127.0.0.2")
    here = f"127.0.0.1:{daemon.http_port}"
    configurations = {name: text.replace("127.0.0.1:8080", here) for name, text in SERVERS.items()}
    nginx = Nginx(tmp_path_factory.mktemp("nginx"), configurations, _MAP)
    doctor = DoctorRunner(daemon, nginx.ports)
    try:
        yield doctor
        daemon.assert_healthy()
    finally:
        doctor.stop()
        nginx.stop()
        daemon.stop()


def objects(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Return the JSON object of each check."""
    out, error = process.communicate(timeout=SECONDS)
    assert error == ""
    return {each["technique"]: each for each in map(json.loads, out.splitlines())}


def kinds_of(found: dict[str, Any]) -> dict[str, list[str]]:
    """Return the kinds of the problems that each check has found."""
    return {name: [problem["fault"] for problem in each["faults"]] for name, each in found.items()}


def find(doctor: DoctorRunner, kinds: dict[str, list[str]], name: str, *words: str, url: str = "") -> dict[str, Any]:
    """Return the JSON object of each check, from an attempt that finds problems of these kinds and no others."""
    for _ in range(ATTEMPTS):
        process = doctor.start(name, "--json", *words, url=url)
        found = objects(process)
        if kinds_of(found) == kinds:
            break
    assert (name, kinds_of(found), process.returncode) == (name, kinds, int(any(kinds.values()))), found
    return found


@pytest.mark.slow
def test_finds_all_problems_of_nginx_and_no_others(doctor: DoctorRunner) -> None:
    kinds: dict[str, dict[str, list[str]]] = {
        name: {check: [] for check in CHECKS} for name in ("direct", "documented", "mended")
    }
    kinds["bad"] = {
        "publish": ["host"],
        "body": ["body"],
        "address": ["address"],
        "stranger": [],
        **{name: ["buffered", "cut"] for name in STREAMS},
        "longpoll": ["cut"],
        "websocket": ["upgrade"],
    }
    with ThreadPoolExecutor() as threads:
        looks = {name: threads.submit(find, doctor, kinds[name], name, "--idle", "4") for name in kinds}
        as_text = doctor.start("bad", "--idle", "4")
        found = {name: look.result() for name, look in looks.items()}
    bad = found.pop("bad")
    for each in found.values():
        outcomes = {check: ["info" if check == "stranger" else "fine"] for check in CHECKS}
        assert {check: result["outcome"] for check, result in each.items()} == outcomes
    for name in (*STREAMS, "longpoll"):
        assert re.search(r"after [2-9] s of silence", bad[name]["faults"][-1]["text"])
    assert bad["sse"]["faults"][0]["cures"] == {"nginx": "proxy_buffering off;"}
    out, error = as_text.communicate(timeout=SECONDS)
    assert (as_text.returncode, error) == (1, "")
    for kind in ("buffered", "cut", "upgrade", "host", "body", "address"):
        assert f"\nagainst {kind} (" in out
        assert all(line in out for line in FIXES[ProblemKind(kind)]["nginx"].splitlines())
    assert doctor.daemon.request("GET", "/channels?prefix=doctor/").json()["channels"] == []


def test_publishes_directly_if_the_proxy_refuses_publishing(doctor: DoctorRunner) -> None:
    direct = f"http://127.0.0.1:{doctor.daemon.http_port}"
    alone, unreachable = doctor.start("readers"), doctor.start("nobody", "--only", "sse")
    words = ("--idle", "0", "--only", "publish,body,sse")
    found = find(doctor, {"publish": ["refused"], "sse": []}, "readers", *words, url=direct)
    assert found["sse"]["outcome"] == ["fine"]
    for process, sentence in ((alone, "403: the proxy forbids it"), (unreachable, "")):
        out, error = process.communicate(timeout=SECONDS)
        assert (process.returncode, sentence in out) == (1, True)
        assert error.startswith("pushctl: nothing could be published")
    assert doctor.daemon.request("GET", "/channels?prefix=doctor/").json()["channels"] == []


def test_host_that_pushd_does_not_serve_is_reported_with_its_fix(doctor: DoctorRunner) -> None:
    direct = f"http://127.0.0.1:{doctor.daemon.http_port}"
    found = objects(doctor.start("renamed", "--idle", "0", "--json", "--only", "publish,sse,websocket", url=direct))
    assert found
    texts = {problem["text"] for each in found.values() for problem in each["faults"]}
    assert texts == {"421 from pushd itself: add the Host that the proxy sends to pushd's http.hosts"}


def test_interrupt_leaves_no_channel(doctor: DoctorRunner) -> None:
    def channels() -> Any:
        return doctor.daemon.request("GET", "/channels?prefix=doctor/").json()["channels"]

    process = doctor.start("documented")
    assert eventually(channels, SECONDS)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=SECONDS) == ("", "")
    assert (process.returncode, channels()) == (130, [])


def test_unreachable_address_is_reported(doctor: DoctorRunner) -> None:
    process = doctor.start("none")
    out, error = process.communicate(timeout=SECONDS)
    assert (process.returncode, out, "cannot be reached" in error) == (3, "", True)
