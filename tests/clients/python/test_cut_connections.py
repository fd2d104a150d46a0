"""Connections that are cut at random bytes: no message is lost, and none is published or received twice."""

import pytest
from pushd_client import Message
from twisted.internet.defer import ensureDeferred, gatherResults

from tests.clients.python.conftest import Connect
from tests.clients.python.cutting_proxy import CuttingProxy
from tests.clients.python.flavours import Flavour
from tests.transports.daemon import RunningDaemon

MESSAGES = 40
LONGEST = 3000
"""Three messages with their headers pass before a cut, on average."""


async def publish(client: Flavour, name: str, count: int) -> None:
    """Publish numbered messages, each as soon as the previous one was accepted."""
    for number in range(count):
        await client.publish(f"cut/{name}", f"{name} {number} {'x' * (number * 7 % 200)}")


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_cuts_lose_and_repeat_nothing(daemon: RunningDaemon, connect: Connect, transport) -> None:
    from twisted.internet import reactor

    proxy = CuttingProxy(reactor, daemon.ports["http"], seed=7, longest=LONGEST)
    publisher, subscriber = connect(proxy.port), connect(proxy.port)
    subscription = subscriber.subscribe("cut/*", transport=transport)
    try:
        await subscription.open()
        published = [ensureDeferred(publish(publisher, name, MESSAGES // 2)) for name in "ab"]
        *_, received = await gatherResults(
            [*published, ensureDeferred(subscription.take(MESSAGES))], consumeErrors=True
        )
        assert proxy.cuts > 10
        proxy.longest = 0
        await publisher.publish("cut/a", "last")
        received += await subscription.take(1)
    finally:
        await subscription.close()
        await proxy.close()
    assert all(isinstance(each, Message) for each in received), received
    stored = (await publisher_history(connect, daemon)).messages
    assert len(stored) == MESSAGES + 1
    assert [each.id for each in received] == [each.id for each in stored]


async def publisher_history(connect: Connect, daemon: RunningDaemon):
    """Return what the daemon has stored."""
    return await connect(daemon.ports["http"]).history("cut/*", since="all")
