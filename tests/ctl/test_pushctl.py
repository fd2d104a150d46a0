"""`pushctl` against the real daemon, as a shell runs it."""

import json
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from pushd.ctl.command_line import build_parser
from pushd.ctl.subscriptions import TRANSPORTS
from tests.ctl.pushctl_process import SECONDS, Pushctl
from tests.daemon.real import ROOT, Daemon, eventually

pytestmark = pytest.mark.system

DOCUMENT = (ROOT / "docs/pushctl.md").read_text(encoding="utf-8")


def test_published_messages_are_in_the_history(daemon: Daemon, pushctl: Pushctl, tmp_path: Path) -> None:
    file = tmp_path / "frame"
    file.write_bytes(b"\xff\x00")
    first = pushctl.lines("pub", "p/1", "text", "--event", "greet")
    assert re.fullmatch(r"\S+-[0-9]+ p/1 0", first[0])
    assert len(pushctl.lines("pub", "p/1,p/2", stdin="to both")) == 2
    assert len(pushctl.lines("pub", "p/1", "--lines", stdin="one\r\ntwo")) == 2
    pushctl.lines("pub", "p/1", "--type", "image/x", "--file", str(file))
    pushctl.lines("pub", "p/1", "--type", "application/json", "--end", '{"a":1}')
    stored = [(each.get("data", each.get("data_base64")), each.get("event")) for each in daemon.history("p/1")]
    plain = [("to both", None), ("one", None), ("two", None), ("/wA=", None), ({"a": 1}, None)]
    assert stored == [("text", "greet"), *plain]


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("frame.jpg", b"not a picture", "image/jpeg"),
        ("frame.PNG", b"\xff", "image/png"),
        ("frame", b"\xff\xd8\xff\xe0", "image/jpeg"),
        ("data.json", b'{"a":1}', "application/json"),
        ("page.html", "ü".encode(), "text/html; charset=utf-8"),
        ("page.html", b"\xfc", "text/html"),
        ("notes.txt", b"x", "text/plain; charset=utf-8"),
        ("data.json.gz", b"\x1f\x8b", "application/gzip"),
        ("unknown.qqq", b"\xff", "application/octet-stream"),
    ],
)
def test_file_has_the_type_of_its_name(
    daemon: Daemon, pushctl: Pushctl, tmp_path: Path, name: str, data: bytes, kind: str
) -> None:
    channel = f"file/{name}/{len(data)}"
    file = tmp_path / name
    file.write_bytes(data)
    pushctl.lines("pub", channel, "--file", str(file))
    pushctl.lines("pub", channel, "--file", str(file), "--type", "a/b")
    assert [each["content_type"] for each in daemon.history(channel)] == [kind, "a/b"]


def kick_subscriber(daemon: Daemon, pushctl: Pushctl, channel: str) -> None:
    """Kick the subscriber of a channel, once it is there. A poll that does not wait may be gone before the kick."""

    def is_kicked() -> bool:
        connections = daemon.request("GET", f"/connections?channel={channel}").json()
        return any(pushctl.run("kick", each["id"])[0] == 0 for each in connections)

    assert eventually(is_kicked, SECONDS)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_latest_is_the_newest_message_of_each_channel(daemon: Daemon, pushctl: Pushctl, transport: str) -> None:
    for number in range(4):
        daemon.publish(f"latest/{transport}/{number % 2}", b"%d" % number)
    options = ("--transport", transport, "--since", "latest", "--count", "2")
    lines = pushctl.lines("sub", f"latest/{transport}/*", *options)
    assert [line.split()[-1] for line in lines] == ["2", "3"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_subscriber_receives_history_then_live_messages(daemon: Daemon, pushctl: Pushctl, transport: str) -> None:
    channel = f"s/{transport}"
    first = daemon.publish(channel, b"old")["id"]
    process = pushctl.start(
        "sub", f"{channel},other", "--transport", transport, "--since", "all", "--count", "3", "--json"
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["id"] == first
    for data in (b"new", b"newest"):
        daemon.publish(channel, data)
    out, error = process.communicate(timeout=SECONDS)
    assert [json.loads(line)["data"] for line in out.splitlines()] == ["new", "newest"]
    assert (process.returncode, error) == (0, "")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_gap_is_reported(daemon: Daemon, pushctl: Pushctl, transport: str) -> None:
    channel = f"g/{transport}"
    daemon.publish(channel, b"kept")
    status, out, error = pushctl.run("sub", channel, "--transport", transport, "--since", "other-1", "--count", "1")
    assert (status, out) == (0, "kept\n")
    assert error.startswith("pushctl: gap: epoch ")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_all_kinds_of_data_and_the_end_are_received(daemon: Daemon, pushctl: Pushctl, transport: str) -> None:
    channel = f"kinds/{transport}"
    daemon.publish(channel, b"text", Content_Type="text/plain")
    daemon.publish(channel, b"\xff\r\n", Content_Type="image/x")
    daemon.request("POST", f"/pub/{channel}?event=%C3%A9%20e", {"Content-Type": "application/json"}, b'{"a": [1]}')
    daemon.request("POST", f"/pub/{channel}?end=1")
    status, out, error = pushctl.run("sub", channel, "--since", "all", "--json", "--transport", transport)
    received = [json.loads(line) for line in out.splitlines()]
    messages = [each for each in received if "id" in each]
    assert (status, error) == (0, "")
    assert [each.get("data", each.get("data_base64")) for each in messages] == ["text", "/w0K", {"a": [1]}]
    assert [each.get("event") for each in messages] == [None, None, "é e"]
    assert received[3:] == [{"type": "end", "channel": channel}]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_messages_that_are_not_kept_are_received(daemon: Daemon, pushctl: Pushctl, transport: str) -> None:
    channel = f"unkept/{transport}"
    process = pushctl.start("sub", channel, "--transport", transport, "--count", "2", "--json")
    path = f"/connections?channel={channel}"
    assert eventually(lambda: json.loads(daemon.request("GET", path).body), SECONDS)
    if transport == "longpoll":  # the first poll, which does not wait, may have been that connection
        assert eventually(lambda: _held(json.loads(daemon.request("GET", path).body)), SECONDS)
    assert pushctl.lines("pub", channel, "passing", "--no-keep") == [f"- {channel} 1"]
    assert process.stdout is not None
    message = json.loads(process.stdout.readline())
    assert (message["channel"], message["data"], message["kept"], "id" in message) == (channel, "passing", False, False)
    kept = daemon.publish(channel, b"kept")
    out, error = process.communicate(timeout=SECONDS)
    assert (json.loads(out)["id"], process.returncode, error) == (kept["id"], 0, "")
    assert [each["data"] for each in daemon.history(channel)] == ["kept"]


def _held(connections: list[dict[str, object]]) -> bool:
    """Return whether a request is held, and has been for a while."""
    return bool(connections) and time.time() - float(str(connections[0]["since"])) > 1


def test_connection_is_excluded(daemon: Daemon, pushctl: Pushctl) -> None:
    with daemon.lines() as lines:
        lines.command(b"SUB not/mine")
        (connection,) = json.loads(daemon.request("GET", "/connections?channel=not/mine").body)
        assert pushctl.lines("pub", "not/mine", "x", "--except", connection["id"])[0].endswith(" not/mine 0")
        assert pushctl.lines("pub", "not/mine", "y", "--no-keep") == ["- not/mine 1"]
        assert lines.reply() == b"MSG not/mine - y"
    status, _, error = pushctl.run("pub", "not/mine", "x", "--except", "me")
    assert (status, error.startswith("pushctl: bad-parameter: except must be")) == (1, True)


def test_program_is_run_for_each_message(daemon: Daemon, pushctl: Pushctl) -> None:
    first = daemon.publish("x", b"text")["id"]
    script = f"{sys.executable} -c 'import os, sys; print(os.environ[\"PUSHD_ID\"], sys.stdin.read())'"
    assert pushctl.lines("sub", "x", "--since", "all", "--count", "1", "--exec", script) == [f"{first} text"]


def test_program_that_fails_does_not_end_the_subscription(daemon: Daemon, pushctl: Pushctl) -> None:
    daemon.publish("fail", b"1")
    process = pushctl.start("sub", "fail", "--since", "all", "--count", "3", "--exec", "sh -c 'read n; exit $n'")
    assert process.stderr is not None
    assert "exited with status 1 (message " in process.stderr.readline()
    pushctl.lines("pub", "fail", "2", "--no-keep")
    assert "exited with status 2 (message without an id on fail)" in process.stderr.readline()
    pushctl.lines("pub", "fail", "0")
    _, error = process.communicate(timeout=SECONDS)
    assert (process.returncode, error) == (0, "")
    status, out, error = pushctl.run("sub", "fail", "--since", "all", "--count", "2", "--exec", "/no/such/program")
    assert (status, out, error.count("/no/such/program cannot be run: No such file or directory")) == (0, "", 2)
    stopping = "sub", "fail", "--since", "all", "--exec", "sh -c 'kill -9 $$'", "--exec-stop"
    status, _, error = pushctl.run(*stopping)
    assert (status, error.count("was ended by signal 9")) == (1, 1)
    assert pushctl.run("sub", "fail", "--exec", "")[0] == 2


def test_addresses_are_accepted_before_and_after_the_command(daemon: Daemon, pushctl: Pushctl) -> None:
    url, tcp = f"http://127.0.0.1:{daemon.http_port}", f"127.0.0.1:{daemon.tcp_port}"
    nowhere = "--url", "http://127.0.0.1:1", "--tcp", "127.0.0.1:1"
    assert pushctl.run(*nowhere, "health")[0] == pushctl.run("health", *nowhere)[0] == 3
    assert pushctl.lines(*nowhere, "health", "--url", url) == ["ready"]
    pushctl.lines(*nowhere, "pub", "after", "--url", url, "--ttl", "5m", "text")
    sub = "sub", "after", "--since", "all", "--count", "1", "--transport", "tcp"
    assert pushctl.lines(*nowhere, *sub, "--tcp", tcp) == ["text"]
    assert pushctl.lines("--tcp", tcp, *sub) == ["text"]


def test_channels_info_connections_and_kick(daemon: Daemon, pushctl: Pushctl) -> None:
    daemon.publish("look/1")
    assert pushctl.lines("channels", "look/") == ["look/1"]
    assert "messages: 1" in pushctl.lines("info", "look/1")
    assert json.loads(pushctl.lines("info", "look/1", "--json")[0])["channel"] == "look/1"
    assert pushctl.lines("health") == ["ready"]
    with daemon.lines() as lines:
        assert lines.command(b"SUB look/1").startswith(b"+OK SUB look/1 cursor=")
        (line,) = pushctl.lines("connections", "--channel", "look/1")
        id, *rest = line.split(" ")
        assert rest == ["tcp", "127.0.0.1", "0B", "0", "look/1"]
        assert pushctl.lines("kick", id) == [f"closed {id}"]
        assert lines.reply().startswith(b"-ERR kicked ")
    status, _, error = pushctl.run("kick", id)
    assert (status, error.startswith("pushctl: unknown-connection: ")) == (1, True)


def test_who_lists_members_and_watches_them(daemon: Daemon, pushctl: Pushctl) -> None:
    daemon.request("PUT", "/presence/who/1/alice?ttl=60", body=b'{"name":"Alice\\u0007"}')
    daemon.request("PUT", "/presence/who/1/bob?ttl=60")
    alice, bob = pushctl.lines("who", "who/1")
    assert re.fullmatch(r'alice 0 [0-9T:-]{19}Z \{"name": ".*"\}', alice)
    assert "\x07" not in alice
    assert re.fullmatch("bob 0 [0-9T:-]{19}Z", bob)
    process = pushctl.start("who", "who/1", "--watch", "--json")
    assert process.stdout is not None
    shown = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert [(each["action"], each["id"]) for each in shown] == [("member", "alice"), ("member", "bob")]
    daemon.request("DELETE", "/presence/who/1/bob")
    for number in range(25):
        daemon.request("PUT", f"/presence/who/1/m{number:02}?ttl=60")
    shown = [json.loads(process.stdout.readline()) for _ in range(26)]
    assert [each["action"] for each in shown] == ["leave", *["enter"] * 25]
    assert shown[0]["reason"] == "client"
    process.terminate()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_subscriber_that_is_kicked_before_its_first_message_misses_nothing(
    daemon: Daemon, pushctl: Pushctl, transport: str
) -> None:
    channel = f"kicked/{transport}"
    process = pushctl.start("sub", channel, "--transport", transport, "--count", "2")
    kick_subscriber(daemon, pushctl, channel)
    assert process.poll() is None
    daemon.publish(channel, b"missed")
    daemon.publish(channel, b"live")
    out, error = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (0, "missed\nlive\n")
    # A long poll that is kicked is a response without messages.
    assert transport == "longpoll" or "reconnecting" in error


def test_tap_shows_messages_but_not_their_data(daemon: Daemon, pushctl: Pushctl) -> None:
    process = pushctl.start("tap", "tap/*")
    assert process.stdout is not None
    assert eventually(lambda: "stream" in daemon.request("GET", "/connections?channel=tap/1").body.decode(), SECONDS)
    receipt = daemon.publish("tap/1", b"secret", Content_Type="text/plain")
    words = ["tap/1", receipt["id"], "-", "text/plain", "6", "B", "stream=1\n"]
    assert process.stdout.readline().split(" ")[1:] == words
    pushctl.lines("pub", "tap/1", "secret", "--no-keep")
    assert process.stdout.readline().split(" ")[1:4] == ["tap/1", "-", "-"]
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=SECONDS)
    assert (process.returncode, error) == (130, "")


def test_exit_status_shows_what_failed(pushctl: Pushctl) -> None:
    assert pushctl.run("info", "nobody/knows")[0] == 1
    status, out, error = pushctl.run("pub", "bad*", "x")
    assert (status, out, error.startswith("pushctl: bad-channel: ")) == (1, "", True)
    assert pushctl.run("no-such-command")[0] == 2
    assert pushctl.run("pub", "a", "--lines", "text")[0] == 2
    assert pushctl.run("--url", "ftp://x", "health")[0] == 2
    status, _, error = pushctl.run("--url", "http://127.0.0.1:1", "sub", "a")
    assert (status, "cannot be reached" in error) == (3, True)
    status, _, error = pushctl.run("--tcp", "127.0.0.1:1", "sub", "a", "--transport", "tcp")
    assert (status, "cannot be reached" in error) == (3, True)


COMMANDS = [name for action in build_parser()._actions for name in action.choices or ()]


def test_commands_are_found() -> None:
    assert "pub" in COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_documented(command: str) -> None:
    assert f"`pushctl {command}" in DOCUMENT
