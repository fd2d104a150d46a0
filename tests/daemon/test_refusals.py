"""What is wrong is refused with the same code by every door, and the connection goes on."""

import json

import pytest

from tests.daemon.clients import Answer, Lines
from tests.daemon.real import Daemon
from tests.daemon.refusals import NDJSON, STATUS, Ask, cases, shown

pytestmark = pytest.mark.system


@pytest.mark.parametrize(("asks", "code"), cases("http"))
def test_http_refuses_in_json(daemon: Daemon, asks: tuple[Ask, ...], code: str) -> None:
    told = {shown(ask): told_in_json(daemon.ask(*ask), ask, code) for ask in asks}
    assert told == dict.fromkeys(told, (STATUS.get(code, 400), code))


def told_in_json(answer: Answer, ask: Ask, code: str) -> tuple[int, str]:
    """Give the status and the code, which HEAD has none of, and a line of a batch in its own way."""
    if ask.method == "HEAD":
        return answer.status, code
    if answer.status >= 400:
        return answer.status, answer.code
    if ask.headers != NDJSON:
        return answer.status, "not refused"
    (line,) = answer.body.splitlines()
    told = str(json.loads(line).get("error", {}).get("code"))
    return STATUS.get(told, 400), told


@pytest.mark.parametrize(("asks", "code"), cases("http"))
def test_http_refuses_in_a_line_of_text(daemon: Daemon, asks: tuple[Ask, ...], code: str) -> None:
    ask = asks[0]
    answer = daemon.ask(ask.method, ask.target, ask.headers | {"Accept": "text/plain"}, ask.body)
    if ask.headers == NDJSON and answer.status == 200:
        # A batch is answered line by line, in JSON whatever is accepted.
        assert told_in_json(answer, ask, code) == (STATUS.get(code, 400), code)
    else:
        assert_text(answer, code)


def assert_text(answer: Answer, code: str) -> None:
    """Check that an answer is a refusal in one line of plain text."""
    assert answer.status == STATUS.get(code, 400)
    assert answer.headers["content-type"].partition(";")[0] == "text/plain"
    assert answer.body.endswith(b"\n") and answer.body.count(b"\n") == 1
    assert code in answer.body.decode()


@pytest.mark.parametrize(("asked", "code"), cases("lines"))
def test_lines_refuse_and_go_on(lines: Lines, asked: tuple[bytes, ...], code: str) -> None:
    told = {}
    for line in asked:
        lines.send(line + b"\r\nPING x\r\n")
        error, said, sentence = lines.reply().split(b" ", 2)
        assert sentence
        told[shown(line)] = (error, said.decode(), lines.reply())
    assert told == dict.fromkeys(told, (b"-ERR", code, b"PONG x"))


@pytest.mark.parametrize(("texts", "code"), cases("frames"))
def test_websocket_refuses_and_goes_on(daemon: Daemon, texts: tuple[str, ...], code: str) -> None:
    told = {}
    with daemon.websocket() as websocket:
        for text in texts:
            websocket.send(text)
            websocket.send('{"ping":1,"ref":2}')
            refusal = json.loads(websocket.recv(5))
            assert (list(refusal), bool(refusal["error"]["message"])) == (["ref", "error"], True)
            told[shown(text)] = (refusal["error"]["code"], json.loads(websocket.recv(5)))
    assert told == dict.fromkeys(told, (code, {"ref": 2, "ok": True, "pong": 1}))


@pytest.mark.parametrize("ref", [1, "é", None, [1, {"a": 2.5}], True])
def test_a_refusal_of_a_websocket_names_the_command(daemon: Daemon, ref: object) -> None:
    with daemon.websocket() as websocket:
        for wrong in ({"publish": "a*", "data": 1}, {"subscribe": "a", "since": "x"}, {"x": 1}, {"publish": "a"}):
            websocket.send(json.dumps(wrong | {"ref": ref}))
            refusal = json.loads(websocket.recv(5))
            assert (refusal["ref"], "error" in refusal) == (ref, True)


def test_the_header_wins_over_the_parameters(daemon: Daemon, channel: str) -> None:
    first = daemon.publish(channel, b"1")["id"]
    daemon.publish(channel, b"2")
    answer = daemon.ask("GET", f"/history/{channel}?since=garbage&last_event_id=all", {"Last-Event-ID": first})
    assert [message["data"] for message in answer.json()] == ["2"]


@pytest.mark.parametrize("spelling", ["since", "last_event_id", "lastEventID"])
def test_each_spelling_of_a_cursor(daemon: Daemon, channel: str, spelling: str) -> None:
    first = daemon.publish(channel, b"1")["id"]
    daemon.publish(channel, b"2")
    answer = daemon.ask("GET", f"/history/{channel}?{spelling}={first}")
    assert [message["data"] for message in answer.json()] == ["2"]


def test_cursor_of_a_reconnect_wins_over_the_others(daemon: Daemon, channel: str) -> None:
    first, last = (daemon.publish(channel, data)["id"] for data in (b"1", b"2"))
    answer = daemon.ask("GET", f"/poll/{channel}?since=garbage", {"Last-Event-ID": first})
    assert answer.status == 200
    assert [message["data"] for message in answer.json()] == ["2"]
    both = {"If-None-Match": f'"{first}"', "Last-Event-ID": last}
    assert daemon.ask("GET", f"/poll/{channel}?since=garbage", both).status == 204


def test_several_channels_are_all_refused_where_one_is_bad(daemon: Daemon, channel: str) -> None:
    for others in ("$sys/x", "a*", ""):
        assert daemon.ask("POST", f"/pub/{channel},{others}", {}, b"x").status in (400, 403)
    assert daemon.ask("GET", f"/pub/{channel}").status == 404


def test_too_many_topics_of_one_connection(daemon: Daemon, lines: Lines) -> None:
    first, second = (",".join(f"{word}{number}" for number in range(20)) for word in "ab")
    assert lines.ask(f"SUB {first}".encode()).startswith(b"+OK SUB ")
    assert lines.ask(f"SUB {second}".encode()).startswith(b"-ERR too-many-subscriptions ")
    assert lines.ask(f"SUB {first}".encode()).startswith(b"+OK SUB ")
    with daemon.websocket() as websocket:
        for topics, code in ((first, None), (second, "too-many-subscriptions"), ("a1", None)):
            websocket.send(json.dumps({"subscribe": topics}))
            assert json.loads(websocket.recv(5)).get("error", {}).get("code") == code


def test_a_refused_subscription_hears_nothing(lines: Lines, channel: str) -> None:
    assert lines.ask(f"SUB {channel},a* since=all".encode()).startswith(b"-ERR bad-topic ")
    assert lines.ask(f"PUB {channel} x".encode()).endswith(b" 0")
    assert lines.ask(b"PING") == b"PONG"


def test_refusals_are_counted(daemon: Daemon, lines: Lines) -> None:
    series = 'pushd_refusals_total{code="bad-event"}'
    before = daemon.counter(series)
    daemon.ask("POST", "/pub/a?event=%00", {}, b"x")
    daemon.ask("POST", "/pub", NDJSON, b'{"channel":"a","data":1,"event":"\\n"}')
    lines.ask(b'PUBJ {"channel":"a","data":1,"event":"\\n"}')
    with daemon.websocket() as websocket:
        websocket.send('{"publish":"a","data":1,"event":"\\n"}')
        websocket.recv(5)
    assert daemon.counter(series) == before + 4
