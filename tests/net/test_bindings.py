"""What endpoint strings bind: the same answers as those of the kernel."""

import os
import socket
from pathlib import Path

import pytest

from pushd.net.bindings import Binding, binding_of, why_unavailable
from tests.backends.redis_server import free_port


@pytest.mark.parametrize(
    ("text", "binding"),
    [
        ("tcp:80", Binding("0.0.0.0", 80)),
        ("tcp:port=80:interface=127.0.0.1", Binding("127.0.0.1", 80)),
        ("tcp:80:interface=localhost", Binding("127.0.0.1", 80)),
        (r"tcp6:80:interface=\:\:1", Binding("::1", 80)),
        ("tcp6:80", Binding("::", 80)),
        (r"tcp:80:interface=\:\:ffff\:127.0.0.1", Binding("127.0.0.1", 80)),
        ("ssl:443:interface=127.0.0.1:privateKey=k", Binding("127.0.0.1", 443)),
        ("haproxy:tcp:80:interface=127.0.0.1", Binding("127.0.0.1", 80)),
        ("tcp:80:interface=a.example", Binding("a.example", 80)),
        ("unix:/run/x:mode=666", Binding("", "/run/x")),
        ("systemd:domain=INET:index=1", Binding("", "systemd socket 1")),
        ("onion:80", None),
    ],
)
def test_binding_of_an_endpoint_string(text: str, binding: Binding | None) -> None:
    assert binding_of(text) == binding


HOSTS = ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::"]


@pytest.mark.parametrize("first", HOSTS)
@pytest.mark.parametrize("second", HOSTS)
def test_bindings_exclude_each_other_as_the_kernel_says(first: str, second: str) -> None:
    """IPV6_V6ONLY is not set, as in Twisted. No connection of another program has the port, on any address."""
    try:
        listener = socket.socket(socket.AF_INET6 if ":" in first else socket.AF_INET)
        listener.bind((first, free_port()))
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listener:
        listener.listen()
        port = listener.getsockname()[1]
        taken, other = Binding(first, port), Binding(second, port)
        assert (why_unavailable(other) == "another process listens on it") == taken.excludes(other)
        assert taken.excludes(other) == other.excludes(taken)


def test_other_ports_and_port_0_exclude_nothing() -> None:
    assert not Binding("0.0.0.0", 80).excludes(Binding("0.0.0.0", 81))
    assert not Binding("0.0.0.0", 0).excludes(Binding("0.0.0.0", 0))


def test_unix_socket_is_unavailable_while_something_listens(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    binding = binding_of(f"unix:{path}")
    assert binding is not None
    assert why_unavailable(binding) is None
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert why_unavailable(binding) is None  # left behind by a process that was killed
        listener.listen()
        assert why_unavailable(binding) == "another process listens on it"
    assert os.listdir(tmp_path) == ["x.sock"]


def test_shared_port_is_available() -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        binding = Binding(*listener.getsockname())
        assert why_unavailable(binding, is_shared=True) is None
        assert why_unavailable(binding) == "another process listens on it"


def test_address_of_another_machine_is_unavailable() -> None:
    assert why_unavailable(Binding("192.0.2.1", 80)) == "Cannot assign requested address"
