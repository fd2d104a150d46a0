"""Settings of channels: what messages get by default, and who is shown the rule."""

from pushd.core.channel_rules import ChannelRule, ChannelRules
from pushd.core.grant import Grant
from pushd.core.message import draft
from pushd.core.outbox import Policy
from pushd.core.peer import DAEMON, Peer
from tests.build import FakePeer
from tests.hub.hub_fixture import HubFixture

RULES = ChannelRules([ChannelRule("a/*", ttl=5.0), ChannelRule("b", slow=Policy.DROP)])


async def start() -> HubFixture:
    """Start a hub, and give it the rules as a reload does."""
    fixture = await HubFixture().start()
    fixture.hub.channel_settings.reconfigure(RULES)
    return fixture


async def kept(fixture: HubFixture, channel: str) -> int:
    """Return how many messages of a channel are kept."""
    return (await fixture.hub.status(DAEMON, channel)).info.messages


async def test_message_without_a_ttl_gets_that_of_its_channel() -> None:
    fixture = await start()
    for channel, ttl in (("a/1", None), ("a/1", 3.0), ("a/1", 9.0), ("b", None)):
        await fixture.hub.publish(DAEMON, draft(channel, b"x", ttl=ttl))
    await fixture.hub.publish_all(DAEMON, [draft("a/2", b"x"), draft("a/2", b"", end=True)])
    found = []
    for _ in range(5):
        found.append([await kept(fixture, channel) for channel in ("a/1", "a/2", "b")])
        fixture.clock.advance(2)
    assert found == [[3, 1, 1], [3, 1, 1], [2, 1, 1], [1, 0, 1], [1, 0, 1]]


async def test_policy_of_a_connection_is_chosen_once() -> None:
    fixture = await start()
    peer = FakePeer(policy=None)
    await fixture.subscribe("c", peer=fixture.add(peer))
    assert peer.subscriber.policy is Policy.DISCONNECT
    await fixture.subscribe("b", peer=peer)
    assert peer.subscriber.policy is Policy.DROP
    fixture.hub.channel_settings.reconfigure(ChannelRules([ChannelRule("**", slow=Policy.LATEST)]))
    await fixture.subscribe("d", peer=peer)
    assert peer.subscriber.policy is Policy.DROP


async def test_rule_is_shown_to_those_who_may_list_channels() -> None:
    settings = (await start()).hub.channel_settings
    operator, other = (
        Peer("http", "::1", Grant.parse({"subscribe": ["**"], "operate": operate}, None, where="grant"))
        for operate in (["channels"], [])
    )
    assert [settings.shown_rule(peer, "a/1") for peer in (DAEMON, operator, other)] == ["a/*", "a/*", None]
    assert settings.shown_rule(operator, "c") is None
