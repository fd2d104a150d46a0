"""The diagnosis of observations, the fixes, and the report of the doctor."""

from pathlib import Path
from typing import Any

import pytest

from pushd.ctl.api_client import ApiClient
from pushd.ctl.doctor.checks import CHECKS
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
from pushd.ctl.doctor.probe_run import Finding, ProbeReport
from pushd.ctl.doctor.report import format_text

PROXIES_PAGE = (Path(__file__).parent.parent.parent / "docs/proxies.md").read_text(encoding="utf-8")
TIMES = PublishTimes("before", {"live0": 12.0, "live1": 12.4}, 82.0, "last", 70.0)
"""Publish times, for subscribers whose requests are sent at 10."""
ON_TIME = {"before": 10.1, "live0": 12.0, "live1": 12.401, "last": 82.0}
KEEPALIVES = [10.1, 12.0, 12.4, 27.4, 42.4, 57.4, 72.4, 82.0]


def observation(
    received: dict[str, float], closed_at: float | None = 82.01, status: int = 200, **more: object
) -> Observation:
    """Return the observation of a stream, which by default ends as it should."""
    given: dict[str, Any] = {"close_reason": "closed", "activity": KEEPALIVES, "response": Response(status)} | more
    return Observation("sse", requested_at=10.0, received=received, closed_at=closed_at, **given)


def delayed(late: float, last: float = 82.01) -> dict[str, float]:
    return dict.fromkeys(ON_TIME, late) | {"last": last}


@pytest.mark.parametrize(
    ("seen", "kinds", "text"),
    [
        (observation(ON_TIME), [], ""),
        (observation(ON_TIME, closed_at=None), [], ""),
        (observation(ON_TIME | {"live0": 12.5, "live1": 12.45}), [], ""),  # a busy machine
        (observation(ON_TIME | {"live0": 12.2, "live1": 12.605}), [ProblemKind.LATE], "delayed by 200 ms"),
        (observation(delayed(82.01)), [ProblemKind.BUFFERED], "until the stream ends"),
        (
            observation(delayed(82.01), content_encoding="gzip"),
            [ProblemKind.BUFFERED],
            "by its gzip compression until the stream ends",
        ),
        (observation(delayed(14.0)), [ProblemKind.BUFFERED], "until more data has accumulated, for at least 1.6 s"),
        (observation({}, closed_at=None), [ProblemKind.BUFFERED], "never arrive"),
        (observation({}, closed_at=None, response=None), [ProblemKind.BUFFERED], "not even the response headers"),
        (observation({}, closed_at=14.0, status=504), [ProblemKind.BUFFERED], "504"),
        (
            observation(delayed(14.4), 14.4, activity=[14.4]),
            [ProblemKind.BUFFERED, ProblemKind.CUT],
            "until the proxy closes",
        ),
        (observation({}, 12.1, activity=[]), [ProblemKind.BUFFERED, ProblemKind.CUT], "never arrive"),
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
            "after 70 s of silence nothing arrives",
        ),
        (observation({}, 10.1, activity=[10.1]), [ProblemKind.REFUSED], "closed at once"),
        (observation({}, 10.1, content_type="text/html"), [ProblemKind.PATH], "200, but HTML"),
        (observation({}, None, 404), [ProblemKind.PATH], "404"),
        (observation({}, None, 502), [ProblemKind.UNREACHED], "502"),
        (observation({}, None, 418), [ProblemKind.REFUSED], "418"),
        (
            observation({}, None, response=Response(429, "too-many-connections")),
            [ProblemKind.REFUSED],
            "from pushd itself: too-many",
        ),
        (
            observation({}, None, response=Response(421, "unknown-host")),
            [ProblemKind.REFUSED],
            "to pushd's http.hosts",
        ),
        (
            observation({}, None, response=Response(421, "unknown-host"), is_websocket=True),
            [ProblemKind.REFUSED],
            "to pushd's http.hosts",
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
        ([Response(200), Response(200)], [ProblemKind.REFUSED]),  # not from pushd
        ([Response(301), Response(301)], [ProblemKind.REFUSED]),
        ([Response(421, "unknown-host"), Response(421, "unknown-host")], [ProblemKind.REFUSED]),
        ([Response(404), Response(404)], [ProblemKind.PATH]),
        ([Response(502), Response(502)], [ProblemKind.UNREACHED]),
        ([Response(503, "stopping"), Response(503, "stopping")], [ProblemKind.REFUSED]),
    ],
)
def test_publish_responses_are_diagnosed(responses: list[Response], kinds: list[ProblemKind]) -> None:
    assert [problem.kind for problem in diagnose_publish(responses)] == kinds


def test_later_refusal_is_reported() -> None:
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
        ({"8.8.8.8"}, {"10.1.2.3"}, ""),  # a NAT router
        ({"127.0.0.1", "10.1.2.3"}, {"10.1.2.3"}, "127.0.0.1"),
    ],
)
def test_private_foreign_address_is_reported(seen_addresses: set[str], own_addresses: set[str], reported: str) -> None:
    assert [
        f"takes {reported} for" in problem.text for problem in diagnose_addresses(seen_addresses, own_addresses)
    ] == [True] * bool(reported)


@pytest.mark.parametrize(
    ("response", "kinds"),
    [
        (Response(200), []),
        (Response(413, "too-large"), []),  # from pushd, whose limit the operator chose
        (Response(413), [ProblemKind.BODY]),
        (Response(502), [ProblemKind.BODY]),
        (Response(0, error="no answer"), [ProblemKind.BODY]),
    ],
)
def test_response_to_large_body_is_diagnosed(response: Response, kinds: list[ProblemKind]) -> None:
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
def test_proxies_are_identified_by_headers(servers: set[str], proxies: list[str]) -> None:
    assert identify_proxies(servers) == proxies


def test_fixes_for_all_proxies_if_none_is_identified() -> None:
    assert list(fixes_for(ProblemKind.CUT, [])) == list(PROXIES)
    assert list(fixes_for(ProblemKind.CUT, ["Caddy"])) == ["Caddy"]
    assert fixes_for(ProblemKind.REFUSED, []) == {}


@pytest.mark.parametrize("kind", FIXES)
def test_fixes_are_documented(kind: ProblemKind) -> None:
    assert set(FIXES[kind]) == set(PROXIES)
    for text in FIXES[kind].values():
        for line in text.splitlines():
            assert line.startswith("#") or line.strip() in PROXIES_PAGE


def test_report_lists_findings_and_each_fix_once() -> None:
    cut = Problem(ProblemKind.CUT, "closed after 60 s")
    findings = [
        Finding("sse", [], "no problem", 200, 0.001),
        Finding("raw", [Problem(ProblemKind.LATE, "waits"), cut], "", 200, 0.2),
        Finding("mixed", [cut], "", 200, 0.2),
    ]
    assert list(format_text(ProbeReport(findings, frozenset({"nginx"}), True, None))) == [
        "responses name nginx",
        "sse        fine      no problem",
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
        "  or a shorter keepalive in pushd (raw streams have none)",
    ]


@pytest.mark.parametrize("name", CHECKS)
def test_checks_are_documented(name: str) -> None:
    page = (Path(__file__).parent.parent.parent / "docs/pushctl.md").read_text(encoding="utf-8")
    assert f"`{name}`" in page.partition("## doctor")[2]


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://localhost:8080/push", "http://localhost:8080"),
        ("https://push.example.org:443/", "https://push.example.org"),
        ("http://push.example.org:80", "http://push.example.org"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_origin_is_serialized_as_by_browsers(url: str, origin: str) -> None:
    assert ApiClient(url).address.origin == origin
