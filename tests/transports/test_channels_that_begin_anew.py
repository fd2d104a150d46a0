"""Promise 2 for a channel that has ended or was deleted, and begins anew: what follows is received."""

import pytest
from twisted.internet.defer import ensureDeferred

from tests.transports.bayeux_client import BayeuxPoll
from tests.transports.client import End
from tests.transports.daemon import turns, until, until_ready
from tests.transports.every_client import ALL_CLIENTS, STREAMING, TWO_WAY, UNCONFINED, each_client
from tests.transports.http_client import address
from tests.transports.line_client import LineClient
from tests.transports.long_poll_client import LongPoll
from tests.transports.session_clients import SessionClient
from tests.transports.slow_reader import LARGE_HISTORY, PIECE, stall

each_way = pytest.mark.parametrize("how", ["message", pytest.param("mark", marks=pytest.mark.slow), "delete"])


async def end(daemon, channel, how):
    """End a channel in one of three ways; return the data that subscribers receive for it."""
    if how == "delete":
        assert (await daemon.request("DELETE", address("pub", channel))).status == 200
        return []
    data = b"bye" if how == "message" else b""
    await daemon.publish(channel, data, end=1)
    return [data] if data else []


async def check_end(client, channel):
    """Check that the end of a channel is reported, if the format can; else wait until it would be."""
    if client.reports_gaps:
        assert await client.next() == End(channel)
    elif isinstance(client, LongPoll | BayeuxPoll | SessionClient):
        await turns()
    else:
        subscribers = client.daemon.subscribers
        await until(lambda: all(each.is_at_end_of(channel) for each in subscribers(channel)), "the end")


@each_way
@each_client(ALL_CLIENTS)
async def test_a_connection_with_other_topics_receives_a_channel_that_begins_anew(any_daemon, client_class, how):
    client = client_class(any_daemon)
    await client.subscribe("e,a")
    await any_daemon.publish("e", "before")
    assert await client.data(1) == [b"before"]
    if last := await end(any_daemon, "e", how):
        assert await client.data(1) == last
    await check_end(client, "e")
    await any_daemon.publish("e", "anew")
    await any_daemon.publish("a", "other")
    assert await client.data(2) == [b"anew", b"other"]
    await any_daemon.publish("e", "", end=1)
    if client_class.reports_gaps:
        assert await client.next() == End("e")
    await any_daemon.publish("a", "still there")
    assert await client.data(1) == [b"still there"]


@each_client(ALL_CLIENTS)
async def test_a_channel_that_had_ended_before_and_begins_anew_is_received(any_daemon, client_class):
    last = await any_daemon.publish("e", "bye", end=1)
    client = client_class(any_daemon)
    await client.subscribe("e,a", since=last)
    if client_class.reports_gaps:
        assert await client.next() == End("e")
    await any_daemon.publish("e", "anew")
    await any_daemon.publish("a", "other")
    assert await client.data(2) == [b"anew", b"other"]


@each_way
async def test_a_long_poll_does_not_skip_a_channel_that_begins_anew(any_daemon, how):
    cursor = await any_daemon.publish("e", "1")
    if how != "delete":
        await end(any_daemon, "e", how)
        cursor = (await any_daemon.request("GET", address("poll", "e", since=cursor))).headers["pushd-id"]
    waiting = ensureDeferred(any_daemon.request("GET", address("longpoll", "e,a", since=cursor)))
    await until(lambda: any_daemon.subscribers("e"), "the poll")
    if how == "delete":
        await end(any_daemon, "e", how)
    await until(lambda: any_daemon.subscribers("e")[0].is_at_end_of("e"), "the end")
    await any_daemon.publish("e", "anew")
    await any_daemon.publish("a", "other")
    assert (await waiting).json[0]["data"] == "anew"


@each_way
@each_client(STREAMING)
async def test_a_slow_reader_receives_the_end_where_it_happened_and_what_follows(
    start_daemon, backend_settings, client_class, how
):
    daemon = await start_daemon(LARGE_HISTORY | backend_settings)
    await until_ready(daemon)
    client = client_class(daemon, small=True)
    await client.subscribe("a,b")
    sent = len(await stall(daemon, client))
    last = await end(daemon, "a", how)
    await daemon.publish("b", "other")
    await daemon.publish("a", "anew")
    await daemon.publish("b", "on")
    await turns()
    client.unstall()
    assert await client.data(sent) == [PIECE] * sent
    assert await client.data(len(last)) == last
    if client_class.reports_gaps:
        assert await client.next() == End("a")
    assert await client.data(3) == [b"other", b"anew", b"on"]
    await daemon.publish("a", "live")
    assert await client.data(1) == [b"live"]


@pytest.mark.parametrize(
    "how", ["message", *(pytest.param(each, marks=pytest.mark.slow) for each in ("mark", "delete"))]
)
@each_client(STREAMING)
async def test_a_slow_replay_contains_the_end_where_it_happened_and_what_follows(
    start_daemon, backend_settings, client_class, how
):
    daemon = await start_daemon(LARGE_HISTORY | backend_settings)
    await until_ready(daemon)
    client = client_class(daemon, small=True)
    await daemon.publish_all(*[("b", PIECE.decode())] * 100)
    await client.subscribe("a,b", since="all")
    client.stall()
    await until(lambda: daemon.subscribers("a")[0].is_paused, "a busy subscriber")
    await turns()
    last = await end(daemon, "a", how)
    await daemon.publish("b", "other")
    await daemon.publish("a", "anew")
    await turns()
    client.unstall()
    items = await client.until(b"anew")
    if client_class.reports_gaps:
        place = items.index(End("a"))
        if how != "delete" or "backend.url" not in backend_settings:  # with Redis a deletion has no place among others
            assert [item.data for item in items[place + 1 :]] == [b"other"]
        del items[place]
    assert [item.data for item in items] == [PIECE] * 100 + [*last, b"other"]
    await daemon.publish("a", "live")
    assert await client.data(1) == [b"live"]


@each_client(TWO_WAY)
async def test_an_ended_channel_is_unsubscribed_from_like_any_other(daemon, client_class):
    client = client_class(daemon)
    await client.subscribe("e,a")
    await daemon.publish("e", "", end=1)
    assert not client_class.reports_gaps or await client.next() == End("e")
    if isinstance(client, LineClient):
        assert await client.send("UNSUB e") == "+OK UNSUB e"
    else:
        assert (await client.ask(unsubscribe="e"))["ok"]
    await daemon.publish("e", "anew")
    await daemon.publish("a", "other")
    assert await client.data(1) == [b"other"]


@each_client(UNCONFINED)
async def test_ended_channels_make_room_for_others(start_daemon, client_class):
    daemon = await start_daemon({"limits.subscriptions": 2})
    client = client_class(daemon)
    for number in range(5):
        await client.subscribe(f"job/{number}")
        await daemon.publish(f"job/{number}", "done", end=1)
        assert await client.data(1) == [b"done"]
        assert not client_class.reports_gaps or await client.next() == End(f"job/{number}")
    await client.subscribe("x")
    await client.subscribe("y")
    await daemon.publish("y", "on")
    assert await client.data(1) == [b"on"]


@each_client(UNCONFINED)
async def test_a_channel_whose_end_was_sent_has_no_subscriber_that_keeps_it_known(daemon, client_class):
    client = client_class(daemon)
    await client.subscribe("e")
    await daemon.publish("e", "x")
    assert await client.data(1) == [b"x"]
    statuses = []
    for _ in range(2):
        statuses.append((await daemon.request("DELETE", address("pub", "e"))).status)
        await until(lambda: all(each.is_at_end_of("e") for each in daemon.subscribers("e")), "the end")
    assert statuses == [200, 404]
    assert await daemon.info("e") is None
    await daemon.publish("e", "anew")
    if client_class.reports_gaps:
        assert await client.next() == End("e")
    assert await client.data(1) == [b"anew"]


@each_client(UNCONFINED)
async def test_subscribing_again_to_an_ended_channel_reports_its_end_again(daemon, client_class):
    client = client_class(daemon)
    for _ in range(2):
        await client.subscribe("e")
        await daemon.publish("e", "", end=1)
        if client_class.reports_gaps:
            assert await client.next() == End("e")
    await client.subscribe("e")
    if client_class.reports_gaps:
        assert await client.next() == End("e")
