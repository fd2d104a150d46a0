"""Publishes that a client sends again."""

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pushd.core.errors import Overloaded
from pushd.dialects.bayeux.repeats import Repeats
from tests.dialects.bayeux.client import Bayeux
from tests.transports.client import Received
from tests.transports.websocket_client import JsonWebSocket


class Publisher:
    """Publishes when the test allows it."""

    def __init__(self):
        self.repeats = Repeats()
        self.count = 0
        self.waiting: list[Deferred[None]] = []

    async def _publish(self):
        self.count += 1
        waiting: Deferred[None] = Deferred()
        self.waiting.append(waiting)
        await waiting

    def send(self, id="7", content=b"/a 1", now=0.0):
        """Start to publish; return the outcome."""
        return Deferred.fromCoroutine(self.repeats.once(id, content, now, self._publish))

    def send_accepted(self, **fields):
        """Publish; return how often that was done so far."""
        outcome = self.send(**fields)
        while self.waiting:
            self.waiting.pop().callback(None)
        assert outcome.called
        return self.count


def test_same_publish_is_done_once():
    publisher = Publisher()
    assert [publisher.send_accepted() for _ in range(3)] == [1, 1, 1]
    assert publisher.send_accepted(content=b"/a 2") == 2
    assert publisher.send_accepted(id="8") == 3
    assert publisher.send_accepted(id="8", now=200) == 4


def test_repeat_waits_for_the_outcome():
    publisher = Publisher()
    first, second = publisher.send(), publisher.send()
    assert (publisher.count, second.called) == (1, False)
    publisher.waiting.pop().callback(None)
    assert first.called
    assert second.called


def test_publish_that_fails_may_be_repeated():
    publisher = Publisher()
    outcomes = [publisher.send(), publisher.send()]
    failures: list[Failure] = []
    for outcome in outcomes:
        outcome.addErrback(failures.append)
    publisher.waiting.pop().errback(Overloaded("no"))
    assert [failure.type for failure in failures] == [Overloaded, Overloaded]
    assert publisher.send_accepted() == 2


@pytest.mark.parametrize(("ids", "count"), [(["3", "9", "10"], 1), (["3", "3"], 1), (["z", "10"], 1), (["3", "2"], 2)])
def test_ids_begin_anew_when_a_page_is_loaded_again(ids, count):
    publisher = Publisher()
    publisher.send_accepted()
    for id in ids:
        publisher.repeats.on_connect(id, 1.0)
    assert publisher.send_accepted(now=1.0) == count


def test_number_of_publishes_is_limited():
    publisher = Publisher()
    for number in range(1000):
        publisher.send_accepted(id=str(number), now=float(number))
    assert len(publisher.repeats._publishes) == 64
    publisher.repeats.on_connect("2000", 2000.0)
    assert not publisher.repeats._publishes


@pytest_twisted.ensureDeferred
async def test_message_and_request_that_are_sent_again_arrive_once(start_daemon):
    daemon = await start_daemon({"dialects.enable": "bayeux"})
    reader, client = JsonWebSocket(daemon), Bayeux(daemon)
    await reader.subscribe("a,service/a")
    await client.handshake()
    for channel in ("/a", "/service/a"):
        message = client.message(channel, data=1)
        assert [reply["successful"] for reply in await client.post(message, message)] == [True, True]
        (reply,) = await client.post(message)
        assert reply == {"channel": channel, "successful": True, "id": message["id"], "clientId": client.id}
    await client.publish("/a", "last")
    items = await reader.until(b"last")
    assert [item.channel for item in items if isinstance(item, Received)] == ["a", "service/a"]
