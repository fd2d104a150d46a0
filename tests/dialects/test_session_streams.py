"""Streams of Pushlet and comet4j by raw HTTP: what they send, and what their sessions remember."""

import json
import re
import time
from dataclasses import replace
from urllib.parse import unquote, urlencode

import pytest

from tests.authorization.credentials import EVERYTHING, Credentials, bearer
from tests.transports.daemon import MovableReactor, until
from tests.transports.http_client import HttpClient, encode_request

SETTINGS: dict[str, object] = {"dialects.enable": "pushlet,comet4j"}
TOKEN = "reader-Kq3vXw8ZpT5nRb1c"


class Stream:
    """An open stream; `text` is what it has sent."""

    def __init__(self, daemon, path, headers=None, *, small=False):
        self.text = ""
        self.head = None
        self.client = daemon.connect(
            "http", HttpClient(encode_request("GET", path, None, headers), self._take), small=small
        )

    def _take(self, data):
        self.text += data.decode()

    @property
    def has_ended(self):
        return self.client.answer.called

    async def has(self, *words):
        await until(lambda: all(word in unquote(self.text) for word in words), f"{words} in the stream")


class PushletClient:
    """A client of Pushlet in mode stream."""

    transport_name = "pushlet-stream"
    refusal, again = "abort", 'p_event="refresh"'
    path = "/pushlet.srv"

    def __init__(self, daemon, headers=None, kind="xml"):
        self.daemon, self.headers, self.kind = daemon, headers or {}, kind

    async def begin(self, topics):
        body = await self._send(p_event="join", p_format=self.kind)
        (self.id,) = re.findall(r'p_id"?[=,]"(\w+)"', body)
        await self._send(p_event="subscribe", p_id=self.id, p_subject=",".join(f"/{topic}" for topic in topics))
        return await self.open(p_event="listen", p_mode="stream")

    async def resume(self, **options):
        return await self.open(p_event="refresh", **options)

    async def send(self, event, **query):
        return await self._send(p_event=event, p_id=self.id, **query)

    async def leave(self):
        await self.send("leave")

    async def open(self, *, small=False, **query):
        stream = Stream(self.daemon, f"{self.path}?{urlencode(query | {'p_id': self.id})}", self.headers, small=small)
        stream.head = await stream.client.head
        return stream

    async def end_of(self, stream):
        await stream.client.answer

    async def _send(self, **query):
        answer = await self.daemon.request("GET", f"{self.path}?{urlencode(query)}", None, self.headers)
        assert answer.status == 200
        return answer.body.decode()


class Comet4jClient(PushletClient):
    """A client of comet4j in the work style stream."""

    transport_name = "comet4j-stream"
    refusal = again = '"type":"revival"'
    path = "/comet4j"

    async def begin(self, topics):
        conn = json.loads(unquote((await self._send(cmd="conn", channels=",".join(topics), ws="stream"))[1:-1]))
        assert conn["data"]["ws"] == "stream"
        self.id = conn["data"]["cId"]
        return await self.resume()

    async def resume(self, **options):
        return await self.open(cmd="revival", **options)

    async def leave(self):
        await self._send(cmd="drop", cid=self.id)

    async def open(self, **query):
        return await super().open(cid=self.id, **query)

    async def end_of(self, stream):
        """Close the connection after the last message, as the script does, which may not see the end of an answer."""
        await stream.has(self.again)
        assert not stream.has_ended
        stream.client.transport.abortConnection()
        await until(lambda: stream.has_ended, "the end")


each_client = pytest.mark.parametrize("client_class", [PushletClient, Comet4jClient])


async def streams_left(daemon, client, count):
    await until(lambda: daemon.counters.connections[client.transport_name] == count, f"{count} streams")


@each_client
async def test_a_stream_goes_on_where_the_one_before_was_cut(start_daemon, client_class):
    daemon = await start_daemon(SETTINGS)
    client = client_class(daemon)
    stream = await client.begin(["a"])
    await daemon.publish("a", "text1")
    await stream.has("text1")
    await daemon.publish("a", "text2", keep=0)
    await daemon.publish("a", "text3")
    await stream.has("text2", "text3")
    assert not stream.has_ended
    stream.client.transport.abortConnection()
    await streams_left(daemon, client, 0)
    await daemon.publish("a", "text4")
    resumed = await client.resume()
    await daemon.publish("a", "text5")
    await resumed.has("text4", "text5")
    assert not any(f"text{number}" in resumed.text for number in (1, 2, 3))


@each_client
async def test_another_stream_replaces_the_one_before(start_daemon, client_class):
    daemon = await start_daemon(SETTINGS)
    client = client_class(daemon)
    before = await client.begin(["a"])
    await daemon.publish("a", "text1")
    await before.has("text1")
    after = await client.resume()
    await before.client.answer
    await daemon.publish("a", "text2")
    await after.has("text2")
    assert "text1" not in after.text
    assert client.again not in unquote(before.text)
    await client.leave()
    await after.client.answer
    await streams_left(daemon, client, 0)


@each_client
async def test_a_stream_ends_when_its_token_is_removed(start_daemon, tmp_path, client_class):
    credentials = Credentials(tmp_path)
    credentials.write({TOKEN: EVERYTHING})
    daemon = await start_daemon(SETTINGS, file=credentials.file)
    client = client_class(daemon, bearer(TOKEN))
    stream = await client.begin(["a"])
    credentials.write({})
    await daemon.reload()
    await client.end_of(stream)
    assert client_class.refusal in unquote(stream.text)
    await daemon.request("POST", "/pub/a", b"secret", bearer("setup-Kq3vXw8ZpT5nRb1c"))
    assert "secret" not in stream.text


@each_client
async def test_a_stream_ends_when_its_token_has_expired(start_daemon, tmp_path, client_class):
    credentials = Credentials(tmp_path)
    credentials.write({TOKEN: EVERYTHING})
    daemon = await start_daemon(SETTINGS, file=credentials.file)
    client = client_class(daemon, bearer(TOKEN))
    stream = await client.begin(["a"])
    (subscriber,) = daemon.subscribers("a")
    subscriber.peer.identity = replace(subscriber.peer.identity, expires=time.time() - 3600)
    daemon._service.hub.credentials.watch(subscriber)
    await client.end_of(stream)
    assert client_class.refusal in unquote(stream.text)
    assert list(daemon.counters.disconnects) == ["token-expired"]


@each_client
async def test_a_kick_and_the_end_of_the_daemon_ask_for_another_request(start_daemon, client_class):
    daemon = await start_daemon(SETTINGS)
    client = client_class(daemon)
    stream = await client.begin(["a"])
    (subscriber,) = daemon.subscribers("a")
    assert (await daemon.request("DELETE", f"/connections/{subscriber.peer.id}")).status in (200, 204)
    await client.end_of(stream)
    assert client.again in unquote(stream.text)
    stream = await client.resume()
    await daemon.stop()
    assert client.again in unquote(stream.text)


@each_client
async def test_a_slow_client_is_disconnected_and_reads_the_rest_later(start_daemon, client_class):
    daemon = await start_daemon(SETTINGS | {"limits.queue_messages": 2})
    client = client_class(daemon)
    stream = await client.begin(["a"])
    await daemon.publish("a", "text0")
    await stream.has("text0")
    daemon.subscribers("a")[0].outlet.pauseProducing()  # as its transport does when the client does not read
    for number in range(1, 4):
        await daemon.publish("a", f"text{number}")
    await client.end_of(stream)
    assert list(daemon.counters.disconnects) == ["slow"]
    resumed = await client.resume()
    await resumed.has("text1", "text2", "text3")
    assert "text0" not in resumed.text
    assert "text1" not in stream.text


@each_client
async def test_a_client_requests_a_long_stream_again(start_daemon, client_class):
    daemon = await start_daemon(SETTINGS)
    client = client_class(daemon)
    stream = await client.begin(["a"])
    for number in range(12):
        await daemon.publish("a", f"text{number:02}" + "x" * 100_000)
    await client.end_of(stream)
    assert client.again in unquote(stream.text)
    resumed = await client.resume()
    await resumed.has("text11")
    texts = re.findall(r"text\d\d", stream.text + resumed.text)
    assert texts == [f"text{number:02}" for number in range(12)]


@each_client
async def test_a_session_lasts_as_long_as_its_stream_which_is_kept_alive(start_daemon, tmp_path, client_class):
    file = tmp_path / "pushd.toml"
    file.write_text("[dialects.pushlet]\ntimeout = 60\n[dialects.comet4j]\ntimeout = 60\n")
    reactor = MovableReactor()
    daemon = await start_daemon(SETTINGS | {"keepalive.stream": 50}, reactor, file)
    client = client_class(daemon)
    stream = await client.begin(["a"])
    await reactor.pass_time(49)
    await daemon.publish("a", "text1")
    await stream.has("text1")
    await reactor.pass_time(49)
    assert 'p_event="hb"' not in stream.text and client.again not in unquote(stream.text)
    await reactor.pass_time(3)
    await stream.has('p_event="hb"' if client_class is PushletClient else client.again)
    if client_class is Comet4jClient:
        assert not stream.has_ended
        await reactor.pass_time(6)
        assert stream.has_ended, "its client had time to close the connection"
    stream.client.transport.abortConnection()
    await streams_left(daemon, client, 0)
    await reactor.pass_time(50)
    assert (await client.resume()).head.status == 200
