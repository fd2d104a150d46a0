"""Answers to the clients that are cut, at each byte: a call is repeated or fails, a subscription misses nothing."""

import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import pytest
import pytest_twisted
from pushd_client import Backoff, ConnectionFailed, End, Gap, Message, Publication, Refused
from twisted.internet.defer import ensureDeferred

from tests.clients.python.conftest import Connect
from tests.clients.python.flavours import End as IterationEnd
from tests.clients.python.flavours import Flavour, Subscribed, Twisted
from tests.cut_answers import AnswerCutter
from tests.transports.daemon import RunningDaemon

AT_ONCE = Backoff(0.0, 0.0, uniform=lambda low, high: 0.0)
TRANSPORTS = ("sse", "websocket")
SOME, EVERY = 61, 1
"""How many bytes one cut is after the other."""


class Scene:
    """A daemon, a client behind a proxy that cuts answers, and one beside it, which answers requests."""

    def __init__(self, cutter: AnswerCutter, client: Flavour, beside: Twisted, cursor: str) -> None:
        self.cutter = cutter
        self.client = client
        self._beside = beside
        self._cursor = cursor
        self._requests = 0

    async def respond(self, requests: Subscribed) -> None:
        """Answer requests until the client is closed."""
        with contextlib.suppress(IterationEnd):
            while True:
                request = await requests.next()
                self._requests += 1
                await self._beside.reply(request, "twelve o'clock")

    async def published(self) -> int:
        """Return how many messages and requests were published since the last time."""
        history = await self._beside.history("cut/*", since=self._cursor)
        self._cursor = history.cursor
        requests, self._requests = self._requests, 0
        return len(history) + requests


class Case(NamedTuple):
    """A call."""

    call: Callable[[Flavour], Awaitable[Any]]
    is_repeated: bool = True
    """Whether it is repeated where its answer is cut; if not, it fails."""
    published: int = 0
    """How many messages it publishes."""


LINES = [Publication("cut/c", "one"), Publication("cut/d", b"two"), Publication("cut//", "three")]
CASES = {
    "publish": Case(lambda client: client.publish("cut/a", "x"), published=1),
    "publish_to": Case(lambda client: client.publish_to(["cut/a", "cut/b"], "x"), published=2),
    "batch": Case(lambda client: client.batch(LINES), published=2),
    "an ephemeral message": Case(lambda client: client.publish("cut/a", "x", keep=False), is_repeated=False),
    "a refusal": Case(lambda client: client.publish("cut//", "x")),
    "history": Case(lambda client: client.history("some/*", since="lostepoc-7")),
    "cursor": Case(lambda client: client.cursor("some/*")),
    "presence": Case(lambda client: client.presence("some/a")),
    "enter": Case(lambda client: client.enter("some/b", "amy", {"name": "Amy"}, ttl=1000)),
    "leave": Case(lambda client: client.leave("some/b", "amy"), is_repeated=False),
    "heartbeat": Case(lambda client: client.heartbeat("bob")),
    "last_heartbeat": Case(lambda client: client.last_heartbeat("bob")),
    "request": Case(lambda client: client.request("clock", "what time is it?"), is_repeated=False, published=1),
    "channels": Case(lambda client: client.call("GET", "/channels", query={"prefix": "some/"})),
    "kick": Case(lambda client: client.call("DELETE", "/connections", query={"sub": "bob"}), is_repeated=False),
    "delete": Case(lambda client: client.delete("some/c"), is_repeated=False),
}


@pytest_twisted.async_yield_fixture
async def scene(daemon: RunningDaemon, connect: Connect) -> AsyncIterator[Scene]:
    """A daemon with some messages and a responder."""
    port = daemon.ports["http"]
    beside = Twisted(f"http://127.0.0.1:{port}")
    for number in range(2):
        await beside.publish("some/a", {"number": number}, end=number == 1)
    await beside.enter("some/a", "bob", {"name": "Bob"}, ttl=1000)
    requests, cutter = beside.subscribe("clock"), AnswerCutter(port)
    await requests.open()
    scene = Scene(cutter, connect(cutter.port, backoff=AT_ONCE), beside, await beside.cursor())
    responding = ensureDeferred(scene.respond(requests))
    yield scene
    await beside.close()
    await responding
    cutter.close()


async def outcome(result: Awaitable[Any]) -> Any:
    """Return the result of a call, or its exception as text."""
    try:
        return await result
    except (ConnectionFailed, Refused) as error:
        return error


async def check(scene: Scene, name: str, step: int) -> None:
    """Make a call whose answer is cut at one byte after the other, until it has no more bytes."""
    case = CASES[name]
    uncut, size = await outcome(case.call(scene.client)), 0
    assert await scene.published() == case.published
    while True:
        scene.cutter.cut_after(size)
        found = await outcome(case.call(scene.client))
        assert await scene.published() == case.published
        if not scene.cutter.has_cut():
            break
        if case.is_repeated:
            assert comparable(found) == comparable(uncut), size
        else:
            assert isinstance(found, ConnectionFailed), size
        size += step
    assert size > 200


def comparable(found: Any) -> str:
    """Return a result without what may differ each time."""
    return re.sub(r"(id='\w+-|last=|online=)[\w.]+", r"\1", repr(found))


async def check_subscription(scene: Scene, transport: str, step: int) -> None:
    """Subscribe, by streams that are cut at one byte after the other, until they have no more bytes."""
    size = 0
    while True:
        scene.cutter.cut_after(size)
        subscription = scene.client.subscribe("some/a", since="lostepoc-7", transport=transport)
        items = await subscription.rest()
        assert [type(each) for each in items] == [Gap, Message, Message, End], size
        assert [each.data["number"] for each in items[1:3]] == [0, 1]
        assert items[0].reason == "epoch"
        if not scene.cutter.has_cut():
            break
        size += step
    assert size > 500


async def check_refusal(scene: Scene, transport: str, step: int) -> None:
    """Subscribe to a topic that is refused, by answers that are cut at one byte after the other."""
    size = 0
    while True:
        scene.cutter.cut_after(size)
        refused = await outcome(scene.client.subscribe("some//", transport=transport).next())
        assert isinstance(refused, Refused), size
        assert refused.code == "bad-topic", size
        if not scene.cutter.has_cut():
            break
        size += step
    assert size > 200


@pytest_twisted.ensureDeferred
async def test_calls_and_subscriptions_whose_answers_are_cut_at_some_bytes(scene: Scene) -> None:
    for name in CASES:
        await check(scene, name, SOME)
    for transport in TRANSPORTS:
        await check_subscription(scene, transport, SOME)
        await check_refusal(scene, transport, SOME)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@pytest_twisted.ensureDeferred
async def test_call_whose_answer_is_cut_at_every_byte(scene: Scene, name: str) -> None:
    await check(scene, name, EVERY)


@pytest.mark.slow
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest_twisted.ensureDeferred
async def test_subscription_that_is_cut_at_every_byte(scene: Scene, transport: str) -> None:
    await check_subscription(scene, transport, EVERY)
    await check_refusal(scene, transport, EVERY)
