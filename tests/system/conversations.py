"""Clients that send streams of requests from several connections at once, and read what is answered."""

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.daemon.clients import SECONDS
from tests.system.request_streams import Stream
from tests.system.rfc9112 import Reading, read


@dataclass
class Answer:
    """An answer, as it came."""

    status: int
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes
    interim: list[int]
    """The statuses of the interim answers that came before it."""
    has_needless_body: bool = False
    """Whether it is an error that has a body although it answers HEAD, as those of some proxies have."""

    @property
    def is_last(self) -> bool:
        """Whether the connection ends behind it, as HTTP."""
        return self.status == 101 or "close" in self.headers.get("connection", "").lower()


class Garbled(Exception):
    """What was received is no sequence of answers."""


@dataclass
class Conversation:
    """A stream on its connection."""

    stream: Stream
    reading: Reading
    received: bytes = b""
    is_cut: bool = False
    """Whether the peer closed or reset the connection before all was sent."""
    is_incomplete: bool = False
    """Whether the last answer breaks off."""
    failure: str = ""
    """Why it did not end in time, if so."""
    answers: list[Answer] = field(default_factory=list)

    def parse(self) -> tuple[list[Answer], bytes]:
        """Return the answers that were received whole, and the rest.

        :raises Garbled: there is anything else.
        """
        return _parse(self.received, self.reading.methods)

    @property
    def is_tunnel(self) -> bool:
        """Whether the connection left HTTP."""
        return bool(self.answers) and self.answers[-1].status == 101

    def count(self) -> int:
        """Return the number of answers that were received whole."""
        return len(self.parse()[0])


def converse(port: int, streams: Sequence[Stream]) -> list[Conversation]:
    """Send streams on a connection each, their segments by turns, and read each to its end."""
    talks = [Conversation(stream, read(stream.data)) for stream in streams]
    socks = [socket.create_connection(("127.0.0.1", port), SECONDS) for _ in talks]
    try:
        for turn in range(max(len(stream.segments) for stream in streams)):
            for talk, sock in zip(talks, socks, strict=True):
                if turn == 0:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if turn < len(talk.stream.segments):
                    _send(talk, sock, turn)
        for talk, sock in zip(talks, socks, strict=True):
            if not talk.stream.is_aborted:
                _finish(talk, sock)
    finally:
        for sock in socks:
            sock.close()
    return talks


def _send(talk: Conversation, sock: socket.socket, turn: int) -> None:
    if talk.is_cut or talk.failure:
        return
    try:
        while talk.stream.waits[turn] and talk.count() < talk.stream.waits[turn]:
            piece = sock.recv(65536)
            if not piece:
                talk.is_cut = True
                return
            talk.received += piece
        sock.sendall(talk.stream.segments[turn])
        if talk.stream.is_half_closed and turn == len(talk.stream.segments) - 1:
            sock.shutdown(socket.SHUT_WR)
    except TimeoutError:
        talk.failure = f"no answer to request {talk.count()} within {SECONDS:g} s"
    except Garbled as garbled:
        talk.failure = str(garbled)
    except OSError:
        talk.is_cut = True


def _finish(talk: Conversation, sock: socket.socket) -> None:
    """Read to the end. With the last answer the client sends its end, for which a server may wait."""
    is_ended = talk.stream.is_half_closed
    try:
        while piece := sock.recv(65536):
            talk.received += piece
            if not is_ended and (answers := talk.parse()[0]) and answers[-1].is_last:
                is_ended = True
                sock.shutdown(socket.SHUT_WR)
    except TimeoutError:
        talk.failure = talk.failure or f"the connection is open after {SECONDS:g} s"
    except Garbled as garbled:
        talk.failure = talk.failure or str(garbled)
    except OSError:
        talk.is_cut = True
    try:
        talk.answers, rest = talk.parse()
        talk.is_incomplete = bool(rest) and not talk.is_tunnel
    except Garbled as garbled:
        talk.failure = talk.failure or str(garbled)


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
    """Take the body of an answer from the front of what follows its head; None where it is not complete."""
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
