"""Each reason for which pushd does not start is one readable sentence."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as REACTOR
from twisted.internet.testing import MemoryReactorClock
from twisted.python.usage import Options as UsageOptions

from pushd.backends.sqlite.directory import Directory
from pushd.tap import Options, makeService

UNREADABLE = re.compile(r"""b'|b"|Traceback|\[\(|Errno|<[a-z_.]+ |Error\(|object at 0x|literal for int""")
"""Bytes literals, representations of objects, and what Python prints about errors."""


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start in an empty directory, without variables of pushd and without a network, and restore the signals."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("twisted.internet.reactor", MemoryReactorClock())
    for name in [name for name in os.environ if name.startswith("PUSHD_")]:
        monkeypatch.delenv(name)
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGUSR1)}
    yield
    for number, action in before.items():
        signal.signal(number, action)


def sentence_of(*words: str, **twistd: object) -> str:
    """Return what a start prints, which must fail."""
    options: Any = Options()
    options.parent = UsageOptions()
    options.parent.update({"nodaemon": True, "logger": None, "logfile": None, "syslog": False} | twistd)
    with pytest.raises(SystemExit) as caught:
        options.parseOptions(words)
        program = makeService(options)
        program.privilegedStartService()
        program.startService()
    assert caught.value.code not in (None, 0)
    return str(caught.value)


@pytest.fixture(scope="module")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a key and a certificate, another key, one with a passphrase, and a file that is none of them."""
    folder = tmp_path_factory.mktemp("tls")
    for words in (
        "req -x509 -newkey rsa:2048 -nodes -keyout key -out cert -subj /CN=x",
        "ecparam -name prime256v1 -genkey -noout -out other",
        "rsa -in key -aes128 -passout pass:secret -out locked",
    ):
        subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)
    (folder / "garbage").write_bytes(b"\x00\xff not PEM")
    return folder


def tls(files: str) -> tuple[str, ...]:
    return "--http", f"ssl:0:interface=127.0.0.1:{files}"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (tls("privateKey=garbage"), "garbage: contains no private key in PEM"),
        (tls("privateKey=key:certKey=garbage"), "garbage: contains no certificate in PEM"),
        (tls("privateKey=key"), "key: contains no certificate in PEM"),
        (tls("privateKey=other:certKey=cert"), "certificate in cert is not for the private key in other"),
        (tls("privateKey=locked:certKey=cert"), "locked: the private key must not have a passphrase"),
        (tls("privateKey=missing"), "missing: No such file or directory"),
        (tls("privateKey=."), ".: Is a directory"),
        (("--auth-tokens-file", "garbage"), "option --auth-tokens-file: garbage: not UTF-8 at byte 1"),
        (("--auth-tokens-file", "."), "option --auth-tokens-file: .: Is a directory"),
        (("--redis", "rediss://a", "--backend-ca-file", "garbage"), "backend.ca_file: garbage holds no certificates"),
        (("--config", "garbage"), "garbage:1: not UTF-8 at byte 1"),
    ],
)
def test_unusable_file(tls_files: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], reason: str) -> None:
    monkeypatch.chdir(tls_files)
    sentence = sentence_of(*words)
    assert reason in sentence
    assert not UNREADABLE.search(sentence)


def corrupt(file: Path) -> None:
    file.write_bytes(b"this is not SQLite" * 100)


def newer(file: Path) -> None:
    with sqlite3.connect(file) as db:
        db.execute(f"PRAGMA application_id = {0x70757368}")
        db.execute("PRAGMA user_version = 999")


def of_another_program(file: Path) -> None:
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE t (x)")


def a_directory(file: Path) -> None:
    file.mkdir()


@pytest.mark.parametrize("make", [corrupt, newer, of_another_program, a_directory])
def test_unusable_history(monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]) -> None:
    Path("data").mkdir()
    make(Path("data/history.sqlite"))
    sentence = sentence_of("--data-dir", "data")
    assert sentence.startswith("data/history.sqlite ")
    assert not UNREADABLE.search(sentence)
    checked = sentence_of("--data-dir", "data", "--check")
    assert checked.startswith("pushd: option --data-dir: data/history.sqlite ")
    assert not UNREADABLE.search(checked)


def test_locked_history(monkeypatch: pytest.MonkeyPatch) -> None:
    directory = Directory("data")
    directory.acquire()
    try:
        sentence = sentence_of("--data-dir", "data")
    finally:
        directory.release()
    assert sentence == f"data is in use by another pushd (process {os.getpid()})"


@pytest.mark.parametrize("kind", ["in use", "in use by a Unix socket", "of another machine"])
def test_address_that_cannot_be_bound(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twisted.internet.reactor", REACTOR)
    monkeypatch.setattr("pushd.tap.use_monotonic_clock", lambda reactor: None)  # other tests use its clock
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket(socket.AF_UNIX) as unix:
        unix.bind("taken.sock")
        unix.listen()
        port = taken.getsockname()[1]
        endpoint, place, reason = {
            "in use": (f":{port}", f"127.0.0.1:{port}", "Address already in use"),
            "in use by a Unix socket": ("unix:taken.sock", "taken.sock", "another process listens on it"),
            "of another machine": (f"192.0.2.1:{port}", f"192.0.2.1:{port}", "Cannot assign requested address"),
        }[kind]
        assert sentence_of("--http", endpoint, "--tcp", "none", "--open") == f"cannot listen on {place}: {reason}"


@pytest.mark.parametrize(
    ("words", "twistd", "reason"),
    [
        (["--config", "."], {}, ".: Is a directory"),
        (["--config", ""], {}, "option --config: must not be empty"),
        (["--config", "a\0b"], {}, "null byte"),
        (
            ["--redis", "redis://u:pass/w0rd@host"],
            {},
            "option --redis: invalid Redis URL: the port must be a number",
        ),
        (["--redis", "redis://host:99999"], {}, "option --redis: invalid Redis URL: the port must be a number"),
        (["--redis", "rediss://a", "--backend-ca-file", "."], {}, "backend.ca_file: . holds no certificates"),
        (["--log-audit", "/nowhere/a"], {}, "option --log-audit: /nowhere/a: No such file or directory"),
        (["--http", "tcp:x"], {}, "'x' is not a number"),
        (["--http", "tcp:80:colour=red"], {}, "unknown argument 'colour'"),
        ([], {"pidfile": "/nowhere/x.pid"}, "cannot write the process id to /nowhere/x.pid: No such file or directory"),
        ([], {"logfile": "/nowhere/x.log"}, "cannot log to /nowhere/x.log: No such file or directory"),
        ([], {"rundir": "/nowhere"}, "--rundir: /nowhere: No such file or directory"),
    ],
)
def test_wrong_option(words: list[str], twistd: dict[str, object], reason: str) -> None:
    sentence = sentence_of("--tcp", "none", *words, **twistd)
    assert reason in sentence
    assert "w0rd" not in sentence
    assert not UNREADABLE.search(sentence)
