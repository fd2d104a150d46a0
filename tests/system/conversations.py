"""Clients that send request streams on several connections at once, and parse the responses."""

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.daemon.clients import SECONDS
from tests.system.request_streams import Stream
from tests.system.rfc9112 import Reading, read


@dataclass
class Answer:
    """A response as received."""

    status: int
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes
    interim: list[int]
    """The statuses of the interim responses before it."""
    has_needless_body: bool = False
    """Whether it is an error response to HEAD with a body, as some proxies send it."""

    @property
    def is_last(self) -> bool:
        """Whether it is the last HTTP response of its connection."""
        return self.status == 101 or "close" in self.headers.get("connection", "").lower()


class Garbled(Exception):
    """The received bytes are not a sequence of responses."""


@dataclass
class Conversation:
    """A request stream and the responses on its connection."""

    stream: Stream
    reading: Reading
    received: bytes = b""
    is_cut: bool = False
    """Whether the peer closed or reset the connection before everything was sent."""
    is_incomplete: bool = False
    """Whether the last response is incomplete."""
    failure: str = ""
    """Why it did not end in time, or empty."""
    answers: list[Answer] = field(default_factory=list)

    def parse(self) -> tuple[list[Answer], bytes]:
        """Return the complete responses, and the remaining bytes.

        :raises Garbled: when the bytes are not responses.
        """
        return _parse(self.received, self.reading.methods)

    @property
    def is_tunnel(self) -> bool:
        """Whether the connection was upgraded from HTTP."""
        return bool(self.answers) and self.answers[-1].status == 101

    def count(self) -> int:
        """Return the number of complete responses."""
        return len(self.parse()[0])


def converse(port: int, streams: Sequence[Stream]) -> list[Conversation]:
    """Send each stream on its own connection, their segments alternately, and read each to its end."""
    conversations = [Conversation(stream, read(stream.data)) for stream in streams]
    sockets = [socket.create_connection(("127.0.0.1", port), SECONDS) for _ in conversations]
    try:
        for index in range(max(len(stream.segments) for stream in streams)):
            for conversation, sock in zip(conversations, sockets, strict=True):
                if index == 0:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if index < len(conversation.stream.segments):
                    _send(conversation, sock, index)
        for conversation, sock in zip(conversations, sockets, strict=True):
            if not conversation.stream.is_aborted:
                _finish(conversation, sock)
    finally:
        for sock in sockets:
            sock.close()
    return conversations


def _send(conversation: Conversation, sock: socket.socket, index: int) -> None:
    if conversation.is_cut or conversation.failure:
        return
    try:
        while conversation.stream.waits[index] and conversation.count() < conversation.stream.waits[index]:
            piece = sock.recv(65536)
            if not piece:
                conversation.is_cut = True
                return
            conversation.received += piece
        sock.sendall(conversation.stream.segments[index])
        if conversation.stream.is_half_closed and index == len(conversation.stream.segments) - 1:
            sock.shutdown(socket.SHUT_WR)
    except TimeoutError:
        conversation.failure = f"no response to request {conversation.count()} within {SECONDS:g} s"
    except Garbled as garbled:
        conversation.failure = str(garbled)
    except OSError:
        conversation.is_cut = True


def _finish(conversation: Conversation, sock: socket.socket) -> None:
    """Read to the end. After the last response the client closes its sending side, which some servers wait for."""
    is_ended = conversation.stream.is_half_closed
    try:
        while piece := sock.recv(65536):
            conversation.received += piece
            if not is_ended and (answers := conversation.parse()[0]) and answers[-1].is_last:
                is_ended = True
                sock.shutdown(socket.SHUT_WR)
    except TimeoutError:
        conversation.failure = conversation.failure or f"the connection is open after {SECONDS:g} s"
    except Garbled as garbled:
        conversation.failure = conversation.failure or str(garbled)
    except OSError:
        conversation.is_cut = True
    try:
        conversation.answers, rest = conversation.parse()
        conversation.is_incomplete = bool(rest) and not conversation.is_tunnel
    except Garbled as garbled:
        conversation.failure = conversation.failure or str(garbled)


def _parse(data: bytes, methods: Sequence[str]) -> tuple[list[Answer], bytes]:
    answers: list[Answer] = []
    interim: list[int] = []
    while data:
        head, found, rest = data.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        if not (status_line.startswith("HTTP/1.") and status_line[8:9] == " " and status_line[9:12].isdigit()):
            raise Garbled(f"no status line: {data[:100]!r}")
        if not found:
            break
        answer = Answer(int(status_line[9:12]), _fields(lines), b"", interim)
        if 100 <= answer.status < 200 and answer.status != 101:
            interim.append(answer.status)
            data = rest
            continue
        method = methods[len(answers)] if len(answers) < len(methods) else "GET"
        body = _body(answer, method, rest)
        if body is None:
            break
        answer.body, data = body
        answers.append(answer)
        interim = []
        if answer.status == 101:
            break
    return answers, data


def _fields(lines: Sequence[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise Garbled(f"no header line: {line!r}")
        fields[name.lower()] = value.strip()
    return fields


def _body(answer: Answer, method: str, data: bytes) -> tuple[bytes, bytes] | None:
    """Split the body of a response from the received bytes; None if it is incomplete."""
    if answer.status in (101, 204, 304):
        return b"", data
    if method == "HEAD":
        size = int(answer.headers.get("content-length", "0"))
        answer.has_needless_body = answer.status >= 400 and len(data) >= size > 0 and not data.startswith(b"HTTP/")
        return (data[:size], data[size:]) if answer.has_needless_body else (b"", data)
    if answer.headers.get("transfer-encoding", "").lower() == "chunked":
        return _chunks(data)
    if "content-length" in answer.headers:
        size = int(answer.headers["content-length"])
        return (data[:size], data[size:]) if len(data) >= size else None
    answer.headers["connection"] = "close"
    return data, b""


def _chunks(data: bytes) -> tuple[bytes, bytes] | None:
    body = b""
    while True:
        line, found, data = data.partition(b"\r\n")
        if not found:
            return None
        if not re.fullmatch(b"[0-9A-Fa-f]+", line):
            raise Garbled(f"no size of a chunk: {line[:100]!r}")
        size = int(line, 16)
        if len(data) < size + 2:
            return None
        if data[size : size + 2] != b"\r\n":
            raise Garbled(f"no end of a chunk: {data[size : size + 20]!r}")
        body, data = body + data[:size], data[size + 2 :]
        if size == 0:
            return body, data
