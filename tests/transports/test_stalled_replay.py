"""Who comes back and stalls while it is told what it missed: it hears all of it, or is told what went meanwhile."""

from tests.transports.daemon import turns, until
from tests.transports.each import BARE, TELLING, UNCONFINED, each
from tests.transports.line_client import RawLines
from tests.transports.peers import Closed, End, Gap, Heard, Told
from tests.transports.slow_reader import PIECE, ROOMY, stall_in_replay
from tests.transports.sockets import JsonSocket

SLOW = ROOMY | {"limits.queue_messages": 5}


@each()
async def test_promise_5_a_reader_that_stalls_in_its_replay_receives_all_of_it(start_daemon, way):
    """What it reads from the history takes no place in its queue."""
    daemon = await start_daemon(SLOW)
    peer = way(daemon, small=True)
    replayed = await stall_in_replay(daemon, peer)
    live = [b"%d" % number for number in range(12)]
    for data in live:
        await daemon.publish("a", data)
    peer.unstall()
    assert await peer.data(replayed + len(live)) == [PIECE] * replayed + live
    await daemon.publish("a", "live")
    assert await peer.data(1) == [b"live"]


@each(TELLING)
async def test_promise_3_messages_evicted_during_a_stalled_replay_are_a_gap_in_their_place(start_daemon, way):
    daemon = await start_daemon(ROOMY)
    peer = way(daemon, small=True)
    await stall_in_replay(daemon, peer)
    await daemon.publish_all(*[("a", f"{number}") for number in range(999)])
    peer.unstall()
    before = await peer.until(b"998")
    (place,) = [place for place, item in enumerate(before) if isinstance(item, Gap)]
    last, gap, first = before[place - 1 : place + 2]
    assert (gap.topic, gap.start, gap.reason) == ("a", last.id, "evicted")
    assert int(first.id.split("-")[1]) == int(gap.end.split("-")[1]) + 1
    await daemon.publish("a", "live")
    assert await peer.data(1) == [b"live"]


@each(BARE)
async def test_promise_3_a_data_only_format_is_closed_where_messages_were_evicted(start_daemon, way):
    daemon = await start_daemon(ROOMY)
    peer = way(daemon, small=True)
    sent = await stall_in_replay(daemon, peer)
    await daemon.publish_all(*[("a", f"{number}") for number in range(999)])
    peer.unstall()
    items = [await peer.next()]
    while isinstance(items[-1], Heard):
        items.append(await peer.next())
    assert {item.data for item in items[:-1]} == {PIECE}
    assert len(items) <= sent
    if way is RawLines:
        assert items[-1] == Told("slow")
        items.append(await peer.next())
    assert items[-1] == Closed(1013 if peer.transport_name == "websocket" else None, True)


@each(UNCONFINED)
async def test_a_command_during_a_replay_loses_nothing_of_it(start_daemon, way):
    daemon = await start_daemon(ROOMY)
    peer = way(daemon, small=True)
    replayed = await stall_in_replay(daemon, peer)
    subscribed = peer.ask(subscribe="b") if isinstance(peer, JsonSocket) else peer.send("SUB b")
    await turns()
    peer.unstall()
    assert await peer.data(replayed) == [PIECE] * replayed
    await subscribed
    await daemon.publish_all(("a", "1"), ("b", "2"))
    assert await peer.data(2) == [b"1", b"2"]


@each()
async def test_an_end_during_a_replay_is_reported_after_it(start_daemon, way):
    daemon = await start_daemon(ROOMY)
    peer = way(daemon, small=True)
    replayed = await stall_in_replay(daemon, peer)
    await daemon.publish("a", "bye", end=1)
    await turns()
    peer.unstall()
    assert await peer.data(replayed + 1) == [PIECE] * replayed + [b"bye"]
    if way.tells_gaps:
        assert await peer.next() == End("a")
    if way.closes_at_end:
        assert await peer.next() == Closed(4410 if peer.transport_name == "websocket" else None, True)


@each()
async def test_a_client_that_disconnects_during_its_replay_is_removed(start_daemon, way):
    daemon = await start_daemon(ROOMY)
    peer = way(daemon, small=True)
    await stall_in_replay(daemon, peer)
    peer.abort()
    await until(lambda: not daemon.subscribers("a"), "the subscriber gone", 1)
    await until(lambda: not daemon.open_connections, "the connection gone", 1)
