"""Promises 1 and 2: an accepted message is in the history, and each subscriber receives it once and in order."""

import json

import pytest
from twisted.internet.defer import Deferred, gatherResults

from tests.transports.client import Received
from tests.transports.daemon import RunningDaemon
from tests.transports.every_client import ALL_CLIENTS, NATIVE, REPORTING, UNCONFINED, each_client
from tests.transports.http_client import address
from tests.transports.line_client import TextLines
from tests.transports.websocket_client import JsonWebSocket


async def by_http(daemon: RunningDaemon, method: str) -> str:
    return str((await daemon.request(method, address("pub", "a"), b"x")).json["id"])


async def by_batch(daemon: RunningDaemon) -> str:
    return (await daemon.publish_all(("a", "x")))[0]


async def by_line(daemon: RunningDaemon, line: str) -> str:
    client = TextLines(daemon)
    client.open()
    return (await client.ask(line)).split()[0]


async def by_websocket(daemon: RunningDaemon) -> str:
    client = JsonWebSocket(daemon)
    await client.open()
    return str((await client.ask(publish="a", data="x"))["id"])


DOORS = {
    "POST": lambda daemon: by_http(daemon, "POST"),
    "PUT": lambda daemon: by_http(daemon, "PUT"),
    "batch": by_batch,
    "PUB": lambda daemon: by_line(daemon, "PUB a x"),
    "PUBJ": lambda daemon: by_line(daemon, 'PUBJ {"channel":"a","data":"x"}'),
    "websocket": by_websocket,
}


@pytest.mark.parametrize("resource", DOORS.values(), ids=DOORS)
async def test_promise_1_an_accepted_message_is_in_the_history_before_the_response(daemon, resource):
    accepted = []
    for _ in range(3):
        accepted.append(await resource(daemon))
        assert await daemon.history("a") == accepted


async def test_promise_1_a_concurrent_repeat_publishes_nothing_again(daemon):
    lines = "\n".join(json.dumps({"channel": "a", "data": number}) for number in range(600)).encode()
    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "k"}
    both = [Deferred.fromCoroutine(daemon.request("POST", "/pub", lines, headers)) for _ in range(2)]
    first, second = await gatherResults(both)
    assert (await daemon.info("a"))["messages"] == 600
    assert first.body == second.body


@each_client(ALL_CLIENTS, is_quick=True)
async def test_promise_2_each_message_once_in_id_order_history_first_then_live(daemon, client_class):
    ids = await daemon.publish_all(*[("a", f"{number}") for number in range(5)])
    client = client_class(daemon)
    await client.subscribe("a", since="all")
    ids += await daemon.publish_all(*[("a", f"{number}") for number in range(5, 10)])
    items = await client.receive(10)
    assert [item.data for item in items] == [b"%d" % number for number in range(10)]
    assert [item.id for item in items] == (ids if client_class.has_ids else [None] * 10)
    await daemon.publish("a", "last")
    assert await client.until(b"last") == []


@each_client(ALL_CLIENTS, is_quick=True)
async def test_promise_2_without_a_cursor_only_new_messages(daemon, client_class):
    await daemon.publish("a", "old")
    client = client_class(daemon)
    await client.subscribe("a")
    await daemon.publish("a", "new")
    assert await client.data(1) == [b"new"]


@each_client(ALL_CLIENTS, is_quick=True)
@pytest.mark.parametrize("since", ["all", "id"])
async def test_promise_2_each_message_once_while_publishes_race_the_subscription(daemon, client_class, since):
    """The history is longer than a page of the replay, and grows while it is read."""
    first = (await daemon.publish_all(*[("a", f"{number}") for number in range(-1, 400)]))[0]
    publisher = TextLines(daemon)
    publisher.open()
    answers = []

    async def publish() -> None:
        for number in range(400, 800):
            answers.append(publisher.send(f"PUB a {number}"))
            if number % 20 == 0:
                await answers[-1]

    publishing = Deferred.fromCoroutine(publish())
    client = client_class(daemon)
    await client.subscribe("a", since="all" if since == "all" else first)
    received = await client.data(801 if since == "all" else 800)
    assert received[-800:] == [b"%d" % number for number in range(800)]
    await publishing
    await gatherResults(answers)
    await daemon.publish("a", "last")
    assert await client.until(b"last") == []


@each_client(NATIVE)
async def test_promise_2_each_message_once_if_topics_overlap(daemon, client_class):
    channels = ["a/b", "a/c", "a/b/c", "b", "a/b"]
    await daemon.publish_all(*[(channel, f"old {channel}") for channel in channels])
    client = client_class(daemon)
    await client.subscribe("a/b,a/*,a/**,*/b,**", since="all")
    await daemon.publish_all(*[(channel, f"new {channel}") for channel in channels])
    for channel in channels:
        await daemon.publish(channel, f"newer {channel}")
    expected = [f"{word} {channel}".encode() for word in ("old", "new", "newer") for channel in channels]
    assert await client.data(len(expected)) == expected
    await daemon.publish("b", "last")
    assert await client.until(b"last") == []


@each_client(UNCONFINED)
async def test_promise_2_each_message_once_if_subscriptions_overlap(daemon, client_class):
    await daemon.publish_all(("a/b", "1"), ("a/c", "2"))
    client = client_class(daemon)
    await client.subscribe("a/*", since="all")
    assert await client.data(2) == [b"1", b"2"]
    for topics in ("a/b", "**", "a/b,a/c"):
        await client.subscribe(topics)
    await daemon.publish_all(("a/b", "3"), ("a/c", "4"), ("d", "5"))
    assert await client.data(3) == [b"3", b"4", b"5"]
    await daemon.publish("d", "last")
    assert await client.until(b"last") == []


@each_client(REPORTING)
async def test_promise_2_messages_of_several_channels_are_in_id_order(daemon, client_class):
    client = client_class(daemon)
    await client.subscribe("a,b,c/*")
    channels = ["a", "c/d", "b", "a", "c/e", "b", "a", "a", "c/d"] * 3
    ids = await daemon.publish_all(*[(channel, "x") for channel in channels])
    items = await client.receive(len(ids))
    assert [item.id for item in items if isinstance(item, Received)] == ids
    if client_class.has_channels:
        assert [item.channel for item in items] == channels


@each_client(ALL_CLIENTS, is_quick=True)
async def test_promise_2_all_subscribers_of_a_channel_receive_the_same(daemon, client_class):
    clients = [client_class(daemon) for _ in range(20)]
    for client in clients:
        await client.subscribe("a")
    await daemon.publish_all(*[("a", f"{number}") for number in range(10)])
    for client in clients:
        assert await client.data(10) == [b"%d" % number for number in range(10)]
