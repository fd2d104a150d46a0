"""Requests and replies between nodes that share one Redis: the asker, the responder and the replier are at different
ones.
"""

from math import inf

import pytest
import pytest_twisted
from twisted.internet.defer import DeferredList

from tests.backends.patience import wait_for_nodes
from tests.backends.redis_server import RedisServer
from tests.daemon_fixtures import Start
from tests.transports.askers import ASKERS, REPLIES, HttpAsker, reply_by_http
from tests.transports.client import Received
from tests.transports.daemon import RunningDaemon, turns, until, until_ready
from tests.transports.http_client import HttpClient, encode_request
from tests.transports.line_client import JsonLines
from tests.transports.stream_client import SseJson
from tests.transports.websocket_client import CommandWebSocket

Nodes = tuple[RunningDaemon, RunningDaemon, RunningDaemon]
each_asker = pytest.mark.parametrize("asker_class", ASKERS, ids=[each.label for each in ASKERS])


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make nodes wait for each other, however busy the machine is."""
    wait_for_nodes(monkeypatch)
    monkeypatch.setattr("pushd.backends.redis.requests._ANSWER_SECONDS", 20.0)


@pytest_twisted.async_fixture
async def nodes(start_daemon: Start, one_redis: RedisServer) -> Nodes:
    """Three nodes."""
    one_redis.ask("FLUSHALL")
    one, two, three = [await start_daemon({"backend.url": one_redis.url}) for _ in range(3)]
    for node in (one, two, three):
        await until_ready(node)
    return one, two, three


async def asker_at(node, asker_class=HttpAsker):
    """Return an open asker."""
    asker = asker_class(node)
    await asker.open()
    return asker


async def responder_at(node, topics="jobs", client_class=CommandWebSocket):
    """Return a subscriber."""
    client = client_class(node)
    await client.subscribe(topics)
    return client


async def received(client):
    """Return the channel for the reply to the next message, which must be a request."""
    request = await client.next()
    assert isinstance(request, Received), request
    assert request.reply_to is not None
    return request.reply_to


def keys_of(redis):
    """Return the names of all keys."""
    return {key.decode() for key in redis.ask("KEYS", "*")}


@each_asker
@pytest.mark.parametrize("reply", REPLIES)
async def test_the_first_reply_wins_at_all_nodes(nodes, asker_class, reply):
    one, two, three = nodes
    responder = await responder_at(two)
    answer = (await asker_at(one, asker_class)).ask("jobs", "1")
    reply_to = await received(responder)
    assert await reply(three, reply_to, "first", {}) is None
    assert (await answer).data == b"first"
    for node in nodes:
        assert await reply(node, reply_to, "second", {}) == "no-request"


async def test_of_simultaneous_replies_one_is_accepted(nodes):
    responders = [await responder_at(node) for node in nodes]
    answer = (await asker_at(nodes[0])).ask("jobs", "1")
    channels = {await received(responder) for responder in responders}
    (reply_to,) = channels
    results = await DeferredList(
        [responder.ask(publish=reply_to, data=str(number)) for number, responder in enumerate(responders)]
    )
    accepted = [number for number, (_, receipt) in enumerate(results) if "error" not in receipt]
    refused = [receipt["error"]["code"] for _, receipt in results if "error" in receipt]
    assert len(accepted) == 1
    assert refused == ["no-request"] * 2
    assert (await answer).data == str(accepted[0]).encode()


@each_asker
async def test_without_responders_at_any_node(nodes, asker_class):
    await responder_at(nodes[1], "jobs/*")
    assert (await (await asker_at(nodes[0], asker_class)).ask("jobs/1", "x")).code == "no-responders"


async def test_responders_of_patterns_at_other_nodes_count(nodes):
    responder = CommandWebSocket(nodes[1])
    await responder.open()
    await responder.ask(subscribe="jobs/*", responder=True)
    answer = (await asker_at(nodes[0])).ask("jobs/1", "x")
    await responder.ask(publish=await received(responder), data="done")
    assert (await answer).data == b"done"
    answer = (await asker_at(nodes[0])).ask("jobs/1", "x")
    await received(responder)
    responder.abort()
    assert (await answer).code == "no-reply"


@pytest.mark.parametrize("client_class", [CommandWebSocket, JsonLines, SseJson])
async def test_the_only_responder_at_another_node_leaves(nodes, client_class):
    responder = await responder_at(nodes[1], client_class=client_class)
    answer = (await asker_at(nodes[0])).ask("jobs", "1")
    await received(responder)
    later = [await responder_at(node) for node in nodes]  # they have not received the request
    responder.abort()
    assert (await answer).code == "no-reply"
    assert all(client.taken() == [] for client in later)


async def test_a_request_waits_for_a_responder_at_a_third_node(nodes):
    one, other = await responder_at(nodes[1]), await responder_at(nodes[2])
    answer = (await asker_at(nodes[0])).ask("jobs", "1")
    await received(one)
    reply_to = await received(other)
    one.abort()
    await until(lambda: not nodes[1].subscribers("jobs"), "one has left")
    await turns(50)
    assert nodes[0].counters.open_requests == 1
    await other.ask(publish=reply_to, data="done")
    assert (await answer).data == b"done"


async def test_a_long_poll_at_another_node_may_answer_after_its_end(nodes):
    poll = HttpClient(encode_request("GET", "/longpoll/jobs"))
    nodes[1].connect("http", poll)
    await until(lambda: nodes[1].subscribers("jobs"), "the poll")
    answer = (await asker_at(nodes[0])).ask("jobs", "1")
    (message,) = (await poll.answer).json
    await turns(50)
    assert await reply_by_http(nodes[2], message["reply_to"], "done", {}) is None
    assert (await answer).data == b"done"


async def test_a_node_that_stops_answers_for_its_responders(nodes):
    """Its subscribers are closed one after the other, and the asker's node is told."""
    responder = await responder_at(nodes[1])
    answer = (await asker_at(nodes[0])).ask("jobs", "1")
    await received(responder)
    await nodes[1].stop()
    assert (await answer).code == "no-reply"


async def test_a_node_that_is_killed_is_lost(nodes):
    """Nothing is said: its connections to Redis end."""
    responder = await responder_at(nodes[1])
    answer = (await asker_at(nodes[0])).ask("jobs", "1")
    await received(responder)
    backend = nodes[1]._service.hub._backend
    for link in (backend._commands.link, backend._feed_link):
        link._is_stopping = True
        link.drop("killed")
    assert (await answer).code == "no-reply"


async def test_a_node_that_is_frozen_is_lost_after_a_while(nodes, monkeypatch):
    responder = await responder_at(nodes[1])
    answer = (await asker_at(nodes[0])).ask("jobs", "1", 60)
    await received(responder)
    monkeypatch.setattr("pushd.backends.redis.requests._SILENT_SECONDS", 1.0)
    nodes[1]._service.hub._backend._requests.listener = None  # it does not answer any more
    assert (await answer).code == "no-reply"


async def test_nothing_is_stored_and_a_node_forgets_a_request(nodes, one_redis):
    responder = await responder_at(nodes[1])
    before = keys_of(one_redis)
    asker = await asker_at(nodes[0])
    asker.ask("jobs", "to-be")
    reply_to = await received(responder)
    asker.abort()
    await until(lambda: not nodes[0].counters.open_requests, "no open request")
    assert await reply_by_http(nodes[2], reply_to, "x", {}) == "no-request"
    added = keys_of(one_redis) - before
    assert not [key for key in added if "jobs" in key or reply_to[7:] in key]
    assert (await nodes[0].request("GET", "/history/**")).json == []


async def test_forged_messages_change_nothing(nodes, one_redis):
    responder = await responder_at(nodes[1])
    answer = (await asker_at(nodes[0])).ask("jobs", "1")
    reply_to = await received(responder)
    node, other = (each._service.hub._backend.node for each in nodes[:2])
    for text in (
        "req seek x 1 10\njobs",
        f"req seek {other} x 10\njobs",
        f"req seek {other} 1 10\n",
        f"req left {other} now\njobs",
        f"req left {'0' * 12} inf\njobs",
        f"req reply {other} 1 {reply_to[7:]}\nx",
        f"req reply {other} 1 {'0' * 44}\nx",
        f"req answer {other} 7\n1",
        f"req found {other} 7 1",
        f"req unknown {other}",
        "req",
        "req ",
    ):
        assert one_redis.ask("PUBLISH", f"pushd:0:n:{node}", text) in (1, "1")
    await turns(50)
    assert nodes[0].counters.open_requests == 1
    await responder.ask(publish=reply_to, data="done")
    assert (await answer).data == b"done"
    assert nodes[0]._service.hub.requests._responders.oldest("jobs") == inf


async def test_requests_are_refused_while_redis_is_away(start_daemon, own_redis):
    redis = own_redis()
    node = await start_daemon({"backend.url": redis.url, "backend.publish_timeout": 1})
    await until_ready(node)
    redis.kill()
    assert (await (await asker_at(node)).ask("jobs", "1")).code == "unavailable"
