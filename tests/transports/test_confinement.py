"""A WebSocket on an address with topics is confined to them: nothing outside can be read or written by it."""

from collections.abc import Callable
from typing import Any

import pytest

from pushd.core.command import Command, PublishMessage, ReadHistory, ReadStatus, Subscribe
from pushd.core.errors import Forbidden, Refusal
from pushd.core.message import draft
from pushd.core.names import Scope
from pushd.core.outbox import Policy
from pushd.core.subscriber import Subscriber
from pushd.hub.session import Session, SessionContext
from tests.transports.daemon import RunningDaemon
from tests.transports.each import UNCONFINED, each
from tests.transports.http_client import address
from tests.transports.sockets import JsonSocket

CONFINED = "chat/*,news/**,alerts"
INSIDE = ("chat/1", "chat/*", "news/a", "news/a/b", "news/*", "news/*/b", "news/**", "alerts")
OUTSIDE = ("chat", "chat/1/2", "chat/**", "news", "**", "*", "*/1", "alert", "alerts/1", "$sys/performance", "other")


async def opened(daemon: RunningDaemon, door: str, topics: str = CONFINED) -> JsonSocket:
    peer = JsonSocket(daemon)
    await peer.open(address(door, topics))
    return peer


doors = pytest.mark.parametrize("door", ["ws", "sub"])


@doors
@pytest.mark.parametrize("topic", INSIDE)
async def test_what_the_address_covers_may_be_subscribed_to(daemon, door, topic):
    peer = await opened(daemon, door)
    assert (await peer.ask(subscribe=topic))["subscribe"] == topic


@doors
@pytest.mark.parametrize("topic", OUTSIDE)
async def test_what_the_address_does_not_cover_may_not_be_subscribed_to(daemon, door, topic):
    peer = await opened(daemon, door)
    await daemon.publish("other", "secret")
    for topics in (topic, f"chat/1,{topic}", f"{topic},chat/1"):
        error = (await peer.ask(subscribe=topics, since="all", slow="drop"))["error"]
        assert error["code"] == "forbidden"
        assert error["message"].startswith(f"{topic} is not covered")
    (subscriber,) = daemon.subscribers("alerts")
    assert list(subscriber.starts) == CONFINED.split(",")
    assert subscriber.policy is Policy.DISCONNECT, "a refused command changes nothing"
    await daemon.publish("other", "secret")
    await daemon.publish("alerts", "heard")
    assert await peer.data(1) == [b"heard"]


@doors
@pytest.mark.parametrize("channel", [topic for topic in INSIDE if "*" not in topic])
async def test_what_the_address_covers_may_be_published_to(daemon, door, channel):
    peer = await opened(daemon, door)
    assert (await peer.ask(publish=channel, data=1))["ok"]
    assert len(await daemon.history(channel)) == 1


@doors
@pytest.mark.parametrize("channel", [topic for topic in OUTSIDE if "*" not in topic])
async def test_what_the_address_does_not_cover_may_not_be_published_to(daemon, door, channel):
    peer = await opened(daemon, door)
    for more in ({}, {"end": True}, {"event": "e"}):
        assert (await peer.ask(publish=channel, data=1, **more))["error"]["code"] == "forbidden"
    assert await daemon.history(channel) == []


@doors
async def test_the_scope_stays_when_the_topics_of_the_address_are_left(daemon, door):
    peer = await opened(daemon, door)
    assert (await peer.ask(unsubscribe=CONFINED))["unsubscribe"] == CONFINED
    assert (await peer.ask(subscribe="other"))["error"]["code"] == "forbidden"
    assert (await peer.ask(subscribe="alerts"))["ok"]
    assert (await peer.ask(unsubscribe="other"))["unsubscribe"] == ""


@each(UNCONFINED)
async def test_who_names_no_topics_in_the_address_is_not_confined(daemon, way):
    peer = way(daemon)
    await peer.subscribe("a")
    await peer.subscribe("b/**")
    await daemon.publish("b/c", "heard")
    assert await peer.data(1) == [b"heard"]


COMMANDS: dict[str, Callable[[str], Command]] = {
    "subscribe": lambda name: Subscribe((name,)),
    "publish": lambda name: PublishMessage(draft(name, b"x")),
    "history": lambda name: ReadHistory((name,), 1),
    "status": lambda name: ReadStatus(name),
}


class NoConnection:
    """The connection of a session whose commands are executed directly."""

    async def execute(self, items: Any) -> None:
        raise NotImplementedError

    def on_idle(self) -> None:
        raise NotImplementedError

    def close(self, why: Refusal) -> None:
        raise NotImplementedError


def session_of(daemon: Any, subscriber: Subscriber) -> Session[Any]:
    hub = daemon._service.hub
    context = SessionContext(hub, hub._clock, {})
    return Session(context, NoConnection(), subscriber, Scope(("alerts",)))


@pytest.mark.parametrize("command", COMMANDS)
async def test_every_command_of_a_session_that_reads_or_writes_is_confined(daemon, command):
    peer = await opened(daemon, "ws")
    await daemon.publish_all(("alerts", "x"), ("other", "x"))
    (subscriber,) = daemon.subscribers("alerts")
    session = session_of(daemon, subscriber)
    answers: list[Any] = []
    with pytest.raises(Forbidden, match=r"^other is not covered"):
        await session.execute(COMMANDS[command]("other"), answers.append)
    assert answers == []
    await session.execute(COMMANDS[command]("alerts"), answers.append)
    assert len(answers) == 1
    peer.disconnect()


async def test_publishes_that_come_together_are_judged_one_by_one(daemon):
    peer = await opened(daemon, "ws")
    (subscriber,) = daemon.subscribers("alerts")
    session = session_of(daemon, subscriber)
    outcomes = await session.publish([draft("alerts", b"1"), draft("other", b"2"), draft("alerts", b"3")])
    assert [isinstance(outcome, Forbidden) for outcome in outcomes] == [False, True, False]
    assert (len(await daemon.history("alerts")), await daemon.history("other")) == (2, [])
    peer.disconnect()
