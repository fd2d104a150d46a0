"""Sessions over several nodes that share one Redis."""

import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from tests.authorization.credentials import Credentials, only
from tests.dialects.bayeux.client import Bayeux, data
from tests.transports.daemon import until, until_ready

SETTINGS: dict[str, object] = {"dialects.enable": "bayeux"}
READER = "reader-Kq3vXw8ZpT5nRb1c"
WAIT = 20_000


@pytest_twisted.async_fixture
async def nodes(start_daemon, one_redis):
    """Two nodes."""
    one_redis.ask("FLUSHALL")
    one, two = [await start_daemon(SETTINGS | {"backend.url": one_redis.url}) for _ in range(2)]
    for node in (one, two):
        await until_ready(node)
    return one, two


def moved(client, node):
    """Return the client at another node."""
    other = Bayeux(node)
    other.id = client.id
    return other


async def begun(node, **fields):
    client = Bayeux(node)
    assert (await client.handshake(**fields))["successful"]
    assert (await client.subscribe("/a"))["successful"]
    return client


ACK = {"ext": {"ack": True}}


@pytest_twisted.ensureDeferred
async def test_connect_that_arrives_at_another_node_goes_on(nodes):
    one, two = nodes
    client = await begun(one)
    await one.publish("a", "1")
    other = moved(client, two)
    assert data(await other.connect(WAIT)) == ["1"]
    await two.publish("a", "2")
    assert data(await client.connect(WAIT)) == ["2"]
    assert data(await other.connect(0)) == []


@pytest_twisted.ensureDeferred
async def test_lost_answer_of_another_node_is_sent_again(nodes):
    one, two = nodes
    client = await begun(one, **ACK)
    await one.publish("a", "1")
    reply, *messages = await client.connect(WAIT, ack=0)
    assert [message["data"] for message in messages] == ["1"]
    other = moved(client, two)
    assert data(await other.connect(WAIT, ack=0)) == ["1"]
    await one.publish("a", "2")
    assert data(await client.connect(WAIT, ack=reply["ext"]["ack"])) == ["2"]


@pytest_twisted.ensureDeferred
async def test_subscription_at_another_node_releases_the_held_connect(nodes):
    one, two = nodes
    client = await begun(one, **ACK)
    _, answer = client.start(client.connect_message(30_000))
    await until(lambda: one.subscribers("a"), "the connect is held")
    other = moved(client, two)
    assert (await other.subscribe("/b"))["successful"]
    assert data((await answer).json) == []
    await one.publish("b", "1")
    assert data(await client.connect(WAIT, ack=0)) == ["1"]


@pytest_twisted.ensureDeferred
async def test_publish_at_another_node_leaves_the_connect_where_it_is(nodes):
    one, two = nodes
    client = await begun(one)
    _, answer = client.start(client.connect_message(30_000))
    await until(lambda: one.subscribers("a"), "the connect is held")
    assert (await moved(client, two).publish("/a", 1))["successful"]
    assert data((await answer).json) == [1]


@pytest_twisted.ensureDeferred
async def test_session_survives_its_node(nodes):
    one, two = nodes
    client = await begun(one, **ACK)
    await one.stop()
    await two.publish("a", "1")
    assert data(await moved(client, two).connect(WAIT, ack=0)) == ["1"]


@pytest_twisted.ensureDeferred
async def test_requests_that_arrive_together_at_another_node_go_on_with_one_session(nodes):
    one, two = nodes
    client = await begun(one, **ACK)
    other = moved(client, two)
    channels = [f"/{name}" for name in "bcdef"]
    await gatherResults([Deferred.fromCoroutine(other.subscribe(channel)) for channel in channels], consumeErrors=True)
    await one.publish_all(*[(channel[1:], channel) for channel in channels])
    received: list[object] = []
    while len(received) < len(channels):
        _, *messages = await other.connect(WAIT, ack=0)
        received = [message["data"] for message in messages]
    assert received == channels


@pytest_twisted.ensureDeferred
async def test_subscription_during_which_the_session_moves_is_kept(nodes, monkeypatch):
    one, two = nodes
    client = await begun(one, **ACK)
    other, hub = moved(client, two), two._service.hub
    start_position = hub.start_position
    moves: list[object] = []

    async def start_after_a_move(*arguments):
        if not moves:
            moves.append(await client.connect(0, ack=0))
        return await start_position(*arguments)

    monkeypatch.setattr(hub, "start_position", start_after_a_move)
    assert (await other.subscribe("/b"))["successful"]
    assert len(moves) == 1
    await one.publish("b", "1")
    assert data(await client.connect(WAIT, ack=0)) == ["1"]


@pytest_twisted.ensureDeferred
async def test_disconnected_session_is_gone_everywhere(nodes):
    one, two = nodes
    client = await begun(one)
    other = moved(client, two)
    assert (await other.send("/meta/disconnect"))["successful"]
    assert (await client.connect(0))[0]["error"] == "402::session_unknown"
    assert (await other.connect(0))[0]["error"] == "402::session_unknown"


@pytest_twisted.ensureDeferred
async def test_rights_follow_a_session_and_no_credential_is_kept(start_daemon, one_redis, tmp_path):
    one_redis.ask("FLUSHALL")
    credentials = Credentials(tmp_path)
    credentials.write({READER: only(["subscribe", "history"])})
    settings = SETTINGS | {"backend.url": one_redis.url}
    one, two = [await start_daemon(settings, None, credentials.file) for _ in range(2)]
    for node in (one, two):
        await until_ready(node)
    client = Bayeux(one)
    await client.handshake(ext={"pushd": {"token": READER}})
    await client.subscribe("/room/a")
    other = moved(client, two)
    assert (await other.connect(0))[0]["successful"]
    assert (await other.publish("/room/a", 1))["error"].startswith("403:")
    assert (await other.subscribe("/else"))["error"].startswith("403:")
    (key,) = one_redis.ask("KEYS", "*:r:*")
    kept = b"".join(one_redis.ask("HGETALL", key))
    for secret in (READER, client.id):
        assert secret.encode() not in key + kept
    credentials.write({})
    await one.reload()
    assert (await client.connect(0))[0]["error"].startswith("403::token-revoked")


@pytest_twisted.ensureDeferred
async def test_publish_moves_a_session_whose_activity_counts(start_daemon, one_redis, tmp_path):
    one_redis.ask("FLUSHALL")
    file = tmp_path / "pushd.toml"
    file.write_text("[dialects.bayeux]\nmax_inactive = 3600\n")
    one, two = [await start_daemon(SETTINGS | {"backend.url": one_redis.url}, None, file) for _ in range(2)]
    for node in (one, two):
        await until_ready(node)
    client = await begun(one, **ACK)
    _, held = client.start(client.connect_message(30_000))
    await until(lambda: one.subscribers("a"), "the connect is held")
    assert (await moved(client, two).publish("/b", 1))["successful"]
    assert data((await held).json) == []
    assert (await client.connect(0))[0]["successful"]
