"""Sessions of polling dialects lose nothing that their answers have not contained."""

import json
from urllib.parse import unquote, urlencode

import pytest
from twisted.internet.defer import Deferred

from tests.transports.daemon import until

SETTINGS: dict[str, object] = {"dialects.enable": "pushlet,comet4j"}


class Comet4jSession:
    """A client of comet4j by long polling."""

    transport_name = "comet4j"

    def __init__(self, daemon):
        self.daemon, self.headers = daemon, {}

    async def begin(self, topics):
        (conn,) = await self._send(cmd="conn", channels=",".join(topics))
        self._id = conn["data"]["cId"]

    @property
    def revival(self):
        """The address of the request that waits for messages."""
        return f"/comet4j?cmd=revival&cid={self._id}"

    async def send_revival(self):
        """Send the request that waits for messages."""
        return await self._send(cmd="revival", cid=self._id)

    async def poll(self):
        """Return the data of the next messages; a gap is a pair of its topic and reason."""
        return [self._data(each) for each in await self.send_revival()]

    def _data(self, message):
        data = message["data"]
        return (data["topic"], data["reason"]) if message["channel"] == "c4j" else data

    async def _send(self, **query):
        answer = await self.daemon.request("GET", f"/comet4j?{urlencode(query)}", None, self.headers)
        return [json.loads(unquote(answer.body[1:-1].decode()))]


class PushletSession:
    """A client of Pushlet in mode pull."""

    transport_name = "pushlet"

    def __init__(self, daemon):
        self.daemon, self.headers = daemon, {}

    async def begin(self, topics):
        (ack,) = await self._send(p_event="join", p_format="json")
        self._id = ack["p_id"]
        subjects = ",".join(f"/{topic}" for topic in topics)
        await self._send(p_event="listen", p_id=self._id, p_mode="pull", p_subject=subjects)

    @property
    def revival(self):
        """See `Comet4jSession`."""
        return f"/pushlet.srv?p_event=refresh&p_id={self._id}"

    async def send_revival(self):
        """See `Comet4jSession`."""
        return await self._send(p_event="refresh", p_id=self._id)

    async def poll(self):
        """See `Comet4jSession`. A subject is a channel and what is below it, which has no gap of its own."""
        events = await self.send_revival()
        return [self._data(each) for each in events if each["p_event"] == "data" and "**" not in each.get("topic", "")]

    def _data(self, event):
        return (event["topic"], event["reason"]) if event["p_subject"] == "/pushd/gap" else event["data"]

    async def _send(self, **query):
        return (await self.daemon.request("GET", f"/pushlet.srv?{urlencode(query)}", None, self.headers)).json


each_session = pytest.mark.parametrize("session_class", [Comet4jSession, PushletSession])


async def receive(session, count):
    received: list[object] = []
    while len(received) < count:
        received += await session.poll()
    return received


@each_session
async def test_kept_messages_of_all_channels_follow_the_gaps(start_daemon, session_class):
    daemon = await start_daemon(SETTINGS | {"history.messages": 2})
    session = session_class(daemon)
    await session.begin(["a", "b", "c"])
    await daemon.publish("c", "c1")
    await daemon.publish_all(*[(name, f"{name}{number}") for number in range(1, 5) for name in "ab"])
    received = await receive(session, 7)
    assert sorted(received[:2]) == [("a", "evicted"), ("b", "evicted")]
    assert received[2:] == ["c1", "a3", "b3", "a4", "b4"]
    await daemon.publish("a", "live")
    assert await receive(session, 1) == ["live"]


@each_session
async def test_ephemeral_messages_of_one_turn_arrive_in_order(start_daemon, session_class):
    daemon = await start_daemon(SETTINGS)
    session = session_class(daemon)
    await session.begin(["a"])
    for keeps in ((True, False, True, False), (False, False, True)):
        waiting = Deferred.fromCoroutine(receive(session, len(keeps)))
        await until(lambda: daemon._service._counters.connections[session.transport_name], "a held request")
        lines = [{"channel": "a", "data": f"{n}"} | ({} if keep else {"keep": False}) for n, keep in enumerate(keeps)]
        body = "\n".join(map(json.dumps, lines)).encode()
        await daemon.request("POST", "/pub", body, {"Content-Type": "application/x-ndjson"})
        assert await waiting == [f"{n}" for n in range(len(keeps))]


@each_session
async def test_more_than_a_session_keeps_is_read_again(start_daemon, session_class):
    daemon = await start_daemon(SETTINGS)
    session = session_class(daemon)
    await session.begin(["a"])
    texts = [f"{n}" * 9000 for n in range(5)]
    await daemon.publish_all(*[("a", text) for text in texts])
    assert await receive(session, 5) == texts


@each_session
async def test_a_request_replaces_the_one_that_waits(start_daemon, session_class):
    daemon = await start_daemon(SETTINGS)
    session = session_class(daemon)
    await session.begin(["a"])
    before = Deferred.fromCoroutine(session.send_revival())
    await until(lambda: daemon._service._counters.connections[session.transport_name], "a held request")
    waiting = Deferred.fromCoroutine(receive(session, 1))
    await before
    await daemon.publish("a", "one")
    assert await waiting == ["one"]
