"""The table of refusals: requests, commands and frames, and the code with which each is refused."""

import json
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

import pytest

from tests.daemon.clients import HANDSHAKE

STATUS = {
    "forbidden": 403,
    "not-found": 404,
    "unknown-channel": 404,
    "unknown-connection": 404,
    "method-not-allowed": 405,
    "too-large": 413,
    "unsupported-type": 415,
    "upgrade-required": 426,
    "too-many-channels": 429,
    "too-many-connections": 429,
}
"""The HTTP status of a code; 400 for all others."""
NDJSON = {"Content-Type": "application/x-ndjson"}
AS_JSON = {"Content-Type": "application/json"}


class Request(NamedTuple):
    """An HTTP request; the target is percent-encoded ASCII."""

    method: str
    target: str
    headers: dict[str, str] = {}  # noqa: RUF012
    body: bytes = b""


class Case(NamedTuple):
    """Input that is refused with the same code by HTTP, TCP lines and WebSocket."""

    name: str
    code: str
    http: tuple[Request, ...] = ()
    lines: tuple[bytes, ...] = ()
    frames: tuple[str, ...] = ()
    """Text frames of ``pushd.v1``."""


def _channel(name: str, channel: str, code: str = "bad-channel") -> Case:
    path = quote(channel)
    return Case(
        name,
        code,
        (Request("POST", f"/pub/{path}", {}, b"x"), Request("PUT", f"/pub/{path}"), Request("DELETE", f"/pub/{path}")),
        (f"PUB {channel} x".encode(), b"PUBJ " + _json(channel=channel, data="x").encode()),
        (_json(publish=channel, data="x"),),
    )


def _unpublishable() -> Iterator[Case]:
    for name, channel in BAD_CHANNELS.items():
        case = _channel(name, channel)
        if channel in ("\n", "a\nb"):
            case = case._replace(lines=case.lines[1:])
        yield case


def _topics(name: str, topics: str, code: str = "bad-topic") -> Case:
    path = quote(topics, safe="/,*")
    requests = [Request("GET", f"/{route}/{path}") for route in ("sse", "stream", "history")]
    requests += [Request("GET", f"/ws/{path}", HANDSHAKE), Request("HEAD", f"/sse/{path}")]
    lines = () if not topics or " " in topics or "\n" in topics else (f"SUB {topics}".encode(),)
    return Case(name, code, tuple(requests), lines, (_json(subscribe=topics), _json(unsubscribe=topics)))


def _unheard() -> Iterator[Case]:
    yield from (_topics(name, topic) for name, topic in BAD_TOPICS.items())
    yield _topics("too many topics", ",".join(f"a{number}" for number in range(21)), "too-many-topics")
    for route in TOPIC_ROUTES:
        for topics in ("a*", "", "a,"):
            yield Case(
                f"topics at {route}",
                "bad-topic",
                (Request("GET", f"{route}/{topics}"), Request("HEAD", f"{route}/{topics}")),
            )
        many = f"{route}/{'a,' * 20}a"
        yield Case(f"too many topics at {route}", "too-many-topics", (Request("GET", many),))
    yield Case("each verb with topics", "bad-topic", (), (b"UNSUB a*", b"UNSUB a,", b"HIST a*", b"HIST a, 5"))


def _since(since: str) -> Case:
    value = quote(since, safe="")
    requests = [Request("GET", f"/{route}/a?since={value}") for route in ("sse", "history")]
    requests.append(Request("GET", f"/ws/a?since={value}", HANDSHAKE))
    is_word = since.isprintable() and " " not in since
    if is_word:
        requests.append(Request("GET", "/sse/a", {"Last-Event-ID": since}))
    lines = (f"SUB a since={since}".encode(),) if is_word else ()
    return Case(f"since {since!r}", "bad-since", tuple(requests), lines, (_json(subscribe="a", since=since),))


def _spelled() -> Iterator[Case]:
    for route in (*TOPIC_ROUTES, "/ws"):
        headers = HANDSHAKE if route == "/ws" else {}
        requests = [
            Request("GET", f"{route}/a?{word}=garbage", headers) for word in ("since", "last_event_id", "lastEventID")
        ]
        for query in ("", "?since=all", "?last_event_id=all&lastEventID=all"):
            requests.append(Request("GET", f"{route}/a{query}", {"Last-Event-ID": "garbage"} | headers))
        if route in ("/poll", "/longpoll", "/sub"):
            requests += [
                Request("GET", f"{route}/a", {"If-None-Match": etag}) for etag in ('"garbage"', "garbage", '"')
            ]
        if route != "/ws":
            requests.append(Request("HEAD", f"{route}/a?since=garbage"))
        yield Case(f"a cursor at {route}", "bad-since", tuple(requests))


def _publication(name: str, code: str, fields: str) -> Case:
    """Return the case of a JSON publication whose fields after the channel are wrong."""
    line = f'{{"channel":"a",{fields}}}'.encode()
    return Case(
        name, code, (Request("POST", "/pub", NDJSON, line),), (b"PUBJ " + line,), (f'{{"publish":"a",{fields}}}',)
    )


def _batch(name: str, *lines: str) -> Case:
    requests = [Request("POST", "/pub", NDJSON, line.encode()) for line in lines]
    return Case(name, "bad-json", tuple(requests), tuple(b"PUBJ " + line.encode() for line in lines))


def _parameter(code: str, target: str, *values: str) -> Case:
    method = "POST" if target.startswith("/pub/") else "GET"
    return Case(f"{code} at {target}", code, tuple(Request(method, target + value) for value in values))


def _typed(kind: str) -> Case:
    return Case(
        f"the content type {kind[:20]}", "bad-content-type", (Request("POST", "/pub/a", {"Content-Type": kind}),)
    )


def _line(code: str, *lines: str) -> Case:
    return Case(f"{code}: {lines[0]}", code, (), tuple(line.encode() for line in lines))


def _command(code: str, *texts: str) -> Case:
    return Case(f"{code}: {texts[0]}", code, (), (), texts)


def _json(**fields: object) -> str:
    return json.dumps(fields, ensure_ascii=False)


TOPIC_ROUTES = ("/sse", "/stream", "/multipart", "/mixed", "/longpoll", "/poll", "/sub", "/history")
"""The addresses that accept topics."""
BAD_CHANNELS = {
    "empty": "",
    "empty segment": "a//b",
    "leading slash": "/a",
    "trailing slash": "a/",
    "white space U+00A0": "a\u00a0b",
    "white space U+2028": "a\u2028b",
    "tab": "a\tb",
    "LF": "a\nb",
    "NUL": "a\0b",
    "DEL": "a\x7fb",
    "control U+0085": "a\u0085b",
    "dot": "a/.",
    "two dots": "../a",
    "bidirectional control U+202E": "a\u202eb",
    "mark U+200F": "a\u200fb",
    "isolate U+2066": "a\u2066b",
    "zero width U+200B": "a\u200bb",
    "zero width U+2060": "a/\u2060",
    "byte order mark": "\ufeffa",
    "not NFC": "Zu\u0308rich",
    "star": "a*",
    "wildcard": "a/*",
    "rest": "**",
    "question mark": "a?b",
    "hash": "a#b",
    "backslash": "a\\b",
    "256 bytes": "a" * 256,
    "256 bytes in 128 letters": "é" * 128,
}
BAD_TOPICS = {name: topic for name, topic in BAD_CHANNELS.items() if name not in ("wildcard", "rest")} | {
    "space": "a b",
    "star after a letter": "a*",
    "star before a letter": "*x",
    "star within": "a/b*c/d",
    "rest first": "**/a",
    "rest within": "a/**/b",
    "three stars": "***",
    "rest after a letter": "a**",
    "comma at the end": "a,",
    "comma at the beginning": ",a",
    "two commas": "a,,b",
    "a bad one among good ones": "a,b*,c",
}
BAD_SINCE = (
    *("garbage", "ALL", "last:", "last:0", "last:-1", "last:x", "last:1.5", "10y", "m", "-5", "1e5", "nan", "inf"),
    *("x-", "-1", "x-1x", "x-1-1", "x--1", f"x-{'9' * 19}", f"{'x' * 33}-1", "x_1", "all,all", "é-1", "x-²"),
    *(" ", "x-1 ", "x-1\n", "0x10", "1_0"),
)
TABLE: tuple[Case, ...] = (
    *_unpublishable(),
    Case("a comma in a channel", "bad-channel", (Request("DELETE", "/pub/a%2Cb"),), (b"PUB a,b x", b"STAT a,b")),
    Case(
        "a name that is not UTF-8",
        "bad-utf8",
        (Request("POST", "/pub/%FF"), Request("GET", "/sse/a%C3")),
        (b"PUB \xff x",),
    ),
    Case(
        "several channels, one bad",
        "bad-channel",
        (Request("POST", "/pub/a,b*,c", {}, b"x"), Request("POST", "/pub/a,")),
    ),
    _channel("a name of the daemon's", "$sys/x", "forbidden"),
    Case("several channels, one the daemon's", "forbidden", (Request("POST", "/pub/a,$sys/x", {}, b"x"),)),
    *_unheard(),
    *map(_since, BAD_SINCE),
    *_spelled(),
    Case("since as a number", "bad-since", (), (), ('{"subscribe":"a","since":-1}', '{"subscribe":"a","since":1e300}')),
    _parameter("bad-utf8", "/sse/a?since=", "%FF", "a%C3"),
    _parameter("bad-utf8", "/pub/a?event=", "%FF"),
    _parameter("bad-parameter", "/sse/a?since=", "all&since=all"),
    _parameter("bad-slow", "/sse/a?slow=", "never", "", "DROP", "drop,"),
    *(_parameter("bad-slow", f"/{route}/a?slow=", "never") for route in ("stream", "multipart", "mixed")),
    Case(
        "slow",
        "bad-slow",
        (Request("GET", "/ws/a?slow=never", HANDSHAKE),),
        (b"SUB a slow=never", b"SUB a slow=", b"SUB a slow=DROP"),
        ('{"subscribe":"a","slow":"never"}', '{"subscribe":"a","slow":""}'),
    ),
    _parameter("bad-event", "/pub/a?event=", "e" * 101, "%C3%A9" * 51, "a%0Ab", "a%0Db", "a%00b", "a%7Fb", "%C2%85"),
    _publication("an event with CR", "bad-event", r'"data":"x","event":"a\rb"'),
    _publication("an event with LF", "bad-event", r'"data":"x","event":"a\nb"'),
    _publication("an event with NUL", "bad-event", r'"data":"x","event":"a\u0000b"'),
    _publication("an event that is too long", "bad-event", f'"data":"x","event":"{"e" * 101}"'),
    _parameter("bad-ttl", "/pub/a?ttl=", "0", "-1", "nan", "inf", "-inf", "text", "", "1e9", "1_0", "%D9%A3", "5s"),
    *(_publication(f"ttl {ttl}", "bad-ttl", f'"data":"x","ttl":{ttl}') for ttl in ("0", "-1", "1e9", "-0.0")),
    *(_publication(f"ttl {ttl}", "bad-json", f'"data":"x","ttl":{ttl}') for ttl in ("NaN", '"5"', "true")),
    _parameter("bad-parameter", "/pub/a?end=", "2", "true", "", "-1"),
    _publication("end", "bad-json", '"data":"x","end":1'),
    _parameter("bad-parameter", "/channels?limit=", "0", "-1", "x", "", "10001", "1.0", "%D9%A3", "9" * 30),
    _parameter("bad-parameter", "/channels?prefix=", "%00", "a%0A", "a" * 256),
    _parameter("bad-parameter", "/channels?after=", "%00", "a" * 256),
    _parameter("bad-parameter", "/connections?limit=", "0", "-1", "x", "", "1001", "1.0", "9" * 30),
    _parameter("bad-parameter", "/connections?after=", "", "0", "01", "-1", "A", "x", "%00", "1%20", "f" * 17),
    _parameter("bad-channel", "/connections?channel=", "", "a/*", "a%00", "a/"),
    Case(
        "a connection that is not there",
        "unknown-connection",
        tuple(Request("DELETE", f"/connections{below}") for below in ("", "/", "/0", "/fffffff", "/X", "/1/2", "/%00")),
    ),
    _parameter("bad-parameter", "/history/a?limit=", "0", "-1", "x", "", "10001", "1.0"),
    _parameter("bad-parameter", "/sse/a?format=", "xml", "raw", ""),
    _parameter("bad-parameter", "/stream/a?format=", "xml", ""),
    *(_parameter("bad-parameter", f"/{route}/a?format=", "xml", "") for route in ("poll", "longpoll")),
    _parameter("bad-parameter", "/longpoll/a?timeout=", "-1", "301", "x", "", "nan", "inf", "0_0", "1s"),
    _parameter("bad-parameter", "/pull/a?interval=", "-1", "86401", "x", "", "1.5", "1_0", "1;url=//b"),
    _parameter("bad-parameter", "/pull/a?url=", "/b", "//b", "b", "javascript:0", "http:", "ftp://b", "http://%0Ab"),
    _parameter("forbidden", "/pull/a?url=", "http://b", "https://b/?c", "http://localhost", "http://127.0.0.1@b/"),
    _parameter("bad-channel", "/pull/", "", "a/*", "**", "a%2Cb", "a,b", "a%00", "a/"),
    *(_typed(kind) for kind in ("nonsense", "a/", "/a", "a b/c", "text/html; x", 'a/b; c="', f"a/{'b' * 254}")),
    _publication("a content type with CR", "bad-content-type", r'"data":"x","content_type":"a/b\rc"'),
    _publication("a content type with LF", "bad-content-type", r'"data":"x","content_type":"a/b\n"'),
    _publication("a content type with a header", "bad-content-type", r'"data":"x","content_type":"a/b\r\nX: y"'),
    Case("no Idempotency-Key", "bad-parameter", (Request("POST", "/pub/a", {"Idempotency-Key": ""}, b"x"),)),
    Case("a long Idempotency-Key", "bad-parameter", (Request("POST", "/pub/a", {"Idempotency-Key": "k" * 256}, b"x"),)),
    _publication("no data", "bad-json", '"event":"e"'),
    _publication("an unknown key", "bad-json", '"data":"x","colour":"red"'),
    _publication("both kinds of data", "bad-json", '"data":"x","data_base64":"eA=="'),
    _publication("base64 without padding", "bad-json", '"data_base64":"eA"'),
    _publication("base64 of the wrong alphabet", "bad-json", '"data_base64":"_-8="'),
    _publication("base64 with white space", "bad-json", '"data_base64":"e A=="'),
    _publication("base64 that is none", "bad-json", '"data_base64":"é"'),
    _publication("a lone surrogate", "bad-json", r'"data":"\ud800"'),
    _publication("a lone surrogate within", "bad-json", r'"data":["\ud800"]'),
    _publication("a lone surrogate in an event", "bad-json", r'"data":"x","event":"\udc00"'),
    _publication("JSON that is too deep", "bad-json", '"data":' + "[" * 30_000 + "]" * 30_000),
    _publication("NaN", "bad-json", '"data":NaN'),
    _publication("an object as text", "bad-json", '"data":{},"content_type":"text/plain"'),
    _publication("an event of the wrong shape", "bad-json", '"data":"x","event":1'),
    _batch("JSON of the wrong shape", "[]", "1", "{}", '{"channel":1,"data":1}', '{"data":1}'),
    _batch("broken JSON", '{"channel":"a",', '{"channel":"a","data":1} x', "{'channel':'a','data':1}"),
    Case("no JSON", "bad-json", (), (b"PUBJ", b"PUBJ x"), ("", "x", '"x"', "null", "{", "[" * 50_000)),
    Case("JSON that is not UTF-8", "bad-json", (Request("POST", "/pub", NDJSON, b'{"channel":"a","data":"\xff"}'),)),
    *(
        Case("a body that is no JSON", "bad-json", (Request("POST", "/pub/a", AS_JSON, body),))
        for body in (b"", b"{", b"'x'", b"1 2", b'"\xff"', rb'"\ud800"', b"[" * 60_000, b"NaN", b"\xef\xbb\xbf1")
    ),
    _command("bad-json", '{"subscribe":"a","sinse":"all"}', '{"ping":1,"auth":"x"}', '{"ping":1} x', '{"auth":1}'),
    _command("bad-json", '{"publish":1,"data":1}', '{"subscribe":1}', '{"subscribe":["a"]}', '{"ref":[,"ping":1}'),
    _command("unknown-command", "{}", '{"x":1}', '{"ref":1}', '{"PING":1}'),
    _line("unknown-command", "FOO", "SUBS a", " SUB a", "GET /", "é", "SUB\ta"),
    _line("bad-command", "SUB", "SUB a foo=1", "SUB a since", "SUB a b", "UNSUB", "UNSUB a b", "STAT", "STAT a b"),
    _line("bad-command", "HIST", "HIST a 0", "HIST a 1001", "HIST a x", "HIST a 1 2", "HIST a -1", "HIST a ²"),
    _line("bad-command", "FORMAT", "FORMAT xml", "FORMAT text json", "AUTH", "AUTH a b"),
    _line("bad-escape", r"PUB a \q", r"PUB a \x0g", r"PUB a \x1", "PUB a \\"),
    Case("a line that is not UTF-8", "bad-utf8", (), (b"PUB a \xff", b"SUB \xff", b'PUBJ "\xff"', b"PING \xc3")),
    Case(
        "an unknown channel",
        "unknown-channel",
        (Request("GET", "/pub/none"), Request("DELETE", "/pub/none")),
        (b"STAT none",),
    ),
    Case("no channel", "not-found", (Request("GET", "/pub"), Request("HEAD", "/pub"), Request("DELETE", "/pub"))),
    Case("a batch of no type", "unsupported-type", (Request("POST", "/pub", {}, b"{}"), Request("PUT", "/pub"))),
    Case("a batch of JSON", "unsupported-type", (Request("POST", "/pub", AS_JSON, b"{}"),)),
    _publication("a message that is too large", "too-large", f'"data":"{"x" * 65_537}"'),
    _publication("a message too large for base64", "too-large", f'"data_base64":"{"AAAA" * 21_846}"'),
    Case("a body that is too large", "too-large", (Request("POST", "/pub/a", {}, b"x" * 65_537),)),
    Case("a text that is too large", "too-large", (), (b"PUB a " + b"x" * 65_537, b"PUB a " + rb"\n" * 65_537)),
)


def cases(protocol: str) -> list[object]:
    """Return the parameters of a test: the inputs of each case for `http`, `lines` or `frames`, and the code."""
    inputs = ((getattr(case, protocol), case) for case in TABLE)
    return [pytest.param(each, case.code, id=case.name) for each, case in inputs if each]


def summary(sent: Request | bytes | str) -> str:
    """Return a short description of an input."""
    if isinstance(sent, Request):
        return f"{sent.method} {sent.target} {sent.headers} {sent.body!r}"[:150]
    return ascii(sent)[:150]
