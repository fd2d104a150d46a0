"""Requests and replies, over every transport."""

from typing import Any

import pytest
from twisted.internet.defer import DeferredList

from tests.authorization.credentials import EVERYTHING, Credentials, only
from tests.transports.askers import ASKERS, REPLIES, HttpAsker, LineAsker, WebSocketAsker, reply_by_http
from tests.transports.client import Received
from tests.transports.daemon import turns, until
from tests.transports.every_client import each_client
from tests.transports.http_client import HttpClient, encode_request
from tests.transports.line_client import JsonLines, TextLines
from tests.transports.long_poll_client import LongPoll
from tests.transports.stream_client import LineStream, Sse, SseJson
from tests.transports.websocket_client import CommandWebSocket, JsonWebSocket

RESPONDERS = (SseJson, LineStream, JsonWebSocket, CommandWebSocket, JsonLines, LongPoll)
"""The clients whose format shows the channel for the reply."""
each_asker = pytest.mark.parametrize("asker_class", ASKERS, ids=[each.label for each in ASKERS])
each_reply = pytest.mark.parametrize("reply", REPLIES)
LOST = "0" * 32
"""A token of no request."""


async def asker_of(asker_class, daemon):
    """Return an open asker."""
    asker = asker_class(daemon)
    await asker.open()
    return asker


async def responder_of(daemon, topics="jobs", client_class=CommandWebSocket):
    """Return a subscriber; a long poll waits for its first message."""
    client = client_class(daemon)
    await client.subscribe(topics)
    await until(lambda: daemon.subscribers(topics), "the responder")
    return client


async def received(client):
    """Return the next message, which must be a request."""
    request = await client.next()
    assert isinstance(request, Received), request
    assert request.reply_to is not None and request.reply_to.startswith("$reply/")
    return request


async def subscribe_as_responder(client: Any, topic: str) -> None:
    """Subscribe with ``responder=1``."""
    match client:
        case CommandWebSocket():
            await client.open()
            assert "error" not in await client.ask(subscribe=topic, responder=True)
        case JsonLines():
            client.open()
            await client.ask(f"SUB {topic} responder=1")
        case JsonWebSocket():
            await client.open(f"/ws/{topic}?responder=1")
        case _:
            name = "sse" if isinstance(client, SseJson) else "stream"
            request = encode_request("GET", f"/{name}/{topic}?responder=1{'&format=json' if name == 'sse' else ''}")
            client.protocol = client.daemon.connect("http", HttpClient(request))
            assert (await client.protocol.head).status == 200


def open_requests(daemon):
    """Return the number of open requests."""
    return daemon.counters.open_requests


@each_asker
@each_client(RESPONDERS)
async def test_a_request_is_answered_by_the_first_reply(any_daemon, asker_class, client_class):
    daemon = any_daemon
    responder = await responder_of(daemon, client_class=client_class)
    asker = await asker_of(asker_class, daemon)
    answer = asker.ask("jobs", "What time is it?")
    request = await received(responder)
    assert (request.channel, request.data) == ("jobs", b"What time is it?")
    assert await reply_by_http(daemon, request.reply_to, "late", {}) is None
    outcome = await answer
    assert outcome.data == b"late"
    assert outcome.content_type in (None, "text/plain; charset=utf-8")
    assert open_requests(daemon) == 0


@each_asker
@each_reply
async def test_a_reply_is_accepted_once_over_every_transport(any_daemon, asker_class, reply):
    daemon = any_daemon
    responder = await responder_of(daemon)
    asker = await asker_of(asker_class, daemon)
    answer = asker.ask("jobs", "1")
    request = await received(responder)
    assert await reply(daemon, request.reply_to, "first", {}) is None
    assert (await answer).data == b"first"
    assert await reply(daemon, request.reply_to, "second", {}) == "no-request"


@each_reply
async def test_a_reply_to_no_request_is_refused(any_daemon, reply):
    daemon = any_daemon
    for token in (LOST, "none", LOST * 4):
        assert await reply(daemon, f"$reply/{token}", "x", {}) == "no-request"
    assert (await daemon.request("POST", f"/pub/$reply/{LOST}", b"x")).status == 410


@each_asker
async def test_a_request_without_responders_is_refused_at_once(any_daemon, asker_class):
    daemon = any_daemon
    watcher = CommandWebSocket(daemon)
    await watcher.subscribe("jobs/*,**")
    asker = await asker_of(asker_class, daemon)
    for channel in ("jobs", "jobs/1"):
        outcome = await asker.ask(channel, "x")
        assert outcome.code == "no-responders"
        assert outcome.status in (None, 503)


@each_client(tuple(each for each in RESPONDERS if each is not LongPoll))
async def test_a_subscriber_to_a_pattern_is_a_responder_if_it_asks(daemon, client_class):
    responder = client_class(daemon)
    await subscribe_as_responder(responder, "jobs/*")
    asker = await asker_of(HttpAsker, daemon)
    assert (await asker.ask("jobs/1", "x", 0)).code == "no-reply"
    responder.abort()
    await until(lambda: not daemon._service.hub.requests._responders._asked, "the responder has left")
    assert (await asker.ask("jobs/1", "x", 0)).code == "no-responders"


@pytest.mark.parametrize(
    "path", ["/sse/jobs/*", "/multipart/jobs", "/stream/jobs?format=raw", "/longpoll/a?format=raw"]
)
async def test_a_format_without_reply_to_has_no_responders(daemon, path):
    separator = "&" if "?" in path else "?"
    answer = await daemon.request("GET", f"{path}{separator}responder=1")
    assert (answer.status, answer.json["error"]["code"]) == (400, "bad-parameter")
    lines = TextLines(daemon)
    lines.open()
    assert (await lines.send("SUB jobs/* responder=1")).startswith("-ERR bad-command")


@each_asker
async def test_a_request_is_not_answered_when_its_only_responder_has_left(any_daemon, asker_class):
    daemon = any_daemon
    responder = await responder_of(daemon)
    asker = await asker_of(asker_class, daemon)
    answer = asker.ask("jobs", "1")
    await received(responder)
    later = await responder_of(daemon)  # it has not received the request
    responder.abort()
    outcome = await answer
    assert outcome.code == "no-reply"
    assert outcome.status in (None, 504)
    assert open_requests(daemon) == 0
    later.abort()


async def test_a_request_waits_while_another_responder_is_left(daemon):
    one, other = await responder_of(daemon), await responder_of(daemon, client_class=JsonLines)
    answer = (await asker_of(HttpAsker, daemon)).ask("jobs", "1")
    request = await received(one)
    await received(other)
    one.abort()
    await until(lambda: len(daemon.subscribers("jobs")) == 1, "one has left")
    await turns()
    assert open_requests(daemon) == 1
    await other.ask(f"PUB {request.reply_to} done")
    assert (await answer).data == b"done"


async def test_a_responder_that_unsubscribes_has_left(daemon):
    responder = await responder_of(daemon)
    answer = (await asker_of(HttpAsker, daemon)).ask("jobs", "1")
    await received(responder)
    await responder.ask(unsubscribe="jobs")
    assert (await answer).code == "no-reply"


async def test_a_long_poll_that_has_received_the_request_has_not_left(daemon):
    poll = HttpClient(encode_request("GET", "/longpoll/jobs?responder=1"))
    daemon.connect("http", poll)
    await until(lambda: daemon.subscribers("jobs"), "the poll")
    answer = (await asker_of(HttpAsker, daemon)).ask("jobs", "1")
    (message,) = (await poll.answer).json
    await turns()
    assert await reply_by_http(daemon, message["reply_to"], "done", {}) is None
    assert (await answer).data == b"done"


@each_asker
async def test_an_asker_that_disconnects_frees_its_requests(daemon, asker_class):
    responder = await responder_of(daemon)
    asker = await asker_of(asker_class, daemon)
    asker.ask("jobs", "1")
    request = await received(responder)
    assert open_requests(daemon) == 1
    asker.abort()
    await until(lambda: not open_requests(daemon), "no open request")
    assert await reply_by_http(daemon, request.reply_to, "x", {}) == "no-request"


@pytest.mark.parametrize("asker_class", [WebSocketAsker, LineAsker])
async def test_requests_of_one_connection_are_answered_in_any_order(daemon, asker_class):
    responder = await responder_of(daemon)
    asker = await asker_of(asker_class, daemon)
    answers = [asker.ask("jobs", str(number)) for number in range(100)]
    requests = [await received(responder) for _ in answers]
    assert (await asker.ask("jobs", "one too many")).code == "too-many-requests"
    for request in reversed(requests):
        await responder.ask(publish=request.reply_to, data=f"re {request.data.decode()}")
    outcomes = await DeferredList(answers)
    assert [outcome.data for _, outcome in outcomes] == [b"re %d" % number for number in range(100)]


async def test_a_connection_asks_and_answers_at_the_same_time(daemon):
    """A connection that waits for a reply executes other commands meanwhile."""
    client = JsonLines(daemon)
    client.open()
    await client.ask("SUB jobs")
    client.protocol.transport.write(b"REQ jobs ping\r\n")
    request = await received(client)
    await client.ask(f"PUB {request.reply_to} pong")
    await until(lambda: b"REP 1 pong" in client.extra, "the reply")


async def test_a_line_client_that_has_sent_everything_still_gets_its_reply(daemon):
    responder = await responder_of(daemon)
    asker = await asker_of(LineAsker, daemon)
    answer = asker.ask("jobs", "1")
    asker.client.protocol.transport.loseWriteConnection()
    request = await received(responder)
    await responder.ask(publish=request.reply_to, data="done")
    assert (await answer).data == b"done"
    await until(lambda: len(daemon.subscribers("jobs")) == 1 and daemon.open_connections == 1, "the end")


@pytest.mark.parametrize(
    ("command", "kind", "body"),
    [
        ({"data": {"a": [1, 2]}}, "application/json", b'{"a": [1, 2]}'),
        ({"data": "x"}, "text/plain; charset=utf-8", b"x"),
        ({"data_base64": "/wA="}, "application/octet-stream", b"\xff\0"),
        ({"data": "<b>", "content_type": "text/html"}, "text/html", b"<b>"),
    ],
)
@each_asker
async def test_an_answer_has_the_data_and_the_type_of_the_reply(daemon, asker_class, command, kind, body):
    responder = await responder_of(daemon)
    answer = (await asker_of(asker_class, daemon)).ask("jobs", "1")
    request = await received(responder)
    await responder.ask(publish=request.reply_to, **command)
    outcome = await answer
    if asker_class is LineAsker:
        assert outcome.data == (body if body.isascii() else b"\\xff\\x00")
    else:
        assert (outcome.content_type, outcome.data.replace(b" ", b"")) == (kind, body.replace(b" ", b""))


async def test_html_of_a_replier_is_no_page_of_the_daemon(daemon):
    responder = await responder_of(daemon)
    client = daemon.connect("http", HttpClient(encode_request("POST", "/request/jobs", b"x")))
    request = await received(responder)
    await responder.ask(publish=request.reply_to, data="<script>", content_type="text/html")
    assert (await client.answer).headers["content-security-policy"].endswith("sandbox allow-scripts")


@pytest.mark.parametrize("timeout", ["61", "1e3", "-1", "x", ""])
async def test_a_timeout_outside_its_range_is_refused(daemon, timeout):
    answer = await daemon.request("POST", f"/request/jobs?timeout={timeout}", b"x")
    assert (answer.status, answer.json["error"]["code"]) == (400, "bad-parameter")


@pytest.mark.parametrize("fields", [{"timeout": 61}, {"timeout": -1}, {"ttl": 1}, {"end": True}])
async def test_a_command_outside_of_what_is_accepted_is_refused(daemon, fields):
    client = JsonWebSocket(daemon)
    await client.open()
    assert (await client.ask(request="jobs", data="x", **fields))["error"]["code"] == "bad-parameter"


@pytest.mark.parametrize("channel", ["$reply/" + LOST, "$sys/load", "$presence/a"])
@each_asker
async def test_a_request_to_the_channels_of_the_daemon_is_refused(daemon, asker_class, channel):
    if asker_class is LineAsker:
        lines = TextLines(daemon)
        lines.open()
        assert (await lines.send(f"REQ {channel} x")).startswith("-ERR forbidden ")
        return
    assert (await (await asker_of(asker_class, daemon)).ask(channel, "x")).code == "forbidden"


@pytest.mark.parametrize("query", ["ttl=3", "end=1"])
async def test_a_reply_is_not_kept_and_ends_nothing(daemon, query):
    responder = await responder_of(daemon)
    answer = (await asker_of(HttpAsker, daemon)).ask("jobs", "1")
    request = await received(responder)
    refused = await daemon.request("POST", f"/pub/{request.reply_to}?{query}", b"x")
    assert refused.json["error"]["code"] == "bad-parameter"
    assert await reply_by_http(daemon, request.reply_to, "done", {}) is None
    assert (await answer).data == b"done"


async def test_a_confined_connection_answers_requests_on_its_topics_only(daemon):
    inside, outside = JsonWebSocket(daemon), JsonWebSocket(daemon)
    await inside.subscribe("jobs")
    await outside.subscribe("other")
    asker = await asker_of(WebSocketAsker, daemon)
    answer = asker.ask("jobs", "1")
    request = await received(inside)
    assert (await outside.ask(publish=request.reply_to, data="x"))["error"]["code"] == "forbidden"
    assert (await inside.ask(publish=request.reply_to, data="done"))["ok"]
    assert (await answer).data == b"done"
    assert (await inside.ask(request="other", data="x"))["error"]["code"] == "forbidden"


async def test_nothing_of_a_request_is_kept_or_shown(any_daemon):
    daemon = any_daemon
    responder, raw = await responder_of(daemon), Sse(daemon)
    await raw.subscribe("jobs")
    answer = (await asker_of(HttpAsker, daemon)).ask("jobs", "to-be")
    request = await received(responder)
    await responder.ask(publish=request.reply_to, data="or-not")
    await answer
    for path in ("/history/**", "/history/jobs", "/channels", "/metrics", "/poll/jobs", f"/history/{request.reply_to}"):
        shown = (await daemon.request("GET", path)).body
        for secret in (b"to-be", b"or-not", request.reply_to.encode(), request.reply_to[7:].encode()):
            assert secret not in shown, path
    assert b"jobs" not in (await daemon.request("GET", "/metrics")).body
    assert await daemon.metric('pushd_requests_total{outcome="replied"}') == 1
    assert not any(request.reply_to in line for line in daemon.log)
    assert await raw.data(1) == [b"to-be"]


async def test_the_reply_channel_cannot_be_watched(daemon):
    responder, spy = await responder_of(daemon), CommandWebSocket(daemon)
    answer = (await asker_of(HttpAsker, daemon)).ask("jobs", "1")
    request = await received(responder)
    await spy.subscribe(f"{request.reply_to},**,$reply/*")
    await responder.ask(publish=request.reply_to, data="done")
    assert (await answer).data == b"done"
    await daemon.publish("other", "last")
    assert await spy.data(1) == [b"last"]


async def test_requests_are_refused_when_the_daemon_stops(daemon):
    responder = await responder_of(daemon)
    askers = [await asker_of(asker_class, daemon) for asker_class in ASKERS]
    answers = [asker.ask("jobs", "1") for asker in askers]
    for _ in answers:
        await received(responder)
    daemon._service.hub.begin_shutdown()
    assert [(await answer).code for answer in answers] == ["stopping"] * 3
    assert (await askers[0].ask("jobs", "1")).code == "stopping"


async def test_a_request_counts_in_the_rate_of_its_asker(start_daemon, tmp_path):
    daemon = await start_daemon({"auth.tokens_file": str(tokens(tmp_path))})
    headers = {"Authorization": "Bearer slow"}
    answers = [await daemon.request("POST", "/request/jobs", b"x", headers) for _ in range(11)]
    codes = [answer.json["error"]["code"] for answer in answers]
    assert codes == ["no-responders"] * 10 + ["rate-limited"]
    replies = [await reply(daemon, f"$reply/{LOST}", "x", headers) for reply in REPLIES]
    assert replies == ["rate-limited"] * len(REPLIES)


def tokens(directory):
    """Write a file of static tokens, and return its path."""
    from hashlib import sha256

    file = directory / "tokens.toml"
    grant = 'publish = ["**"]\nsubscribe = ["**"]\nquota = {messages_per_second = 1}'
    file.write_text(f'[slow]\nsub = "slow"\nsha256 = "{sha256(b"slow").hexdigest()}"\n{grant}\n')
    return file


async def test_the_size_of_requests_and_replies_is_limited(start_daemon):
    daemon = await start_daemon({"limits.message": 100})
    responder = await responder_of(daemon)
    assert (await daemon.request("POST", "/request/jobs", bytes(101))).status == 413
    answer = (await asker_of(HttpAsker, daemon)).ask("jobs", "1")
    request = await received(responder)
    assert await reply_by_http(daemon, request.reply_to, "x" * 101, {}) == "too-large"
    assert await reply_by_http(daemon, request.reply_to, "x" * 100, {}) is None
    assert (await answer).data == b"x" * 100


async def test_a_repeat_with_an_idempotency_key_gets_the_receipt_of_the_reply(daemon):
    responder = await responder_of(daemon)
    answer = (await asker_of(HttpAsker, daemon)).ask("jobs", "1")
    request = await received(responder)
    key = {"Idempotency-Key": "k"}
    assert await reply_by_http(daemon, request.reply_to, "done", key) is None
    assert await reply_by_http(daemon, request.reply_to, "done", key) is None
    assert (await answer).data == b"done"


async def test_a_reply_channel_cannot_be_deleted(daemon):
    answer = await daemon.request("DELETE", f"/pub/$reply/{LOST}")
    assert answer.json["error"]["code"] == "forbidden"


async def test_an_event_type_is_passed_on(daemon):
    responder = await responder_of(daemon)
    client = daemon.connect("http", HttpClient(encode_request("POST", "/request/jobs?event=ask", b"{}")))
    request = await received(responder)
    assert request.event == "ask"
    await responder.ask(publish=request.reply_to, data=1)
    assert (await client.answer).body == b"1"


async def test_a_connection_is_used_again_after_a_reply_and_after_a_refusal(daemon):
    responder = await responder_of(daemon)
    keep = {"Connection": "keep-alive"}
    client = daemon.connect("http", HttpClient(encode_request("POST", "/request/jobs?timeout=0", b"1", keep)))
    assert (await client.answer).status == 504
    await received(responder)
    client.ask(encode_request("POST", "/request/jobs", b"2", keep))
    request = await received(responder)
    await responder.ask(publish=request.reply_to, data="done")
    assert (await client.answer).body == b"done"
    client.ask(encode_request("GET", "/health/live", None, keep))
    assert (await client.answer).status == 200


async def test_pipelined_requests_are_answered_in_their_order(daemon):
    responder = await responder_of(daemon)
    pipelined = encode_request("POST", "/request/jobs", b"1", {"Connection": "keep-alive"})
    first = HttpClient(pipelined + encode_request("POST", "/request/jobs", b"2"))
    daemon.connect("http", first)
    for data in (b"1", b"2"):
        request = await received(responder)
        assert request.data == data
        await responder.ask(publish=request.reply_to, data=data.decode())
    assert (await first.answer).body == b"1"


async def test_askers_behind_a_proxy_are_counted_by_their_address(start_daemon):
    daemon = await start_daemon({"http.trusted_proxies": "127.0.0.1", "limits.connections_per_address": 2})
    responder = await responder_of(daemon)
    asker = HttpAsker(daemon, {"X-Forwarded-For": "192.0.2.7"})
    await asker.open()
    answers = [asker.ask("jobs", str(number)) for number in range(2)]
    requests = [await received(responder) for _ in answers]
    assert (await asker.ask("jobs", "one too many")).code == "too-many-connections"
    await responder.ask(publish=requests[0].reply_to, data="done")
    await answers[0]
    answer = asker.ask("jobs", "another")
    await responder.ask(publish=(await received(responder)).reply_to, data="done")
    assert (await answer).data == b"done"
    asker.abort()


@pytest.mark.parametrize("asker_class", [HttpAsker, WebSocketAsker])
@pytest.mark.parametrize(("left", "code"), [(None, "token-revoked"), (only(("subscribe",), ["**"]), "forbidden")])
async def test_an_open_request_is_refused_when_a_reload_takes_the_right_for_it(
    start_daemon, tmp_path, asker_class, left, code
):
    credentials = Credentials(tmp_path)
    credentials.write({"responder": EVERYTHING, "asker": only(("publish",), ["**"])})
    daemon = await start_daemon({}, file=credentials.file)
    responder = JsonWebSocket(daemon)
    await responder.open("/ws/jobs", {"Authorization": "Bearer responder"})
    asker = asker_class(daemon, {"Authorization": "Bearer asker"})
    await asker.open()
    answer = asker.ask("jobs", "1")
    request = await received(responder)
    credentials.write({"responder": EVERYTHING} | ({} if left is None else {"asker": left}))
    await daemon.reload()
    if asker_class is HttpAsker or left is not None:  # otherwise the connection is closed
        assert (await answer).code == code
    assert (await responder.ask(publish=request.reply_to, data="secret"))["error"]["code"] == "no-request"
    assert open_requests(daemon) == 0
