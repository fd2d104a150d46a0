"""What ``--check`` finds beyond the configuration itself."""

import socket
from pathlib import Path

import pytest
from twisted.internet.testing import MemoryReactor

from pushd.config.checks import check_listeners
from pushd.config.loader import load
from pushd.config.mistakes import ConfigError
from pushd.config.table import Config
from pushd.service.preflight import Preflight, check_written_files

NO_LISTENER = {"http.listen": ["0"], "tcp.listen": ["0"]}


def loaded(tmp_path: Path, text: str, options: dict[str, list[str]] | None = None) -> Config:
    file = tmp_path / "pushd.toml"
    file.write_text(text)

    def listeners(config: Config):
        return check_listeners(config, MemoryReactor())

    return load(file, {}, options or {}, [listeners, check_written_files, Preflight().check])


def warnings(config: Config) -> list[str]:
    return [line for line in Preflight().report(config) if line.startswith("warning: ")]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (
            "[http]\nlisten = 'ssl:8081:privateKey=none.pem:interface=127.0.0.1'",
            [
                "2: http.listen: 'ssl:8081:privateKey=none.pem:interface=127.0.0.1' cannot be used (none.pem: No such",
                "tcp.listen: tcp:8081:interface=127.0.0.1 needs port 8081, which http.listen uses for ssl:8081:",
            ],
        ),
        (
            "[http]\nlisten = [\n'8080',\n'tcp:8080']\n[access]\nopen = true",
            ["4: http.listen: tcp:8080 needs port 8080, which http.listen uses for tcp:8080:interface=127.0.0.1"],
        ),
        (
            "[http]\nlisten = '0.0.0.0:8081'\n[access]\nopen = true",
            ["tcp.listen: tcp:8081:interface=127.0.0.1 needs port 8081, which http.listen uses for"],
        ),
        (
            "[http]\nlisten = 'unix:a.sock'\n[tcp]\nlisten = 'unix:./a.sock:mode=600'",
            ["4: tcp.listen: unix:./a.sock:mode=600 needs "],
        ),
        (
            "[source.x]\nkind = 'command'\nchannel = 'a'\nrun = ['pushd-none']",
            ["4: source.x.run: the program"],
        ),
        ("[source.x]\nkind = 'command'\nchannel = 'a'\nrun = ['/etc/passwd']", ["4: source.x.run: the program"]),
        (
            "[log]\naudit = '/nowhere/audit.log'\n[auth]\nrevocations_file = '/'",
            ["2: log.audit: /nowhere/audit.log: No such file", "4: auth.revocations_file: /: Is a directory"],
        ),
        ("[backend]\ndata_dir = '/dev/null'", ["2: backend.data_dir: /dev/null is not a readable and writable dir"]),
        ("[backend]\ndata_dir = '/nowhere/x'", ["2: backend.data_dir: /nowhere/x is not a readable and writable dir"]),
        (
            "[backend]\nurl = 'rediss://x'\nca_file = '/nowhere'",
            ["3: backend.ca_file: /nowhere: cannot be read"],
        ),
    ],
)
def test_what_would_fail_is_a_mistake(tmp_path: Path, text: str, sentences: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    found = [sentence.removeprefix(f"{tmp_path}/pushd.toml:") for sentence in caught.value.sentences]
    assert [sentence[: len(start)] for sentence, start in zip(found, sentences, strict=True)] == sentences


def test_same_port_of_different_addresses_is_accepted(tmp_path: Path) -> None:
    loaded(tmp_path, "[http]\nlisten = '127.0.0.1:8080'\n[tcp]\nlisten = ['127.0.0.2:8080', '[::1]:8080']")


def test_report_shows_what_listeners_are_for(tmp_path: Path) -> None:
    config = loaded(tmp_path, "[http]\nlisten = [':0', '0.0.0.0:0']\n[tcp]\nlisten = []\n[access]\nopen = true")
    assert list(Preflight().report(config)) == [
        "http.listen: tcp:0:interface=127.0.0.1, for this machine only",
        "http.listen: tcp:0:interface=0.0.0.0, for other machines too",
    ]


def test_port_of_another_process_is_a_warning(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        config = loaded(tmp_path, "", {"http.listen": [str(port)], "tcp.listen": ["0"]})
        [found] = warnings(config)
    endpoint = f"tcp:{port}:interface=127.0.0.1"
    assert found == f"warning: http.listen: {endpoint} is not available now: another process listens on it"


def test_folder_to_watch_may_appear_later(tmp_path: Path) -> None:
    config = loaded(tmp_path, "[source.x]\nkind='watch'\nchannel='a'\nfolder='/nowhere'", NO_LISTENER)
    assert warnings(config) == ["warning: source.x.folder: /nowhere does not exist yet"]


def test_unreachable_redis_is_a_warning_without_its_password(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        config = loaded(tmp_path, f"[backend]\nurl = 'redis://:s3cret@127.0.0.1:{port}'", NO_LISTENER)
        [found] = warnings(config)
    assert found.startswith(f"warning: backend.url: Redis at 127.0.0.1:{port} is not reachable now: Connection refused")
