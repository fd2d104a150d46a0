"""Promise 5 at the inputs: each has a limit, and over it there is a named outcome, a counter and a log line."""

import json

import pytest

from tests.transports.client import Closed, ErrorLine, Refused
from tests.transports.daemon import MovableReactor, until
from tests.transports.every_client import STREAMING, UNCONFINED, each_client
from tests.transports.http_client import HttpClient, address, encode_request
from tests.transports.line_client import TextLines
from tests.transports.slow_reader import LARGE_HISTORY, stall
from tests.transports.websocket_client import JsonWebSocket

TIGHT = {"limits.message": 1000, "limits.batch": 5000, "limits.topics": 3, "limits.headers": 2048}


async def declare(daemon, size, path="/pub/a", kind="text/plain"):
    """Announce a body."""
    client = HttpClient(encode_request("POST", path, None, {"Content-Length": str(size), "Content-Type": kind}))
    answer = await daemon.connect("http", client).answer
    return answer.status, answer.json["error"]["code"]


async def send_chunk(daemon):
    """Send a body without saying how long it will be."""
    request = encode_request("POST", "/pub/a", None, {"Transfer-Encoding": "chunked"})
    client = HttpClient(request + b"400\r\n" + b"x" * 1024 + b"\r\n")
    answer = await daemon.connect("http", client).answer
    return answer.status, answer.json["error"]["code"]


async def send_headers(daemon):
    answer = await daemon.request("GET", "/sse/a", None, {"X-Long": "x" * 3000})
    return answer.status, answer.json["error"]["code"]


async def send_line(daemon):
    client = TextLines(daemon)
    client.open()
    client.protocol.transport.write(b"PUB a " + b"x" * 200_000)
    told = await client.next()
    assert isinstance(await client.next(), Closed)
    return told


async def send_frame(daemon):
    client = JsonWebSocket(daemon)
    await client.open()
    client.send("x" * 200_000)
    return await client.next()


INPUTS = {
    "a body, by its declared length": (lambda daemon: declare(daemon, 1001), (413, "too-large")),
    "a batch": (lambda daemon: declare(daemon, 5001, "/pub", "application/x-ndjson"), (413, "too-large")),
    "a body of unknown length": (send_chunk, (413, "too-large")),
    "headers": (send_headers, (431, "headers-too-large")),
    "a line": (send_line, ErrorLine("line-too-long")),
    "a frame": (send_frame, Closed(1009, True)),
}
each_input = pytest.mark.parametrize(("exceed", "outcome"), INPUTS.values(), ids=INPUTS)


@each_input
async def test_promise_5_input_over_a_limit_is_refused_and_counted(start_daemon, exceed, outcome):
    daemon = await start_daemon(TIGHT)
    assert await exceed(daemon) == outcome
    assert await daemon.history("a") == []
    code = "too-large" if isinstance(outcome, Closed) else outcome[-1]
    assert await daemon.metric(f'pushd_refusals_total{{code="{code}"}}') == 1


@each_input
async def test_promise_5_input_over_a_limit_is_logged_with_the_peer(start_daemon, exceed, outcome):
    daemon = await start_daemon(TIGHT)
    before = len(daemon.log)
    await exceed(daemon)
    assert ["127.0.0.1" in line for line in daemon.log[before:]] == [True]


@pytest.mark.parametrize("client_class", [TextLines, JsonWebSocket])
async def test_promise_5_a_message_that_is_too_large_leaves_the_connection_open(start_daemon, client_class):
    daemon = await start_daemon(TIGHT)
    client = client_class(daemon)
    if client_class is TextLines:
        client.open()
        with pytest.raises(Refused, match="too-large"):
            await client.ask("PUB a " + "x" * 1001)
        assert (await client.ask("PUB a " + "x" * 1000)).endswith(" 0")
    else:
        await client.open()
        assert (await client.ask(publish="a", data="x" * 1001))["error"]["code"] == "too-large"
        assert (await client.ask(publish="a", data="x" * 1000))["ok"]
    assert len(await daemon.history("a")) == 1


async def test_promise_5_a_batch_line_that_is_too_large_is_refused_alone(start_daemon):
    daemon = await start_daemon(TIGHT)
    lines = [json.dumps({"channel": "a", "data": "x" * size}) for size in (1000, 1001, 999)]
    answer = await daemon.request("POST", "/pub", "\n".join(lines).encode(), {"Content-Type": "application/x-ndjson"})
    first, second, third = map(json.loads, answer.body.splitlines())
    assert second["error"]["code"] == "too-large"
    assert await daemon.history("a") == [first["id"], third["id"]]


@each_client(STREAMING)
async def test_promise_5_too_many_topics_of_a_subscription_are_refused(start_daemon, client_class):
    daemon = await start_daemon(TIGHT)
    client = client_class(daemon)
    with pytest.raises(Refused, match="too-many-topics"):
        await client.subscribe("a,b,c,d")
    assert daemon.subscribers("a") == []


@each_client(UNCONFINED)
async def test_promise_5_too_many_topics_of_a_connection_are_refused_and_the_others_stay(start_daemon, client_class):
    daemon = await start_daemon({"limits.subscriptions": 3})
    client = client_class(daemon)
    await client.subscribe("a,b")
    with pytest.raises(Refused, match="too-many-subscriptions"):
        await client.subscribe("c,d")
    await daemon.publish_all(("c", "1"), ("b", "2"))
    assert await client.data(1) == [b"2"]


@each_client(STREAMING)
async def test_promise_5_a_closed_client_that_does_not_read_is_aborted_after_5_seconds(start_daemon, client_class):
    reactor = MovableReactor()
    daemon = await start_daemon(LARGE_HISTORY | {"limits.queue_messages": 2}, reactor)
    client = client_class(daemon, small=True)
    await client.subscribe("a")
    await stall(daemon, client)
    for _ in range(3):
        await daemon.publish("a", "x")
    await until(lambda: not daemon.subscribers("a"), "the subscriber let go")
    await reactor.pass_time(4)
    assert daemon.open_connections == 1
    await reactor.pass_time(2)
    await until(lambda: not daemon.open_connections, "the connection closed")


async def test_a_slow_publisher_does_not_delay_another(daemon):
    request = encode_request("POST", address("pub", "a"), None, {"Content-Length": "9"})
    slow = daemon.connect("http", HttpClient(request))
    await daemon.publish("a", "quick")
    slow.transport.write(b"slowly...")
    assert (await slow.answer).status == 202
