"""Fan-out of one block to many sockets: the loop in C and the one in Python behave the same."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pushd.core.dispatcher import send_one_by_one
from pushd.net import fan_out

BLOCK = b"x" * 100
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(params=["C", "Python"])
def send_each(request):
    """`send_each` of one implementation, which takes sockets."""
    if request.param == "Python":
        return lambda sockets, block: send_one_by_one([each.send for each in sockets], block)
    if not fan_out.IS_COMPILED:
        is_blocked = "tests.without_extension" in sys.modules
        if os.environ.get("CI") and not is_blocked:
            pytest.fail("the C extension was not built; is a compiler installed?")
        pytest.skip("the C extension was not built")
    return lambda sockets, block: fan_out.send_each([each.fileno() for each in sockets], block)


@pytest.fixture
def pairs():
    """Three connected socket pairs."""
    pairs = [socket.socketpair() for _ in range(3)]
    for ours, _ in pairs:
        ours.setblocking(False)
    yield pairs
    for pair in pairs:
        for end in pair:
            end.close()


def fill(sock):
    """Send until the socket buffer is full."""
    while True:
        try:
            sock.send(bytes(65536))
        except BlockingIOError:
            return


def test_block_is_sent_to_each_socket(send_each, pairs):
    assert send_each([ours for ours, _ in pairs], BLOCK) == []
    assert [theirs.recv(1000) for _, theirs in pairs] == [BLOCK] * 3


def test_no_sockets_is_no_error(send_each):
    assert send_each([], BLOCK) == []


def test_full_socket_accepts_nothing_and_does_not_block(send_each, pairs):
    fill(pairs[1][0])
    assert send_each([ours for ours, _ in pairs], BLOCK) == [(1, 0)]
    assert [pairs[place][1].recv(1000) for place in (0, 2)] == [BLOCK] * 2


def test_nearly_full_socket_accepts_a_part(send_each, pairs):
    block = bytes(16 << 20)
    ((place, sent),) = send_each([pairs[0][0]], block)
    assert place == 0
    assert 0 < sent < len(block)


def test_closed_socket_accepts_nothing_without_sigpipe(send_each, pairs):
    pairs[0][1].close()
    assert send_each([ours for ours, _ in pairs], BLOCK) == [(0, 0)]
    assert [theirs.recv(1000) for _, theirs in pairs[1:]] == [BLOCK] * 2


@pytest.mark.skipif(not fan_out.IS_COMPILED, reason="the C extension was not built")
@pytest.mark.parametrize(
    "wrong", [((), BLOCK), ([1], "text"), (["1"], BLOCK), ([None], BLOCK), ([1 << 70], BLOCK), ([1],)]
)
def test_c_extension_refuses_invalid_arguments(wrong):
    with pytest.raises((TypeError, OverflowError)):
        fan_out.send_each(*wrong)


def test_loop_in_python_is_used_without_the_c_extension():
    script = "import tests.without_extension\nfrom pushd.net.fan_out import send_each\nprint(send_each.__name__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "send_one_by_one\n"
