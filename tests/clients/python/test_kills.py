"""A daemon that is killed and restarted: no message is lost, none is published or received twice."""

import random
from pathlib import Path
from typing import Any

import pytest
from pushd_client import Message, Publication
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.clients.python.cutting_proxy import CuttingProxy
from tests.clients.python.flavours import FLAVOURS, SECONDS, Flavour, Twisted
from tests.system.durable import NO_EVICTION, DurableDaemon

pytestmark = pytest.mark.system

KILLS = 3
MOST = 60
"""The most messages that are accepted from a start to a kill."""


@pytest.mark.parametrize(
    ("kind", "transport"),
    list(zip(FLAVOURS, ["sse", "websocket", "sse"], strict=True)),
    ids=["sync", "asyncio", "twisted"],
)
async def test_kills_lose_and_repeat_nothing(kind: type[Flavour], transport: str, tmp_path: Path) -> None:
    from twisted.internet import reactor

    def start() -> DurableDaemon:
        return DurableDaemon(tmp_path, "--backend-sync", "normal", *NO_EVICTION)

    draw = random.Random(kind.name)
    daemon = await deferToThread(start)
    proxy: Any = CuttingProxy(reactor, daemon.http_port, seed=1, longest=0)
    clients = [kind(f"http://127.0.0.1:{proxy.port}") for _ in range(2)]
    subscription = clients[1].subscribe("kill/*", transport=transport)
    accepted: list[str] = []
    is_over = False

    async def publish(name: str) -> None:
        number = 0
        while not is_over:
            number += 1
            accepted.append((await clients[0].publish(f"kill/{name}", f"{name} {number}")).id)

    async def until_accepted(more: int) -> None:
        count = len(accepted) + more
        deadline = reactor.seconds() + SECONDS
        while len(accepted) < count:
            assert reactor.seconds() < deadline, f"{count - len(accepted)} of {more} messages are still not accepted"
            await deferLater(reactor, 0.005)

    try:
        await subscription.open()
        publishing: list[Deferred[Any]] = [ensureDeferred(publish(name)) for name in "ab"]
        for _ in range(KILLS):
            await until_accepted(draw.randrange(2, MOST))
            await deferToThread(daemon.kill)
            daemon = await deferToThread(start)
            proxy.target(daemon.http_port)
        await until_accepted(10)
        is_over = True
        await gatherResults(publishing, consumeErrors=True)
        received = await subscription.take(len(accepted))
        stored = (await clients[0].history("kill/*", since="all", limit=10_000)).messages
    finally:
        for client in clients:
            await client.close()
        await proxy.close()
        await deferToThread(daemon.stop)
    assert all(isinstance(each, Message) for each in received), received
    assert [each.id for each in stored] == [each.id for each in received]
    assert sorted(accepted) == sorted(each.id for each in stored)
    assert len({each.data for each in stored}) == len(stored)


async def test_publish_that_was_stored_but_not_answered_is_published_once(tmp_path: Path) -> None:
    from twisted.internet import reactor

    def start() -> DurableDaemon:
        return DurableDaemon(tmp_path)

    daemon = await deferToThread(start)
    proxy: Any = CuttingProxy(reactor, daemon.http_port, seed=1, longest=0)
    client = Twisted(f"http://127.0.0.1:{proxy.port}")
    try:
        proxy.is_silent = True
        publishing = [client.publish("a", "once"), client.batch([Publication("a", "twice"), Publication("*", "")])]
        while len(await deferToThread(daemon.history, "a")) < 2:
            pass
        await deferToThread(daemon.kill)
        daemon = await deferToThread(start)
        proxy.target(daemon.http_port)
        proxy.is_silent = False
        proxy.cut()
        receipt, (first, refused) = await gatherResults(publishing)
        stored = (await client.history("a", since="all")).messages
        assert sorted(each.data for each in stored) == ["once", "twice"]
        assert {receipt.id, first.id} == {each.id for each in stored}
        assert refused.code == "bad-channel"
    finally:
        await client.close()
        await proxy.close()
        await deferToThread(daemon.stop)
