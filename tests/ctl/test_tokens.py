"""`pushctl token`: what it writes is what the daemon reads."""

import json
import os
import subprocess
import sys
from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from pushd.auth.static_tokens import StaticTokens
from pushd.core.errors import BadTopic
from pushd.core.names import check_topic
from pushd.ctl.command_line import build_parser
from pushd.ctl.main import main
from pushd.ctl.tokens import topic
from tests.auth.test_authenticator import now
from tests.core.test_names import CHANNELS, NO_CHANNELS_NOR_TOPICS, NO_PATTERNS, PATTERNS

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/pushctl.md").read_text(encoding="utf-8")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The path of a file that does not exist yet."""
    return tmp_path / "tokens.toml"


def added(file: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Add a token and return it."""
    assert main(["token", "add", *arguments, "--file", str(file)]) == 0
    out, error = capsys.readouterr()
    assert error == ""
    return out.removesuffix("\n")


def test_added_token_is_accepted_with_its_grant(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lists = "--subscribe", "users/{sub}/**,news/*", "--subscribe", "a", "--publish", "chat/42", "--history", ""
    phone = added(file, capsys, "phone", "--sub", "alice", *lists, "--deny", "users/{sub}/secret", "--tags", "mobile")
    server = added(file, capsys, "server-1", "--sub", 'a "quoted" \\ Ü', "--publish", "**", "--operate", "metrics,kick")
    identity = now(StaticTokens.from_file(file).verify(phone))
    assert identity is not None
    assert (identity.subject, identity.issuer, identity.tags) == ("alice", "token:phone", ("mobile",))
    assert identity.grant.allow["subscribe"] == ("users/alice/**", "news/*", "a")
    assert (identity.grant.allow["publish"], identity.grant.allow["history"]) == (("chat/42",), ())
    assert identity.grant.deny == ("users/alice/secret",)
    other = now(StaticTokens.from_file(file).verify(server))
    assert other is not None
    assert (other.subject, set(other.grant.operate)) == ('a "quoted" \\ Ü', {"metrics", "kick"})
    assert phone != server
    assert len(phone) == len("pushd_") + 43


def test_token_is_not_kept(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token = added(file, capsys, "phone", "--sub", "alice")
    assert token.removeprefix("pushd_") not in file.read_text()
    assert os.listdir(file.parent) == [file.name]


def test_tokens_are_listed_without_their_hashes(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    added(file, capsys, "phone", "--sub", "alice", "--subscribe", "a,b/*")
    added(file, capsys, "server", "--sub", "s")
    assert main(["token", "list", "--file", str(file)]) == 0
    assert capsys.readouterr().out == "phone alice subscribe=a,b/*\nserver s\n"
    assert main(["token", "list", "--json", "--file", str(file)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{"name": "phone", "sub": "alice", "subscribe": ["a", "b/*"]}, {"name": "server", "sub": "s"}]


def test_list_cannot_control_the_terminal(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text('[a]\nsub = "\\u001b[2J"\npublish = ["\\u0007"]\n')
    assert main(["token", "list", "--file", str(file)]) == 0
    assert capsys.readouterr().out == "a \\u001b[2J publish=\\u0007\n"


COMMENTED = """# all tokens
[one]  # of alice
sha256 = "1"
# in it
quota = { connections = 1 }

# of two
[two]
sha256 = "2"
topics = [
  "a",
]
[one.more]
x = 1
"""


def test_removed_token_leaves_other_tokens_and_comments(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(COMMENTED)
    assert main(["token", "remove", "one", "--file", str(file)]) == 0
    assert file.read_text() == '# all tokens\n# of two\n[two]\nsha256 = "2"\ntopics = [\n  "a",\n]\n'
    assert capsys.readouterr().out == "removed one\n"


def test_added_token_leaves_the_text_before_it(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(COMMENTED.removesuffix("\n"))
    added(file, capsys, "phone", "--sub", "alice")
    assert file.read_text().startswith(COMMENTED + "\n[phone]\nsha256 = ")


@pytest.mark.parametrize(
    "text",
    [
        'one = { sha256 = "1" }\n[two]\n',
        "one.sub = 'x'\n",
        "[one]\nx = '''\n[two]\n'''\n",
        "[two]\nx = '''\n[one]\n'''\n[one]\n",
        '["\\u006fne"]\n',
    ],
)
def test_file_that_cannot_be_edited_is_not_changed(file: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    file.write_text(text)
    assert main(["token", "remove", "one", "--file", str(file)]) == 1
    assert file.read_text() == text
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("header", ["[one]", '["one"]', "['one']", " [ one ] # comment"])
def test_token_is_removed_however_its_name_is_written(file: Path, header: str) -> None:
    file.write_text(f"[one-two]\nx = 1\n{header}\nx = 2\n[onetwo]\n")
    assert main(["token", "remove", "one", "--file", str(file)]) == 0
    assert file.read_text() == "[one-two]\nx = 1\n[onetwo]\n"


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("[a]\n", ["add", "a", "--sub", "x"], "token a exists already; remove it first"),
        ("[a]\n", ["remove", "b"], "there is no token b"),
        ("x", ["add", "a", "--sub", "x"], "not TOML: "),
        ("x", ["list"], "not TOML: "),
        ("a = 1\n", ["list"], "a must be the table of a token, written [a]"),
        (None, ["list"], "No such file or directory"),
        (None, ["remove", "a"], "No such file or directory"),
        ("", ["add", "a", "--sub", "a/b", "--deny", "{sub}"], "--sub 'a/b' cannot replace {sub}"),
        ("", ["add", "a", "--sub", "$a", "--subscribe", "u/{sub}"], "--sub '$a' cannot replace {sub}"),
    ],
)
def test_failure_is_one_line_and_changes_nothing(
    file: Path, capsys: pytest.CaptureFixture[str], text: str | None, arguments: list[str], message: str
) -> None:
    if text is not None:
        file.write_text(text)
    assert main(["token", *arguments, "--file", str(file)]) == 1
    out, error = capsys.readouterr()
    assert (out, len(error.splitlines())) == ("", 1)
    assert message in error
    assert (file.read_text() if file.exists() else None) == text


@pytest.mark.parametrize(
    "arguments",
    [
        ["a b", "--sub", "x"],
        ["a"],
        ["a", "--sub", ""],
        ["a", "--sub", "x\n"],
        ["a", "--sub", "x", "--subscribe", "a,,b"],
        ["a", "--sub", "x", "--publish", "a*"],
        ["a", "--sub", "x", "--deny", "u-{sub}"],
        ["a", "--sub", "x", "--subscribe", "$presence/a"],
        ["a", "--sub", "x", "--operate", "metric"],
        ["a", "--sub", "x", "--tags", "a,"],
    ],
)
def test_wrong_usage_is_refused(file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as status:
        main(["token", "add", *arguments, "--file", str(file)])
    assert status.value.code == 2
    assert not file.exists()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", [*CHANNELS, *PATTERNS, *NO_CHANNELS_NOR_TOPICS, *NO_PATTERNS])
def test_topics_are_those_of_the_daemon(name: str) -> None:
    """The command line imports nothing of the daemon, so it has a description of topics of its own."""
    try:
        check_topic(name)
    except BadTopic:
        with pytest.raises(ArgumentTypeError):
            topic(name)
    else:
        assert topic(name) == name


@pytest.mark.parametrize(("before", "after"), [(None, 0o600), (0o600, 0o600), (0o640, 0o640), (0o644, 0o640)])
def test_others_cannot_read_the_file(
    file: Path, capsys: pytest.CaptureFixture[str], before: int | None, after: int
) -> None:
    if before is not None:
        file.touch()
        file.chmod(before)
    added(file, capsys, "phone", "--sub", "alice")
    assert file.stat().st_mode & 0o777 == after


def test_link_stays_a_link(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = file.parent / "target.toml"
    target.touch()
    file.symlink_to(target)
    added(file, capsys, "phone", "--sub", "alice")
    assert file.is_symlink()
    assert "[phone]" in target.read_text()


def test_tokens_that_are_added_at_once_are_all_kept(file: Path) -> None:
    command = [sys.executable, "-m", "pushd.ctl.main", "token", "add", "--sub", "x", "--file", str(file)]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    processes = [subprocess.Popen([*command, f"t{number}"], env=environ) for number in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert len(StaticTokens.from_file(file)) == 4


def test_file_is_that_of_the_daemons_environment(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUSHD_AUTH_TOKENS_FILE", str(file))
    assert main(["token", "add", "phone", "--sub", "alice"]) == 0
    assert "[phone]" in file.read_text()


def test_options_are_documented() -> None:
    assert build_parser().parse_args(["token", "add", "a", "--sub", "x"]).name == "a"
    for words in ("token add NAME --sub SUB", "token list", "token remove NAME", "PUSHD_AUTH_TOKENS_FILE", "--operate"):
        assert words in DOCUMENT
