"""The Python version of limit.c: one send per subscriber and published line, and nothing else."""

import resource
import selectors
import socket
import sys

_ROOM = 1 << 18


class Client:
    """A connection and its incomplete line."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.line = b""


class Loop:
    """The server."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._subscribers: list[socket.socket] = []

    def run(self, port: int) -> None:
        """Serve forever."""
        with socket.create_server(("127.0.0.1", port), backlog=4096) as listener:
            self._selector.register(listener, selectors.EVENT_READ)
            while True:
                for key, _ in self._selector.select():
                    if key.data is None:
                        self._greet(listener.accept()[0])
                    else:
                        self._take(key.data)

    def _greet(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(connection, selectors.EVENT_READ, Client(connection))

    def _take(self, client: Client) -> None:
        try:
            data = client.connection.recv(_ROOM)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(client.connection)
            if client.connection in self._subscribers:
                self._subscribers.remove(client.connection)
            client.connection.close()
            return
        *lines, client.line = (client.line + data).split(b"\n")
        for line in lines:
            if line.startswith(b"PUB "):
                self._publish(line[4:] + b"\n")
            else:
                self._subscribers.append(client.connection)
            client.connection.send(b"+OK\n")

    def _publish(self, text: bytes) -> None:
        for subscriber in self._subscribers:
            subscriber.send(text)


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    Loop().run(int(sys.argv[1]))
