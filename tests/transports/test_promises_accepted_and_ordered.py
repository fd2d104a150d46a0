"""Promises 1 and 2: what was accepted is in the history, and each subscriber hears it once and in order."""

import json

import pytest
from twisted.internet.defer import Deferred, gatherResults

from tests.transports.daemon import RunningDaemon
from tests.transports.each import EVERY, TELLING, UNCONFINED, each
from tests.transports.http_client import address
from tests.transports.line_client import TextLines
from tests.transports.peers import Heard
from tests.transports.sockets import JsonSocket


async def by_http(daemon: RunningDaemon, method: str) -> str:
    return str((await daemon.request(method, address("pub", "a"), b"x")).json["id"])


async def by_batch(daemon: RunningDaemon) -> str:
    return (await daemon.publish_all(("a", "x")))[0]


async def by_line(daemon: RunningDaemon, line: str) -> str:
    peer = TextLines(daemon)
    peer.open()
    return (await peer.ask(line)).split()[0]


async def by_websocket(daemon: RunningDaemon) -> str:
    peer = JsonSocket(daemon)
    await peer.open()
    return str((await peer.ask(publish="a", data="x"))["id"])


DOORS = {
    "POST": lambda daemon: by_http(daemon, "POST"),
    "PUT": lambda daemon: by_http(daemon, "PUT"),
    "batch": by_batch,
    "PUB": lambda daemon: by_line(daemon, "PUB a x"),
    "PUBJ": lambda daemon: by_line(daemon, 'PUBJ {"channel":"a","data":"x"}'),
    "websocket": by_websocket,
}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
async def test_promise_1_an_accepted_message_is_in_the_history_before_the_response(daemon, door):
    accepted = []
    for _ in range(3):
        accepted.append(await door(daemon))
        assert await daemon.history("a") == accepted


async def test_promise_1_a_concurrent_repeat_publishes_nothing_again(daemon):
    lines = "\n".join(json.dumps({"channel": "a", "data": number}) for number in range(600)).encode()
    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "k"}
    both = [Deferred.fromCoroutine(daemon.request("POST", "/pub", lines, headers)) for _ in range(2)]
    first, second = await gatherResults(both)
    assert (await daemon.info("a"))["messages"] == 600
    assert first.body == second.body


@each(EVERY)
async def test_promise_2_each_message_once_in_id_order_history_first_then_live(daemon, way):
    ids = await daemon.publish_all(*[("a", f"{number}") for number in range(5)])
    peer = way(daemon)
    await peer.subscribe("a", since="all")
    ids += await daemon.publish_all(*[("a", f"{number}") for number in range(5, 10)])
    items = await peer.heard(10)
    assert [item.data for item in items] == [b"%d" % number for number in range(10)]
    assert [item.id for item in items] == (ids if way.tells_ids else [None] * 10)
    await daemon.publish("a", "last")
    assert await peer.until(b"last") == []


@each(EVERY)
async def test_promise_2_without_a_cursor_only_new_messages(daemon, way):
    await daemon.publish("a", "old")
    peer = way(daemon)
    await peer.subscribe("a")
    await daemon.publish("a", "new")
    assert await peer.data(1) == [b"new"]


@each(EVERY)
@pytest.mark.parametrize("since", ["all", "id"])
async def test_promise_2_each_message_once_while_publishes_race_the_subscription(daemon, way, since):
    """The history is longer than a page of the replay, and goes on growing while it is read."""
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
    peer = way(daemon)
    await peer.subscribe("a", since="all" if since == "all" else first)
    heard = await peer.data(801 if since == "all" else 800)
    assert heard[-800:] == [b"%d" % number for number in range(800)]
    await publishing
    await gatherResults(answers)
    await daemon.publish("a", "last")
    assert await peer.until(b"last") == []


@each(EVERY)
async def test_promise_2_each_message_once_if_topics_overlap(daemon, way):
    channels = ["a/b", "a/c", "a/b/c", "b", "a/b"]
    await daemon.publish_all(*[(channel, f"old {channel}") for channel in channels])
    peer = way(daemon)
    await peer.subscribe("a/b,a/*,a/**,*/b,**", since="all")
    await daemon.publish_all(*[(channel, f"new {channel}") for channel in channels])
    for channel in channels:
        await daemon.publish(channel, f"newer {channel}")
    expected = [f"{word} {channel}".encode() for word in ("old", "new", "newer") for channel in channels]
    assert await peer.data(len(expected)) == expected
    await daemon.publish("b", "last")
    assert await peer.until(b"last") == []


@each(UNCONFINED)
async def test_promise_2_each_message_once_if_subscriptions_overlap(daemon, way):
    await daemon.publish_all(("a/b", "1"), ("a/c", "2"))
    peer = way(daemon)
    await peer.subscribe("a/*", since="all")
    assert await peer.data(2) == [b"1", b"2"]
    for topics in ("a/b", "**", "a/b,a/c"):
        await peer.subscribe(topics)
    await daemon.publish_all(("a/b", "3"), ("a/c", "4"), ("d", "5"))
    assert await peer.data(3) == [b"3", b"4", b"5"]
    await daemon.publish("d", "last")
    assert await peer.until(b"last") == []


@each(TELLING)
async def test_promise_2_messages_of_several_channels_are_in_id_order(daemon, way):
    peer = way(daemon)
    await peer.subscribe("a,b,c/*")
    channels = ["a", "c/d", "b", "a", "c/e", "b", "a", "a", "c/d"] * 3
    ids = await daemon.publish_all(*[(channel, "x") for channel in channels])
    items = await peer.heard(len(ids))
    assert [item.id for item in items if isinstance(item, Heard)] == ids
    if way.tells_channels:
        assert [item.channel for item in items] == channels


@each(EVERY)
async def test_promise_2_all_subscribers_of_a_channel_receive_the_same(daemon, way):
    peers = [way(daemon) for _ in range(20)]
    for peer in peers:
        await peer.subscribe("a")
    await daemon.publish_all(*[("a", f"{number}") for number in range(10)])
    for peer in peers:
        assert await peer.data(10) == [b"%d" % number for number in range(10)]
