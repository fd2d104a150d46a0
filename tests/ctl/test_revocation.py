"""`pushctl revoke` and `pushctl kick --sub` withdraw tokens and close connections of a daemon."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pushd.ctl.subscriptions import TRANSPORTS
from tests.ctl.guarded_daemon import OPERATOR, USER, GuardedDaemon
from tests.ctl.pushctl_process import SECONDS
from tests.daemon.real import eventually

pytestmark = pytest.mark.system


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[GuardedDaemon]:
    """A daemon with authentication."""
    guarded = GuardedDaemon(tmp_path)
    yield guarded
    guarded.process.assert_healthy()
    guarded.process.stop()


def subscribers(guarded: GuardedDaemon) -> int:
    """Return the number of open connections with topics."""
    return len([line for line in guarded.pushctl().lines("connections") if not line.endswith(" -")])


@pytest.mark.parametrize("transport", [name for name in TRANSPORTS if name not in ("poll", "pull")])
def test_revocation_ends_a_subscription_and_refuses_the_next(guarded: GuardedDaemon, transport: str) -> None:
    running = guarded.pushctl(USER).start("sub", "news/a", "--transport", transport)
    try:
        assert eventually(lambda: subscribers(guarded) == 1, SECONDS)
        (line,) = guarded.pushctl().lines("revoke", "--sub", "alice", "--reason", "a test")
        assert re.fullmatch(r"revoked sub alice: issued before .* UTC, kept until .* UTC", line)
        out, error = running.communicate(timeout=SECONDS)
        assert (running.returncode, out) == (1, "")
        assert re.search("token-revoked|4401", error)
    finally:
        running.kill()
    status, _, error = guarded.pushctl(USER).run("sub", "news/a", "--transport", transport)
    assert status == 1
    assert re.search("token-revoked|4401", error)


def test_revocation_by_each_kind_and_time(guarded: GuardedDaemon) -> None:
    now = int(time.time())
    arguments = (("--jti", "t1", "--before", str(now)), ("--tag", "x", "--before", "2020-01-01T00:00:00Z"))
    kept = [json.loads(guarded.pushctl().lines("revoke", *each, "--json")[0]) for each in arguments]
    assert [(each.get("jti"), each.get("tag"), each["before"]) for each in kept] == [
        ("t1", None, now),
        (None, "x", 1_577_836_800),
    ]
    status, _, error = guarded.pushctl(USER).run("revoke", "--jti", "t1")
    assert (status, error) == (1, "pushctl: forbidden: operation revoke is not granted\n")
    for wrong in ((), ("--jti", "a", "--sub", "b"), ("--sub", "a", "--before", "soon")):
        assert guarded.pushctl().run("revoke", *wrong)[0] == 2


def test_kick_of_a_subject(guarded: GuardedDaemon) -> None:
    running = guarded.pushctl(USER).start("sub", "news/a", "--transport", "websocket")
    try:
        assert eventually(lambda: subscribers(guarded) == 1, SECONDS)
        (before,) = [line.split()[0] for line in guarded.pushctl().lines("connections", "--channel", "news/a")]
        lines = guarded.pushctl(OPERATOR).lines("kick", "--sub", "alice")
        assert lines == ["closed 1 connections"]

        def is_another() -> bool:
            rows = guarded.pushctl().lines("connections", "--channel", "news/a")
            return [row.split()[0] for row in rows] not in ([before], [])

        assert eventually(is_another, SECONDS)  # the token is good, so it reconnects
    finally:
        running.terminate()
        running.wait(SECONDS)
    assert guarded.pushctl().run("kick")[0] == 2
    assert guarded.pushctl().run("kick", "x", "--sub", "alice")[0] == 2
    assert isinstance(running, subprocess.Popen)
