"""Loopback listeners serve known hosts only, and origins are the same or foreign."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.http.origins import embedding_headers, is_cross_site, is_known_host, is_same_origin

KNOWN = [
    "localhost",
    "LocalHost",
    "localhost:8080",
    "localhost.",
    "localhost.:8080",
    "app.localhost",
    "a.b.localhost:1",
    "127.0.0.1",
    "127.0.0.1:8080",
    "10.1.2.3",
    "[::1]",
    "[::1]:8080",
    "[2001:db8::7]",
    "[::ffff:127.0.0.1]:80",
    "push.example.org",
    "PUSH.Example.ORG:443",
    "push.example.org.",
    "my_service",
]
UNKNOWN = [
    "",
    ":80",
    ".",
    "evil.example",
    "evil.example:8080",
    "evil.example.",
    "localhost.evil.example",
    "xlocalhost",
    "localhost..",
    "localhost%2e",
    "127.0.0.1.evil.example",
    "127.0.0.1.nip.io",
    "127.0.0.1..",
    "127.1",
    "2130706433",
    "0x7f.1",
    "0177.0.0.1",
    "127.0.0.256",
    "127.0.0.1.1",
    "example.org",
    "x.push.example.org",
    "push.example.org.evil.example",
    "push.example.or",
    "[::1",
    "[]",
    "[::1]evil.example",
    "[\xe9]",
    "[:::1]",
    "[127.0.0.1]",
    "[localhost]",
]
NAMES = frozenset({"push.example.org", "my_service"})
NONE: frozenset[str] = frozenset()


@pytest.mark.parametrize("host", KNOWN)
def test_a_host_that_a_loopback_listener_serves(host: str) -> None:
    assert is_known_host(host.encode(), NAMES)


@pytest.mark.parametrize("host", UNKNOWN)
def test_a_host_that_a_loopback_listener_does_not_serve(host: str) -> None:
    assert not is_known_host(host.encode("latin-1"), NAMES)


@pytest.mark.parametrize("host", ["push.example.org", "my_service"])
def test_configured_names_are_unknown_without_configuration(host: str) -> None:
    assert not is_known_host(host.encode(), NONE)


@given(st.from_regex(r"([a-z0-9-]{1,8}\.){0,3}[a-z]{2,8}", fullmatch=True))
def test_no_domain_of_the_internet_is_known(domain: str) -> None:
    is_local = domain == "localhost" or domain.endswith(".localhost")
    assert is_known_host(domain.encode(), NONE) == is_local
    assert is_known_host(domain.upper().encode() + b".:8080", NONE) == is_local


@given(st.binary(max_size=40))
def test_any_bytes_are_known_or_unknown(host: bytes) -> None:
    assert is_known_host(host, NONE) in (True, False)


HOST = b"localhost:8080"


@pytest.mark.parametrize("origin", ["http://localhost:8080", "https://localhost:8080", "HTTP://LocalHost:8080"])
def test_an_origin_of_the_same_host(origin: str) -> None:
    assert is_same_origin(origin.encode(), HOST)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "localhost:8080",
        "://localhost:8080",
        "chrome-extension://localhost:8080",
        "moz-extension://localhost:8080",
        "file://localhost:8080",
        "file://",
        "ws://localhost:8080",
        "ahttp://localhost:8080",
        "http://localhost",
        "http://localhost:80",
        "http://localhost:8080/",
        "http://localhost:8080, http://localhost:8080",
        "http://evil.example",
        "http://user@localhost:8080",
    ],
)
def test_an_origin_that_is_foreign(origin: str) -> None:
    assert not is_same_origin(origin.encode(), HOST)


@pytest.mark.parametrize(
    ("origins", "resource_policy", "ancestors"),
    [
        ([], b"same-origin", b"'self'"),
        (["https://b.example", "https://a.example"], b"same-origin", b"'self' https://a.example https://b.example"),
        (["*"], b"cross-origin", None),
    ],
)
def test_pages_of_other_origins_embed_only_if_they_are_allowed(
    origins: list[str], resource_policy: bytes, ancestors: bytes | None
) -> None:
    lines = b"Cross-Origin-Resource-Policy: %b\r\n" % resource_policy
    if ancestors is not None:
        lines += b"Content-Security-Policy: frame-ancestors %b\r\n" % ancestors
    assert embedding_headers(origins) == lines


@pytest.mark.parametrize("origin", [b"http://", b"null", b""])
def test_no_origin_matches_a_request_without_a_host(origin: bytes) -> None:
    assert not is_same_origin(origin, b"")


@pytest.mark.parametrize(
    ("value", "is_foreign"),
    [
        (None, False),
        (b"", False),
        (b"none", False),
        (b"same-origin", False),
        (b"same-site", False),
        (b"cross-site", True),
        (b"Cross-Site", True),
        (b"none, cross-site", True),
    ],
)
def test_a_page_of_another_site(value: bytes | None, is_foreign: bool) -> None:
    assert is_cross_site(value) is is_foreign
