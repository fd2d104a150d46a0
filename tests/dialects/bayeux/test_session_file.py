"""Sessions of a daemon with its history on disk, over restarts and over its end by a signal."""

import shutil
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from pushd.dialects.bayeux.store import key_of
from tests.authorization.credentials import Credentials, only
from tests.dialects.bayeux.client import Bayeux, data
from tests.transports.daemon import MovableReactor, until

SETTINGS: dict[str, object] = {"dialects.enable": "bayeux"}
WAIT = 3000
ACK = {"ext": {"ack": True}}
FILE = "bayeux-sessions"
READER = "reader-Kq3vXw8ZpT5nRb1c"


def stored_in(directory: Path) -> dict[str, object]:
    """Return the settings of a daemon with its history in a directory."""
    return SETTINGS | {"backend.data_dir": directory}


async def begun(daemon, **fields):
    client = Bayeux(daemon)
    assert (await client.handshake(**fields))["successful"]
    assert (await client.subscribe("/a"))["successful"]
    return client


async def killed(daemon, start_daemon, directory: Path, *clients: Bayeux):
    """Start another daemon with the files as they would be if this one was killed now."""
    copied = shutil.copytree(directory, directory.with_name(directory.name + "+"))
    await daemon.stop()
    other = await start_daemon(stored_in(copied))
    for client in clients:
        client.daemon = other
    return other


@pytest_twisted.ensureDeferred
async def test_session_survives_a_restart(start_daemon, tmp_path):
    before = await start_daemon(stored_in(tmp_path))
    client = await begun(before, **ACK)
    await before.publish("a", "1")
    await client.connect(WAIT, ack=0)  # its answer is lost
    await before.publish("a", "2")
    await before.stop()
    file = tmp_path / FILE
    assert client.id not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    after = client.daemon = await start_daemon(stored_in(tmp_path))
    await after.publish("a", "3")
    assert data(await client.connect(WAIT, ack=0)) == ["1", "2", "3"]
    await after.stop()
    file.write_text("{")
    client.daemon = await start_daemon(stored_in(tmp_path))
    assert (await client.connect(0))[0]["error"] == "402::session_unknown"


@pytest_twisted.ensureDeferred
async def test_session_of_a_killed_daemon_goes_on_once_and_in_order(start_daemon, tmp_path):
    directory = tmp_path / "history"
    daemon = await start_daemon(stored_in(directory))
    client, gone = await begun(daemon, **ACK), await begun(daemon)
    await gone.send("/meta/disconnect")
    await daemon.publish("a", "1")
    reply, *_ = await client.connect(WAIT, ack=0)
    await daemon.publish("a", "2")
    assert data(await client.connect(WAIT, ack=reply["ext"]["ack"])) == ["2"]  # its answer is lost
    after = await killed(daemon, start_daemon, directory, client, gone)
    await after.publish("a", "3")
    assert data(await client.connect(WAIT, ack=reply["ext"]["ack"])) == ["2", "3"]
    assert (await gone.connect(0))[0]["error"] == "402::session_unknown"


@pytest_twisted.ensureDeferred
async def test_session_without_acknowledgements_goes_on_where_it_was_a_moment_ago(start_daemon, tmp_path):
    directory = tmp_path / "history"
    daemon = await start_daemon(stored_in(directory))
    client = await begun(daemon)
    first = await daemon.publish("a", "1")
    assert data(await client.connect(WAIT)) == ["1"]
    await until(lambda: f'"confirmed":"{first}"' in (directory / FILE).read_text(), "its progress is written")
    await daemon.publish("a", "2")
    assert data(await client.connect(WAIT)) == ["2"]
    await killed(daemon, start_daemon, directory, client)
    assert data(await client.connect(WAIT)) == ["2"]


@pytest_twisted.ensureDeferred
async def test_requests_that_arrive_together_return_to_one_session(start_daemon, tmp_path):
    before = await start_daemon(stored_in(tmp_path))
    client = await begun(before, **ACK)
    await before.stop()
    after = client.daemon = await start_daemon(stored_in(tmp_path))
    replies = await gatherResults(
        [Deferred.fromCoroutine(client.subscribe(channel)) for channel in ("/b", "/c")], consumeErrors=True
    )
    assert all(reply["successful"] for reply in replies)
    await after.publish_all(("b", "1"), ("c", "2"))
    assert data(await client.connect(WAIT, ack=0)) == ["1", "2"]


@pytest_twisted.ensureDeferred
async def test_session_that_does_not_return_in_time_is_forgotten(start_daemon, tmp_path):
    before = await start_daemon(stored_in(tmp_path))
    client = await begun(before, **ACK)
    await before.stop()
    reactor = MovableReactor()
    client.daemon = await start_daemon(stored_in(tmp_path), reactor)
    await reactor.pass_time(700)
    assert (await client.connect(0))[0]["error"] == "402::session_unknown"
    await until(lambda: (tmp_path / FILE).read_bytes() == b"", "the session is removed from the file")


@pytest.mark.parametrize("keeps", [True, False])
@pytest_twisted.ensureDeferred
async def test_session_goes_on_only_while_its_credential_is_accepted(start_daemon, tmp_path, keeps):
    credentials, directory = Credentials(tmp_path), tmp_path / "history"
    credentials.write({READER: only(["subscribe", "history"])})
    before = await start_daemon(stored_in(directory), None, credentials.file)
    client = Bayeux(before)
    await client.handshake(ext={"pushd": {"token": READER}})
    await before.stop()
    assert READER not in (directory / FILE).read_text()
    if not keeps:
        credentials.write({})
    client.daemon = await start_daemon(stored_in(directory), None, credentials.file)
    reply = (await client.connect(0))[0]
    assert reply["successful"] is keeps, reply


@pytest_twisted.ensureDeferred
async def test_page_that_is_loaded_again_receives_what_was_not_acknowledged(start_daemon, tmp_path):
    directory = tmp_path / "history"
    daemon = await start_daemon(stored_in(directory))
    client = await begun(daemon, **ACK)
    first = await daemon.publish("a", "1")
    reply, *_ = await client.connect(WAIT, ack=0)
    await daemon.publish("a", "2")
    assert data(await client.connect(WAIT, ack=reply["ext"]["ack"])) == ["2"]
    await until(lambda: f'"confirmed":"{first}"' in (directory / FILE).read_text(), "its progress is written")
    await killed(daemon, start_daemon, directory, client)
    assert data(await client.connect(WAIT, ack=0)) == ["2"]


@pytest.mark.parametrize("state", ["{}", '{"identity":{}}', '{"identity":"x"}', '{"identity":null,"ack":1}', "{]}"])
@pytest_twisted.ensureDeferred
async def test_damaged_session_is_lost_alone(start_daemon, tmp_path, state):
    before = await start_daemon(stored_in(tmp_path))
    damaged, client = await begun(before), await begun(before)
    await before.stop()
    with (tmp_path / FILE).open("a") as file:
        file.write(f"{key_of(damaged.id)} {state}\n")
    damaged.daemon = client.daemon = await start_daemon(stored_in(tmp_path))
    assert (await damaged.connect(0))[0]["error"] == "402::session_unknown"
    assert (await client.connect(0))[0]["successful"]
