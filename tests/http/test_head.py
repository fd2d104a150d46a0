"""The head of a request is checked beyond what llhttp checks."""

import pytest

from pushd.http.head import (
    content_length,
    fault_of,
    framing_head,
    hosts_of,
    is_known_expectation,
    may_switch,
    origin_form,
)


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        (b"*", b"a", b"*"),
        (b"http://a/b?c", b"A", b"/b?c"),
        (b"http://a:80", b"a", b"/"),
        (b"https://a", b"a:443", b"/"),
        (b"http://a:?c", b"a", b"/?c"),
        (b"http://a/b", None, b"/b"),
    ],
)
def test_a_target_is_brought_into_origin_form(target: bytes, host: bytes | None, path: bytes) -> None:
    assert origin_form(target, host) == (path, None)


@pytest.mark.parametrize(
    ("target", "section"), [(b"a:443", "3.2"), (b"", "3.2"), (b"ftp://a/", "3.2"), (b"http://b/", "3.2.2")]
)
def test_any_other_target_is_a_fault(target: bytes, section: str) -> None:
    path, fault = origin_form(target, b"a")
    assert path == b"/" and fault is not None and fault.endswith(f"section {section})")


@pytest.mark.parametrize("host", [b"", b"a", b"a:", b"a:80", b"[::1]:80", b"1.2.3.4", b"a_b~c"])
def test_a_valid_host(host: bytes) -> None:
    assert fault_of({b"host": host}, is_http10=False) is None


@pytest.mark.parametrize("host", [b"a b", b"a, a", b"a/b", b"u@a", b"a:x", b"a:123456", b"::1", b"\xff"])
def test_an_invalid_host(host: bytes) -> None:
    assert "Host must be one host name" in str(fault_of({b"host": host}, is_http10=False))


def test_only_http_1_0_may_omit_host() -> None:
    assert "must have a Host" in str(fault_of({}, is_http10=False))
    assert fault_of({}, is_http10=True) is None


@pytest.mark.parametrize(
    ("coding", "is_http10", "is_valid"),
    [(b"chunked", False, True), (b"Chunked", False, True), (b"chunked", True, False)]
    + [(coding, False, False) for coding in (b"gzip", b"gzip, chunked", b"chunked, chunked", b"identity", b"")],
)
def test_chunked_is_the_only_coding(coding: bytes, is_http10: bool, is_valid: bool) -> None:
    fault = fault_of({b"host": b"a", b"transfer-encoding": coding}, is_http10)
    assert (fault is None) is is_valid


def test_the_hosts_are_those_of_the_header_and_of_the_target() -> None:
    assert hosts_of({}, b"/a") == []
    assert hosts_of({b"host": b"a"}, b"/a") == [b"a"]
    assert hosts_of({b"host": b"a"}, b"http://u@b:1/c") == [b"a", b"b:1"]


@pytest.mark.parametrize(
    ("value", "is_known"),
    [
        (b"100-continue", True),
        (b" 100-Continue , ", True),
        (b"", True),
        (b"100-continue, x", False),
        (b"200-ok", False),
    ],
)
def test_the_only_expectation_is_100_continue(value: bytes, is_known: bool) -> None:
    assert is_known_expectation(value) is is_known


@pytest.mark.parametrize(
    ("method", "more", "is_http10", "may"),
    [
        (b"GET", {}, False, True),
        (b"GET", {b"content-length": b"0"}, False, True),
        (b"GET", {b"content-length": b"1"}, False, False),
        (b"GET", {b"transfer-encoding": b"chunked"}, False, False),
        (b"GET", {b"upgrade": b"h2c"}, False, False),
        (b"GET", {b"upgrade": b"h2c, WebSocket"}, False, True),
        (b"POST", {}, False, False),
        (b"GET", {}, True, False),
    ],
)
def test_a_get_without_a_body_may_switch_to_websocket(
    method: bytes, more: dict[bytes, bytes], is_http10: bool, may: bool
) -> None:
    assert may_switch(method, {b"upgrade": b"websocket"} | more, is_http10) is may


def test_the_framing_of_a_body() -> None:
    assert content_length({}) == 0
    assert framing_head({b"content-length": b"7"}).endswith(b"\r\nContent-Length: 7\r\n\r\n")
    assert framing_head({}).endswith(b"\r\nContent-Length: 0\r\n\r\n")
    chunked = framing_head({b"content-length": b"7", b"transfer-encoding": b"Chunked"})
    assert chunked.endswith(b"\r\nTransfer-Encoding: chunked\r\n\r\n") and b"Length" not in chunked
