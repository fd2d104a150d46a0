"""Sessions of Bayeux: what they receive, and how they end."""

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from tests.dialects.bayeux.client import Bayeux, data
from tests.transports.client import Received
from tests.transports.daemon import MovableReactor, turns, until
from tests.transports.websocket_client import JsonWebSocket

SETTINGS: dict[str, object] = {"dialects.enable": "bayeux"}
WAIT = 3000


@pytest_twisted.async_fixture
async def daemon(start_daemon):
    """A daemon that serves Bayeux."""
    return await start_daemon(SETTINGS)


async def subscribed(daemon, *channels, headers=None, **fields):
    client = Bayeux(daemon, headers)
    assert (await client.handshake(**fields))["successful"]
    assert (await client.subscribe(*channels))["successful"]
    return client


ACK = {"ext": {"ack": True}}


@pytest_twisted.ensureDeferred
async def test_handshake_begins_a_session(daemon):
    client = Bayeux(daemon)
    reply = await client.send("/meta/handshake", version="1.0", supportedConnectionTypes=["websocket", "long-polling"])
    assert reply.pop("clientId").isalnum()
    assert int(reply.pop("id")) > 0
    assert reply == {
        "channel": "/meta/handshake",
        "successful": True,
        "version": "1.0",
        "minimumVersion": "1.0",
        "supportedConnectionTypes": ["websocket", "long-polling"],
        "advice": {"reconnect": "retry", "interval": 0, "timeout": 30000, "maxInterval": 10000},
    }


@pytest_twisted.ensureDeferred
async def test_handshake_without_a_common_connection_type_fails(daemon):
    reply = await Bayeux(daemon).send("/meta/handshake", version="1.0", supportedConnectionTypes=["iframe"])
    assert (reply["successful"], reply["error"]) == (False, "406::no_common_connection_type")
    assert reply["advice"] == {"reconnect": "none"}
    assert "long-polling" in reply["supportedConnectionTypes"]


@pytest_twisted.ensureDeferred
async def test_what_follows_a_handshake_in_its_envelope_is_ignored(daemon):
    client = Bayeux(daemon)
    handshake = client.message("/meta/handshake", supportedConnectionTypes=["long-polling"])
    assert len(await client.post(handshake, {"channel": "/a", "data": 1})) == 1


@pytest.mark.parametrize("channel", ["/meta/connect", "/meta/subscribe", "/meta/unsubscribe", "/meta/disconnect", "/a"])
@pytest_twisted.ensureDeferred
async def test_unknown_session_is_told_to_begin_another(daemon, channel):
    client = Bayeux(daemon)
    client.id = "0" * 40
    reply = await client.send(channel, data=1, subscription="/a")
    assert (reply["successful"], reply["error"]) == (False, "402::session_unknown")
    assert reply["advice"] == {"reconnect": "handshake", "interval": 0}


@pytest_twisted.ensureDeferred
async def test_publish_without_a_session_is_refused(daemon):
    client = Bayeux(daemon)
    (reply,) = await client.post({"channel": "/a", "data": 1, "id": "7"})
    assert (reply["successful"], reply["error"], reply["id"]) == (False, "402::session_unknown", "7")
    assert (await daemon.request("GET", "/pub/a")).status == 404


@pytest_twisted.ensureDeferred
async def test_each_session_of_a_browser_may_hold_a_connect(daemon):
    cookie = {"Cookie": "BAYEUX_BROWSER=1"}
    clients = [await subscribed(daemon, "/a", headers=cookie) for _ in range(3)]
    answers = [client.start(client.connect_message(WAIT))[1] for client in clients]
    await until(lambda: len(daemon.subscribers("a")) == 3, "the connects are held")
    await daemon.publish("a", "1")
    for answer in answers:
        received = await answer
        assert data(received.json) == ["1"]
        assert "set-cookie" not in received.headers


@pytest_twisted.ensureDeferred
async def test_messages_follow_the_reply_to_the_connect_in_order(daemon):
    client = await subscribed(daemon, "/a/*", "/b")
    ids = [
        await daemon.publish(channel, text) for channel, text in [("a/x", "1"), ("b", "2"), ("c", "3"), ("a/y", "4")]
    ]
    reply, *messages = await client.connect()
    assert (reply["channel"], reply["successful"], reply["clientId"]) == ("/meta/connect", True, client.id)
    assert messages == [
        {"channel": "/a/x", "data": "1", "id": ids[0]},
        {"channel": "/b", "data": "2", "id": ids[1]},
        {"channel": "/a/y", "data": "4", "id": ids[3]},
    ]
    assert data(await client.connect(0)) == []


@pytest_twisted.ensureDeferred
async def test_held_connect_is_answered_by_a_message(daemon):
    client = await subscribed(daemon, "/a")
    _, answer = client.start(client.connect_message(WAIT))
    await until(lambda: daemon.subscribers("a"), "the connect is held")
    await daemon.publish("a", "1")
    assert data((await answer).json) == ["1"]


@pytest_twisted.ensureDeferred
async def test_subscription_during_a_held_connect_receives(daemon):
    client = await subscribed(daemon, "/a")
    _, answer = client.start(client.connect_message(WAIT))
    await until(lambda: daemon.subscribers("a"), "the connect is held")
    await daemon.publish("b", "before")
    assert (await client.subscribe("/b"))["successful"]
    await daemon.publish("b", "1")
    assert data((await answer).json) == ["1"]


@pytest_twisted.ensureDeferred
async def test_second_connect_releases_the_first(daemon):
    client = await subscribed(daemon, "/a")
    _, first = client.start(client.connect_message(WAIT))
    await until(lambda: daemon.subscribers("a"), "the connect is held")
    _, second = client.start(client.connect_message(WAIT))
    assert data((await first).json) == []
    await daemon.publish("a", "1")
    assert data((await second).json) == ["1"]


@pytest_twisted.ensureDeferred
async def test_message_of_several_subscriptions_is_sent_once(daemon):
    client = await subscribed(daemon, "/a/b", "/a/*", "/**")
    await daemon.publish("a/b", "1")
    assert data(await client.connect(WAIT)) == ["1"]


@pytest_twisted.ensureDeferred
async def test_lost_answer_is_sent_again_to_who_acknowledges(daemon):
    client = await subscribed(daemon, "/a", **ACK)
    await daemon.publish("a", "1")
    reply, *messages = await client.connect(WAIT, ack=0)
    batch = reply["ext"]["ack"]
    assert [message["data"] for message in messages] == ["1"]
    await daemon.publish("a", "2")
    assert data(await client.connect(WAIT, ack=0)) == ["1", "2"]
    assert data(await client.connect(WAIT, ack=batch)) == ["2"]


@pytest_twisted.ensureDeferred
async def test_connect_that_is_lost_while_it_is_held_loses_nothing(daemon):
    client = await subscribed(daemon, "/a")
    connection, answer = client.start(client.connect_message(WAIT))
    answer.addErrback(lambda failure: None)
    await until(lambda: daemon.subscribers("a"), "the connect is held")
    connection.transport.abortConnection()
    await until(lambda: not daemon.subscribers("a"), "the connect is forgotten")
    await daemon.publish("a", "1")
    assert data(await client.connect(WAIT)) == ["1"]


@pytest_twisted.ensureDeferred
async def test_unsubscribed_channel_is_not_received(daemon):
    client = await subscribed(daemon, "/a", "/b")
    assert (await client.send("/meta/unsubscribe", subscription="/a"))["subscription"] == "/a"
    await daemon.publish("a", "1")
    await daemon.publish("b", "2")
    assert data(await client.connect(WAIT)) == ["2"]


@pytest_twisted.ensureDeferred
async def test_session_ends_without_a_connect(start_daemon):
    reactor = MovableReactor()
    daemon = await start_daemon(SETTINGS, reactor)
    client = await subscribed(daemon, "/a")
    await reactor.pass_time(9)
    assert data(await client.connect(0)) == []
    await reactor.pass_time(11)
    assert (await client.connect(0))[0]["error"] == "402::session_unknown"


@pytest_twisted.ensureDeferred
async def test_persistent_session_lasts_longer(start_daemon, tmp_path):
    file = tmp_path / "pushd.toml"
    file.write_text('[dialects.bayeux]\npersistent = ["a/**"]\npersistent_interval = 60\n')
    reactor = MovableReactor()
    daemon = await start_daemon(SETTINGS, reactor, file)
    client, other = await subscribed(daemon, "/a/x"), await subscribed(daemon, "/b")
    assert (await client.subscribe("/a/y"))["advice"]["maxInterval"] == 60_000
    await daemon.publish("a/x", "1")
    await reactor.pass_time(50)
    assert data(await client.connect(0)) == ["1"]
    assert (await other.connect(0))[0]["error"] == "402::session_unknown"
    await reactor.pass_time(61)
    assert (await client.connect(0))[0]["error"] == "402::session_unknown"


@pytest_twisted.ensureDeferred
async def test_disconnected_session_is_gone(daemon):
    client = await subscribed(daemon, "/a")
    _, answer = client.start(client.connect_message(WAIT))
    await until(lambda: daemon.subscribers("a"), "the connect is held")
    assert (await client.send("/meta/disconnect"))["successful"]
    assert (await answer).json[0]["successful"]
    assert (await client.connect(0))[0]["error"] == "402::session_unknown"
    assert not daemon.subscribers("a")


@pytest_twisted.ensureDeferred
async def test_too_many_sessions_are_refused(start_daemon, tmp_path):
    file = tmp_path / "pushd.toml"
    file.write_text("[dialects.bayeux]\nsessions = 2\n")
    daemon = await start_daemon(SETTINGS, None, file)
    first = Bayeux(daemon)
    assert (await first.handshake())["successful"]
    assert (await Bayeux(daemon).handshake())["successful"]
    reply = await Bayeux(daemon).handshake()
    assert reply["error"].startswith("429::too-many-connections: ")
    assert reply["advice"] == {"reconnect": "handshake", "interval": 5000}
    await first.send("/meta/disconnect")
    assert (await Bayeux(daemon).handshake())["successful"]


@pytest_twisted.ensureDeferred
async def test_gap_is_visible_without_a_subscription(start_daemon):
    daemon = await start_daemon(SETTINGS | {"history.messages": 2})
    client = await subscribed(daemon, "/a")
    for number in range(5):
        await daemon.publish("a", str(number))
    _, gap, *messages = await client.connect(WAIT)
    assert (gap["channel"], gap["data"]["topic"], gap["data"]["reason"]) == ("/pushd/gap", "a", "evicted")
    assert [message["data"] for message in messages] == ["3", "4"]


@pytest_twisted.ensureDeferred
async def test_subscription_with_a_cursor_begins_there(daemon):
    ids = [await daemon.publish("a", text) for text in "123"]
    client = await subscribed(daemon, "/b")
    await client.subscribe("/a", ext={"pushd": {"since": ids[0]}})
    assert data(await client.connect(WAIT)) == ["2", "3"]
    await client.subscribe("/a", ext={"pushd": {"since": "all"}})
    assert data(await client.connect(WAIT)) == ["1", "2", "3"]


@pytest_twisted.ensureDeferred
async def test_reply_to_a_request_has_its_channel_and_id(daemon):
    client = await subscribed(daemon, "/b")
    assert (await client.publish("/service/none", 1))["error"].startswith("503:/service/none:no-responders")
    other = JsonWebSocket(daemon)
    await other.subscribe("service/add")
    reply = await client.publish("/service/add", {"n": 1})
    assert reply["successful"]
    asked = await other.next()
    assert isinstance(asked, Received)
    answer = await daemon.request("POST", f"/pub/{asked.reply_to}", b'{"n":2}', {"Content-Type": "application/json"})
    assert answer.status in (201, 202), answer
    assert (await client.connect(WAIT))[1:] == [{"channel": "/service/add", "data": {"n": 2}, "id": reply["id"]}]


@pytest_twisted.ensureDeferred
async def test_shutdown_answers_connects(start_daemon):
    daemon = await start_daemon(SETTINGS)
    client = await subscribed(daemon, "/a")
    _, answer = client.start(client.connect_message(WAIT))
    await until(lambda: daemon.subscribers("a"), "the connect is held")
    stopped = Deferred.fromCoroutine(daemon.stop())
    reply = (await answer).json[0]
    assert (reply["successful"], reply["advice"]["reconnect"]) == (True, "retry")
    await stopped


@pytest_twisted.ensureDeferred
async def test_kicked_session_ends(daemon):
    client = await subscribed(daemon, "/a")
    _, answer = client.start(client.connect_message(WAIT))
    await until(lambda: daemon.subscribers("a"), "the connect is held")
    (connection,) = (await daemon.request("GET", "/connections")).json
    assert connection["transport"] == "bayeux"
    await daemon.request("DELETE", f"/connections/{connection['id']}")
    reply = (await answer).json[0]
    assert (reply["successful"], reply["advice"]) == (False, {"reconnect": "none"})
    assert (await client.connect(0))[0]["error"] == "402::session_unknown"


@pytest_twisted.ensureDeferred
async def test_member_of_a_session_stays_over_its_connects(daemon):
    client = Bayeux(daemon)
    await client.handshake(ext={"pushd": {"presence_id": "bob"}})
    await client.subscribe("/a")
    client.start(client.connect_message(WAIT))
    await until(lambda: daemon.subscribers("a"), "the connect is held")
    await turns()
    assert (await daemon.request("GET", "/presence/a")).json["count"] == 1
    await daemon.publish("a", "1")
    assert data(await client.connect(0)) in ([], ["1"])
    assert (await daemon.request("GET", "/presence/a")).json["count"] == 1
    client.start(client.connect_message(WAIT))
    await until(lambda: daemon.subscribers("a"), "the connect is held")
    await client.send("/meta/disconnect")
    assert (await daemon.request("GET", "/presence/a")).json["count"] == 0


@pytest_twisted.ensureDeferred
async def test_member_enters_channels_and_receives_of_patterns(daemon):
    client = await subscribed(daemon, "/a/*", ext={"pushd": {"presence_id": "bob"}})
    await daemon.publish("a/x", "1")
    assert data(await client.connect(WAIT)) == ["1"]
    await client.subscribe("/b")
    client.start(client.connect_message(WAIT))
    await until(lambda: daemon.subscribers("b"), "the connect is held")
    await turns()
    assert (await daemon.request("GET", "/presence/b")).json["count"] == 1


@pytest_twisted.ensureDeferred
async def test_many_messages_in_one_envelope_are_published_in_order(daemon):
    client = await subscribed(daemon, "/a")
    replies = await client.post(*[client.message("/a", data=n) for n in range(200)])
    assert all(reply["successful"] and "data" not in reply for reply in replies)
    received: list[object] = []
    while len(received) < 200:
        received += data(await client.connect(WAIT))
    assert received == list(range(200))
    history = (await daemon.request("GET", "/history/a")).json
    assert [message["data"] for message in history] == received


@pytest_twisted.ensureDeferred
async def test_lazy_messages_wait_for_others(start_daemon, tmp_path):
    file = tmp_path / "pushd.toml"
    file.write_text('[dialects.bayeux]\nlazy = ["lazy/*"]\nlazy_time = 3\n')
    reactor = MovableReactor()
    daemon = await start_daemon(SETTINGS, reactor, file)
    client = await subscribed(daemon, "/a", "/lazy/*")
    for others in (["now"], []):
        _, answer = client.start(client.connect_message(20_000))
        await until(lambda: daemon.subscribers("a"), "the connect is held")
        await daemon.publish("lazy/x", "1")
        await daemon.publish("lazy/x", "2")
        await turns()
        assert not answer.called
        for text in others:
            await daemon.publish("a", text)
        await reactor.pass_time(0 if others else 4)
        assert data((await answer).json) == ["1", "2", *others]
