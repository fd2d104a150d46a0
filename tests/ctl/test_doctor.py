"""What the doctor makes of what it saw, and the lines that it has against it."""

from pathlib import Path

import pytest

from pushd.ctl.api_client import ApiClient
from pushd.ctl.doctor.diagnosis import (
    Problem,
    ProblemKind,
    diagnose,
    diagnose_addresses,
    diagnose_body,
    diagnose_publish,
)
from pushd.ctl.doctor.fixes import FIXES, PROXIES, fixes_for, identify_proxies
from pushd.ctl.doctor.observation import Observation, PublishTimes, Response
from pushd.ctl.doctor.probe_run import CHECKS, Finding, ProbeReport
from pushd.ctl.doctor.report import format_text

PROXIES_PAGE = (Path(__file__).parent.parent.parent / "docs/proxies.md").read_text(encoding="utf-8")
TIMES = PublishTimes("before", {"live0": 12.0, "live1": 12.4}, 82.0, "last", 70.0)
"""By a clock on which all is asked for at 10."""
ON_TIME = {"before": 10.1, "live0": 12.0, "live1": 12.401, "last": 82.0}
KEEPALIVES = [10.1, 12.0, 12.4, 27.4, 42.4, 57.4, 72.4, 82.0]


def observation(
    received: dict[str, float], closed_at: float | None = 82.01, status: int = 200, **more: object
) -> Observation:
    """Make up what became of a stream; where nothing else is said, it ends as it should."""
    given = {"close_reason": "closed", "activity": KEEPALIVES, "response": Response(status)} | more
    return Observation("sse", requested_at=10.0, received=received, closed_at=closed_at, **given)


def delayed(late: float, last: float = 82.01) -> dict[str, float]:
    return dict.fromkeys(ON_TIME, late) | {"last": last}


@pytest.mark.parametrize(
    ("seen", "kinds", "text"),
    [
        (observation(ON_TIME), [], ""),
        (observation(ON_TIME, closed_at=None), [], ""),
        (observation(ON_TIME | {"live0": 12.5, "live1": 12.45}), [], ""),  # a busy moment
        (observation(ON_TIME | {"live0": 12.2, "live1": 12.605}), [ProblemKind.LATE], "waits for 200 ms"),
        (observation(delayed(82.01)), [ProblemKind.BUFFERED], "until the stream ends"),
        (
            observation(delayed(82.01), content_encoding="gzip"),
            [ProblemKind.BUFFERED],
            "by its gzip compression until the stream ends",
        ),
        (observation(delayed(14.0)), [ProblemKind.BUFFERED], "until more has gathered, 1.6 s"),
        (observation({}, closed_at=None), [ProblemKind.BUFFERED], "do not come at all"),
        (observation({}, closed_at=None, response=None), [ProblemKind.BUFFERED], "not even the headers"),
        (observation({}, closed_at=14.0, status=504), [ProblemKind.BUFFERED], "504"),
        (
            observation(delayed(14.4), 14.4, activity=[14.4]),
            [ProblemKind.BUFFERED, ProblemKind.CUT],
            "until the proxy closes",
        ),
        (observation({}, 12.1, activity=[]), [ProblemKind.BUFFERED, ProblemKind.CUT], "do not come at all"),
        (
            observation(ON_TIME, 72.4, activity=KEEPALIVES[:3], close_reason="broken off"),
            [ProblemKind.CUT],
            "broken off after 60 s of silence, 62 s",
        ),
        (observation(ON_TIME, 40.0, activity=KEEPALIVES[:4]), [ProblemKind.CUT], "closed after 13 s of silence, 30 s"),
        (observation({"before": 10.1}, 10.3, activity=[10.1]), [ProblemKind.CUT], "closed after 0 s"),
        (
            observation({"before": 10.1, "live0": 12.0, "live1": 12.4}, None),
            [ProblemKind.CUT],
            "after 70 s of silence nothing comes",
        ),
        (observation({}, 10.1, activity=[10.1]), [ProblemKind.REFUSED], "closed at once"),
        (observation({}, 10.1, content_type="text/html"), [ProblemKind.PATH], "200, but a page"),
        (observation({}, None, 404), [ProblemKind.PATH], "404"),
        (observation({}, None, 502), [ProblemKind.UNREACHED], "502"),
        (observation({}, None, 418), [ProblemKind.REFUSED], "418"),
        (
            observation({}, None, response=Response(429, "too-many-connections")),
            [ProblemKind.REFUSED],
            "by pushd itself: too-many",
        ),
        (
            observation({}, 10.1, response=Response(0, error="Remote end closed")),
            [ProblemKind.REFUSED],
            "Remote end closed",
        ),
        (observation(ON_TIME, status=101, is_websocket=True), [], ""),
        (observation(ON_TIME, status=101, is_websocket=True, is_origin_refused=True), [ProblemKind.HOST], "Host"),
        (observation({}, None, 426, is_websocket=True), [ProblemKind.UPGRADE], "426"),
        (observation({}, None, 200, is_websocket=True), [ProblemKind.UPGRADE], "200"),
        (
            observation({}, None, 426, is_websocket=True, is_origin_refused=True),
            [ProblemKind.HOST, ProblemKind.UPGRADE],
            "Host",
        ),
        (
            observation({}, None, 403, is_websocket=True, is_origin_refused=True),
            [ProblemKind.REFUSED],
            "403: the proxy forbids it",
        ),
    ],
)
def test_observation_is_diagnosed(seen: Observation, kinds: list[ProblemKind], text: str) -> None:
    problems = diagnose(seen, TIMES)
    assert [problem.kind for problem in problems] == kinds
    assert text in "".join(problem.text for problem in problems[:1])


@pytest.mark.parametrize(
    ("responses", "kinds"),
    [
        ([Response(201)], []),
        ([Response(202)], []),
        ([Response(403, "forbidden"), Response(202)], [ProblemKind.HOST]),
        ([Response(403), Response(403)], [ProblemKind.REFUSED]),
        ([Response(200), Response(200)], [ProblemKind.REFUSED]),  # somebody else answers
        ([Response(301), Response(301)], [ProblemKind.REFUSED]),
        ([Response(404), Response(404)], [ProblemKind.PATH]),
        ([Response(502), Response(502)], [ProblemKind.UNREACHED]),
        ([Response(503, "stopping"), Response(503, "stopping")], [ProblemKind.REFUSED]),
    ],
)
def test_how_a_page_may_publish(responses: list[Response], kinds: list[ProblemKind]) -> None:
    assert [problem.kind for problem in diagnose_publish(responses)] == kinds


def test_a_later_refusal_is_told() -> None:
    assert [problem.text for problem in diagnose_publish([Response(201)], Response(429))] == [
        "429: the proxy limits requests or connections"
    ]


@pytest.mark.parametrize(
    ("seen_addresses", "own_addresses", "reported"),
    [
        ({"127.0.0.1"}, {"127.0.0.1"}, ""),
        ({"::ffff:10.1.2.3"}, {"10.1.2.3"}, ""),
        ({"fe80::1%eth0"}, {"fe80::1"}, ""),
        ({"198.51.100.7"}, {"10.1.2.3"}, "198.51.100.7"),
        ({"8.8.8.8"}, {"10.1.2.3"}, ""),  # of a router
        ({"127.0.0.1", "10.1.2.3"}, {"10.1.2.3"}, "127.0.0.1"),
    ],
)
def test_a_proxy_is_not_to_be_taken_for_a_client(
    seen_addresses: set[str], own_addresses: set[str], reported: str
) -> None:
    assert [
        f"takes {reported} for" in problem.text for problem in diagnose_addresses(seen_addresses, own_addresses)
    ] == [True] * bool(reported)


@pytest.mark.parametrize(
    ("response", "kinds"),
    [
        (Response(200), []),
        (Response(413, "too-large"), []),  # by pushd, with a limit that its owner wants
        (Response(413), [ProblemKind.BODY]),
        (Response(502), [ProblemKind.BODY]),
        (Response(0, error="no answer"), [ProblemKind.BODY]),
    ],
)
def test_how_a_large_body_passes(response: Response, kinds: list[ProblemKind]) -> None:
    assert [problem.kind for problem in diagnose_body(response, 2 << 20)] == kinds


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
    assert identify_proxies(servers) == proxies


def test_where_no_proxy_is_named_there_are_the_lines_of_all() -> None:
    assert list(fixes_for(ProblemKind.CUT, [])) == list(PROXIES)
    assert list(fixes_for(ProblemKind.CUT, ["Caddy"])) == ["Caddy"]
    assert fixes_for(ProblemKind.REFUSED, []) == {}


@pytest.mark.parametrize("kind", FIXES)
def test_each_line_that_mends_stands_in_the_documentation(kind: ProblemKind) -> None:
    assert set(FIXES[kind]) == set(PROXIES)
    for text in FIXES[kind].values():
        for line in text.splitlines():
            assert line.startswith("#") or line.strip() in PROXIES_PAGE


def test_a_report_has_a_line_about_each_and_the_lines_of_each_kind_once() -> None:
    cut = Problem(ProblemKind.CUT, "closed after 60 s")
    findings = [
        Finding("sse", [], "all is well", 200, 0.001),
        Finding("raw", [Problem(ProblemKind.LATE, "waits"), cut], "", 200, 0.2),
        Finding("mixed", [cut], "", 200, 0.2),
    ]
    assert list(format_text(ProbeReport(findings, frozenset({"nginx"}), True, None))) == [
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


@pytest.mark.parametrize("name", CHECKS)
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
    assert ApiClient(url).origin == origin
