"""What the doctor makes of what it saw, and the lines that it has against it."""

from pathlib import Path
from typing import Any

import pytest

from pushd.ctl.doctor.course import Answer, Course, Published
from pushd.ctl.doctor.cures import CURES, PROXIES, cures, named
from pushd.ctl.doctor.diagnosis import Fault, Kind, judge, judge_addresses, judge_body, judge_writing
from pushd.ctl.doctor.examination import EXAMINED, Examined, Finding
from pushd.ctl.doctor.report import lines
from pushd.ctl.web import Web

PROXIES_PAGE = (Path(__file__).parent.parent.parent / "docs/proxies.md").read_text(encoding="utf-8")
PUBLISHED = Published("before", {"live0": 12.0, "live1": 12.4}, 82.0, "last", 70.0)
"""By a clock on which all is asked for at 10."""
WELL = {"before": 10.1, "live0": 12.0, "live1": 12.401, "last": 82.0}
SIGNS = [10.1, 12.0, 12.4, 27.4, 42.4, 57.4, 72.4, 82.0]


def course(heard: dict[str, float], closed: float | None = 82.01, status: int = 200, **more: object) -> Course:
    """Make up what became of a stream; where nothing else is said, it ends as it should."""
    given: dict[str, Any] = {"end": "closed", "arrivals": SIGNS, "answer": Answer(status)} | more
    return Course("sse", asked=10.0, heard=heard, closed=closed, **given)


def held(late: float, last: float = 82.01) -> dict[str, float]:
    return dict.fromkeys(WELL, late) | {"last": last}


@pytest.mark.parametrize(
    ("seen", "kinds", "words"),
    [
        (course(WELL), [], ""),
        (course(WELL, closed=None), [], ""),
        (course(WELL | {"live0": 12.5, "live1": 12.45}), [], ""),  # a busy moment
        (course(WELL | {"live0": 12.2, "live1": 12.605}), [Kind.LATE], "waits for 200 ms"),
        (course(held(82.01)), [Kind.BUFFERED], "until the stream ends"),
        (course(held(82.01), coding="gzip"), [Kind.BUFFERED], "by its gzip compression until the stream ends"),
        (course(held(14.0)), [Kind.BUFFERED], "until more has gathered, 1.6 s"),
        (course({}, closed=None), [Kind.BUFFERED], "do not come at all"),
        (course({}, closed=None, answer=None), [Kind.BUFFERED], "not even the headers"),
        (course({}, closed=14.0, status=504), [Kind.BUFFERED], "504"),
        (course(held(14.4), 14.4, arrivals=[14.4]), [Kind.BUFFERED, Kind.CUT], "until the proxy closes"),
        (course({}, 12.1, arrivals=[]), [Kind.BUFFERED, Kind.CUT], "do not come at all"),
        (
            course(WELL, 72.4, arrivals=SIGNS[:3], end="broken off"),
            [Kind.CUT],
            "broken off after 60 s of silence, 62 s",
        ),
        (course(WELL, 40.0, arrivals=SIGNS[:4]), [Kind.CUT], "closed after 13 s of silence, 30 s"),
        (course({"before": 10.1}, 10.3, arrivals=[10.1]), [Kind.CUT], "closed after 0 s"),
        (
            course({"before": 10.1, "live0": 12.0, "live1": 12.4}, None),
            [Kind.CUT],
            "after 70 s of silence nothing comes",
        ),
        (course({}, 10.1, arrivals=[10.1]), [Kind.REFUSED], "closed at once"),
        (course({}, 10.1, kind="text/html"), [Kind.PATH], "200, but a page"),
        (course({}, None, 404), [Kind.PATH], "404"),
        (course({}, None, 502), [Kind.UNREACHED], "502"),
        (course({}, None, 418), [Kind.REFUSED], "418"),
        (course({}, None, answer=Answer(429, "too-many-connections")), [Kind.REFUSED], "by pushd itself: too-many"),
        (course({}, 10.1, answer=Answer(0, error="Remote end closed")), [Kind.REFUSED], "Remote end closed"),
        (course(WELL, status=101, is_websocket=True), [], ""),
        (course(WELL, status=101, is_websocket=True, is_origin_refused=True), [Kind.HOST], "Host"),
        (course({}, None, 426, is_websocket=True), [Kind.UPGRADE], "426"),
        (course({}, None, 200, is_websocket=True), [Kind.UPGRADE], "200"),
        (course({}, None, 426, is_websocket=True, is_origin_refused=True), [Kind.HOST, Kind.UPGRADE], "Host"),
        (course({}, None, 403, is_websocket=True, is_origin_refused=True), [Kind.REFUSED], "403: the proxy forbids it"),
    ],
)
def test_what_was_seen_tells_what_is_wrong(seen: Course, kinds: list[Kind], words: str) -> None:
    faults = judge(seen, PUBLISHED)
    assert [fault.kind for fault in faults] == kinds
    assert words in "".join(fault.text for fault in faults[:1])


@pytest.mark.parametrize(
    ("answers", "kinds"),
    [
        ([Answer(201)], []),
        ([Answer(202)], []),
        ([Answer(403, "forbidden"), Answer(202)], [Kind.HOST]),
        ([Answer(403), Answer(403)], [Kind.REFUSED]),
        ([Answer(200), Answer(200)], [Kind.REFUSED]),  # somebody else answers
        ([Answer(301), Answer(301)], [Kind.REFUSED]),
        ([Answer(404), Answer(404)], [Kind.PATH]),
        ([Answer(502), Answer(502)], [Kind.UNREACHED]),
        ([Answer(503, "stopping"), Answer(503, "stopping")], [Kind.REFUSED]),
    ],
)
def test_how_a_page_may_publish(answers: list[Answer], kinds: list[Kind]) -> None:
    assert [fault.kind for fault in judge_writing(answers)] == kinds


def test_a_later_refusal_is_told() -> None:
    assert [fault.text for fault in judge_writing([Answer(201)], Answer(429))] == [
        "429: the proxy limits requests or connections"
    ]


@pytest.mark.parametrize(
    ("known", "own", "strange"),
    [
        ({"127.0.0.1"}, {"127.0.0.1"}, ""),
        ({"::ffff:10.1.2.3"}, {"10.1.2.3"}, ""),
        ({"fe80::1%eth0"}, {"fe80::1"}, ""),
        ({"198.51.100.7"}, {"10.1.2.3"}, "198.51.100.7"),
        ({"8.8.8.8"}, {"10.1.2.3"}, ""),  # of a router
        ({"127.0.0.1", "10.1.2.3"}, {"10.1.2.3"}, "127.0.0.1"),
    ],
)
def test_a_proxy_is_not_to_be_taken_for_a_client(known: set[str], own: set[str], strange: str) -> None:
    assert [f"takes {strange} for" in fault.text for fault in judge_addresses(known, own)] == [True] * bool(strange)


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [
        (Answer(200), []),
        (Answer(413, "too-large"), []),  # by pushd, with a limit that its owner wants
        (Answer(413), [Kind.BODY]),
        (Answer(502), [Kind.BODY]),
        (Answer(0, error="no answer"), [Kind.BODY]),
    ],
)
def test_how_a_large_body_passes(answer: Answer, kinds: list[Kind]) -> None:
    assert [fault.kind for fault in judge_body(answer, 2 << 20)] == kinds


@pytest.mark.parametrize(
    ("servers", "proxies"),
    [
        ({"nginx/1.22.1"}, ["nginx"]),
        ({"openresty"}, ["nginx"]),
        ({"Caddy", "pushd"}, ["Caddy"]),
        ({"Apache/2.4.71 (Debian)", "1.1 haproxy"}, ["HAProxy", "Apache"]),
        ({"pushd"}, []),
    ],
)
def test_proxies_name_themselves(servers: set[str], proxies: list[str]) -> None:
    assert named(servers) == proxies


def test_where_no_proxy_is_named_there_are_the_lines_of_all() -> None:
    assert list(cures(Kind.CUT, [])) == list(PROXIES)
    assert list(cures(Kind.CUT, ["Caddy"])) == ["Caddy"]
    assert cures(Kind.REFUSED, []) == {}


@pytest.mark.parametrize("kind", CURES)
def test_each_line_that_mends_stands_in_the_documentation(kind: Kind) -> None:
    assert set(CURES[kind]) == set(PROXIES)
    for text in CURES[kind].values():
        for line in text.splitlines():
            assert line.startswith("#") or line.strip() in PROXIES_PAGE


def test_a_report_has_a_line_about_each_and_the_lines_of_each_kind_once() -> None:
    cut = Fault(Kind.CUT, "closed after 60 s")
    findings = [
        Finding("sse", [], "all is well", 200, 0.001),
        Finding("raw", [Fault(Kind.LATE, "waits"), cut], "", 200, 0.2),
        Finding("mixed", [cut], "", 200, 0.2),
    ]
    assert list(lines(Examined(findings, frozenset({"nginx"}), True, None))) == [
        "answers name nginx",
        "sse        fine      all is well",
        "raw        late      waits",
        "raw        cut       closed after 60 s",
        "mixed      cut       closed after 60 s",
        "",
        "against late (raw):",
        "  nginx",
        "      tcp_nodelay on;",
        "",
        "against cut (raw, mixed):",
        "  nginx",
        "      proxy_read_timeout 1h;",
        "  or, but for raw streams, which have no sign of life, a shorter keepalive in pushd",
    ]


@pytest.mark.parametrize("name", EXAMINED)
def test_all_that_is_examined_is_documented(name: str) -> None:
    page = (Path(__file__).parent.parent.parent / "docs/pushctl.md").read_text(encoding="utf-8")
    assert f"`{name}`" in page.partition("## doctor")[2]


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://localhost:8080/push", "http://localhost:8080"),
        ("https://user:word@push.example.org:443/", "https://push.example.org"),
        ("http://push.example.org:80", "http://push.example.org"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_origin_is_said_as_browsers_say_it(url: str, origin: str) -> None:
    assert Web(url).origin == origin
