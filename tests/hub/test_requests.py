"""Requests of the hub: who counts as a responder, and what happens between nodes, with a backend that pretends."""

from collections.abc import AsyncIterator, Callable
from math import inf
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from pushd.core.errors import (
    NoReply,
    NoRequest,
    NoResponders,
    NotGranted,
    RateLimited,
    Refusal,
    Stopping,
    TokenMissing,
    Unavailable,
)
from pushd.core.grant import NOTHING, Grant
from pushd.core.message import Draft, draft
from pushd.core.open_requests import STAYS, AskerLeft
from pushd.core.peer import DAEMON, Peer
from tests.build import FakePeer
from tests.hub.hub_fixture import HubFixture

NODE = "0123456789ab"


class Others:
    """What stands for the other nodes."""

    def __init__(self) -> None:
        self.seeking: Deferred[None] = Deferred()
        """The search for responders takes until it fires."""
        self.on_found: Callable[[str, float], None] = lambda node, mark: None
        self.reports: list[tuple[str, str, float]] = []
        self.channel: str | None = None
        self.is_open = True
        self.replies: list[tuple[str, Draft]] = []

    async def seek_responders(self, channel: str, seconds: float, on_found: Callable[[str, float], None]) -> None:
        """Search until the test says that it has ended."""
        self.on_found = on_found
        await self.seeking

    def report_responders(self, node: str, channel: str, oldest: float) -> None:
        """Record a report."""
        self.reports.append((node, channel, oldest))

    async def request_channel(self, token: str) -> str | None:
        """Return the channel of a request elsewhere."""
        return self.channel

    async def reply(self, token: str, reply: Draft) -> bool:
        """Take a reply elsewhere."""
        self.replies.append((token, reply))
        return self.is_open


class Asking:
    """A request, and its outcome so far."""

    def __init__(self, asking: Any) -> None:
        self.outcome: object = None
        Deferred.fromCoroutine(asking).addCallback(lambda reply: reply).addBoth(self._end)

    def _end(self, outcome: Any) -> None:
        self.outcome = getattr(outcome, "value", outcome)

    def check(self, kind: type[Exception], text: str = "") -> None:
        """Check that it has failed."""
        assert isinstance(self.outcome, kind), self.outcome
        assert text in str(self.outcome)


class Scene(HubFixture):
    """A hub with other nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.others = Others()
        for name in ("seek_responders", "report_responders", "request_channel", "reply"):
            setattr(self.backend, name, getattr(self.others, name))
        self.requests = self.hub.requests

    def ask(self, channel: str = "a", asker: str | None = None, peer: Peer = DAEMON, seconds: float = 10) -> Asking:
        """Send a request."""
        return Asking(self.requests.ask(peer, draft(channel, b"x"), seconds, asker or object()))

    async def reply(self, reply_to: str, peer: Peer = DAEMON) -> None:
        """Send a reply."""
        await self.hub.publish(peer, draft(reply_to, b"done"))

    def reply_to(self, asker: str) -> str:
        """Return the channel for the reply to the request of an asker."""
        (request,) = self.requests._open.of_asker(asker)
        return f"$reply/{request.token}"


@pytest_twisted.async_yield_fixture
async def scene() -> AsyncIterator[Scene]:
    """A started hub."""
    made = Scene()
    await made.start()
    yield made


@pytest_twisted.ensureDeferred
async def test_request_waits_for_other_nodes_if_there_is_no_responder_here(scene: Scene) -> None:
    asking = scene.ask()
    assert asking.outcome is None
    assert scene.counters.published == 0
    scene.others.seeking.callback(None)
    asking.check(NoResponders)
    assert scene.counters.requests == {"no-responders": 1}
    assert scene.counters.open_requests == 0


@pytest_twisted.ensureDeferred
async def test_request_is_published_as_soon_as_one_responder_is_found(scene: Scene) -> None:
    asking = scene.ask(asker="x")
    scene.others.on_found(NODE, 5)
    assert scene.counters.published == 1
    await scene.reply(scene.reply_to("x"))
    assert isinstance(asking.outcome, Draft)
    assert asking.outcome.data == b"done"
    scene.others.on_found("ba9876543210", 5)
    scene.others.seeking.callback(None)


@pytest_twisted.ensureDeferred
async def test_request_with_a_responder_here_is_published_at_once(scene: Scene) -> None:
    await scene.subscribe("a")
    asking = scene.ask()
    assert scene.counters.published == 1
    scene.others.seeking.errback(Unavailable("away"))
    assert asking.outcome is None


@pytest_twisted.ensureDeferred
async def test_request_is_refused_when_other_nodes_cannot_be_asked(scene: Scene) -> None:
    asking = scene.ask()
    scene.others.seeking.errback(Unavailable("away"))
    asking.check(Unavailable, "away")
    assert scene.counters.open_requests == 0


@pytest_twisted.ensureDeferred
async def test_request_fails_when_responders_here_and_elsewhere_have_left(scene: Scene) -> None:
    responder = await scene.subscribe("a")
    asking = scene.ask()
    scene.others.on_found(NODE, 5)
    scene.others.seeking.callback(None)
    assert scene.requests.answering_nodes() == {NODE}
    scene.hub.unsubscribe(responder.subscriber, ["a"])
    scene.turn()
    assert asking.outcome is None
    scene.requests.on_responders_left(NODE, "a", 5)
    assert asking.outcome is None
    scene.requests.on_responders_left(NODE, "a", 6)
    scene.turn()
    asking.check(NoReply, "has disconnected")


@pytest_twisted.ensureDeferred
async def test_request_fails_when_responders_left_while_others_were_sought(scene: Scene) -> None:
    asking = scene.ask()
    scene.others.on_found(NODE, 5)
    scene.requests.on_responders_left(NODE, "a", inf)
    assert asking.outcome is None
    scene.others.seeking.callback(None)
    scene.turn()
    asking.check(NoReply)


@pytest_twisted.ensureDeferred
async def test_request_fails_when_the_only_node_with_responders_is_lost(scene: Scene) -> None:
    asking = scene.ask()
    scene.others.on_found(NODE, STAYS)
    scene.others.seeking.callback(None)
    scene.requests.on_node_lost(NODE)
    scene.turn()
    asking.check(NoReply)


@pytest_twisted.ensureDeferred
async def test_request_times_out_while_others_are_sought_and_is_not_published(scene: Scene) -> None:
    asking = scene.ask(seconds=1)
    scene.clock.advance(1.2)
    scene.turn()
    scene.others.on_found(NODE, 5)
    asking.check(NoReply, "no reply within 1 seconds")
    assert scene.counters.published == 0


@pytest_twisted.ensureDeferred
async def test_asker_that_leaves_while_others_are_sought_publishes_nothing(scene: Scene) -> None:
    asking = scene.ask(asker="x")
    scene.requests.forget("x")
    scene.others.on_found(NODE, 5)
    asking.check(AskerLeft)
    assert scene.counters.published == 0
    assert scene.counters.requests == {"left": 1}


@pytest_twisted.ensureDeferred
async def test_stop_refuses_open_and_later_requests(scene: Scene) -> None:
    await scene.subscribe("a")
    asking = scene.ask()
    scene.hub.begin_shutdown()
    asking.check(Stopping)
    scene.ask().check(Stopping)


@pytest_twisted.ensureDeferred
async def test_rate_is_checked_before_other_nodes_are_asked(scene: Scene) -> None:
    grant = Grant.parse({"publish": ["a"], "quota": {"messages_per_second": 1}}, "s", where="test")
    peer = Peer("http", "::2", grant, network="::2")
    scene.others.seeking.callback(None)
    for _ in range(10):
        scene.ask(peer=peer).check(NoResponders)
    scene.ask(peer=peer).check(RateLimited)


# Responders


def peer_with(**grant: list[str]) -> FakePeer:
    """Return a peer with a grant."""
    made = FakePeer()
    made.subscriber.peer.grant = Grant.parse(dict(grant), "s", where="test")
    return made


@pytest_twisted.ensureDeferred
async def test_subscriber_that_may_not_reply_is_no_responder(scene: Scene) -> None:
    scene.others.seeking.callback(None)
    await scene.subscribe("a", peer=scene.add(peer_with(subscribe=["a"])))
    scene.ask().check(NoResponders)
    await scene.subscribe("a", peer=scene.add(peer_with(subscribe=["a"], reply=["a"])))
    assert scene.ask().outcome is None


@pytest_twisted.ensureDeferred
async def test_responder_of_patterns_leaves(scene: Scene) -> None:
    scene.others.seeking.callback(None)
    responder = await scene.subscribe("*", "b/*")
    scene.requests.add_responder(responder.subscriber)
    one, other = scene.ask("a"), scene.ask("b/c")
    scene.hub.unsubscribe(responder.subscriber, ["*"])
    scene.turn()
    one.check(NoReply)
    assert other.outcome is None
    scene.hub.remove(responder.subscriber)
    scene.turn()
    other.check(NoReply)
    scene.ask("b/c").check(NoResponders)


@pytest_twisted.ensureDeferred
async def test_responder_with_many_topics_leaves_at_once(scene: Scene) -> None:
    """Its topics are removed from the index in later turns."""
    scene.others.seeking.callback(None)
    responder = await scene.subscribe(*(f"a{number}" for number in range(6000)))
    asking = scene.ask("a5")
    scene.hub.remove(responder.subscriber)
    scene.clock.advance(0)
    asking.check(NoReply)


@pytest_twisted.ensureDeferred
async def test_other_node_is_told_when_responders_leave(scene: Scene) -> None:
    assert scene.requests.on_seek(NODE, "a", 10) is None
    one, other = await scene.subscribe("a"), await scene.subscribe("a")
    newest = other.subscriber.peer.number
    assert scene.requests.on_seek(NODE, "a", 10) == newest
    for each in (one, other):
        scene.hub.remove(each.subscriber)
        scene.turn()
    assert scene.others.reports == [(NODE, "a", newest), (NODE, "a", inf)]
    scene.clock.advance(20)
    assert scene.requests.on_seek(NODE, "a", 10) is None


# Replies


@pytest_twisted.ensureDeferred
async def test_reply_to_a_request_elsewhere(scene: Scene) -> None:
    token = "0" * 32 + NODE
    with pytest.raises(NoRequest):
        await scene.reply(f"$reply/{token}")
    scene.others.channel = "a"
    await scene.reply(f"$reply/{token}")
    assert [(each, reply.data) for each, reply in scene.others.replies] == [(token, b"done")]
    scene.others.is_open = False
    with pytest.raises(NoRequest):
        await scene.reply(f"$reply/{token}")
    grants: list[tuple[Grant, type[Refusal]]] = [
        (Grant.parse({"publish": ["b"]}, "s", where="test"), NotGranted),
        (Grant.parse({"publish": ["**"], "reply": []}, "s", where="test"), NotGranted),
        (NOTHING, TokenMissing),
    ]
    for grant, refusal in grants:
        with pytest.raises(refusal):
            await scene.reply(f"$reply/{token}", Peer("http", "::1", grant))
    assert len(scene.others.replies) == 2


@pytest_twisted.ensureDeferred
async def test_reply_needs_no_right_to_publish(scene: Scene) -> None:
    await scene.subscribe("a")
    asking = scene.ask(asker="x")
    grant = Grant.parse({"reply": ["a"]}, "s", where="test")
    await scene.reply(scene.reply_to("x"), Peer("http", "::1", grant))
    assert isinstance(asking.outcome, Draft)
    assert asking.outcome.sender == "s"
