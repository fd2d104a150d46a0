"""`pushctl` authenticates itself by a token: all commands, over all transports, and a refused one ends them."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pushd.ctl.bench import BENCH_TRANSPORTS
from pushd.ctl.subscriptions import TRANSPORTS
from tests.ctl.guarded_daemon import ISSUER, OPERATOR, STRANGE, USER, GuardedDaemon
from tests.ctl.pushctl_process import SECONDS
from tests.daemon.real import eventually

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedDaemon]:
    """A daemon with authentication, for the tests of this module."""
    guarded = GuardedDaemon(tmp_path_factory.mktemp("guarded"))
    yield guarded
    guarded.process.assert_healthy()
    for token in (OPERATOR, USER, STRANGE):
        assert token not in guarded.process.log
    guarded.process.stop()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_token_is_sent_by_every_transport(guarded: GuardedDaemon, transport: str) -> None:
    channel = f"every/{transport}"
    guarded.pushctl().lines("pub", channel, "text")
    arguments = ("sub", channel, "--since", "all", "--count", "1", "--transport", transport)
    assert guarded.pushctl().lines(*arguments) == ["text"]


def test_token_is_given_in_any_way(guarded: GuardedDaemon) -> None:
    guarded.pushctl().lines("pub", "ways", "text")
    arguments = ("sub", "ways", "--since", "all", "--count", "1")
    file = str(guarded.token_file(OPERATOR))
    assert guarded.pushctl(None).lines(*arguments, "--token", OPERATOR) == ["text"]
    assert guarded.pushctl(None).lines("--token-file", file, *arguments) == ["text"]
    assert guarded.pushctl(None, PUSHD_TOKEN_FILE=file).lines(*arguments) == ["text"]


def test_options_precede_the_environment_and_a_token_precedes_a_file(guarded: GuardedDaemon) -> None:
    good, bad = str(guarded.token_file(OPERATOR, "good")), str(guarded.token_file(STRANGE, "bad"))
    refused = guarded.pushctl(STRANGE, PUSHD_TOKEN_FILE=bad)
    assert refused.lines("channels", "--token", OPERATOR, "--token-file", bad) is not None
    assert refused.lines("channels", "--token-file", good) is not None
    assert guarded.pushctl(OPERATOR, PUSHD_TOKEN_FILE=bad).run("channels")[0] == 0
    assert guarded.pushctl(OPERATOR).run("channels", "--token-file", bad)[0] == 1
    assert refused.run("--token", OPERATOR, "channels")[0] == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("token", "code"), [(STRANGE, "token-invalid|4401"), (None, "token-missing|4401"), (USER, "forbidden|4403")]
)
def test_refusal_ends_a_subscription(guarded: GuardedDaemon, transport: str, token: str | None, code: str) -> None:
    status, out, error = guarded.pushctl(token).run("sub", "refused", "--transport", transport)
    assert (status, out, len(error.splitlines())) == (1, "", 1), error
    assert re.search(code, error)
    assert "pushd_" not in error


COMMANDS = [
    ["pub", "refused", "x"],
    ["pub", "refused", "--lines"],
    ["tap"],
    ["channels"],
    ["info", "refused"],
    ["connections"],
    ["top", "--once", "--interval", "100ms"],
    ["who", "refused"],
    ["request", "refused", "x"],
    ["respond", "refused", "--", "cat"],
    ["revoke", "--jti", "x"],
    ["hooks"],
    ["kick", "x"],
    ["token", "explain", "--publish", "a"],
    *(["bench", "--transport", each, "--seconds", "1", "--subscribers", "2"] for each in BENCH_TRANSPORTS),
]


@pytest.mark.parametrize(
    ("token", "arguments"), [*((STRANGE, each) for each in COMMANDS), *((None, each) for each in COMMANDS[:4])]
)
def test_refusal_ends_every_command(guarded: GuardedDaemon, token: str | None, arguments: list[str]) -> None:
    status, _, error = guarded.pushctl(token).run(*arguments, stdin="line\n")
    assert (status, len(error.splitlines())) == (1, 1), error
    assert re.search("token-|401", error)
    assert "pushd_" not in error


def test_every_command_sends_the_token(guarded: GuardedDaemon) -> None:
    pushctl = guarded.pushctl()
    pushctl.lines("pub", "commands/a", "--lines", stdin="one\ntwo\n")
    assert "commands/a" in pushctl.lines("channels")
    assert pushctl.run("info", "commands/a")[0] == 0
    assert any("commands/a" in line for line in pushctl.lines("top", "commands/", "--once", "--interval", "100ms"))
    assert pushctl.run("hooks")[0] == 0
    process = pushctl.start("tap", "commands/*")
    assert eventually(lambda: any("commands/*" in line for line in pushctl.lines("connections")), SECONDS)
    (connection,) = [line.split()[0] for line in pushctl.lines("connections") if "commands/*" in line]
    assert pushctl.lines("kick", connection) == [f"closed {connection}"]
    process.kill()
    process.communicate()
    assert guarded.pushctl(None).lines("health") == ["ready"]
    assert guarded.pushctl(STRANGE).lines("health") == ["ready"]


@pytest.mark.slow
@pytest.mark.parametrize("transport", BENCH_TRANSPORTS)
def test_bench_is_authenticated(guarded: GuardedDaemon, transport: str) -> None:
    options = ("--subscribers", "4", "--channels", "2", "--rate", "50", "--seconds", "1", "--json")
    (line,) = guarded.pushctl().lines("bench", "--transport", transport, *options)
    result = json.loads(line)
    assert (result["published"], result["delivered"], result["lost"]) == (50, 100, 0)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_new_token_of_the_file_is_used_when_the_old_one_is_refused(guarded: GuardedDaemon, transport: str) -> None:
    """The old token is revoked. With the new one nothing is missed; without one the subscription ends."""
    channel, old, new = f"news/{transport}", f"{USER}_old_{transport}", f"{USER}_new_{transport}"
    file = guarded.token_file(old, f"rotated-{transport}")
    operator = guarded.pushctl()
    guarded.write_tokens(guarded.user(old))
    guarded.reload()
    process = guarded.pushctl(None).start(
        "sub", channel, "--transport", transport, "--token-file", str(file), "--since", "all"
    )
    assert process.stdout is not None
    operator.lines("pub", channel, "one")
    assert process.stdout.readline() == "one\n"
    file.write_text(new)
    guarded.write_tokens(guarded.user(new))
    guarded.reload()
    operator.lines("pub", channel, "two")
    assert process.stdout.readline() == "two\n"
    guarded.write_tokens(guarded.user(USER))
    guarded.reload()
    out, error = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (1, "")
    assert re.search("token-(invalid|revoked|expired)|4401", error.splitlines()[-1])
    assert "pushd_" not in error


def test_token_in_the_file_must_be_one_word(guarded: GuardedDaemon, tmp_path: Path) -> None:
    for content in ("", "\n", "a b", "a\nb", "\u00fc"):
        file = tmp_path / "token"
        file.write_text(content)
        status, _, error = guarded.pushctl(None).run("channels", "--token-file", str(file))
        assert (status, len(error.splitlines())) == (1, 1)
        assert error.startswith(f"pushctl: {file}: token must be visible ASCII")
    status, _, error = guarded.pushctl(None).run("channels", "--token-file", str(tmp_path / "none"))
    assert (status, error) == (1, f"pushctl: {tmp_path / 'none'}: No such file or directory\n")
    status, _, error = guarded.pushctl("secret word\r\nX: y").run("channels")
    assert (status, "secret" in error) == (1, False)


def test_issued_token_is_accepted(guarded: GuardedDaemon) -> None:
    issue = ["token", "issue", "--secret-file", str(guarded.secret), "--issuer", ISSUER, "--audience", "pushd"]
    pushctl = guarded.pushctl(None)
    (token,) = pushctl.lines(*issue, "--sub", "42", "--publish", "chat/{sub}", "--subscribe", "chat/**")
    assert pushctl.lines("pub", "chat/42", "x", "--token", token)
    status, _, error = pushctl.run("pub", "chat/43", "x", "--token", token)
    assert (status, error.startswith("pushctl: forbidden: ")) == (1, True)
    (expired,) = pushctl.lines(*issue, "--sub", "42", "--claims", '{"iat":1,"exp":2}')
    status, _, error = pushctl.run("pub", "chat/42", "x", "--token", expired)
    assert (status, error.startswith("pushctl: token-expired: ")) == (1, True)


def test_signed_url_is_explained(guarded: GuardedDaemon) -> None:
    pushctl = guarded.pushctl()
    sign = ["sign", "--key", "web", "--key-file", str(guarded.url_key), "--sub", "bob", "--mount", "/push"]
    (url,) = pushctl.lines(*sign, "https://push.example.org/push/sse/news/x")
    status, out, error = pushctl.run("token", "explain", "--signed-url", "-", "--mount", "/push", stdin=f"{url}\n")
    assert (status, error, out.splitlines()[:6]) == (
        0,
        "",
        [
            "GET of the URL: allowed",
            "  check    allow",
            "  claim    path",
            "  pattern  news/x",
            "  sub      bob",
            "  issuer   url:web",
        ],
    )
    explain = ["token", "explain", "--signed-url", url]
    status, out, _ = pushctl.run(*explain, "--json")
    assert (status, json.loads(out)["check"]) == (1, "signature")
    status, out, _ = pushctl.run(*explain, "--mount", "/push", "--publish", "news/x", "--subscribe", "news/x")
    assert (status, [line for line in out.splitlines() if line[0] != " "]) == (
        1,
        ["subscribe news/x: allowed", "publish news/x: refused: forbidden"],
    )
    assert pushctl.run(*explain, USER)[0] == 2


def test_refusals_are_explained(guarded: GuardedDaemon) -> None:
    pushctl = guarded.pushctl()
    status, out, error = pushctl.run("token", "explain", "-", "--subscribe", "news/x,news/*,a", stdin=f"{USER}\n")
    assert (status, error) == (1, "")
    assert out.splitlines()[:6] == [
        "subscribe news/x: allowed",
        "  check    allow",
        "  claim    subscribe",
        "  pattern  news/**",
        "  sub      alice",
        "  issuer   token:alice",
    ]
    assert "subscribe news/*: refused: forbidden\n  check    deny\n  claim    deny\n  pattern  news/secret\n" in out
    assert "pushd_" not in out
    file = str(guarded.token_file(USER, "user"))
    (line,) = pushctl.lines("token", "explain", "--token-file", file, "--publish", "news/a", "--json")
    answer = json.loads(line)
    assert (answer["action"], answer["topic"], answer["allow"], answer["pattern"]) == (
        "publish", "news/a", True, "news/*"
    )  # fmt: skip
    status, out, _ = pushctl.run("token", "explain", STRANGE, "--action", "operate", "--topic", "kick")
    assert (status, out.splitlines()[:2]) == (1, ["operate kick: refused: token-invalid", "  check    known"])
    status, out, _ = guarded.pushctl(None).run("token", "explain", "--operate", "kick", "--token", OPERATOR)
    assert (status, out.splitlines()[2]) == (1, "  claim    auth.anonymous.operate")
    assert pushctl.run("token", "explain", USER, "--action", "read", "--topic", "a")[0] == 2
    assert pushctl.run("token", "explain", USER, "--action", "publish")[0] == 2
    assert pushctl.run("token", "explain", USER, "--token-file", file, "--publish", "a")[0] == 2
    assert pushctl.run("token", "explain", USER)[0] == 2
    status, _, error = pushctl.run("token", "explain", USER, "--publish", "a//b")
    assert (status, error.startswith("pushctl: bad-topic: ")) == (1, True)


def doctor_object(
    guarded: GuardedDaemon, name: str, *arguments: str, token: str | None = OPERATOR
) -> dict[str, object]:
    """Return what the doctor reports about one check."""
    status, out, _ = guarded.pushctl(token).run("doctor", "--json", "--idle", "0", "--only", name, *arguments)
    (found,) = [json.loads(line) for line in out.splitlines()]
    assert found["technique"] == name
    result: dict[str, object] = found | {"exit": status}
    return result


def test_doctor_asks_as_a_stranger_although_it_has_a_token(guarded: GuardedDaemon) -> None:
    found = doctor_object(guarded, "stranger")
    assert (found["exit"], found["outcome"], found["notes"]) == (0, ["fine"], [])


@pytest.mark.parametrize(
    "name", ["sse", *(pytest.param(each, marks=pytest.mark.slow) for each in ("websocket", "longpoll", "body"))]
)
def test_doctor_checks_with_the_token(guarded: GuardedDaemon, name: str) -> None:
    for _ in range(3):  # on a busy machine a message may be delayed
        found = doctor_object(guarded, name)
        if found["outcome"] == ["fine"]:
            break
    assert (found["exit"], found["outcome"]) == (0, ["fine"])


def test_doctor_asks_for_a_token(guarded: GuardedDaemon) -> None:
    found = doctor_object(guarded, "publish", token=None)
    assert (found["exit"], found["outcome"]) == (1, ["refused"])
    assert "401 from pushd itself: token-missing; pushctl needs another token" in json.dumps(found["faults"])


def test_token_is_not_sent_in_the_clear_to_another_host_by_a_redirect(guarded: GuardedDaemon) -> None:
    """A redirect is a refusal: it is not followed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        process = guarded.pushctl().start("--url", url, "channels")
        peer, _ = server.accept()
        with peer:
            peer.recv(65536)
            peer.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
        _, error = process.communicate(timeout=SECONDS)
    assert (process.returncode, len(error.splitlines())) == (1, 1)
