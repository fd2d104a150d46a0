"""A failed start prints one sentence and exits with a nonzero status."""

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon.real import eventually

ROOT = Path(__file__).parent.parent.parent
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
SECONDS = 60

pytestmark = pytest.mark.system


def twistd(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PUSHD_")}
    environ["PYTHONPATH"] = str(ROOT)
    return subprocess.run(
        [*TWISTD, *words],
        cwd=directory,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@pytest.fixture
def taken():
    """The endpoint of a port in use, and the sentence about it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        yield (
            f"tcp:{port}:interface=127.0.0.1",
            f"cannot listen on 127.0.0.1:{port}: {os.strerror(errno.EADDRINUSE)}",
        )


def test_invalid_setting(tmp_path):
    done = twistd(tmp_path, "-n", "pushd", "--log-level", "loud")
    sentence = "pushd: option --log-level: 'loud' is not one of debug, info, warn, error, critical\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence)


def test_check(tmp_path):
    done = twistd(tmp_path, "pushd", "--check", "--http", ":0", "--tcp", "none")
    lines = "configuration is valid (no file)", "http.listen: tcp:0:interface=127.0.0.1, for this machine only"
    assert (done.returncode, done.stdout, done.stderr) == (0, "".join(f"pushd: {line}\n" for line in lines), "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["index=0", "name=pushd.socket"])
@pytest.mark.parametrize("prefix", ["", pytest.param("haproxy:", marks=pytest.mark.slow)])
def test_missing_socket_of_systemd(tmp_path, where, prefix):
    endpoint = f"{prefix}systemd:domain=INET:{where}"
    options = ("--http", endpoint, "--tcp", "none")
    checked = twistd(tmp_path, "pushd", "--check", *options)
    assert (checked.returncode, checked.stdout.splitlines()[:1]) == (0, ["pushd: configuration is valid (no file)"])
    started = twistd(tmp_path, "-n", "pushd", *options)
    sentence = f"pushd: option --http: {endpoint}: systemd has passed no such socket; start the socket unit instead\n"
    assert (started.returncode, started.stderr) == (1, sentence)


@pytest.mark.parametrize(
    "endpoint", ["systemd:domain=PIGEON:index=0", "systemd:domain=INET:index=x", "systemd:index=0"]
)
def test_invalid_endpoint_string_of_a_socket_of_systemd(tmp_path, endpoint):
    done = twistd(tmp_path, "pushd", "--check", "--http", endpoint)
    assert done.returncode == 1
    assert done.stderr.startswith(f"pushd: option --http: {endpoint!r} is not an endpoint string (")


def test_missing_directory_of_twistd(tmp_path):
    done = twistd(tmp_path, "-n", "--rundir", "missing", "pushd")
    assert (done.returncode, done.stderr) == (1, "pushd: --rundir: missing: No such file or directory\n")


def test_byte_order_mark(tmp_path):
    (tmp_path / "pushd.toml").write_bytes(b"\xef\xbb\xbf[http]\n")
    done = twistd(tmp_path, "pushd", "--check", "--config", "pushd.toml")
    sentence = "pushd: pushd.toml:1: begins with a byte order mark; save it as UTF-8 without one\n"
    assert (done.returncode, done.stderr) == (1, sentence)


def test_port_in_use_in_the_foreground(tmp_path, taken):
    endpoint, sentence = taken
    done = twistd(tmp_path, "-n", "pushd", "--http", endpoint, "--tcp", "none")
    assert (done.returncode, done.stderr) == (1, f"pushd: {sentence}\n")
    assert "Traceback" not in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("prefix", ["", "haproxy:"])
@pytest.mark.parametrize("suffix", ["", ":lockfile=0"])
def test_unix_socket_in_a_missing_folder(tmp_path, prefix, suffix):
    done = twistd(tmp_path, "-n", "pushd", "--http", f"{prefix}unix:missing/pushd.sock{suffix}", "--tcp", "none")
    sentence = f"pushd: cannot listen on missing/pushd.sock: {os.strerror(errno.ENOENT)}\n"
    assert (done.returncode, done.stderr) == (1, sentence)
    assert "Traceback" not in done.stdout


def test_unix_socket_in_use(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "pushd.sock"))
        listener.listen()
        done = twistd(tmp_path, "-n", "pushd", "--http", "unix:pushd.sock", "--tcp", "none")
    sentence = "pushd: cannot listen on pushd.sock: another process listens on it\n"
    assert (done.returncode, done.stderr) == (1, sentence)


def test_port_in_use_in_the_background(tmp_path, taken):
    endpoint, sentence = taken
    done = twistd(tmp_path, "pushd", "--http", endpoint, "--tcp", "none", "--log-format", "text")
    assert (done.returncode, sentence in done.stderr) == (1, True)
    log = (tmp_path / "twistd.log").read_text()
    assert log.endswith(f"[critical pushd.tap] {sentence}\n")
    assert "Traceback" not in log
    # The child removes its pid file after the parent has reported the failure.
    assert eventually(lambda: [file.name for file in tmp_path.iterdir()] == ["twistd.log"], SECONDS)
