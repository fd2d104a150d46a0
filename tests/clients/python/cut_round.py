"""One round of publishes and a subscription over connections that are cut."""

from typing import Any

from pushd_client import Message
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults

from tests.clients.python.cutting_proxy import CuttingProxy
from tests.clients.python.flavours import Flavour

_PUBLISHERS = "ab"


class Lost(AssertionError):
    """A message was lost, published twice, or received twice."""


async def run_round(port: int, flavour: type[Flavour], transport: str, seed: int, longest: int, messages: int) -> int:
    """Publish and receive messages over a proxy to a daemon with an empty history; return the number of cuts.

    :param longest: a connection is cut after at most so many bytes.
    :param messages: how many each of two publishers publishes.
    :raises Lost: when a message is lost, published twice, or received twice.
    """
    from twisted.internet import reactor

    proxy: Any = CuttingProxy(reactor, port, seed, longest)
    clients = [flavour(f"http://127.0.0.1:{proxy.port}") for _ in range(2)]
    topics = f"cut{seed}/*"
    subscription = clients[1].subscribe(topics, transport=transport)
    try:
        await subscription.open()
        waiting: list[Deferred[Any]] = [
            ensureDeferred(_publish(clients[0], f"cut{seed}/{name}", messages)) for name in _PUBLISHERS
        ]
        waiting.append(ensureDeferred(subscription.take(messages * len(_PUBLISHERS))))
        received: list[Any] = (await gatherResults(waiting, consumeErrors=True))[-1]
        cuts, proxy.longest = proxy.cuts, 0
        await clients[0].publish(f"cut{seed}/a", "last")
        received += await subscription.take(1)
        stored = (await clients[0].history(topics, since="all")).messages
    finally:
        for client in clients:
            await client.close()
        await proxy.close()
    _check(received, stored, messages * len(_PUBLISHERS) + 1)
    return int(cuts)


async def _publish(client: Flavour, channel: str, count: int) -> None:
    """Publish numbered messages, each when the previous one was accepted."""
    for number in range(count):
        await client.publish(channel, f"{number} {'x' * (number * 7 % 200)}")


def _check(received: list[Any], stored: list[Message], count: int) -> None:
    if not all(isinstance(each, Message) for each in received):
        raise Lost(f"a gap or an end was received: {received}")
    if len(stored) != count:
        raise Lost(f"{count} messages were accepted, and {len(stored)} are stored")
    if [each.id for each in received] != [each.id for each in stored]:
        raise Lost(f"received {[each.id for each in received]}, stored {[each.id for each in stored]}")
