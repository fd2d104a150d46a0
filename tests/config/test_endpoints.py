"""Where to listen: addresses with a port, and endpoint strings."""

import re

import pytest
from twisted.internet.testing import MemoryReactor

from pushd.config.endpoints import endpoints
from pushd.net.listeners import check_endpoint, is_local

LOOPBACK = "tcp:8080:interface=127.0.0.1"


@pytest.mark.parametrize(
    ("written", "endpoint", "is_loopback"),
    [
        ("127.0.0.1:8080", LOOPBACK, True),
        (":8080", LOOPBACK, True),
        ("8080", LOOPBACK, True),
        (8080, LOOPBACK, True),
        ([8080], LOOPBACK, True),
        ("localhost:8080", LOOPBACK, True),
        ("08080", LOOPBACK, True),
        ("[::1]:8080", r"tcp6:8080:interface=\:\:1", True),
        ("0.0.0.0:80", "tcp:80:interface=0.0.0.0", False),
        ("[::]:80", r"tcp6:80:interface=\:\:", False),
        ("10.0.0.7:80", "tcp:80:interface=10.0.0.7", False),
        ("haproxy::8080", f"haproxy:{LOOPBACK}", True),
        ("haproxy:8080", f"haproxy:{LOOPBACK}", True),
        ("tcp:8080", "tcp:8080", False),
        ("unix:/run/x", "unix:/run/x", True),
    ],
)
def test_address_stands_for_an_endpoint_string(written: object, endpoint: str, is_loopback: bool) -> None:
    assert endpoints(written) == (endpoint,)
    check_endpoint(endpoint, MemoryReactor())
    assert is_local(endpoint) == is_loopback


def test_lists_may_mix_both() -> None:
    assert endpoints("tcp:1, :2 3") == ("tcp:1", "tcp:2:interface=127.0.0.1", "tcp:3:interface=127.0.0.1")
    assert endpoints("none") == ()


@pytest.mark.parametrize(
    ("written", "phrase"),
    [
        (":70000", "':70000' has an invalid port: must be between 0 and 65535"),
        ([-1], "'-1' is neither an address with a port nor an endpoint string (accepted: HOST:PORT"),
        ("[::x]:80", "'[::x]:80' is neither an address"),
        ("localhost", "'localhost' is neither an address"),
        ("none 80", "'none' is neither an address"),
        (True, "true is not a list of strings"),
        ([True], "is not a list of strings"),
    ],
)
def test_wrong_address_is_refused(written: object, phrase: str) -> None:
    with pytest.raises(ValueError, match=re.escape(phrase)):
        endpoints(written)
