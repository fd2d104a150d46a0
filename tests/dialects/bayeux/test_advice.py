"""What a daemon advises clients of Bayeux: other servers, polling instead of waiting, and to go."""

import pytest
import pytest_twisted

from tests.dialects.bayeux.client import Bayeux

SETTINGS: dict[str, object] = {"dialects.enable": "bayeux"}


@pytest.fixture
def start(start_daemon, tmp_path):
    """Return what starts a daemon with settings of the dialect."""

    async def start(lines, reactor=None):
        file = tmp_path / "pushd.toml"
        file.write_text(f"[dialects.bayeux]\n{lines}\n")
        return await start_daemon(SETTINGS, reactor, file)

    return start


@pytest_twisted.ensureDeferred
async def test_handshake_advises_the_hosts(start):
    daemon = await start('hosts = ["a.example.org", "B.example.org", "192.0.2.7"]')
    reply = await Bayeux(daemon).handshake()
    assert reply["advice"]["hosts"] == ["a.example.org", "b.example.org", "192.0.2.7"]
