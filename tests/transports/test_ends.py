"""How subscriptions end with their channels: at the last message of a finite stream, or when the channel is deleted."""

import pytest

from tests.transports.daemon import until
from tests.transports.each import STREAMS, WAYS, each
from tests.transports.http_client import address
from tests.transports.peers import Closed, End, Refused
from tests.transports.streams import LineStream, Sse

CLOSING = tuple(way for way in WAYS if way.closes_at_end)


async def check_end(peer, channel, *, closes):
    """See to it that the end is told where it can be, and that the connection closes or stays."""
    if peer.tells_gaps:
        assert await peer.next() == End(channel)
    if closes:
        assert await peer.next() == Closed(4410 if peer.transport_name == "websocket" else None, True)
        await until(lambda: not peer.daemon.subscribers(channel), "the subscriber gone")
    else:
        await peer.subscribe("another")
        await peer.daemon.publish("another", "x")
        assert (await peer.data(1)) == [b"x"]


@each()
async def test_the_last_message_of_a_channel_is_followed_by_its_end(daemon, way):
    peer = way(daemon)
    await peer.subscribe("a")
    await daemon.publish("a", "one")
    await daemon.publish("a", "bye", end=1)
    assert await peer.data(2) == [b"one", b"bye"]
    await check_end(peer, "a", closes=way.closes_at_end)


@each()
async def test_an_end_mark_without_data_is_received_as_the_end_alone(daemon, way):
    peer = way(daemon)
    await peer.subscribe("a")
    await daemon.publish("a", b"", end=1)
    await check_end(peer, "a", closes=way.closes_at_end)


@each()
async def test_the_end_of_one_channel_leaves_the_other_subscriptions(daemon, way):
    peer = way(daemon)
    await peer.subscribe("a,b")
    await daemon.publish("a", "bye", end=1)
    await daemon.publish("b", "on")
    assert await peer.data(1) == [b"bye"]
    if way.tells_gaps:
        assert await peer.next() == End("a")
    assert await peer.data(1) == [b"on"]
    await daemon.publish("b", "bye", end=1)
    assert await peer.data(1) == [b"bye"]
    await check_end(peer, "b", closes=way.closes_at_end)


@each()
async def test_a_pattern_does_not_end_with_one_of_its_channels(daemon, way):
    peer = way(daemon)
    await peer.subscribe("a/*")
    await daemon.publish("a/b", "bye", end=1)
    await daemon.publish("a/c", "on")
    assert await peer.data(2) == [b"bye", b"on"]


@each(CLOSING)
async def test_a_replay_of_an_ended_channel_is_followed_by_its_end(daemon, way):
    await daemon.publish("a", "one")
    await daemon.publish("a", "bye", end=1)
    peer = way(daemon)
    await peer.subscribe("a", since="all")
    assert await peer.data(2) == [b"one", b"bye"]
    await check_end(peer, "a", closes=True)


@each()
async def test_resuming_after_the_end_reports_the_end(daemon, way):
    last = await daemon.publish("a", "bye", end=1)
    peer = way(daemon)
    if way in STREAMS:
        with pytest.raises(Refused) as caught:
            await peer.subscribe("a", since=last)
        assert caught.value.status == 204
    else:
        await peer.subscribe("a", since=last)
        await check_end(peer, "a", closes=way.closes_at_end)
    assert daemon.subscribers("a") == []


@each()
async def test_a_channel_can_be_published_to_after_its_end(daemon, way):
    last = await daemon.publish("a", "bye", end=1)
    await daemon.publish("a", "anew")
    peer = way(daemon)
    await peer.subscribe("a", since=last)
    await daemon.publish("a", "on")
    assert await peer.data(2) == [b"anew", b"on"]


@each(STREAMS)
async def test_a_connection_can_be_reused_after_its_stream_has_ended(daemon, way):
    peer = way(daemon)
    await peer.subscribe("a")
    await daemon.publish("a", b"", end=1)
    await check_end(peer, "a", closes=True)
    await peer.subscribe("b")
    await daemon.publish("b", "x")
    assert await peer.data(1) == [b"x"]
    assert daemon.open_connections == 1


@each((Sse, LineStream))
async def test_resuming_after_the_end_of_some_channels_opens_a_stream(daemon, way):
    last = await daemon.publish("a", "bye", end=1)
    peer = way(daemon)
    await peer.subscribe("a,b", since=last)
    await daemon.publish("b", "on")
    assert isinstance(await peer.next(), End)
    assert await peer.data(1) == [b"on"]


@each()
async def test_delete_ends_subscriptions_and_answers_200_once_then_404(daemon, way):
    peer = way(daemon)
    await peer.subscribe("a")
    await daemon.publish("a", "one")
    assert await peer.data(1) == [b"one"]
    assert (await daemon.request("DELETE", address("pub", "a"))).status == 200
    await check_end(peer, "a", closes=way.closes_at_end)
    answer = await daemon.request("DELETE", address("pub", "a"))
    assert (answer.status, answer.json["error"]["code"]) == (404, "unknown-channel")
    assert await daemon.info("a") is None
