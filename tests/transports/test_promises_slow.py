"""Promises 4 and 5: a slow subscriber delays nobody, and what happens to it has a name, a counter and a log line."""

import pytest

from tests.transports.daemon import until
from tests.transports.each import BARE, TELLING, each
from tests.transports.line_client import TextLines
from tests.transports.peers import Closed, Gap, Told
from tests.transports.slow_reader import PIECE, ROOMY, stall
from tests.transports.sockets import JsonSocket
from tests.transports.streams import Sse

SLOW = ROOMY | {"limits.queue_messages": 5}


@each()
@pytest.mark.parametrize("slow", ["disconnect", "drop", "latest"])
async def test_promise_4_a_slow_subscriber_delays_neither_publishers_nor_subscribers(start_daemon, way, slow):
    daemon = await start_daemon(SLOW)
    stalled, others = way(daemon, small=True), [Sse(daemon), JsonSocket(daemon), TextLines(daemon)]
    await stalled.subscribe("a", slow=slow)
    for other in others:
        await other.subscribe("a")
    sent = len(await stall(daemon, stalled))
    for other in others:
        await other.heard(sent)
    for number in range(20):
        await daemon.publish("a", f"{number}")
        for other in others:
            assert await other.data(1) == [b"%d" % number]


async def fill(daemon, peer, count):
    """Stall a peer, and then publish `count` small messages; give the ids of what was sent, and of those."""
    sent = await stall(daemon, peer)
    return sent, [await daemon.publish("a", f"{number}") for number in range(count)]


def naming(daemon, peer):
    """Give the log lines that name a peer."""
    return [line for line in daemon.log if f"{peer.transport_name} 127.0.0.1" in line]


async def check_given_up(peer):
    """See to it that the daemon closes, in the words of the way."""
    if peer.transport_name == "tcp":
        assert await peer.next() == Told("slow")
    code = 1013 if peer.transport_name == "websocket" else None
    assert await peer.next() == Closed(code, True)


@each()
async def test_promise_5_a_queue_within_its_limit_loses_nothing(start_daemon, way):
    daemon = await start_daemon(SLOW)
    peer = way(daemon, small=True)
    await peer.subscribe("a")
    sent, _ = await fill(daemon, peer, 5)
    peer.unstall()
    assert await peer.data(len(sent) + 5) == [PIECE] * len(sent) + [b"0", b"1", b"2", b"3", b"4"]
    assert naming(daemon, peer) == []


@each()
async def test_promise_5_disconnect_closes_and_the_cursor_stays_valid(start_daemon, way):
    daemon = await start_daemon(SLOW)
    peer = way(daemon, small=True)
    await peer.subscribe("a", slow="disconnect")
    sent, small = await fill(daemon, peer, 6)
    await until(lambda: not daemon.subscribers("a"), "the subscriber let go")
    peer.unstall()
    assert await peer.data(len(sent)) == [PIECE] * len(sent)
    await check_given_up(peer)
    assert len(naming(daemon, peer)) == 1
    assert await daemon.metric('pushd_refusals_total{code="slow"}') == 1
    if way.tells_ids:
        assert peer.last_id == sent[-1]
        back = way(daemon)
        await back.subscribe("a", since=peer.last_id)
        assert [item.id for item in await back.heard(6)] == small


@each(TELLING)
async def test_promise_5_drop_discards_the_oldest_and_reports_a_gap(start_daemon, way):
    daemon = await start_daemon(SLOW)
    peer = way(daemon, small=True)
    await peer.subscribe("a", slow="drop")
    sent, small = await fill(daemon, peer, 8)
    peer.unstall()
    await peer.heard(len(sent))
    assert await peer.next() == Gap("a", sent[-1], small[2], "slow")
    assert [item.id for item in await peer.heard(5)] == small[3:]
    await daemon.publish("a", "live")
    assert await peer.data(1) == [b"live"]
    assert await daemon.metric('pushd_dropped_total{policy="drop"}') == 3


@each(TELLING)
async def test_promise_5_drop_reports_a_gap_for_each_topic_with_a_loss(start_daemon, way):
    daemon = await start_daemon(SLOW)
    peer = way(daemon, small=True)
    await peer.subscribe("a,b,c/*", slow="drop")
    await stall(daemon, peer)
    last = {}
    for channel in ("a", "b", "c/d", "a"):
        last[channel] = await daemon.publish(channel, "dropped")
    for number in range(5):
        await daemon.publish("a", f"{number}")
    peer.unstall()
    gaps = [item for item in await peer.until(b"0") if isinstance(item, Gap)]
    assert {(gap.topic, gap.end, gap.reason) for gap in gaps} == {
        ("a", last["a"], "slow"),
        ("b", last["b"], "slow"),
        ("c/*", last["c/d"], "slow"),
    }
    assert await peer.data(4) == [b"1", b"2", b"3", b"4"]


@each(BARE)
async def test_promise_5_drop_closes_a_data_only_format(start_daemon, way):
    daemon = await start_daemon(SLOW)
    peer = way(daemon, small=True)
    await peer.subscribe("a", slow="drop")
    sent, _ = await fill(daemon, peer, 6)
    peer.unstall()
    assert await peer.data(len(sent)) == [PIECE] * len(sent)
    await check_given_up(peer)
    assert len(naming(daemon, peer)) == 1


@each()
async def test_promise_5_latest_keeps_only_the_newest_of_each_channel(start_daemon, way):
    daemon = await start_daemon(SLOW)
    peer = way(daemon, small=True)
    await peer.subscribe("a,b", slow="latest")
    sent = await stall(daemon, peer)
    for number in range(3):
        await daemon.publish("a", f"a{number}")
        await daemon.publish("b", f"b{number}")
    peer.unstall()
    await peer.heard(len(sent))
    assert await peer.data(2) == [b"a2", b"b2"]
    await daemon.publish("b", "live")
    assert await peer.data(1) == [b"live"]
    assert await daemon.metric('pushd_dropped_total{policy="latest"}') == 4


@each((Sse, JsonSocket, TextLines))
@pytest.mark.parametrize("slow", ["drop", "latest"])
async def test_promise_5_dropped_messages_are_logged_with_the_peer(start_daemon, way, slow):
    daemon = await start_daemon(SLOW)
    peer = way(daemon, small=True)
    await peer.subscribe("a", slow=slow)
    await fill(daemon, peer, 25)
    assert 0 < len(naming(daemon, peer)) < 20


@each((Sse, JsonSocket, TextLines))
async def test_promise_5_the_queue_is_limited_in_bytes(start_daemon, way):
    daemon = await start_daemon(ROOMY | {"limits.queue_bytes": "100KiB"})
    peer = way(daemon, small=True)
    await peer.subscribe("a")
    await stall(daemon, peer)
    await daemon.publish("a", b"x" * (90 << 10))
    assert daemon.subscribers("a")
    await daemon.publish("a", b"x" * (20 << 10))
    await until(lambda: not daemon.subscribers("a"), "the subscriber let go")


@each()
async def test_promise_5_one_message_of_any_size_can_be_queued(start_daemon, way):
    daemon = await start_daemon(ROOMY | {"limits.queue_bytes": "1KiB"})
    peer = way(daemon, small=True)
    await peer.subscribe("a")
    sent = await stall(daemon, peer)
    await daemon.publish("a", PIECE)
    peer.unstall()
    assert await peer.data(len(sent) + 1) == [PIECE] * (len(sent) + 1)
