"""The token of pushctl: where it comes from, and that no error repeats it."""

from argparse import Namespace
from pathlib import Path

import pytest

from pushd.ctl.api_client import ApiClient
from pushd.ctl.bench import BenchPlan, BenchRun
from pushd.ctl.command_line import build_parser
from pushd.ctl.credential import Credential, choose_credential
from pushd.ctl.errors import CtlError
from pushd.ctl.main import main
from pushd.ctl.wires.tcp import auth_line


def options(token: str | None = None, file: Path | None = None) -> Namespace:
    return Namespace(token=token, token_file=file)


def test_order_of_the_sources(tmp_path: Path) -> None:
    file, other = tmp_path / "file", tmp_path / "other"
    file.write_text("  of-file\r\n")
    other.write_text("of-other-file")
    environ = {"PUSHD_TOKEN": "of-variable", "PUSHD_TOKEN_FILE": str(other)}
    assert choose_credential(options("of-option", file), environ).token() == "of-option"
    assert choose_credential(options(None, file), environ).token() == "of-file"
    assert choose_credential(options(), environ).token() == "of-variable"
    assert choose_credential(options(), environ | {"PUSHD_TOKEN": ""}).token() == "of-other-file"
    assert choose_credential(options(), {"PUSHD_TOKEN": "", "PUSHD_TOKEN_FILE": ""}).token() is None


def test_options_may_precede_or_follow_the_command() -> None:
    for words in (["--token", "a", "sub", "x"], ["sub", "x", "--token", "a"], ["sub", "--token", "a", "x"]):
        assert build_parser().parse_args(words).token == "a"
    args = build_parser().parse_args(["--token-file", "f", "health"])
    assert (args.token, args.token_file) == (None, Path("f"))
    own = build_parser().parse_args(["--token", "own", "token", "explain", "other", "--token-file", "f"])
    assert (own.token, own.token_file, own.explained, own.explained_file) == ("own", None, "other", Path("f"))


def test_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    credential = Credential(file=file)
    source = credential.source()
    assert callable(source)
    assert (credential.headers(), source()) == ({"Authorization": "Bearer one"}, "one")
    file.write_text("two\n")
    assert (credential.token(), source()) == ("two", "two")
    file.unlink()
    with pytest.raises(CtlError, match="No such file"):
        credential.token()


def test_option_is_fixed() -> None:
    assert Credential("one").source() == "one"
    assert (Credential().source(), Credential().headers()) == (None, {})


@pytest.mark.parametrize("token", ["", "secret word", "secret\r\nX: y", "secret\x00", "s\u00e9cret", "secret\u2028"])
def test_token_with_other_characters_is_refused_without_repeating_it(
    token: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["channels", "--token", token]) == 1
    file = tmp_path / "token"
    file.write_text(token)
    assert main(["channels", "--token-file", str(file)]) == 1
    out, error = capsys.readouterr()
    assert (out, len(error.splitlines())) == ("", 2)
    assert "cret" not in error


def test_large_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("x" * 65537)
    with pytest.raises(CtlError, match="must not exceed 65536 bytes"):
        Credential(file=file).token()


def test_help_warns_of_the_list_of_processes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sub", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "the list of processes shows it to other users" in shown
    assert "PUSHD_TOKEN_FILE" in shown


def test_load_test_reads_the_file_once(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    api = ApiClient("http://localhost:1", Credential(file=file))
    run = BenchRun(api, ("localhost", 1), BenchPlan("sse"), lambda *_: None)
    file.unlink()
    assert b"\r\nAuthorization: Bearer one\r\n" in run._encode_publish(0)
    assert b"\r\nAuthorization: Bearer one\r\n" in run._encode_subscribe("a")


def test_line_that_authenticates() -> None:
    assert auth_line("abc") == "AUTH abc\r\n"
    assert auth_line(None) == ""
