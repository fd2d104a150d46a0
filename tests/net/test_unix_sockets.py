"""A Unix socket is taken over when nobody answers, whatever process has the id of the last owner."""

import errno
import os
import re
import socket
import stat

import pytest
import pytest_twisted
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory

from pushd.net.unix_sockets import UnixSocketReactor


@pytest.fixture
def address(tmp_path):
    """The path of a socket."""
    return str(tmp_path / "pushd.sock")


@pytest_twisted.async_yield_fixture
async def listen(address):
    """Listen on the socket until the end of the test: `port = listen()`."""
    from twisted.internet import reactor

    ports = []

    def listen(**options):
        port = UnixSocketReactor(reactor).listenUNIX(address, Factory(), **{"mode": 0o660, "wantPID": 1} | options)
        ports.append(port)
        return port

    yield listen
    for port in ports:
        await maybeDeferred(port.stopListening)


def abandon(address):
    """Leave a socket as a killed process does."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(address)
        sock.listen()


def connect(address):
    """Connect to the socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(address)


@pytest.mark.parametrize("lock", [None, "link", "file"])
async def test_abandoned_socket_is_taken_over(address, listen, lock):
    abandon(address)
    if lock == "link":
        os.symlink(str(os.getpid()), f"{address}.lock")  # as Twisted locks
    elif lock == "file":
        with open(f"{address}.lock", "w") as file:
            file.write(f"{os.getpid()}\n")
    listen()
    connect(address)


async def test_socket_in_use_is_refused(address, listen):
    listen()
    with pytest.raises(CannotListenError, match=rf"{address}.*in use by another process \(process {os.getpid()}\)"):
        listen()
    connect(address)


@pytest.mark.parametrize("is_full", [False, True])
async def test_socket_that_answers_is_refused_without_a_lock(address, listen, is_full):
    with socket.socket(socket.AF_UNIX) as sock, socket.socket(socket.AF_UNIX) as client:
        sock.bind(address)
        sock.listen(0)
        if is_full:
            client.connect(address)
        with pytest.raises(CannotListenError, match="another process listens on it"):
            listen()
        assert stat.S_ISSOCK(os.stat(address).st_mode)


async def test_socket_is_refused_after_its_lock_was_removed(address, listen):
    listen()
    os.unlink(f"{address}.lock")
    with pytest.raises(CannotListenError, match="another process listens on it"):
        listen()


async def test_file_that_is_not_a_socket_is_kept(address, listen):
    with open(address, "w") as file:
        file.write("precious")
    with pytest.raises(CannotListenError, match="Address already in use"):
        listen()
    with open(address) as file:
        assert file.read() == "precious"


async def test_stopped_listener_removes_its_socket_and_releases_the_lock(address, listen):
    await maybeDeferred(listen().stopListening)
    assert not os.path.exists(address)
    listen()
    connect(address)


async def test_missing_folder_is_an_error_of_the_listener(tmp_path):
    from twisted.internet import reactor

    address = str(tmp_path / "missing" / "pushd.sock")
    with pytest.raises(CannotListenError, match=re.escape(f"{address}: [Errno 2] No such file or directory")):
        UnixSocketReactor(reactor).listenUNIX(address, Factory(), wantPID=1)


async def test_mode_that_cannot_be_set_is_an_error_of_the_listener(address, listen, monkeypatch):
    def refuse(path, mode):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "chmod", refuse)
    with pytest.raises(CannotListenError, match="Operation not permitted"):
        listen()


async def test_socket_without_a_lock_and_abstract_sockets_are_those_of_twisted(address, listen):
    abandon(address)
    with pytest.raises(CannotListenError, match="Address already in use"):
        listen(wantPID=0)
    from twisted.internet import reactor

    name = f"\0{address}"
    port = UnixSocketReactor(reactor).listenUNIX(name, Factory(), wantPID=1)
    connect(name)
    await maybeDeferred(port.stopListening)
