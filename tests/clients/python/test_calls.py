"""Calls of the three clients to a real daemon."""

import time

import pytest
from pushd_client import Message, NoReply, NoResponders, Publication, Refused
from twisted.internet.defer import ensureDeferred

from tests.clients.python.conftest import Connect
from tests.transports.daemon import RunningDaemon

DATA = [
    ("text ü", None, "text ü", "text/plain; charset=utf-8"),
    ({"k": [1, None, "ü"]}, None, {"k": [1, None, "ü"]}, "application/json"),
    (None, None, None, "application/json"),
    ("json string", "application/json", "json string", "application/json"),
    (b'{"raw":1}', "application/json", {"raw": 1}, "application/json"),
    (b"bytes as text", None, "bytes as text", "text/plain; charset=utf-8"),
    (b"\x00\xff", None, b"\x00\xff", "application/octet-stream"),
    ([1], "application/vnd.api+json", "[1]", "application/vnd.api+json"),
    ("<b>", "text/html", "<b>", "text/html"),
]
"""What is published, with which type; the data and the type that subscribers receive."""


async def test_data_arrives_as_it_was_published(daemon: RunningDaemon, connect: Connect) -> None:
    client = connect(daemon.ports["http"])
    for data, kind, _, _ in DATA:
        await client.publish("a/ü", data, content_type=kind)
    outcomes = await client.batch([Publication("a/ü", data, kind) for data, kind, _, _ in DATA])
    history = await client.history("a/ü")
    expected = [(data, kind) for _, _, data, kind in DATA]
    assert [(each.data, each.content_type) for each in history] == expected * 2
    assert [each.id for each in history][len(DATA) :] == [each.id for each in outcomes]


async def test_publish_options_and_receipts(daemon: RunningDaemon, connect: Connect) -> None:
    client = connect(daemon.ports["http"])
    first = await client.publish("a", 1, event="tick", ttl=60, key="job 7")
    again = await client.publish("a", 1, event="tick", ttl=60, key="job 7")
    assert (first.channel, first.subscribers, first.is_local) == ("a", 0, False)
    assert again == first
    with pytest.raises(Refused) as raised:
        await client.publish("a", 2, key="job 7")
    assert (raised.value.code, raised.value.status) == ("idempotency-mismatch", 422)
    assert (await client.publish("a", 3, keep=False)).id is None
    assert [each.channel for each in await client.publish_to(["a", "b"], 4)] == ["a", "b"]
    assert [each.channel for each in await client.publish_to(["b"], 5)] == ["b"]
    message = (await client.history("a", since="all", limit=1)).messages[0]
    assert isinstance(message, Message)
    assert (message.event, message.data, message.id, message.prev) == ("tick", 1, first.id, None)
    assert abs(message.time - time.time()) < 60
    await client.delete("a")
    assert len(await client.history("a")) == 0


async def test_batch_has_one_outcome_per_message(daemon: RunningDaemon, connect: Connect) -> None:
    client = connect(daemon.ports["http"])
    messages = [Publication("a", "1"), Publication("*", "2"), Publication("b", b"\xff", event="e", end=True)]
    first, second, third = await client.batch(messages, key="k")
    assert (first.channel, second.code, third.channel) == ("a", "bad-channel", "b")
    assert [each.id for each in await client.history("a,b")] == [first.id, third.id]


async def test_history_cursor_and_gap(start_daemon, connect: Connect) -> None:
    daemon = await start_daemon({"history.messages": 3})
    client = connect(daemon.ports["http"])
    start = await client.cursor()
    for number in range(5):
        await client.publish("a", number)
    history = await client.history("a", since=start)
    assert ([each.data for each in history], history.gap) == ([2, 3, 4], "evicted")
    assert history.cursor == history.messages[-1].id == await client.cursor("a")
    assert [each.data for each in await client.history("a", since="last:2")] == [3, 4]


async def test_presence_and_heartbeats(daemon: RunningDaemon, connect: Connect) -> None:
    client = connect(daemon.ports["http"])
    for number in range(3):
        await client.enter("room/1", f"m{number}", {"n": number}, ttl=60)
    page = await client.presence("room/1", limit=2)
    assert ([each.id for each in page], page.count, page.next) == (["m0", "m1"], 3, "m1")
    assert (await client.presence("room/1", after=page.next)).members[0].meta == {"n": 2}
    await client.leave("room/1", "m0")
    assert (await client.presence("room/1")).count == 2
    beat = await client.heartbeat("me", timestamp=time.time() - 5)
    assert beat.online and 4000 < beat.lag < 65_000
    assert (await client.last_heartbeat("me")).last == pytest.approx(beat.last, abs=0.1)
    with pytest.raises(Refused, match="unknown-member"):
        await client.last_heartbeat("nobody")


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_request_is_answered(daemon: RunningDaemon, connect: Connect, transport) -> None:
    client = connect(daemon.ports["http"])
    with pytest.raises(NoResponders):
        await client.request("jobs/add", [1, 2])
    responder = client.subscribe("jobs/*", responder=True, transport=transport)
    await responder.open()

    async def respond() -> None:
        for _ in range(2):
            request = await responder.next()
            await client.reply(request, sum(request.data))

    responding = ensureDeferred(respond())
    for data in ([1, 2], [3, 4]):
        reply = await client.request("jobs/add", data)
        assert (reply.data, reply.content_type) == (sum(data), "application/json")
    await responding
    with pytest.raises(NoReply):
        await client.request("jobs/add", [1], timeout=0.05)
    late = await responder.next()
    with pytest.raises(Refused, match="no-request"):
        await client.reply(late, 1)
    await responder.close()


async def test_function_responds_until_the_client_is_closed(daemon: RunningDaemon, connect: Connect) -> None:
    server, client = connect(daemon.ports["http"]), connect(daemon.ports["http"])
    responding = server.respond("jobs", lambda message: message.data.upper())
    while True:
        try:
            assert (await client.request("jobs", "shout")).data == "SHOUT"
            break
        except NoResponders:
            continue
    await server.close()
    await responding


async def test_other_requests(daemon: RunningDaemon, connect: Connect) -> None:
    client = connect(daemon.ports["http"])
    assert (await client.call("GET", "/version"))["server"] == "pushd"
    await client.publish("a/b", "x")
    assert (await client.call("GET", "/channels", query={"prefix": "a", "limit": 5, "after": None}))["channels"]
    assert (await client.call("DELETE", "/pub/a/b")) == {"deleted": "a/b"}
    with pytest.raises(Refused, match="not-found") as raised:
        await client.call("POST", "/nowhere", body={"x": 1})
    assert raised.value.status == 404


@pytest.mark.parametrize("channel", ["", "a,b"])
async def test_name_of_one_channel_is_checked(daemon: RunningDaemon, connect: Connect, channel) -> None:
    with pytest.raises(ValueError, match="must not be empty, and must not contain a comma"):
        await connect(daemon.ports["http"]).publish(channel, "x")
