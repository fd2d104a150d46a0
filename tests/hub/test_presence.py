"""Presence at one node: what connections have entered, and that nothing is left of those that are closed."""

import json

import pytest

from pushd.core.errors import Forbidden, Kicked, NotGranted, RateLimited, Stopping, TokenMissing
from pushd.core.grant import Grant
from pushd.core.peer import DAEMON, Peer
from pushd.core.presence import AsMember
from pushd.core.subscriber import SubscriberClosed
from pushd.hub.presence import PresenceSettings
from tests.build import FakePeer
from tests.hub.hub_fixture import HubFixture


async def started() -> HubFixture:
    """Return a started hub."""
    return await HubFixture().start()


def told(fixture: HubFixture, channel: str = "c") -> list[str]:
    """Return the events of a channel, as words."""
    found = fixture.backend._log.channels.get(f"$presence/{channel}")
    events = [json.loads(message.data) for message in found.messages] if found else []
    return [" ".join(filter(None, (event["action"], event["id"], event["reason"]))) for event in events]


def guarded(fixture: HubFixture, **grants: list[str]) -> FakePeer:
    """Return a connection of alice."""
    peer = fixture.add()
    peer.subscriber.peer.grant = Grant.parse(grants, "alice", where="test")
    return peer


async def test_entering_again_is_an_update_and_another_id_is_another_member() -> None:
    fixture = await started()
    presence, subscriber = fixture.hub.presence, fixture.add().subscriber
    for meta in (b"1", b"2", None):
        assert await presence.enter(subscriber, "c", "a", meta) == "a"
    await presence.enter(subscriber, "c", "b")
    assert told(fixture) == ["enter a", "update a", "leave a client", "enter b"]
    assert presence.channels_of(subscriber) == {"c": "b"}


async def test_nothing_is_left_of_a_closed_connection() -> None:
    fixture = await started()
    presence, peer = fixture.hub.presence, fixture.add()
    await presence.enter(peer.subscriber, "c", "a")
    fixture.hub.disconnect(peer.subscriber, Kicked("test"))
    assert told(fixture) == ["enter a", "leave a kicked"]
    with pytest.raises(SubscriberClosed):
        await presence.enter(peer.subscriber, "c", "a")
    assert not presence._held


async def test_members_of_a_daemon_that_stops_are_left_to_the_backend() -> None:
    fixture = await started()
    peer = fixture.add()
    await fixture.hub.presence.enter(peer.subscriber, "c", "a")
    fixture.hub.disconnect(peer.subscriber, Stopping("test"))
    assert told(fixture) == ["enter a"]


async def test_rights() -> None:
    fixture = await started()
    presence = fixture.hub.presence
    subscriber = guarded(fixture, enter=["c"], manage=["d"], presence=["e"]).subscriber
    peer = subscriber.peer
    assert await presence.enter(subscriber, "c") == "alice"
    assert await presence.enter(subscriber, "d", "bob") == "bob"
    for channel, id in (("c", "bob"), ("d", None), ("e", None)):
        with pytest.raises(NotGranted):
            await presence.enter(subscriber, channel, id)
        with pytest.raises(NotGranted):
            await presence.renew(peer, channel, id or "alice", 30, None)
    await presence.renew(peer, "c", "alice", 30, None)
    assert (await presence.members(peer, "e", "", 9)).page.total == 0
    for channel in "cd":
        with pytest.raises(NotGranted):
            await presence.members(peer, channel, "", 9)
    anonymous = Peer("http", "::1", Grant.parse({}, None, where="test"))
    with pytest.raises(TokenMissing):
        await presence.heartbeat(anonymous, "alice", None)


async def test_changes_count_in_the_rates() -> None:
    fixture = await started()
    subscriber = guarded(fixture, enter=["**"]).subscriber
    quota = {"messages_per_second": 1}
    subscriber.peer.grant = Grant.parse({"enter": ["**"], "quota": quota}, "alice", where="test")
    with pytest.raises(RateLimited):
        for number in range(100):
            await fixture.hub.presence.enter(subscriber, f"c{number}")
    assert 5 <= len(fixture.hub.presence.channels_of(subscriber)) <= 20


async def test_channel_without_presence() -> None:
    fixture = await started()
    presence = fixture.hub.presence
    presence.has_members = lambda channel: channel != "c"
    subscriber = fixture.add().subscriber
    await presence.enter(subscriber, "d")
    with pytest.raises(Forbidden):
        await presence.enter(subscriber, "c")
    with pytest.raises(Forbidden):
        presence.check(subscriber.peer, ("c",), AsMember())
    with pytest.raises(Forbidden):
        await presence.members(DAEMON, "c", "", 9)
    presence.reconfigure(PresenceSettings(is_enabled=False))
    with pytest.raises(Forbidden):
        await presence.count(DAEMON, "d")
