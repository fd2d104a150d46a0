"""Parameters of the query: their grammar, and names that a resource does not know."""

import json

import pytest

from pushd.core.edit_distance import edit_distance


async def code_of(daemon, method, path, body=None):
    answer = await daemon.request(method, path, body)
    return json.loads(answer.body)["error"]["code"] if answer.status >= 400 else answer.status


async def test_semicolon_does_not_separate_parameters(daemon):
    await daemon.request("POST", "/pub/a?event=temp;unit", b"x")
    assert (await daemon.request("GET", "/poll/a")).json[0]["event"] == "temp;unit"


async def test_parameter_without_a_value_is_not_lost(daemon):
    assert await code_of(daemon, "GET", "/poll/a?since=all&format") == "bad-parameter"


@pytest.mark.parametrize("path", ["/pub/a?evnt=x", "/pub/a?whatever=1", "/pub?x=1", "/pub/a?event"])
async def test_writing_requests_refuse_unknown_parameters(daemon, path):
    expected = 202 if path.endswith("?event") else "bad-parameter"
    assert await code_of(daemon, "POST", path, b"x") == expected


@pytest.mark.parametrize("path", ["/pub/a?x=1", "/connections/1?force=1"])
async def test_deleting_requests_refuse_unknown_parameters(daemon, path):
    assert await code_of(daemon, "DELETE", path) == "bad-parameter"


@pytest.mark.parametrize(
    ("path", "suggestion"),
    [
        ("/sse/a?sinse=all", "since"),
        ("/poll/a?snice=all", "since"),
        ("/longpoll/a?timeot=1", "timeout"),
        ("/history/a?limt=1", "limit"),
        ("/channels?prefx=a", "prefix"),
        ("/connections?chanel=a", "channel"),
        ("/pull/a?intervall=1", "interval"),
        ("/sub/a?formatt=raw", "format"),
        ("/ws/a?slwo=drop", "slow"),
    ],
)
async def test_reading_requests_refuse_typing_errors_with_a_suggestion(daemon, path, suggestion):
    answer = await daemon.request("GET", path)
    assert answer.json["error"]["code"] == "bad-parameter"
    assert answer.json["error"]["message"].endswith(f"did you mean {suggestion}?")


@pytest.mark.parametrize("path", ["/poll/a?_=17", "/poll/a?utm_source=x", "/poll/a?access_token=x", "/?anything=1"])
async def test_reading_requests_accept_other_names(daemon, path):
    assert await code_of(daemon, "GET", path) in (200, 204)


async def test_raw_utf8_in_the_target_is_named(daemon):
    request = "GET /poll/a?since=ä HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    from tests.transports.http_client import HttpClient

    answer = await daemon.connect("http", HttpClient(request)).answer
    assert answer.status == 400
    assert "percent-encode" in answer.json["error"]["message"]


@pytest.mark.parametrize("event", ["begin", "gap", "end", "expiring", "expired", "presence.join"])
async def test_events_of_the_daemon_are_reserved(daemon, event):
    assert await code_of(daemon, "POST", f"/pub/a?event={event}", b"x") == "bad-event"
    line = json.dumps({"channel": "a", "data": "x", "event": event}).encode()
    answer = await daemon.request("POST", "/pub", line, {"Content-Type": "application/x-ndjson"})
    assert json.loads(answer.body)["error"]["code"] == "bad-event"


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        ("since", "since", 0),
        ("sinse", "since", 1),
        ("snice", "since", 1),
        ("sicne", "snice", 2),
        ("ca", "abc", 3),
        ("", "abc", 3),
        ("ab", "ba", 1),
    ],
)
def test_edit_distance(one, other, distance):
    assert edit_distance(one, other) == edit_distance(other, one) == distance
