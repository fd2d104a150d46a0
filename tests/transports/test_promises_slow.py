"""Promises 4 and 5: a slow subscriber delays no other, and is reported, counted and logged."""

import pytest

from tests.transports.client import Closed, ErrorLine, Gap
from tests.transports.daemon import until
from tests.transports.every_client import DATA_ONLY, REPORTING, STREAMING, each_client
from tests.transports.line_client import TextLines
from tests.transports.slow_reader import LARGE_HISTORY, PIECE, stall
from tests.transports.stream_client import Sse
from tests.transports.websocket_client import JsonWebSocket

SLOW = LARGE_HISTORY | {"limits.queue_messages": 5}


@each_client(STREAMING)
@pytest.mark.parametrize("slow", ["disconnect", "drop", "latest"])
async def test_promise_4_a_slow_subscriber_delays_neither_publishers_nor_subscribers(start_daemon, client_class, slow):
    daemon = await start_daemon(SLOW)
    stalled, others = client_class(daemon, small=True), [Sse(daemon), JsonWebSocket(daemon), TextLines(daemon)]
    await stalled.subscribe("a", slow=slow)
    for other in others:
        await other.subscribe("a")
    sent = len(await stall(daemon, stalled))
    for other in others:
        await other.receive(sent)
    for number in range(20):
        await daemon.publish("a", f"{number}")
        for other in others:
            assert await other.data(1) == [b"%d" % number]


async def fill(daemon, client, count):
    """Stall a client, and publish `count` small messages; return the ids of the messages sent before, and of these."""
    sent = await stall(daemon, client)
    return sent, [await daemon.publish("a", f"{number}") for number in range(count)]


def log_lines_of(daemon, client):
    """Return the log lines that name a client."""
    return [line for line in daemon.log if f"{client.transport_name} 127.0.0.1" in line]


async def check_disconnected(client):
    """Check that the daemon closes the connection, as the protocol prescribes."""
    if client.transport_name == "tcp":
        assert await client.next() == ErrorLine("slow")
    code = 1013 if client.transport_name == "websocket" else None
    assert await client.next() == Closed(code, True)


@each_client(STREAMING)
async def test_promise_5_a_queue_within_its_limit_loses_nothing(start_daemon, client_class):
    daemon = await start_daemon(SLOW)
    client = client_class(daemon, small=True)
    await client.subscribe("a")
    sent, _ = await fill(daemon, client, 5)
    client.unstall()
    assert await client.data(len(sent) + 5) == [PIECE] * len(sent) + [b"0", b"1", b"2", b"3", b"4"]
    assert log_lines_of(daemon, client) == []


@each_client()
async def test_promise_5_disconnect_closes_and_the_cursor_stays_valid(start_daemon, client_class):
    daemon = await start_daemon(SLOW)
    client = client_class(daemon, small=True)
    await client.subscribe("a", slow="disconnect")
    sent, small = await fill(daemon, client, 6)
    await until(lambda: not daemon.subscribers("a"), "the subscriber let go")
    client.unstall()
    assert await client.data(len(sent)) == [PIECE] * len(sent)
    await check_disconnected(client)
    assert len(log_lines_of(daemon, client)) == 1
    assert await daemon.metric('pushd_refusals_total{code="slow"}') == 1
    if client_class.has_ids:
        assert client.last_id == sent[-1]
        back = client_class(daemon)
        await back.subscribe("a", since=client.last_id)
        assert [item.id for item in await back.receive(6)] == small


@each_client(REPORTING)
async def test_promise_5_drop_discards_the_oldest_and_reports_a_gap(start_daemon, client_class):
    daemon = await start_daemon(SLOW)
    client = client_class(daemon, small=True)
    await client.subscribe("a", slow="drop")
    sent, small = await fill(daemon, client, 8)
    client.unstall()
    await client.receive(len(sent))
    assert await client.next() == Gap("a", sent[-1], small[2], "slow")
    assert [item.id for item in await client.receive(5)] == small[3:]
    await daemon.publish("a", "live")
    assert await client.data(1) == [b"live"]
    assert await daemon.metric('pushd_dropped_total{policy="drop"}') == 3


@each_client(REPORTING)
async def test_promise_5_drop_reports_a_gap_for_each_topic_with_a_loss(start_daemon, client_class):
    daemon = await start_daemon(SLOW)
    client = client_class(daemon, small=True)
    await client.subscribe("a,b,c/*", slow="drop")
    await stall(daemon, client)
    last = {}
    for channel in ("a", "b", "c/d", "a"):
        last[channel] = await daemon.publish(channel, "dropped")
    for number in range(5):
        await daemon.publish("a", f"{number}")
    client.unstall()
    gaps = [item for item in await client.until(b"0") if isinstance(item, Gap)]
    assert {(gap.topic, gap.end, gap.reason) for gap in gaps} == {
        ("a", last["a"], "slow"),
        ("b", last["b"], "slow"),
        ("c/*", last["c/d"], "slow"),
    }
    assert await client.data(4) == [b"1", b"2", b"3", b"4"]


@each_client(DATA_ONLY)
async def test_promise_5_drop_closes_a_data_only_format(start_daemon, client_class):
    daemon = await start_daemon(SLOW)
    client = client_class(daemon, small=True)
    await client.subscribe("a", slow="drop")
    sent, _ = await fill(daemon, client, 6)
    client.unstall()
    assert await client.data(len(sent)) == [PIECE] * len(sent)
    await check_disconnected(client)
    assert len(log_lines_of(daemon, client)) == 1


@each_client()
async def test_promise_5_latest_keeps_only_the_newest_of_each_channel(start_daemon, client_class):
    daemon = await start_daemon(SLOW)
    client = client_class(daemon, small=True)
    await client.subscribe("a,b", slow="latest")
    sent = await stall(daemon, client)
    for number in range(3):
        await daemon.publish("a", f"a{number}")
        await daemon.publish("b", f"b{number}")
    client.unstall()
    await client.receive(len(sent))
    assert await client.data(2) == [b"a2", b"b2"]
    await daemon.publish("b", "live")
    assert await client.data(1) == [b"live"]
    assert await daemon.metric('pushd_dropped_total{policy="latest"}') == 4


@each_client((Sse, JsonWebSocket, TextLines))
@pytest.mark.parametrize("slow", ["drop", "latest"])
async def test_promise_5_dropped_messages_are_logged_with_the_peer(start_daemon, client_class, slow):
    daemon = await start_daemon(SLOW)
    client = client_class(daemon, small=True)
    await client.subscribe("a", slow=slow)
    await fill(daemon, client, 25)
    assert 0 < len(log_lines_of(daemon, client)) < 20


@each_client((Sse, JsonWebSocket, TextLines))
async def test_promise_5_the_queue_is_limited_in_bytes(start_daemon, client_class):
    daemon = await start_daemon(LARGE_HISTORY | {"limits.queue_bytes": "100KiB"})
    client = client_class(daemon, small=True)
    await client.subscribe("a")
    await stall(daemon, client)
    await daemon.publish("a", b"x" * (90 << 10))
    assert daemon.subscribers("a")
    await daemon.publish("a", b"x" * (20 << 10))
    await until(lambda: not daemon.subscribers("a"), "the subscriber let go")


@each_client(STREAMING)
async def test_promise_5_one_message_of_any_size_can_be_queued(start_daemon, client_class):
    daemon = await start_daemon(LARGE_HISTORY | {"limits.queue_bytes": "1KiB"})
    client = client_class(daemon, small=True)
    await client.subscribe("a")
    sent = await stall(daemon, client)
    await daemon.publish("a", PIECE)
    client.unstall()
    assert await client.data(len(sent) + 1) == [PIECE] * (len(sent) + 1)
