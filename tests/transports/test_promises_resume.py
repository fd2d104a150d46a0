"""Promise 3: who comes back with the last id hears all it missed, or is told a gap and goes on with what is left."""

import pytest

from tests.transports.daemon import MovableReactor
from tests.transports.each import BARE, EVERY, TELLING, each
from tests.transports.http_client import address
from tests.transports.peers import Gap, Refused
from tests.transports.sockets import BareSocket, JsonSocket
from tests.transports.streams import LineStream, Sse

GARBAGE = ["nonsense", "E-", "-1", "a-b-c", "last:0", "last:", "all,all", "10years", "1" * 40, "E-1é", "0x10"]


@each(EVERY)
@each(TELLING, "other")
async def test_promise_3_a_reconnect_over_any_transport_receives_what_was_missed(daemon, way, other):
    before = other(daemon)
    await before.subscribe("a,b")
    await daemon.publish_all(("a", "1"), ("b", "2"))
    assert await before.data(2) == [b"1", b"2"]
    before.disconnect()
    await daemon.publish_all(("a", "3"), ("c", "not asked for"), ("b", "4"))
    peer = way(daemon)
    await peer.subscribe("a,b", since=before.last_id)
    await daemon.publish("a", "5")
    assert await peer.data(3) == [b"3", b"4", b"5"]
    assert peer.gap is None


async def check_gap(peer, topic, start, reason, left):
    """See to it that a gap is told first, in the way of the peer, and that what is left follows, and what is live."""
    if peer.tells_gaps:
        gap = await peer.next()
        assert isinstance(gap, Gap)
        assert (gap.topic, gap.start, gap.reason) == (topic, start, reason)
    else:
        assert peer.gap == reason
    assert await peer.data(len(left)) == left
    await peer.daemon.publish(topic, "live")
    assert await peer.data(1) == [b"live"]


@each(EVERY)
async def test_promise_3_evicted_messages_are_a_gap(start_daemon, way):
    daemon = await start_daemon({"history.messages": 3})
    ids = await daemon.publish_all(*[("a", f"{number}") for number in range(8)])
    peer = way(daemon)
    await peer.subscribe("a", since=ids[1])
    await check_gap(peer, "a", ids[1], "evicted", [b"5", b"6", b"7"])


@each(TELLING)
async def test_promise_3_a_gap_ends_where_the_kept_history_begins(start_daemon, way):
    daemon = await start_daemon({"history.messages": 3})
    ids = await daemon.publish_all(*[("a", f"{number}") for number in range(8)])
    peer = way(daemon)
    await peer.subscribe("a", since=ids[1])
    assert await peer.next() == Gap("a", ids[1], ids[4], "evicted")


@each(EVERY)
async def test_promise_3_evicted_messages_that_were_received_are_no_gap(start_daemon, way):
    daemon = await start_daemon({"history.messages": 3})
    ids = await daemon.publish_all(*[("a", f"{number}") for number in range(8)])
    peer = way(daemon)
    await peer.subscribe("a", since=ids[4])
    assert await peer.data(3) == [b"5", b"6", b"7"]
    assert peer.gap is None


@each(EVERY)
async def test_promise_3_expired_messages_are_a_gap(start_daemon, way):
    reactor = MovableReactor()
    daemon = await start_daemon({}, reactor)
    first = await daemon.publish("a", "kept")
    await daemon.publish("a", "short-lived", ttl=5)
    await daemon.publish("a", "kept too")
    await reactor.pass_time(6)
    peer = way(daemon)
    await peer.subscribe("a", since=first)
    await check_gap(peer, "a", first, "expired", [b"kept too"])


@each(EVERY)
async def test_promise_3_a_cursor_of_another_epoch_is_a_gap(start_daemon, way):
    daemon = await start_daemon({})
    old = await daemon.publish("a", "lost")
    await daemon.stop()
    daemon = await start_daemon({})
    await daemon.publish_all(("a", "1"), ("a", "2"))
    peer = way(daemon)
    await peer.subscribe("a", since=old)
    await check_gap(peer, "a", old, "epoch", [b"1", b"2"])


@each(EVERY)
async def test_promise_3_an_unknown_cursor_is_a_gap(daemon, way):
    known = await daemon.publish("a", "1")
    future = known.partition("-")[0] + "-1000"
    peer = way(daemon)
    await peer.subscribe("a", since=future)
    await check_gap(peer, "a", future, "unknown", [b"1"])


@each(TELLING)
async def test_promise_3_each_topic_with_a_loss_has_its_own_gap(start_daemon, way):
    daemon = await start_daemon({"history.messages": 1})
    ids = await daemon.publish_all(("a", "1"), ("b", "1"), ("c", "1"), ("a", "2"), ("a", "3"), ("b", "2"), ("b", "3"))
    peer = way(daemon)
    await peer.subscribe("a,b,c", since=ids[2])
    gaps = await peer.heard(2)
    assert gaps == [Gap("a", ids[2], ids[3], "evicted"), Gap("b", ids[2], ids[5], "evicted")]
    assert await peer.data(2) == [b"3", b"3"]


@each(EVERY)
async def test_promise_3_an_invalid_cursor_is_refused_and_never_a_full_replay(daemon, way):
    await daemon.publish("a", "kept")
    for since in GARBAGE:
        with pytest.raises(Refused) as caught:
            await way(daemon).subscribe("a", since=since)
        assert (caught.value.code, caught.value.status) in (("bad-since", 400), ("bad-since", None)), since
    assert daemon.subscribers("a") == []


@each((Sse, LineStream))
@pytest.mark.parametrize("name", ["since", "last_event_id", "lastEventID", "Last-Event-ID"])
async def test_promise_3_the_cursor_is_accepted_where_browsers_and_polyfills_send_it(daemon, way, name):
    ids = await daemon.publish_all(("a", "1"), ("a", "2"))
    peer = way(daemon)
    if name == "Last-Event-ID":
        await peer.ask(address(way.door, "a", since="all"), {name: ids[0]})
    else:
        await peer.ask(address(way.door, "a", **{name: ids[0]}))
    assert await peer.data(1) == [b"2"]


@each((Sse, LineStream))
async def test_promise_3_an_invalid_cursor_in_a_header_is_refused(daemon, way):
    with pytest.raises(Refused, match="bad-since"):
        await way(daemon).ask(address(way.door, "a", since="all"), {"Last-Event-ID": "nonsense"})


@each((JsonSocket, BareSocket))
async def test_promise_3_a_websocket_can_send_its_cursor_in_a_header(daemon, way):
    ids = await daemon.publish_all(("a", "1"), ("a", "2"))
    peer = way(daemon)
    await peer.open(address("ws", "a"), {"Last-Event-ID": ids[0]})
    assert await peer.data(1) == [b"2"]


@each(EVERY)
async def test_promise_3_other_start_positions(daemon, way):
    await daemon.publish_all(("a", "1"), ("a", "2"), ("a", "3"))
    for since, heard in (("all", 3), ("last:2", 2), ("last:9", 3), ("10m", 3), ("0", 3)):
        peer = way(daemon)
        await peer.subscribe("a", since=since)
        assert await peer.data(heard) == [b"1", b"2", b"3"][-heard:]


@each(BARE)
async def test_promise_3_a_data_only_format_reports_the_gap_of_a_replay_outside_the_data(daemon, way):
    known = await daemon.publish("a", "1")
    complete, torn = way(daemon), way(daemon)
    await complete.subscribe("a", since=known)
    await torn.subscribe("a", since="0000-1")
    assert (complete.gap, torn.gap) == (None, "epoch")
