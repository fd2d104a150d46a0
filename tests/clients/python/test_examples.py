"""The examples that have no pages: a worker with processes, and a Twisted service."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pushd_client import Message, Publication, Subscription

from tests.clients.python.secured_daemon import SecuredDaemon, secured_daemon

__all__ = ["secured_daemon"]
ROOT = Path(__file__).parents[3]
ENVIRON = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "clients/python")])}


@pytest.fixture
def directory(secured_daemon: SecuredDaemon, tmp_path: Path) -> Path:
    """A directory with the examples, which use the daemon, and their token."""
    secured_daemon.daemon.clear()
    (tmp_path / "app.token").write_bytes(secured_daemon.token.read_bytes())
    for file in (ROOT / "examples/python").glob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert text.count("http://127.0.0.1:8080") == 1
        (tmp_path / file.name).write_text(text.replace("http://127.0.0.1:8080", secured_daemon.daemon.url))
    return tmp_path


def next_data(subscription: Subscription) -> Any:
    """Return the data of the next message."""
    item = next(subscription)
    assert isinstance(item, Message)
    return item.data


def test_jobs_of_a_worker_report_their_progress(directory: Path, secured_daemon: SecuredDaemon):
    with secured_daemon.daemon.client.subscribe("users/alice/inbox") as subscription:
        command = [sys.executable, "worker.py", "alice", "a", "b"]
        done = subprocess.run(command, cwd=directory, env=ENVIRON, capture_output=True, text=True, timeout=120)
        assert (done.stdout, done.returncode) == ("a is done\nb is done\n", 0), done.stderr
        received = [next_data(subscription) for _ in range(6)]
    progress = [(data["job"], data["percent"]) for data in received]
    assert sorted(progress) == [(job, percent) for job in "ab" for percent in (0, 50, 100)]


def test_service_confirms_orders(directory: Path, secured_daemon: SecuredDaemon):
    client = secured_daemon.daemon.client
    client.publish("orders/1", {"user": "alice", "item": "tea"})
    run = "from twisted.scripts.twistd import run; run()"
    command = [sys.executable, "-c", run, "-n", "--pidfile=", "-y", "service.py"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=directory, env=ENVIRON, stdout=log, stderr=subprocess.STDOUT)
    try:
        with client.subscribe("users/alice/inbox", since="all") as subscription:
            assert next_data(subscription) == {"from": "shop", "text": "we have your order of tea"}
            client.publish("orders/2", {"user": "alice", "item": "milk"})
            assert next_data(subscription)["text"].endswith("milk")
            client.batch([Publication("orders/3", {"user": "alice", "item": "rice"})] * 100)
            next_data(subscription)  # the service is stopped while it publishes
    finally:
        process.terminate()
        process.wait(60)
    text = (directory / "log").read_text()
    assert "Server Shut Down" in text and "Traceback" not in text
