"""Promise 3: a client that resumes with its last id receives all it has missed, or a gap and what is kept."""

import pytest

from tests.transports.client import Gap, Refused
from tests.transports.daemon import MovableReactor, until
from tests.transports.every_client import ALL_CLIENTS, DATA_ONLY, REPORTING, each_client
from tests.transports.http_client import address
from tests.transports.long_poll_client import LongPoll
from tests.transports.stream_client import LineStream, Sse
from tests.transports.websocket_client import DataWebSocket, JsonWebSocket

GARBAGE = ["nonsense", "E-", "-1", "a-b-c", "last:0", "last:", "all,all", "10years", "1" * 40, "E-1é", "0x10"]


@each_client(ALL_CLIENTS)
@each_client(REPORTING, "other")
async def test_promise_3_a_reconnect_over_any_transport_receives_what_was_missed(daemon, client_class, other):
    before = other(daemon)
    await before.subscribe("a,b")
    await daemon.publish_all(("a", "1"), ("b", "2"))
    assert await before.data(2) == [b"1", b"2"]
    before.disconnect()
    await daemon.publish_all(("a", "3"), ("c", "not asked for"), ("b", "4"))
    client = client_class(daemon)
    await client.subscribe("a,b", since=before.last_id)
    await daemon.publish("a", "5")
    assert await client.data(3) == [b"3", b"4", b"5"]
    assert client.gap is None


async def check_gap(client, topic, start, reason, left):
    """Check that a gap is reported first, as the format does, followed by the kept and the live messages."""
    if client.reports_gaps:
        gap = await client.next()
        assert isinstance(gap, Gap)
        assert (gap.topic, gap.start, gap.reason) == (topic, start, reason)
    else:
        await until(lambda: client.gap, "the gap")
        assert client.gap == reason
    assert await client.data(len(left)) == left
    await client.daemon.publish(topic, "live")
    assert await client.data(1) == [b"live"]


@each_client(ALL_CLIENTS, is_quick=True)
async def test_promise_3_evicted_messages_are_a_gap(start_daemon, client_class):
    daemon = await start_daemon({"history.messages": 3})
    ids = await daemon.publish_all(*[("a", f"{number}") for number in range(8)])
    client = client_class(daemon)
    await client.subscribe("a", since=ids[1])
    await check_gap(client, "a", ids[1], "evicted", [b"5", b"6", b"7"])


@each_client((*DATA_ONLY, LongPoll))
@pytest.mark.parametrize("topics", ["a,x", "x,a"])
async def test_promise_3_the_one_reason_that_is_reported_is_the_one_that_can_miss_most(
    start_daemon, client_class, topics
):
    daemon = await start_daemon({"history.messages": 0, "limits.channels": 1})
    first = await daemon.publish("x", "1")
    await daemon.publish("a", "2")  # x is forgotten
    client = client_class(daemon)
    await client.subscribe(topics, since=first.replace("-1", "-0"))
    assert client.gap == "unknown"


@each_client(REPORTING)
async def test_promise_3_a_gap_ends_where_the_kept_history_begins(start_daemon, client_class):
    daemon = await start_daemon({"history.messages": 3})
    ids = await daemon.publish_all(*[("a", f"{number}") for number in range(8)])
    client = client_class(daemon)
    await client.subscribe("a", since=ids[1])
    assert await client.next() == Gap("a", ids[1], ids[4], "evicted")


@each_client(ALL_CLIENTS, is_quick=True)
async def test_promise_3_evicted_messages_that_were_received_are_no_gap(start_daemon, client_class):
    daemon = await start_daemon({"history.messages": 3})
    ids = await daemon.publish_all(*[("a", f"{number}") for number in range(8)])
    client = client_class(daemon)
    await client.subscribe("a", since=ids[4])
    assert await client.data(3) == [b"5", b"6", b"7"]
    assert client.gap is None


@each_client(ALL_CLIENTS, is_quick=True)
async def test_promise_3_expired_messages_are_a_gap(start_daemon, client_class):
    reactor = MovableReactor()
    daemon = await start_daemon({}, reactor)
    first = await daemon.publish("a", "kept")
    await daemon.publish("a", "short-lived", ttl=5)
    await daemon.publish("a", "kept too")
    await reactor.pass_time(6)
    client = client_class(daemon)
    await client.subscribe("a", since=first)
    await check_gap(client, "a", first, "expired", [b"kept too"])


@each_client(ALL_CLIENTS, is_quick=True)
async def test_promise_3_a_cursor_of_another_epoch_is_a_gap(start_daemon, client_class):
    daemon = await start_daemon({})
    old = await daemon.publish("a", "lost")
    await daemon.stop()
    daemon = await start_daemon({})
    await daemon.publish_all(("a", "1"), ("a", "2"))
    client = client_class(daemon)
    await client.subscribe("a", since=old)
    await check_gap(client, "a", old, "epoch", [b"1", b"2"])


@each_client(ALL_CLIENTS, is_quick=True)
async def test_promise_3_an_unknown_cursor_is_a_gap(daemon, client_class):
    known = await daemon.publish("a", "1")
    future = known.partition("-")[0] + "-1000"
    client = client_class(daemon)
    await client.subscribe("a", since=future)
    await check_gap(client, "a", future, "unknown", [b"1"])


@each_client(REPORTING)
async def test_promise_3_each_topic_with_a_loss_has_its_own_gap(start_daemon, client_class):
    daemon = await start_daemon({"history.messages": 1})
    ids = await daemon.publish_all(("a", "1"), ("b", "1"), ("c", "1"), ("a", "2"), ("a", "3"), ("b", "2"), ("b", "3"))
    client = client_class(daemon)
    await client.subscribe("a,b,c", since=ids[2])
    gaps = await client.receive(2)
    assert gaps == [Gap("a", ids[2], ids[3], "evicted"), Gap("b", ids[2], ids[5], "evicted")]
    assert await client.data(2) == [b"3", b"3"]


@each_client(ALL_CLIENTS, is_quick=True)
async def test_promise_3_an_invalid_cursor_is_refused_and_never_a_full_replay(daemon, client_class):
    await daemon.publish("a", "kept")
    for since in GARBAGE:
        with pytest.raises(Refused) as caught:
            await client_class(daemon).subscribe("a", since=since)
        assert (caught.value.code, caught.value.status) in (("bad-since", 400), ("bad-since", None)), since
    assert daemon.subscribers("a") == []


@each_client((Sse, LineStream))
@pytest.mark.parametrize("name", ["since", "last_event_id", "lastEventID", "Last-Event-ID"])
async def test_promise_3_the_cursor_is_accepted_where_browsers_and_polyfills_send_it(daemon, client_class, name):
    ids = await daemon.publish_all(("a", "1"), ("a", "2"))
    client = client_class(daemon)
    if name == "Last-Event-ID":
        await client.ask(address(client_class.resource, "a", since="all"), {name: ids[0]})
    else:
        await client.ask(address(client_class.resource, "a", **{name: ids[0]}))
    assert await client.data(1) == [b"2"]


@each_client((Sse, LineStream))
async def test_promise_3_an_invalid_cursor_in_a_header_is_refused(daemon, client_class):
    with pytest.raises(Refused, match="bad-since"):
        await client_class(daemon).ask(address(client_class.resource, "a", since="all"), {"Last-Event-ID": "nonsense"})


@each_client((JsonWebSocket, DataWebSocket))
async def test_promise_3_a_websocket_can_send_its_cursor_in_a_header(daemon, client_class):
    ids = await daemon.publish_all(("a", "1"), ("a", "2"))
    client = client_class(daemon)
    await client.open(address("ws", "a"), {"Last-Event-ID": ids[0]})
    assert await client.data(1) == [b"2"]


@each_client(ALL_CLIENTS, is_quick=True)
async def test_promise_3_other_start_positions(daemon, client_class):
    await daemon.publish_all(("a", "1"), ("a", "2"), ("a", "3"))
    for since, received in (("all", 3), ("last:2", 2), ("last:9", 3), ("10m", 3), ("0", 3)):
        client = client_class(daemon)
        await client.subscribe("a", since=since)
        assert await client.data(received) == [b"1", b"2", b"3"][-received:]


@each_client(DATA_ONLY)
async def test_promise_3_a_data_only_format_reports_the_gap_of_a_replay_outside_the_data(daemon, client_class):
    known = await daemon.publish("a", "1")
    complete, torn = client_class(daemon), client_class(daemon)
    await complete.subscribe("a", since=known)
    await torn.subscribe("a", since="0000-1")
    assert (complete.gap, torn.gap) == (None, "epoch")
