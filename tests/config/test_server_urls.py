"""URLs of servers to which the daemon sends requests; the settings that have one test what is refused."""

import pytest

from pushd.config.server_urls import is_protected, server_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.org/", True),
        ("http://localhost:8000/", True),
        ("http://127.1.2.3/", True),
        ("http://[::1]:8000/", True),
        ("http://example.org/", False),
        ("http://localhost.example.org/", False),
        ("http://10.0.0.1/", False),
        ("http://127.0.0.1.example.org/", False),
    ],
)
def test_who_is_protected(url: str, expected: bool) -> None:
    assert server_url("https://example.org/")(url) == url
    assert is_protected(url) is expected
