"""Clients that stall during their replay: they receive all of it, or a gap."""

from tests.transports.client import Closed, End, ErrorLine, Gap, Received
from tests.transports.daemon import turns, until
from tests.transports.every_client import DATA_ONLY, REPORTING, STREAMING, UNCONFINED, each_client
from tests.transports.line_client import RawLines
from tests.transports.slow_reader import LARGE_HISTORY, PIECE, stall_in_replay
from tests.transports.websocket_client import JsonWebSocket

SLOW = LARGE_HISTORY | {"limits.queue_messages": 5}


@each_client(STREAMING)
async def test_promise_5_a_reader_that_stalls_in_its_replay_receives_all_of_it(start_daemon, client_class):
    """Replayed messages take no room in the queue."""
    daemon = await start_daemon(SLOW)
    client = client_class(daemon, small=True)
    replayed = await stall_in_replay(daemon, client)
    live = [b"%d" % number for number in range(12)]
    for data in live:
        await daemon.publish("a", data)
    client.unstall()
    assert await client.data(replayed + len(live)) == [PIECE] * replayed + live
    await daemon.publish("a", "live")
    assert await client.data(1) == [b"live"]


@each_client(REPORTING)
async def test_promise_3_messages_evicted_during_a_stalled_replay_are_a_gap_in_their_place(start_daemon, client_class):
    daemon = await start_daemon(LARGE_HISTORY)
    client = client_class(daemon, small=True)
    await stall_in_replay(daemon, client)
    await daemon.publish_all(*[("a", f"{number}") for number in range(999)])
    client.unstall()
    before = await client.until(b"998")
    (place,) = [place for place, item in enumerate(before) if isinstance(item, Gap)]
    last, gap, first = before[place - 1 : place + 2]
    assert (gap.topic, gap.start, gap.reason) == ("a", last.id, "evicted")
    assert int(first.id.split("-")[1]) == int(gap.end.split("-")[1]) + 1
    await daemon.publish("a", "live")
    assert await client.data(1) == [b"live"]


@each_client(DATA_ONLY)
async def test_promise_3_a_data_only_format_is_closed_where_messages_were_evicted(start_daemon, client_class):
    daemon = await start_daemon(LARGE_HISTORY)
    client = client_class(daemon, small=True)
    sent = await stall_in_replay(daemon, client)
    await daemon.publish_all(*[("a", f"{number}") for number in range(999)])
    client.unstall()
    items = [await client.next()]
    while isinstance(items[-1], Received):
        items.append(await client.next())
    assert {item.data for item in items[:-1]} == {PIECE}
    assert len(items) <= sent
    if client_class is RawLines:
        assert items[-1] == ErrorLine("slow")
        items.append(await client.next())
    assert items[-1] == Closed(1013 if client.transport_name == "websocket" else None, True)


@each_client(UNCONFINED)
async def test_a_command_during_a_replay_loses_nothing_of_it(start_daemon, client_class):
    daemon = await start_daemon(LARGE_HISTORY)
    client = client_class(daemon, small=True)
    replayed = await stall_in_replay(daemon, client)
    subscribed = client.ask(subscribe="b") if isinstance(client, JsonWebSocket) else client.send("SUB b")
    await turns()
    client.unstall()
    assert await client.data(replayed) == [PIECE] * replayed
    await subscribed
    await daemon.publish_all(("a", "1"), ("b", "2"))
    assert await client.data(2) == [b"1", b"2"]


@each_client()
async def test_an_end_during_a_replay_is_reported_after_it(start_daemon, client_class):
    daemon = await start_daemon(LARGE_HISTORY)
    client = client_class(daemon, small=True)
    replayed = await stall_in_replay(daemon, client)
    await daemon.publish("a", "bye", end=1)
    await turns()
    client.unstall()
    assert await client.data(replayed + 1) == [PIECE] * replayed + [b"bye"]
    if client_class.reports_gaps:
        assert await client.next() == End("a")
    if client_class.closes_at_end:
        assert await client.next() == Closed(4410 if client.transport_name == "websocket" else None, True)


@each_client(STREAMING)
async def test_a_client_that_disconnects_during_its_replay_is_removed(start_daemon, client_class):
    daemon = await start_daemon(LARGE_HISTORY)
    client = client_class(daemon, small=True)
    await stall_in_replay(daemon, client)
    client.abort()
    await until(lambda: not daemon.subscribers("a"), "the subscriber gone", 1)
    await until(lambda: not daemon.open_connections, "the connection gone", 1)
