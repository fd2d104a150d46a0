"""Listening by each technique, on a thread of its own, and writing down what comes when."""

import json
import socket
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from threading import Condition, Thread
from typing import NamedTuple

from pushd.ctl.api_client import Web, in_path
from pushd.ctl.doctor.observation import Answer, Course
from pushd.ctl.doctor.websocket_client import Closed, handshake, is_accepted, new_key, payloads

_BLOCK = 65536
_SHOWN = ("Server", "Via")
_ACCEPTS = {"Accept-Encoding": "gzip"}
"""As browsers do: there are proxies that hold back what they compress."""


class Technique(NamedTuple):
    """A way to listen."""

    name: str
    path: str
    query: Mapping[str, object] = {}
    is_poll: bool = False
    is_websocket: bool = False


TECHNIQUES = (
    Technique("sse", "/sse/"),
    Technique("stream", "/stream/"),
    Technique("raw", "/stream/", {"format": "raw"}),
    Technique("multipart", "/multipart/"),
    Technique("mixed", "/mixed/"),
    Technique("longpoll", "/longpoll/", is_poll=True),
    Technique("websocket", "/ws/", is_websocket=True),
)


class Listener:
    """Listens to a channel by a technique until it ends, breaks, or is closed.

    :param words: of the messages that are listened for.
    :param news: is told of each change; its lock guards nothing else.
    :param seconds: of silence that are waited through.
    """

    def __init__(
        self, technique: Technique, web: Web, channel: str, words: tuple[str, ...], news: Condition, seconds: float
    ) -> None:
        self.course = Course(technique.name, technique.is_websocket)
        self.is_over = False
        self.servers: set[str] = set()
        """What the answers say about who gave them and who handed them on."""
        self.own_address = ""
        """Of this end of its connection."""
        self._technique, self._web, self._words, self._news = technique, web, words, news
        self._channel, self._seconds = channel, seconds
        self._socket: socket.socket | None = None
        self._body = b""
        self._thread = Thread(target=self._listen, daemon=True)

    def start(self) -> None:
        """Begin."""
        self.course.asked = time.monotonic()
        self._thread.start()

    def close(self) -> None:
        """Leave; nothing changes any more."""
        with self._news:
            self.is_over = True
        if self._socket is not None:
            with suppress(OSError):  # it may be closed
                self._socket.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join(1.0)

    def has_heard(self, word: str) -> bool:
        """Tell whether a message has come."""
        return word in self.course.heard

    def _listen(self) -> None:
        end = "closed"
        try:
            if self._technique.is_poll:
                end = self._poll()
            else:
                self._stream()
        except Closed as closed:
            end = str(closed)
        except (OSError, HTTPException, zlib.error) as error:
            end = "broken off"
            if self.course.answer is None:
                self._note_answer(Answer(0, error=str(error) or type(error).__name__))
        with self._news:
            if not self.is_over:
                self.course.closed, self.course.end, self.is_over = time.monotonic(), end, True
            self._news.notify_all()

    def _stream(self) -> None:
        key = new_key()
        more = handshake(key) | {"Origin": self._web.origin} if self._technique.is_websocket else {}
        sock, response = self._ask({"since": "all"}, more)
        if self._technique.is_websocket and response.status == 403:
            self.course.is_origin_refused = True
            sock, response = self._ask({"since": "all"}, handshake(key))
        self._note_answer(answer_of(response, time.monotonic() - self.course.asked), response)
        if response.status == 200:
            for data in _decoded(response):
                self._take(data)
        elif response.status == 101:
            if not is_accepted(response.headers.get("Sec-WebSocket-Accept", ""), key):
                raise Closed("closed here, since it is no answer to the handshake")
            for data in payloads(response.fp.read1, sock.sendall):
                self._take(data)

    def _poll(self) -> str:
        since = "all"
        while True:
            self.course.arrivals.append(time.monotonic())
            _, response = self._ask({"since": since}, {})
            body = b"".join(_decoded(response)) if response.status == 200 else b""
            if self.course.answer is None:
                self._note_answer(answer_of(response, time.monotonic() - self.course.asked), response)
            if response.status not in (200, 204, 304):
                return str(response.status)
            self._take(body)
            since = response.headers.get("Pushd-Id") or since
            if self.has_heard(self._words[-1]) or self.is_over:
                return "done"

    def _ask(self, query: Mapping[str, object], headers: Mapping[str, str]) -> tuple[socket.socket, HTTPResponse]:
        if self._socket is not None:
            self._socket.close()
        connection = self._web.connection(self._seconds)
        connection.connect()
        self._socket = sock = connection.sock
        self.own_address = sock.getsockname()[0]
        target = self._web.target(self._technique.path + in_path(self._channel), {**self._technique.query, **query})
        connection.request("GET", target, headers={**_ACCEPTS, **headers})
        response = connection.getresponse()
        self.servers.update(servers_of(response))
        return sock, response

    def _note_answer(self, answer: Answer, response: HTTPResponse | None = None) -> None:
        with self._news:
            self.course.answer = answer
            if response is not None:
                self.course.kind = response.headers.get_content_type()
                self.course.coding = response.headers.get("Content-Encoding", "")
            self._news.notify_all()

    def _take(self, data: bytes) -> None:
        now, body = time.monotonic(), self._body + data
        self._body = body[-_BLOCK:]
        with self._news:
            self.course.arrivals.append(now)
            for word in self._words:
                if word not in self.course.heard and word.encode() in body:
                    self.course.heard[word] = now
            self._news.notify_all()


def answer_of(response: HTTPResponse, seconds: float) -> Answer:
    """Give what an answer says; of a refusal the body is read, to see whether it is pushd's."""
    code = ""
    if response.status >= 400:
        try:
            code = str(json.loads(_decoder(response)(response.read(_BLOCK)))["error"]["code"])
        except (OSError, HTTPException, zlib.error, ValueError, LookupError, TypeError):
            code = ""
    return Answer(response.status, code, seconds)


def servers_of(response: HTTPResponse) -> Iterator[str]:
    """Give what stands in the headers about who answers."""
    for name in _SHOWN:
        yield from response.headers.get_all(name, [])


def _decoded(response: HTTPResponse) -> Iterator[bytes]:
    """Give the bytes of a body as they come."""
    decode = _decoder(response)
    while data := response.read1(_BLOCK):
        yield decode(data)


def _decoder(response: HTTPResponse) -> Callable[[bytes], bytes]:
    is_zipped = response.headers.get("Content-Encoding") == "gzip"
    return zlib.decompressobj(wbits=31).decompress if is_zipped else bytes
