"""Settings of channels: what messages get by default, and who is shown the rule."""

from pushd.core.channel_rules import ChannelRule, ChannelRules
from pushd.core.grant import Grant
from pushd.core.idempotency import IdempotencyKey
from pushd.core.message import draft
from pushd.core.outbox import Policy
from pushd.core.peer import DAEMON, Peer
from pushd.hub.publishing import Receipt
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
    return (await fixture.hub.queries.status(DAEMON, channel)).info.messages


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


async def test_messages_of_a_channel_are_ephemeral_unless_their_publisher_needs_them_kept() -> None:
    fixture = await HubFixture().start()
    fixture.hub.channel_settings.reconfigure(ChannelRules([ChannelRule("t/*", keep=False, ttl=5.0)]))
    peer = await fixture.subscribe("t/*")
    ids = [
        (await fixture.hub.publish(DAEMON, draft("t/1", data, **rest))).id
        for data, rest in (
            (b"plain", {}),
            (b"named", {"keep": False}),
            (b"kept", {"keep": True}),
            (b"ttl", {"ttl": 9.0}),
            (b"end", {"end": True}),
        )
    ]
    assert [bool(id) for id in ids] == [False, False, True, True, True]
    (receipt,) = await fixture.hub.publish_all(DAEMON, [draft("t/2", b"key")], IdempotencyKey("key", b"digest"))
    assert isinstance(receipt, Receipt)
    assert receipt.id
    found = []
    for _ in range(3):
        found.append([await kept(fixture, channel) for channel in ("t/1", "t/2")])
        fixture.clock.advance(4)
    assert found == [[3, 1], [3, 1], [1, 0]]
    assert len(peer.received) == 6


async def test_policy_of_a_connection_is_chosen_once() -> None:
    fixture = await start()
    peer = FakePeer(policy=None)
    await fixture.subscribe("c", peer=fixture.add(peer))
    found = [peer.subscriber.policy]
    await fixture.subscribe("b", peer=peer)
    found.append(peer.subscriber.policy)
    fixture.hub.channel_settings.reconfigure(ChannelRules([ChannelRule("**", slow=Policy.LATEST)]))
    await fixture.subscribe("d", peer=peer)
    assert [*found, peer.subscriber.policy] == [Policy.DISCONNECT, Policy.DROP, Policy.DROP]


async def test_rule_is_shown_to_those_who_may_list_channels() -> None:
    settings = (await start()).hub.channel_settings
    operator, other = (
        Peer("http", "::1", Grant.parse({"subscribe": ["**"], "operate": operate}, None, where="grant"))
        for operate in (["channels"], [])
    )
    assert [settings.shown_rule(peer, "a/1") for peer in (DAEMON, operator, other)] == ["a/*", "a/*", None]
    assert settings.shown_rule(operator, "c") is None


async def test_rule_switches_presence_off() -> None:
    fixture = await HubFixture().start()
    fixture.hub.channel_settings.reconfigure(ChannelRules([ChannelRule("t/*", presence=False)]))
    assert [fixture.hub.presence.has_members(channel) for channel in ("t/1", "a")] == [False, True]
