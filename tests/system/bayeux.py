"""A relay that cuts the connections through it, and subscribers that are programs with genuine clients of Bayeux."""

import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from tests.programs import find_node_package
from tests.system.programs.commands import node_command

_HERE: Final = Path(__file__).parent / "programs"


class CuttingRelay:
    """Passes connections on to a port, and resets all of them when it is told to."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._lock = threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Wait until there is a connection, and reset all (RST)."""
        with self._lock:
            assert self._lock.wait_for(lambda: self._open, 60)
            connections, self._open = self._open, set()
        for connection in connections:
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                connection.shutdown(socket.SHUT_RD)
            with suppress(OSError):
                connection.close()

    def turn_to(self, port: int) -> None:
        """Pass further connections on to another port."""
        self._target = port

    def close(self) -> None:
        """Stop."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:  # the daemon is not running
                    client.close()
                    continue
                with self._lock:
                    self._open |= {client, server}
                    self._lock.notify_all()
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._open -= {source, target}


class Subscriber:
    """A program that prints what it receives."""

    def __init__(self, library: str, transport: str, port: int, channel: str) -> None:
        self.name = f"{library} {transport}"
        url = f"http://127.0.0.1:{port}/cometd"
        if library == "aiocometd":
            command = [sys.executable, str(_HERE / "bayeux_client.py"), url, transport, channel]
        else:
            packages = str(find_node_package(library).parent)
            command = node_command("bayeux_client.mjs", packages, library, url, transport, channel)
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._has_more = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.kill()
        self._process.wait()

    def wait_for(self, count: int, seconds: float = 60) -> list[str]:
        """Wait for a number of lines besides ``handshake``; return all there are then."""
        with self._has_more:
            self._has_more.wait_for(lambda: len(self.received) >= count, seconds)
            return self.received

    @property
    def received(self) -> list[str]:
        """The lines besides ``handshake``."""
        return [line for line in self.lines if line != "handshake"]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._has_more:
                self.lines.append(line.strip())
                self._has_more.notify_all()
