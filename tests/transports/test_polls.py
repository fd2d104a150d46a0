"""Long and short polling: each message once and in order, whatever the client's rhythm, and an answer in time."""

import json

import pytest
from twisted.internet.defer import Deferred, ensureDeferred

from pushd.backends.memory import MemoryBackend
from pushd.core.cursor import MessageId
from pushd.core.replay import Page
from tests.transports.daemon import until
from tests.transports.http_client import HttpClient, address, encode_request


async def poll(daemon, topics, resource="longpoll", headers=None, **query):
    return await daemon.request("GET", address(resource, topics, **query), headers=headers)


def texts(answer):
    return [message["data"] for message in answer.json] if answer.status == 200 else []


def waiting(daemon, topics, **query):
    """Begin to wait."""
    return daemon.connect("http", HttpClient(encode_request("GET", address("longpoll", topics, **query))))


async def loop(daemon, topics, count, since=None, **go_on):
    """Poll in a loop until `count` messages are received."""
    received: list[str] = []
    while len(received) < count:
        answer = await poll(daemon, topics, since=since)
        assert answer.status in (200, 204)
        received += texts(answer)
        since = answer.headers["pushd-id"]
    return received


@pytest.mark.parametrize("others", [0, 10_000])
async def test_promise_2_a_polling_client_receives_each_message_once_in_order(daemon, others):
    for start in range(0, others, 1000):
        await daemon.publish_all(*((f"other/{start + number}", "x") for number in range(1000)))
    began = (await poll(daemon, "a", timeout=0)).headers["pushd-id"]
    listening = ensureDeferred(loop(daemon, "a", 1000, began))
    for number in range(0, 1000, 20):
        await daemon.publish_all(*(("a", str(each)) for each in range(number, number + 20)))
    assert await listening == [str(number) for number in range(1000)]


async def test_a_held_request_is_answered_with_the_next_message(daemon):
    client = waiting(daemon, "a,b/*")
    await until(lambda: daemon.subscribers("a"), "somebody waits")
    sent = await daemon.publish("b/c", "hello", "text/plain")
    answer = await client.answer
    assert (answer.status, texts(answer)) == (200, ["hello"])
    assert answer.headers["pushd-id"] == answer.headers["last-event-id"] == sent
    assert answer.headers["etag"] == f'"{sent}"'
    assert daemon.subscribers("a") == []


@pytest.mark.parametrize("early", [0, 1, 20, -1])
async def test_a_pipelined_request_is_answered_after_the_held_one(daemon, early):
    """While the first request is held, the next one is received: nothing, the beginning, or all but the end."""
    stays = encode_request("GET", address("longpoll", "a"), headers={"Connection": "keep-alive"})
    client = daemon.connect("http", HttpClient(stays))
    await until(lambda: daemon.subscribers("a"), "somebody waits")
    next_request = encode_request("GET", address("health", "live"))
    client.transport.write(next_request[:early])
    await daemon.publish("b", "unheard")
    await daemon.publish("a", "heard")
    assert texts(await client.answer) == ["heard"]
    client.ask(next_request[early:])
    assert (await client.answer).status == 200


async def test_an_answer_without_messages_has_the_position(daemon):
    answer = await poll(daemon, "a", timeout=0)
    assert (answer.status, answer.headers["pushd-id"].endswith("-0")) == (204, True)


async def test_messages_between_two_polls_are_not_lost(daemon):
    position = (await poll(daemon, "a", timeout=0)).headers["pushd-id"]
    await daemon.publish("a", "between")
    assert texts(await poll(daemon, "a", since=position)) == ["between"]


@pytest.mark.parametrize("header", ["If-None-Match", "Last-Event-ID"])
@pytest.mark.parametrize("resource", ["longpoll", "poll"])
async def test_the_cursor_can_be_a_header(daemon, resource, header):
    first = await daemon.publish("a", "1")
    second = await daemon.publish("a", "2")
    value = f'"{first}"' if header == "If-None-Match" else first
    assert texts(await poll(daemon, "a", resource, {header: value})) == ["2"]
    value = f'W/"{second}"' if header == "If-None-Match" else second
    answer = await poll(daemon, "a", resource, {header: value}, timeout=0)
    assert (answer.status, answer.body) == (304 if header == "If-None-Match" else 204, b"")
    assert answer.headers["pushd-id"] == second


async def test_a_poll_without_a_cursor_returns_the_newest_message(daemon):
    assert (await poll(daemon, "a", "poll")).status == 204
    await daemon.publish("a", "1")
    await daemon.publish("a", "2")
    assert texts(await poll(daemon, "a", "poll")) == ["2"]
    assert texts(await poll(daemon, "a", "poll", since="all")) == ["1", "2"]


@pytest.mark.parametrize(("resource", "cursor", "expected"), [("longpoll", "all", b"\x001"), ("poll", None, b"\xff2")])
async def test_raw_returns_one_message_as_it_was_published(daemon, resource, cursor, expected):
    await daemon.publish("a/ü", b"\x001", "image/png")
    await daemon.publish("a/ü", b"\xff2", "image/png", event="e v")
    answer = await poll(daemon, "a/*", resource, format="raw", since=cursor)
    assert (answer.body, answer.headers["content-type"]) == (expected, "image/png")
    assert answer.headers["pushd-channel"] == "a/%C3%BC"
    again = await poll(daemon, "a/*", resource, format="raw", since=answer.headers["pushd-id"], timeout=0)
    assert again.body == (b"\xff2" if resource == "longpoll" else b"")


async def test_an_answer_has_at_most_1000_messages_and_the_next_one_the_rest(start_daemon):
    daemon = await start_daemon({"history.messages": 3000})
    await daemon.publish_all(*(("a", str(number)) for number in range(2500)))
    first = await poll(daemon, "a", since="all")
    second = await poll(daemon, "a", since=first.headers["pushd-id"])
    third = await poll(daemon, "a", "poll", since=second.headers["pushd-id"])
    assert [len(first.json), len(second.json), len(third.json)] == [1000, 1000, 500]
    assert texts(first) + texts(second) + texts(third) == [str(number) for number in range(2500)]


async def test_an_answer_has_at_most_one_mebibyte_but_at_least_one_message(daemon):
    for _ in range(3):
        await daemon.publish("a", "x" * 700_000)
    first = await poll(daemon, "a", since="all")
    assert len(first.json) == 1
    assert len((await poll(daemon, "a", since=first.headers["pushd-id"])).json) == 1


@pytest.mark.parametrize("resource", ["longpoll", "poll"])
async def test_promise_3_a_gap_is_reported_in_a_header(start_daemon, resource):
    daemon = await start_daemon({"history.messages": 2})
    ids = [await daemon.publish("a", str(number)) for number in range(4)]
    answer = await poll(daemon, "a", resource, since=ids[0])
    assert (answer.headers["pushd-gap"], texts(answer)) == ("evicted", ["2", "3"])
    answer = await poll(daemon, "a", resource, since="0ther-1")
    assert (answer.headers["pushd-gap"], texts(answer)) == ("epoch", ["2", "3"])
    assert "pushd-gap" not in (await poll(daemon, "a", resource, since=ids[1])).headers


@pytest.mark.parametrize(
    ("since", "cursor", "reason"),
    [
        ("{epoch}-1", "{epoch}-1", "evicted"),
        ("0ther-1", "0ther-1", "epoch"),
        ("{epoch}-99", "{epoch}-99", "unknown"),
        ("1h", "{epoch}-1", "evicted"),
        ("all", "{epoch}-2", None),
        ("last:2", "{epoch}-2", None),
    ],
)
async def test_promise_3_a_poll_whose_time_is_up_before_its_history_was_read_is_answered_with_its_start_cursor(
    start_daemon, monkeypatch, since, cursor, reason
):
    """The next request receives the gap: a gap in an answer is between the cursors of the request and of the answer."""
    daemon = await start_daemon({"history.messages": 2})
    ids = [await daemon.publish("a", str(number)) for number in range(4)]
    epoch = ids[0].partition("-")[0]
    read, stalled = MemoryBackend.page, Deferred[Page]()

    def page(backend, topics, after, count, size, latest_until=None):
        return read(backend, topics, after, count, size) if count == 1 else stalled

    with monkeypatch.context() as patched:
        patched.setattr(MemoryBackend, "page", page)
        patched.setattr("pushd.transports.held_requests._READ_SECONDS", 0.1)
        answer = await poll(daemon, "a", since=since.format(epoch=epoch), timeout=0.1)
        stalled.callback(Page((), (), MessageId("", 0), is_last=True))
    assert (answer.status, answer.headers.get("pushd-gap")) == (204, None)
    assert answer.headers["pushd-id"] == cursor.format(epoch=epoch)
    answer = await poll(daemon, "a", since=answer.headers["pushd-id"])
    assert (answer.headers.get("pushd-gap"), texts(answer)) == (reason, ["2", "3"])


async def test_promise_3_a_gap_without_messages_is_reported_at_once(daemon):
    first = await daemon.publish("a", "1", ttl="0.05")
    answer = await poll(daemon, "a", since=first.replace("-1", "-0"))
    while answer.status == 200 and texts(answer):
        answer = await poll(daemon, "a", since=first.replace("-1", "-0"))
    assert (answer.status, answer.json, answer.headers["pushd-gap"]) == (200, [], "expired")
    assert (await poll(daemon, "a", since=answer.headers["pushd-id"], timeout=0)).status == 204


async def test_a_poll_of_an_ended_channel_is_answered_at_once(daemon):
    client = waiting(daemon, "a")
    await until(lambda: daemon.subscribers("a"), "somebody waits")
    last = await daemon.publish("a", "last", end=1)
    answer = await client.answer
    assert (texts(answer), "pushd-end" in answer.headers) == (["last"], False)
    answer = await poll(daemon, "a", since=last)
    assert (answer.status, answer.headers["pushd-end"]) == (204, "all")


async def test_deleting_the_channel_answers_a_held_request(daemon):
    client = waiting(daemon, "a")
    await until(lambda: daemon.subscribers("a"), "somebody waits")
    await daemon.request("DELETE", "/pub/a")
    answer = await client.answer
    assert (answer.status, answer.headers["pushd-end"]) == (204, "all")


async def test_a_shutdown_answers_a_held_request(daemon):
    client = waiting(daemon, "a")
    await until(lambda: daemon.subscribers("a"), "somebody waits")
    await daemon.stop()
    assert (await client.answer).status == 204


async def test_a_held_request_whose_client_disconnects_is_removed(daemon):
    client = waiting(daemon, "a")
    await until(lambda: daemon.subscribers("a"), "somebody waits")
    assert (await daemon.info("a"))["transports"] == {"longpoll": 1}
    client.transport.loseConnection()
    await until(lambda: not daemon.subscribers("a"), "nobody waits", 1)


async def test_one_publish_answers_many_held_requests(daemon):
    clients = [waiting(daemon, "a") for _ in range(200)]
    await until(lambda: len(daemon.subscribers("a")) == 200, "all wait", 10)
    await daemon.publish("a", "x")
    for client in clients:
        assert texts(await client.answer) == ["x"]


async def test_promise_1_without_history_held_requests_are_answered(start_daemon):
    daemon = await start_daemon({"history.messages": 0})
    client = waiting(daemon, "a")
    await until(lambda: daemon.subscribers("a"), "somebody waits")
    await daemon.publish("a", "x")
    assert texts(await client.answer) == ["x"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("timeout=-1", "bad-parameter"),
        ("timeout=301", "bad-parameter"),
        ("timeout=nan", "bad-parameter"),
        ("timeout=x", "bad-parameter"),
        ("format=xml", "bad-parameter"),
        ("since=garbage", "bad-since"),
    ],
)
async def test_an_invalid_parameter_is_refused(daemon, query, code):
    answer = await daemon.request("GET", f"/longpoll/a?{query}")
    assert (answer.status, answer.json["error"]["code"]) == (400, code)


async def test_an_invalid_etag_is_refused(daemon):
    answer = await poll(daemon, "a", headers={"If-None-Match": '"garbage"'})
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (400, "bad-since")
