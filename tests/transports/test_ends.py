"""The end of a channel: with its last message, or because the channel is deleted."""

import pytest

from tests.transports.client import Closed, End, Refused
from tests.transports.daemon import until
from tests.transports.every_client import CLIENTS, STREAMING, STREAMS, each_client
from tests.transports.http_client import address
from tests.transports.stream_client import LineStream, Sse

CLOSING = tuple(client_class for client_class in CLIENTS if client_class.closes_at_end)


async def check_end(client, channel, *, closes):
    """Check that the end is reported if the format can, and that the connection is closed or stays open."""
    if client.reports_gaps:
        assert await client.next() == End(channel)
    if closes:
        assert await client.next() == Closed(4410 if client.transport_name == "websocket" else None, True)
        await until(lambda: not client.daemon.subscribers(channel), "the subscriber gone")
    else:
        await client.subscribe("another")
        await client.daemon.publish("another", "x")
        assert (await client.data(1)) == [b"x"]


@each_client()
async def test_the_last_message_of_a_channel_is_followed_by_its_end(daemon, client_class):
    client = client_class(daemon)
    await client.subscribe("a")
    await daemon.publish("a", "one")
    await daemon.publish("a", "bye", end=1)
    assert await client.data(2) == [b"one", b"bye"]
    await check_end(client, "a", closes=client_class.closes_at_end)


@each_client()
async def test_an_end_mark_without_data_is_received_as_the_end_alone(daemon, client_class):
    client = client_class(daemon)
    await client.subscribe("a")
    await daemon.publish("a", b"", end=1)
    await check_end(client, "a", closes=client_class.closes_at_end)


@each_client()
async def test_the_end_of_one_channel_leaves_the_other_subscriptions(daemon, client_class):
    client = client_class(daemon)
    await client.subscribe("a,b")
    await daemon.publish("a", "bye", end=1)
    await daemon.publish("b", "on")
    assert await client.data(1) == [b"bye"]
    if client_class.reports_gaps:
        assert await client.next() == End("a")
    assert await client.data(1) == [b"on"]
    await daemon.publish("b", "bye", end=1)
    assert await client.data(1) == [b"bye"]
    await check_end(client, "b", closes=client_class.closes_at_end)


@each_client(STREAMING)
async def test_a_pattern_does_not_end_with_one_of_its_channels(daemon, client_class):
    client = client_class(daemon)
    await client.subscribe("a/*")
    await daemon.publish("a/b", "bye", end=1)
    await daemon.publish("a/c", "on")
    assert await client.data(2) == [b"bye", b"on"]


@each_client(CLOSING)
async def test_a_replay_of_an_ended_channel_is_followed_by_its_end(daemon, client_class):
    await daemon.publish("a", "one")
    await daemon.publish("a", "bye", end=1)
    client = client_class(daemon)
    await client.subscribe("a", since="all")
    assert await client.data(2) == [b"one", b"bye"]
    await check_end(client, "a", closes=True)


@each_client()
async def test_resuming_after_the_end_reports_the_end(daemon, client_class):
    last = await daemon.publish("a", "bye", end=1)
    client = client_class(daemon)
    if client_class in STREAMS:
        with pytest.raises(Refused) as caught:
            await client.subscribe("a", since=last)
        assert caught.value.status == 204
    else:
        await client.subscribe("a", since=last)
        await check_end(client, "a", closes=client_class.closes_at_end)
    assert bool(daemon.subscribers("a")) != client_class.closes_at_end


@each_client(STREAMING)
async def test_a_channel_can_be_published_to_after_its_end(daemon, client_class):
    last = await daemon.publish("a", "bye", end=1)
    await daemon.publish("a", "anew")
    client = client_class(daemon)
    await client.subscribe("a", since=last)
    await daemon.publish("a", "on")
    assert await client.data(2) == [b"anew", b"on"]


@each_client(STREAMS)
async def test_a_connection_can_be_reused_after_its_stream_has_ended(daemon, client_class):
    client = client_class(daemon)
    await client.subscribe("a")
    await daemon.publish("a", b"", end=1)
    await check_end(client, "a", closes=True)
    await client.subscribe("b")
    await daemon.publish("b", "x")
    assert await client.data(1) == [b"x"]
    assert daemon.open_connections == 1


@each_client((Sse, LineStream))
async def test_resuming_after_the_end_of_some_channels_opens_a_stream(daemon, client_class):
    last = await daemon.publish("a", "bye", end=1)
    client = client_class(daemon)
    await client.subscribe("a,b", since=last)
    await daemon.publish("b", "on")
    assert isinstance(await client.next(), End)
    assert await client.data(1) == [b"on"]


@each_client()
async def test_delete_ends_subscriptions_and_answers_200_once_then_404(daemon, client_class):
    client = client_class(daemon)
    await client.subscribe("a")
    await daemon.publish("a", "one")
    assert await client.data(1) == [b"one"]
    assert (await daemon.request("DELETE", address("pub", "a"))).status == 200
    await check_end(client, "a", closes=client_class.closes_at_end)
    answer = await daemon.request("DELETE", address("pub", "a"))
    assert (answer.status, answer.json["error"]["code"]) == (404, "unknown-channel")
    assert await daemon.info("a") is None
