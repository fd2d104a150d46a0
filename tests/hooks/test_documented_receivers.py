"""The receivers of docs/hooks.md in their frameworks: what the daemon sends is verified, and duplicates are ignored."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pushd.backends.hook_outbox import HookEvent
from tests.daemon_fixtures import Start, start_daemon
from tests.hooks.receiver import SECRET, Receiver, receiver
from tests.hooks.test_hooks import Scene
from tests.transports.daemon import until

__all__ = ["receiver", "start_daemon"]

EXAMPLES = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[2] / "docs/hooks.md").read_text(), re.DOTALL)


class FrameworkServer:
    """A server with the receiver of a framework, in a process of its own."""

    def __init__(self, folder: Path, framework: str) -> None:
        (example,) = [each for each in EXAMPLES if f"from {framework}" in each]
        (folder / "hook.secret").write_text(SECRET + "\n")
        (folder / "receiver").mkdir()
        (folder / "receiver/__init__.py").touch()
        code = example.replace("/etc/pushd/hook.secret", str(folder / "hook.secret"))
        (folder / "receiver/views.py").write_text(code)
        script = str(Path(__file__).with_name("framework_server.py"))
        self._process = subprocess.Popen(
            [sys.executable, script, framework],
            cwd=folder,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        assert port, self.stop()
        self.url = f"http://127.0.0.1:{port}/pushd/hooks"

    def stop(self) -> tuple[str, str]:
        """Stop it; return what it has printed on standard output and standard error."""
        self._process.kill()
        return self._process.communicate()


@pytest.fixture(params=["flask", "fastapi", "django"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FrameworkServer]:
    """The receiver of each framework."""
    server = FrameworkServer(tmp_path, request.param)
    yield server
    server.stop()


def event(number: int) -> HookEvent:
    """Return an event whose id is always the same."""
    body = {"id": f"evt_{number}", "type": "subscribe", "channel": f"c/{number}", "time": 1.5, "connection": "x"}
    return HookEvent("app", f"c/{number}", json.dumps(body).encode())


@pytest.mark.slow
async def test_events_of_the_daemon_are_verified_and_handled_once(
    server: FrameworkServer, tmp_path: Path, receiver: Receiver, start_daemon: Start
) -> None:
    scene = Scene(tmp_path, receiver, start_daemon, {})
    daemon = await scene.start("subscribe", url=server.url)
    outbox = daemon._service.hub._backend.hooks
    for sent, events in ((2, [event(1), event(2)]), (5, [event(2), event(1), event(3)])):
        await outbox.add(events)
        await until(lambda: daemon.counters.hook_sent["app"] == sent, f"{sent} events")  # noqa: B023
    assert httpx.post(server.url, json={"hook": "app", "events": []}).status_code == 400
    assert server.stop()[0] == "subscribe c/1\nsubscribe c/2\nsubscribe c/3\n"
    assert dict(daemon.counters.hook_requests).keys() == {("app", "sent")}
