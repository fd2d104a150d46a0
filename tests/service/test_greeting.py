"""The first lines of the log tell what has started, and commands that work."""

import re
from pathlib import Path

import pytest

from pushd import __version__
from tests.transports.daemon import RunningDaemon


async def log_of(settings: dict[str, object], file: Path | None = None) -> tuple[str, dict[str, int]]:
    """Start and stop a daemon; return the end of its log, and its ports."""
    daemon = await RunningDaemon(settings, file=file).start()
    log, ports = "\n".join(daemon.log), dict(daemon.ports)
    await daemon.stop()
    return log[log.index("pushd ") :], ports


async def test_commands_have_the_address_of_the_daemon() -> None:
    log, ports = await log_of({})
    base = f"http://localhost:{ports['http']}"
    started, *commands = log.splitlines()[:5]
    assert re.fullmatch(rf"pushd {re.escape(__version__)} has started: pid [0-9]+, history in memory", started)
    assert commands == [
        f"Subscribe: curl -N {base}/sse/demo",
        f"Publish: curl -d hello {base}/pub/demo",
        f"Demos: {base}/demo/",
        f"Console: {base}/console/",
    ]


@pytest.mark.parametrize(
    "settings",
    [{"http.console": "false"}, {"http.admin_listen": "tcp:0:interface=127.0.0.1"}],
    ids=["off", "elsewhere"],
)
async def test_no_address_is_shown_where_the_console_is_not(settings: dict[str, object]) -> None:
    log, _ = await log_of(settings)
    assert "/demo/" in log and "/console/" not in log


async def test_history_on_a_disk_is_named(tmp_path: Path) -> None:
    log, _ = await log_of({"backend.data_dir": tmp_path})
    assert f"history in {tmp_path}" in log


@pytest.mark.parametrize("text", ["[auth.anonymous]\nsubscribe = ['**']\n"])
async def test_no_command_is_shown_that_needs_a_token(tmp_path: Path, text: str) -> None:
    file = tmp_path / "pushd.toml"
    file.write_text(text)
    log, _ = await log_of({}, file)
    assert "curl" not in log
