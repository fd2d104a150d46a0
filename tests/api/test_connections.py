"""Connections are listed, and a kick removes one completely and closes it as its transport does."""

import time

from twisted.internet.defer import ensureDeferred

from tests.transports.client import Closed, ErrorLine
from tests.transports.daemon import MovableReactor, until
from tests.transports.every_client import ALL_CLIENTS, STREAMING, each_client
from tests.transports.http_client import address
from tests.transports.line_client import TextLines
from tests.transports.slow_reader import LARGE_HISTORY, stall
from tests.transports.stream_client import Sse


async def connections(daemon, **query):
    parameters = "&".join(f"{name}={value}" for name, value in query.items())
    answer = await daemon.request("GET", f"/connections?{parameters}")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    return answer.json


async def kick(daemon, connection):
    return await daemon.request("DELETE", f"/connections/{connection['id']}")


async def connected(daemon, count=1):
    """Wait for `count` connections, and return them."""
    await until(lambda: len(daemon.subscribers("a")) == count, "all subscribed")
    return await connections(daemon)


@each_client(ALL_CLIENTS, is_quick=True)
async def test_a_connection_is_listed(daemon, client_class):
    await client_class(daemon).subscribe("a")
    (shown,) = await connected(daemon)
    assert abs(shown.pop("since") - time.time()) < 60
    assert shown.pop("id")
    counts = {"queue_bytes": 0, "messages": 0, "presence": {}}
    assert (
        shown
        == {"address": "127.0.0.1", "transport": client_class.transport_name, "topics": client_class.topics_of("a")}
        | counts
    )


@each_client()
async def test_a_kicked_connection_is_removed_completely(daemon, client_class):
    other, peer = Sse(daemon), client_class(daemon)
    await other.subscribe("a")
    await peer.subscribe("a")
    kept, shown = await connected(daemon, 2)
    gauge = f'pushd_connections{{transport="{client_class.transport_name}"}}'
    before = await daemon.metric(gauge)
    answer = await kick(daemon, shown)
    assert (answer.status, answer.json) == (200, {"closed": shown["id"]})
    again = await kick(daemon, shown)
    assert (again.status, again.json["error"]["code"]) == (404, "unknown-connection")
    assert await connections(daemon) == [kept]
    if client_class.transport_name == "tcp":
        assert await peer.next() == ErrorLine("kicked")
    assert await peer.next() == Closed(1008 if client_class.transport_name == "websocket" else None, True)
    assert await daemon.metric(gauge) == before - 1
    assert await daemon.metric('pushd_refusals_total{code="kicked"}') == 1
    assert f"{client_class.transport_name} 127.0.0.1 #{shown['id']}: connection closed by an operator" in daemon.log
    await daemon.publish("a", "on")
    assert await other.data(1) == [b"on"]


async def test_a_kicked_long_poll_is_answered(daemon):
    asked = daemon.request("GET", address("longpoll", "a"))
    waiting = ensureDeferred(asked)
    (shown,) = await connected(daemon)
    assert (await kick(daemon, shown)).status == 200
    answer = await waiting
    assert (answer.status, bool(answer.headers["pushd-id"])) == (204, True)
    assert (await connections(daemon), await daemon.metric('pushd_connections{transport="longpoll"}')) == ([], 0)


@each_client(STREAMING)
async def test_a_kicked_peer_that_does_not_read_is_aborted_after_a_while(start_daemon, client_class):
    reactor = MovableReactor()
    daemon = await start_daemon(LARGE_HISTORY, reactor)
    peer = client_class(daemon, small=True)
    await peer.subscribe("a", slow="drop" if client_class.reports_gaps else "latest")
    await stall(daemon, peer)
    (shown,) = await connections(daemon)
    assert shown["queue_bytes"] == daemon.subscribers("a")[0].queued_bytes
    assert (await kick(daemon, shown)).status == 200
    assert await connections(daemon) == []
    await until(lambda: daemon.open_connections == 1, "the other connections closed")
    await reactor.pass_time(6)
    await until(lambda: not daemon.open_connections, "the connection aborted")


@each_client(STREAMING)
async def test_sent_messages_are_counted_whether_replayed_live_or_queued(start_daemon, client_class):
    daemon = await start_daemon(LARGE_HISTORY)
    for number in range(3):
        await daemon.publish("a", f"{number}")
    peer = client_class(daemon, small=True)
    await peer.subscribe("a", since="last:2")
    await daemon.publish("a", "live")
    await peer.receive(3)
    sent = await stall(daemon, peer)
    await daemon.publish("a", "later")
    (shown,) = await connections(daemon)
    assert shown["messages"] == 3 + len(sent)
    peer.unstall()
    await peer.receive(len(sent) + 1)
    (shown,) = await connections(daemon)
    assert shown["messages"] == 3 + len(sent) + 1


async def test_a_line_connection_is_listed_before_it_subscribes(daemon):
    peer = TextLines(daemon)
    peer.open()
    await peer.ask("PING")
    (shown,) = await connections(daemon)
    assert (shown["transport"], shown["topics"]) == ("tcp", [])
    await peer.ask("SUB a,b/*")
    assert [shown | {"topics": ["a", "b/*"]}] == await connections(daemon)


async def test_connections_are_paged_by_age_even_after_one_that_is_closed(daemon):
    for count in range(1, 6):
        await Sse(daemon).subscribe("a")
        await until(
            lambda: len(daemon.subscribers("a")) == count,  # noqa: B023
            "subscribed",
        )
    ids = [shown["id"] for shown in await connections(daemon)]
    assert len(set(ids)) == 5
    assert [shown["id"] for shown in await connections(daemon, limit=2)] == ids[:2]
    assert (await daemon.request("DELETE", f"/connections/{ids[1]}")).status == 200
    for filters in ({}, {"channel": "a"}):
        assert [shown["id"] for shown in await connections(daemon, limit=2, after=ids[1], **filters)] == ids[2:4]
        assert [shown["id"] for shown in await connections(daemon, after=ids[3], **filters)] == ids[4:]
        assert await connections(daemon, after=ids[4], **filters) == []
    await Sse(daemon).subscribe("b")
    assert (await connections(daemon))[-1]["id"] not in ids


async def test_subscribers_of_a_channel_are_found_by_name_and_by_pattern(daemon):
    for topics in ("news/*", "news/sports", "news/sports/x", "**"):
        await Sse(daemon).subscribe(topics)
    found = await connections(daemon, channel="news/sports")
    assert [shown["topics"] for shown in found] == [["news/*"], ["news/sports"], ["**"]]
    assert await connections(daemon, channel="$sys/x") == []


async def test_a_page_ends_early_if_its_connections_have_very_many_topics(daemon):
    topics = ",".join(f"t{number}" for number in range(500))
    peers = [TextLines(daemon) for _ in range(21)]
    for peer in peers:
        await peer.subscribe(topics)
    page = await connections(daemon)
    assert len(page) == 20
    assert len(await connections(daemon, after=page[-1]["id"])) == 1
