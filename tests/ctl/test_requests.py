"""`pushctl request` and `pushctl respond`, curl and telnet, against the real daemon."""

import json
import socket
import subprocess

import pytest

from tests.ctl.pushctl_process import SECONDS, Pushctl
from tests.daemon.real import Daemon, eventually

pytestmark = pytest.mark.system


def curl(daemon: Daemon, channel: str, body: str) -> "subprocess.Popen[str]":
    """Start curl with a request."""
    url = f"http://127.0.0.1:{daemon.http_port}/request/{channel}"
    return subprocess.Popen(["curl", "-s", "-d", body, url], stdout=subprocess.PIPE, text=True)


def test_a_program_answers_requests(daemon: Daemon, pushctl: Pushctl) -> None:
    responder = pushctl.start("respond", "upper", "--count", "3", "--", "tr", "a-z", "A-Z")
    assert eventually(lambda: pushctl.run("info", "upper")[0] == 0, SECONDS)
    assert pushctl.lines("request", "upper", "one") == ["ONE"]
    assert pushctl.lines("request", "upper", "--timeout", "30", stdin="two") == ["TWO"]
    asker = curl(daemon, "upper", "three")
    assert asker.communicate(timeout=SECONDS)[0] == "THREE"
    out, error = responder.communicate(timeout=SECONDS)
    assert (responder.returncode, out, error) == (0, "", "")


def test_a_program_that_fails_answers_nothing(daemon: Daemon, pushctl: Pushctl) -> None:
    responder = pushctl.start("respond", "failing/*", "--count", "1", "--", "false")
    assert eventually(lambda: pushctl.run("connections", "--channel", "failing/a")[1], SECONDS)
    status, out, error = pushctl.run("request", "failing/a", "x", "--timeout", "0.5")
    assert (status, out) == (1, "")
    assert error.startswith("pushctl: no-reply: ")
    assert "exited with status 1; the request is not answered" in responder.communicate(timeout=SECONDS)[1]


def test_a_program_knows_what_it_answers(daemon: Daemon, pushctl: Pushctl) -> None:
    command = 'echo "$PUSHD_CHANNEL $PUSHD_EVENT $PUSHD_CONTENT_TYPE"'
    responder = pushctl.start("respond", "known", "--count", "1", "--", "sh", "-c", command)
    assert eventually(lambda: pushctl.run("info", "known")[0] == 0, SECONDS)
    assert pushctl.lines("request", "known", "{}", "--type", "application/json", "--event", "ask") == [
        "known ask application/json"
    ]
    responder.communicate(timeout=SECONDS)


def test_nobody_answers(pushctl: Pushctl) -> None:
    status, out, error = pushctl.run("request", "nobody", "x")
    assert (status, out) == (1, "")
    assert error == "pushctl: no-responders: no subscriber of the channel can answer\n"


def test_respond_needs_a_program(pushctl: Pushctl) -> None:
    status, _, error = pushctl.run("respond", "a")
    assert status == 2
    assert "required: COMMAND" in error


def test_a_person_in_telnet_answers_and_asks(daemon: Daemon) -> None:
    """With Telnet options, as a terminal sends them."""
    with socket.create_connection(("127.0.0.1", daemon.tcp_port), SECONDS) as sock, sock.makefile("rb") as lines:
        sock.sendall(b"\xff\xfd\x03FORMAT json\r\nSUB oracle\r\n")
        while not lines.readline().startswith(b"+OK SUB"):
            pass
        asker = curl(daemon, "oracle", "Will it rain?")
        request = json.loads(lines.readline())
        assert request["data"] == "Will it rain?"
        sock.sendall(f"PUB {request['reply_to']} Yes.\r\n".encode())
        assert lines.readline() == b"+OK - 1\r\n"
        assert asker.communicate(timeout=SECONDS)[0] == "Yes."
        sock.sendall(f"PUB {request['reply_to']} No.\r\nREQ nobody x\r\n".encode())
        assert lines.readline().startswith(b"-ERR no-request ")
        assert lines.readline() == b"-ERR no-responders request 1: no subscriber of the channel can answer\r\n"
