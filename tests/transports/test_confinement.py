"""A WebSocket on an address with topics is confined to them: nothing outside can be read or written by it."""

from collections.abc import Callable
from typing import Any

import pytest

from pushd.core.command import Command, PublishMessage, ReadHistory, ReadStatus, Subscribe
from pushd.core.errors import Forbidden
from pushd.core.message import draft
from pushd.core.names import Scope
from pushd.core.outbox import Policy
from pushd.core.subscriber import Subscriber
from pushd.hub.session import Session
from pushd.hub.session_queue import SessionContext
from tests.transports.daemon import RunningDaemon
from tests.transports.every_client import UNCONFINED, each_client
from tests.transports.http_client import address
from tests.transports.websocket_client import JsonWebSocket

CONFINED = "chat/*,news/**,alerts"
INSIDE = ("chat/1", "chat/*", "news/a", "news/a/b", "news/*", "news/*/b", "news/**", "alerts")
OUTSIDE = ("chat", "chat/1/2", "chat/**", "news", "**", "*", "*/1", "alert", "alerts/1", "$sys/performance", "other")


async def opened(daemon: RunningDaemon, resource: str, topics: str = CONFINED) -> JsonWebSocket:
    client = JsonWebSocket(daemon)
    await client.open(address(resource, topics))
    return client


resources = pytest.mark.parametrize("resource", ["ws", "sub"])


@resources
@pytest.mark.parametrize("topic", INSIDE)
async def test_topics_in_the_scope_can_be_subscribed_to(daemon, resource, topic):
    client = await opened(daemon, resource)
    assert (await client.ask(subscribe=topic))["subscribe"] == topic


@resources
@pytest.mark.parametrize("topic", OUTSIDE)
async def test_topics_outside_the_scope_cannot_be_subscribed_to(daemon, resource, topic):
    client = await opened(daemon, resource)
    await daemon.publish("other", "secret")
    for topics in (topic, f"chat/1,{topic}", f"{topic},chat/1"):
        error = (await client.ask(subscribe=topics, since="all", slow="drop"))["error"]
        assert error["code"] == "forbidden"
        assert error["message"].startswith(f"{topic} is not covered")
    (subscriber,) = daemon.subscribers("alerts")
    assert list(subscriber.starts) == CONFINED.split(",")
    assert subscriber.policy is Policy.DISCONNECT, "a refused command changes nothing"
    await daemon.publish("other", "secret")
    await daemon.publish("alerts", "heard")
    assert await client.data(1) == [b"heard"]


@resources
@pytest.mark.parametrize("channel", [topic for topic in INSIDE if "*" not in topic])
async def test_channels_in_the_scope_can_be_published_to(daemon, resource, channel):
    client = await opened(daemon, resource)
    assert (await client.ask(publish=channel, data=1))["ok"]
    assert len(await daemon.history(channel)) == 1


@resources
@pytest.mark.parametrize("channel", [topic for topic in OUTSIDE if "*" not in topic])
async def test_channels_outside_the_scope_cannot_be_published_to(daemon, resource, channel):
    client = await opened(daemon, resource)
    for more in ({}, {"end": True}, {"event": "e"}):
        assert (await client.ask(publish=channel, data=1, **more))["error"]["code"] == "forbidden"
    assert await daemon.history(channel) == []


@resources
async def test_the_scope_stays_after_unsubscribing_from_the_topics_of_the_url(daemon, resource):
    client = await opened(daemon, resource)
    assert (await client.ask(unsubscribe=CONFINED))["unsubscribe"] == CONFINED
    assert (await client.ask(subscribe="other"))["error"]["code"] == "forbidden"
    assert (await client.ask(subscribe="alerts"))["ok"]
    assert (await client.ask(unsubscribe="other"))["unsubscribe"] == ""


@each_client(UNCONFINED)
async def test_a_url_without_topics_sets_no_scope(daemon, client_class):
    client = client_class(daemon)
    await client.subscribe("a")
    await client.subscribe("b/**")
    await daemon.publish("b/c", "heard")
    assert await client.data(1) == [b"heard"]


COMMANDS: dict[str, Callable[[str], Command]] = {
    "subscribe": lambda name: Subscribe((name,)),
    "publish": lambda name: PublishMessage(draft(name, b"x")),
    "history": lambda name: ReadHistory((name,), 1),
    "status": lambda name: ReadStatus(name),
}


def session_of(daemon: Any, subscriber: Subscriber) -> Session[Any]:
    hub = daemon._service.hub
    context = SessionContext(hub, hub._clock, {})
    return Session(context, subscriber, Scope(("alerts",)))


@pytest.mark.parametrize("command", COMMANDS)
async def test_the_scope_applies_to_every_command_that_reads_or_writes(daemon, command):
    client = await opened(daemon, "ws")
    await daemon.publish_all(("alerts", "x"), ("other", "x"))
    (subscriber,) = daemon.subscribers("alerts")
    session = session_of(daemon, subscriber)
    answers: list[Any] = []
    with pytest.raises(Forbidden, match=r"^other is not covered"):
        await session.execute(COMMANDS[command]("other"), answers.append)
    assert answers == []
    await session.execute(COMMANDS[command]("alerts"), answers.append)
    assert len(answers) == 1
    client.disconnect()


async def test_the_scope_applies_to_each_publish_of_a_batch(daemon):
    client = await opened(daemon, "ws")
    (subscriber,) = daemon.subscribers("alerts")
    session = session_of(daemon, subscriber)
    outcomes = await session.publish([draft("alerts", b"1"), draft("other", b"2"), draft("alerts", b"3")])
    assert [isinstance(outcome, Forbidden) for outcome in outcomes] == [False, True, False]
    assert (len(await daemon.history("alerts")), await daemon.history("other")) == (2, [])
    client.disconnect()
