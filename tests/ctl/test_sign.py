"""`pushctl sign`: what it prints is what the daemon accepts."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from pushd.auth.signed_urls import verify
from pushd.auth.url_signature import parse_query
from pushd.ctl.main import main
from tests.auth.signed_url_vectors import SECRET
from tests.daemon.real import Daemon

CURL = "curl", "-sS", "--noproxy", "*"


@pytest.fixture
def key(tmp_path: Path) -> str:
    """The path of a file with a secret."""
    file = tmp_path / "web.key"
    file.write_bytes(SECRET + b"\n")
    return str(file)


def made(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the URL that a command prints."""
    assert main(["sign", *arguments]) == 0
    out, error = capsys.readouterr()
    assert error == "" and out.count("\n") == 1
    return out.rstrip("\n")


@pytest.mark.parametrize("as_option", [True, False])
def test_printed_url_is_verified_by_the_daemon(key: str, as_option: bool, capsys: pytest.CaptureFixture[str]) -> None:
    keys = ["--key", "web", "--key-file", key] if as_option else ["--key", f"web={key}"]
    before = int(time.time())
    url = made(capsys, "https://x.test/sse/news/*?slow=drop", *keys, "--expires", "2m", "--until", "2h", "--sub", "a b")
    after = time.time()
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "x.test", "/sse/news/*")
    signed = verify({"web": SECRET}, b"GET", parts.path.encode(), parse_query(parts.query.encode()))
    assert before + 120 <= signed.expires <= after + 120 and before + 7200 <= signed.until <= after + 7200
    assert signed.identity.subject == "a b"
    assert parse_qs(parts.query)["slow"] == ["drop"]


def test_defaults_are_five_minutes_and_the_until_of_the_daemon(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = int(time.time())
    url = made(capsys, "/push/pub/a", "--key", f"web={key}", "--method", "POST", "--mount", "/push")
    after = time.time()
    query = parse_qs(urlsplit(url).query)
    assert query.keys() == {"exp", "kid", "sig"} and url.startswith("/push/pub/a?")
    assert before + 300 <= int(query["exp"][0]) <= after + 300
    assert verify({"web": SECRET}, b"POST", b"/pub/a", parse_query(urlsplit(url).query.encode()))


@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        (["/sse/a", "--key", "web"], 2, "the file of the key must be given once"),
        (["/sse/a", "--key", "web=KEY", "--key-file", "KEY"], 2, "the file of the key must be given once"),
        (["/sse/a", "--key", "=KEY"], 2, "--key must be the id of a key"),
        (["/sse/a", "--key", "w b=KEY"], 2, "--key must be the id of a key"),
        (["/sse/a", "--key", "web=missing"], 1, "missing: No such file or directory"),
        (["/sse/a", "--key", "web=short"], 1, "short: secret must have at least 32 bytes (has 5)"),
        (["/sse/a", "--key", "web=KEY", "--expires", "2h", "--until", "1h"], 2, "must not be shorter than --expires"),
        (["/pub/a", "--key", "web=KEY", "--method", "POST", "--until", "1h"], 2, "--until is for GET and HEAD"),
        (["/sse/a?sig=1", "--key", "web=KEY"], 2, "URL must not have the parameter sig"),
        (["/sse/a", "--key", "web=KEY", "--mount", "/x"], 2, "path of the URL must begin with /x/"),
    ],
)
def test_wrong_arguments_are_one_sentence(
    key: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    error: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short").write_text("short")
    assert main(["sign", *(each.replace("KEY", key) for each in arguments)]) == status
    out, err = capsys.readouterr()
    assert out == "" and error in err and err.count("\n") == 1
    assert SECRET.decode() not in err


@pytest.fixture(scope="module")
def signing_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that accepts signed URLs and nothing else."""
    folder = tmp_path_factory.mktemp("signing")
    (folder / "web.key").write_bytes(SECRET)
    (folder / "pushd.toml").write_text('[auth.url_keys]\nweb = "web.key"\n')
    daemon = Daemon(folder, "--config", "pushd.toml")
    yield daemon
    daemon.stop()


def curl(*arguments: str) -> str:
    """Return what curl prints, and the status."""
    return subprocess.run(
        [*CURL, "-w", " %{http_code}", *arguments], capture_output=True, text=True, timeout=60, check=True
    ).stdout


@pytest.mark.system
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_publishes_and_reads_with_printed_urls(
    signing_daemon: Daemon, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    base = f"http://127.0.0.1:{signing_daemon.http_port}"
    writing = made(capsys, f"{base}/pub/caf\u00e9/1", "--key", f"web={key}", "--method", "POST")
    reading = made(capsys, f"{base}/history/caf\u00e9/*?since=all", "--key", f"web={key}")
    assert curl("-d", "over curl", writing).endswith(" 202")
    assert curl("-T", key, writing).endswith(" 202")
    found = curl("-D", "-", reading)
    assert '"over curl"' in found and re.search(r"(?i)^referrer-policy: no-referrer\r?$", found, re.MULTILINE)
    assert curl("-I", reading).endswith(" 200")
    assert curl("-d", "x", writing.replace("/1?", "/2?")).endswith(" 401")
    assert curl(f"{base}/history/a").endswith(" 401")
    assert curl("-H", "Authorization: Bearer x", reading).endswith(" 400")
