"""Invalid input is refused with the same code by HTTP, TCP lines and WebSocket, and the connection stays open."""

import json

import pytest

from tests.daemon.clients import SECONDS, Lines, Response
from tests.daemon.real import Daemon
from tests.daemon.refusals import NDJSON, STATUS, Request, cases, summary

pytestmark = pytest.mark.system


@pytest.mark.parametrize(("requests", "code"), cases("http"))
def test_http_refuses_in_json(daemon: Daemon, requests: tuple[Request, ...], code: str) -> None:
    answers = {summary(request): status_and_code(daemon.request(*request), request, code) for request in requests}
    assert answers == dict.fromkeys(answers, (STATUS.get(code, 400), code))


def status_and_code(response: Response, request: Request, code: str) -> tuple[int, str]:
    """Return status and code. A HEAD response has no code; in a batch both belong to the line."""
    if request.method == "HEAD":
        return response.status, code
    if response.status >= 400:
        return response.status, response.code
    if request.headers != NDJSON:
        return response.status, "not refused"
    (line,) = response.body.splitlines()
    refused = str(json.loads(line).get("error", {}).get("code"))
    return STATUS.get(refused, 400), refused


@pytest.mark.parametrize(("requests", "code"), cases("http"))
def test_http_refuses_in_plain_text(daemon: Daemon, requests: tuple[Request, ...], code: str) -> None:
    request = requests[0]
    response = daemon.request(request.method, request.target, request.headers | {"Accept": "text/plain"}, request.body)
    if request.headers == NDJSON and response.status == 200:
        # The response to a batch has one JSON object per line, whatever the client accepts.
        assert status_and_code(response, request, code) == (STATUS.get(code, 400), code)
    else:
        assert_text(response, code)


def assert_text(response: Response, code: str) -> None:
    """Check that a response is a refusal in one line of plain text."""
    assert response.status == STATUS.get(code, 400)
    assert response.headers["content-type"].partition(";")[0] == "text/plain"
    assert response.body.endswith(b"\n") and response.body.count(b"\n") == 1
    assert code in response.body.decode()


@pytest.mark.parametrize(("inputs", "code"), cases("lines"))
def test_line_connection_stays_open_after_a_refusal(lines: Lines, inputs: tuple[bytes, ...], code: str) -> None:
    answers = {}
    for line in inputs:
        lines.send(line + b"\r\nPING x\r\n")
        error, received_code, sentence = lines.reply().split(b" ", 2)
        assert sentence
        answers[summary(line)] = (error, received_code.decode(), lines.reply())
    assert answers == dict.fromkeys(answers, (b"-ERR", code, b"PONG x"))


@pytest.mark.parametrize(("texts", "code"), cases("frames"))
def test_websocket_stays_open_after_a_refusal(daemon: Daemon, texts: tuple[str, ...], code: str) -> None:
    answers = {}
    with daemon.websocket() as websocket:
        for text in texts:
            websocket.send(text)
            websocket.send('{"ping":1,"ref":2}')
            refusal = json.loads(websocket.recv(SECONDS))
            assert (list(refusal), bool(refusal["error"]["message"])) == (["ref", "error"], True)
            answers[summary(text)] = (refusal["error"]["code"], json.loads(websocket.recv(SECONDS)))
    assert answers == dict.fromkeys(answers, (code, {"ref": 2, "ok": True, "pong": 1}))


@pytest.mark.parametrize("ref", [1, "é", None, [1, {"a": 2.5}], True])
def test_websocket_refusal_has_the_ref_of_the_command(daemon: Daemon, ref: object) -> None:
    with daemon.websocket() as websocket:
        for wrong in ({"publish": "a*", "data": 1}, {"subscribe": "a", "since": "x"}, {"x": 1}, {"publish": "a"}):
            websocket.send(json.dumps(wrong | {"ref": ref}))
            refusal = json.loads(websocket.recv(SECONDS))
            assert (refusal["ref"], "error" in refusal) == (ref, True)


def test_cursor_header_takes_precedence_over_parameters(daemon: Daemon, channel: str) -> None:
    first = daemon.publish(channel, b"1")["id"]
    daemon.publish(channel, b"2")
    response = daemon.request("GET", f"/history/{channel}?since=garbage&last_event_id=all", {"Last-Event-ID": first})
    assert [message["data"] for message in response.json()] == ["2"]


@pytest.mark.parametrize("spelling", ["since", "last_event_id", "lastEventID"])
def test_each_cursor_parameter(daemon: Daemon, channel: str, spelling: str) -> None:
    first = daemon.publish(channel, b"1")["id"]
    daemon.publish(channel, b"2")
    response = daemon.request("GET", f"/history/{channel}?{spelling}={first}")
    assert [message["data"] for message in response.json()] == ["2"]


def test_cursor_of_a_reconnect_wins_over_the_others(daemon: Daemon, channel: str) -> None:
    first, last = (daemon.publish(channel, data)["id"] for data in (b"1", b"2"))
    response = daemon.request("GET", f"/poll/{channel}?since=garbage", {"Last-Event-ID": first})
    assert response.status == 200
    assert [message["data"] for message in response.json()] == ["2"]
    both = {"If-None-Match": f'"{first}"', "Last-Event-ID": last}
    assert daemon.request("GET", f"/poll/{channel}?since=garbage", both).status == 204


def test_one_invalid_channel_refuses_all(daemon: Daemon, channel: str) -> None:
    for others in ("$sys/x", "a*", ""):
        assert daemon.request("POST", f"/pub/{channel},{others}", {}, b"x").status in (400, 403)
    assert daemon.request("GET", f"/pub/{channel}").status == 404


def test_too_many_topics_of_one_connection(daemon: Daemon, lines: Lines) -> None:
    first, second = (",".join(f"{word}{number}" for number in range(20)) for word in "ab")
    assert lines.command(f"SUB {first}".encode()).startswith(b"+OK SUB ")
    assert lines.command(f"SUB {second}".encode()).startswith(b"-ERR too-many-subscriptions ")
    assert lines.command(f"SUB {first}".encode()).startswith(b"+OK SUB ")
    with daemon.websocket() as websocket:
        for topics, code in ((first, None), (second, "too-many-subscriptions"), ("a1", None)):
            websocket.send(json.dumps({"subscribe": topics}))
            assert json.loads(websocket.recv(SECONDS)).get("error", {}).get("code") == code


def test_refused_subscription_receives_nothing(lines: Lines, channel: str) -> None:
    assert lines.command(f"SUB {channel},a* since=all".encode()).startswith(b"-ERR bad-topic ")
    assert lines.command(f"PUB {channel} x".encode()).endswith(b" 0")
    assert lines.command(b"PING") == b"PONG"


def test_refusals_are_counted(daemon: Daemon, lines: Lines) -> None:
    series = 'pushd_refusals_total{code="bad-event"}'
    before = daemon.counter(series)
    daemon.request("POST", "/pub/a?event=%00", {}, b"x")
    daemon.request("POST", "/pub", NDJSON, b'{"channel":"a","data":1,"event":"\\n"}')
    lines.command(b'PUBJ {"channel":"a","data":1,"event":"\\n"}')
    with daemon.websocket() as websocket:
        websocket.send('{"publish":"a","data":1,"event":"\\n"}')
        websocket.recv(SECONDS)
    assert daemon.counter(series) == before + 4
