"""Requests between nodes: who can answer them, and replies on their way to the node of the asker.

Nodes send each other messages over pub/sub, and nothing is stored. A request is open at the node of its asker, whose
name its token ends with: so one node decides which reply is the first, and the node of the replier waits until it has.
A node that is down has no connection, so that nothing that is sent to it is received. One that is frozen does not
answer; it counts as lost after `_SILENT_SECONDS`.
"""

import re
from collections.abc import Callable, Coroutine
from math import inf
from secrets import randbits
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.backends.interface import RequestListener
from pushd.backends.redis.command_runner import CommandRunner
from pushd.backends.redis.key_names import ALL, of_node
from pushd.backends.redis.node_replies import NodeReplies
from pushd.backends.redis.pubsub_messages import check_data, checked_channel
from pushd.core.errors import Refusal, Unavailable
from pushd.core.message import Draft
from pushd.core.names import REPLY
from pushd.core.open_requests import MAX_SECONDS

_SEEK_SECONDS: Final = 0.5
"""How long responders are sought."""
_ANSWER_SECONDS: Final = 2.0
"""How long the node of an asker has to answer."""
_SILENT_SECONDS: Final = 10.0
_MISSES: Final = 2
"""After how many heartbeats without a connection a node counts as lost: it may be reconnecting."""
_NODE = re.compile(r"[0-9a-f]{12}")
_TOKEN_DIGITS: Final = 32


class _ReplyBody(msgspec.Struct, array_like=True, frozen=True):
    """A reply. More elements are ignored, so a later pushd can append some while older nodes run."""

    data: bytes
    content_type: str
    encoding: str
    sender: str | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_ReplyBody).decode


class _Seek(NodeReplies):
    """A search for responders at the other nodes."""

    def __init__(self, on_found: Callable[[str, float], None]) -> None:
        super().__init__()
        self.on_found = on_found


class _Liveness:
    """What is known about a node with responders."""

    def __init__(self, now: float) -> None:
        self.heard_at = now
        self.misses = 0


class RedisRequests:
    """What this node asks others about requests, and what it answers."""

    log = Logger()

    def __init__(self, commands: CommandRunner, node: str, clock: Any) -> None:
        self.listener: RequestListener | None = None
        """The open requests of this node. Set when the backend starts."""
        self._commands = commands
        self._node = node
        self._clock = clock
        self._seeks: dict[int, _Seek] = {}
        self._asked: dict[int, Deferred[bytes]] = {}
        """What the nodes of askers have not answered yet."""
        self._liveness: dict[str, _Liveness] = {}

    # Asking

    async def seek(self, channel: str, seconds: float, on_found: Callable[[str, float], None]) -> None:
        """See `Backend.seek_responders`.

        :raises Unavailable: when Redis is unavailable.
        """
        number, seek = randbits(62), _Seek(on_found)
        self._seeks[number] = seek
        try:
            publishing = self._commands.publish(ALL, self._words("seek", number, f"{seconds:g}", body=channel))
            await seek.wait(publishing, _SEEK_SECONDS, self._clock)
        finally:
            del self._seeks[number]

    def report(self, node: str, channel: str, oldest: float) -> None:
        """See `Backend.report_responders`."""
        self._run(self._commands.publish(of_node(node), self._words("left", _number(oldest), body=channel)))

    async def channel_of(self, token: str) -> str | None:
        """See `Backend.request_channel`.

        :raises Unavailable: when Redis is unavailable, or the node does not answer.
        """
        channel = await self._ask(token, "whose", b"")
        return checked_channel(channel.decode()) if channel else None

    async def reply(self, token: str, reply: Draft) -> bool:
        """See `Backend.reply`.

        :raises Unavailable: when Redis is unavailable, or the node does not answer.
        """
        body = _encode(_ReplyBody(reply.data, reply.content_type, reply.encoding, reply.sender))
        return await self._ask(token, "reply", body) == b"1"

    async def _ask(self, token: str, verb: str, body: bytes) -> bytes:
        """Ask the node of a request; return its answer, empty if there is no such node."""
        node = token[_TOKEN_DIGITS:]
        if node == self._node or not _NODE.fullmatch(node):
            return b""
        number = randbits(62)
        answer = self._asked[number] = Deferred()
        try:
            if not await self._commands.publish(of_node(node), self._words(verb, number, token) + b"\n" + body):
                return b""
            answer.addTimeout(_ANSWER_SECONDS, self._clock, _too_late)
            return await answer
        finally:
            del self._asked[number]

    def check_nodes(self) -> None:
        """Called with each heartbeat: find the nodes that are gone, on which open requests depend."""
        if self.listener is None:
            return
        nodes = self.listener.answering_nodes()
        self._liveness = {node: each for node, each in self._liveness.items() if node in nodes}
        for node in nodes:
            self._run(self._check(node, self._liveness.setdefault(node, _Liveness(self._clock.seconds()))))

    async def _check(self, node: str, liveness: _Liveness) -> None:
        receivers = await self._commands.publish(of_node(node), self._words("here"))
        liveness.misses = 0 if receivers else liveness.misses + 1
        is_silent = self._clock.seconds() - liveness.heard_at > _SILENT_SECONDS
        if (liveness.misses >= _MISSES or is_silent) and self.listener is not None:
            self.listener.on_node_lost(node)

    # Answering

    def handle_message(self, raw: bytes) -> bool:
        """Handle a message about requests; return whether it was one.

        :raises ValueError: when it is malformed, or not of a node.
        """
        if not raw.startswith(b"req "):
            return False
        head, _, body = raw.partition(b"\n")
        _, verb, node, *words = head.decode("ascii").split(" ")
        if not _NODE.fullmatch(node):
            raise ValueError("invalid name of a node")
        if node != self._node and self.listener is not None:
            self._handle(self.listener, verb, node, words, body)
        return True

    def _handle(self, listener: RequestListener, verb: str, node: str, words: list[str], body: bytes) -> None:
        match verb, words:
            case "seek", [number, seconds]:
                mark = listener.on_seek(node, checked_channel(body.decode()), _seconds_of(seconds))
                self._send(node, "found", int(number), "-" if mark is None else _number(mark))
            case "found", [number, mark]:
                self._on_found(int(number), node, mark)
            case "left", [oldest]:
                listener.on_responders_left(node, checked_channel(body.decode()), _number_of(oldest))
            case "whose", [number, token]:
                self._send(node, "answer", int(number), body=listener.request_channel(token) or "")
            case "reply", [number, token]:
                self._send(node, "answer", int(number), body=str(int(listener.on_reply(token, _reply_of(token, body)))))
            case "answer", [number]:
                waiting = self._asked.get(int(number))
                if waiting is not None and not waiting.called:
                    waiting.callback(body)
            case "here", []:
                self._send(node, "alive")
            case "alive", []:
                if node in self._liveness:
                    self._liveness[node].heard_at = self._clock.seconds()
            case _:
                raise ValueError("unknown kind")

    def _on_found(self, number: int, node: str, mark: str) -> None:
        seek = self._seeks.get(number)
        if seek is not None:
            if mark != "-":
                seek.on_found(node, _number_of(mark))
            seek.count_reply()

    # Sending

    def _send(self, node: str, verb: str, *words: object, body: str = "") -> None:
        self._run(self._commands.publish(of_node(node), self._words(verb, *words, body=body)))

    def _words(self, verb: str, *words: object, body: str = "") -> bytes:
        head = " ".join(["req", verb, self._node, *map(str, words)])
        return (f"{head}\n{body}" if body else head).encode()

    def _run(self, work: Coroutine[Any, Any, object]) -> None:
        """Run something in the background. A refusal is ignored, since the other node has a timeout."""
        Deferred.fromCoroutine(work).addErrback(self._on_failure)

    def _on_failure(self, failure: Failure) -> None:
        if not failure.check(Refusal):
            self.log.failure("Redis: a message to other nodes about a request failed by an internal error", failure)


def _number(number: float) -> str:
    """Return the number of a connection, or infinity, as a word."""
    return "inf" if number == inf else f"{number:.0f}"


def _number_of(word: str) -> float:
    """Return the number of a connection, or infinity.

    :raises ValueError: when the word is neither.
    """
    return inf if word == "inf" else int(word)


def _seconds_of(word: str) -> float:
    """Return how long a request waits.

    :raises ValueError: when it may not.
    """
    seconds = float(word)
    if not 0 <= seconds <= MAX_SECONDS:
        raise ValueError("invalid timeout")
    return seconds


def _reply_of(token: str, body: bytes) -> Draft:
    """Return a reply.

    :raises ValueError: when it is malformed.
    """
    reply = _decode(body)
    check_data(reply.data, reply.content_type, reply.encoding)
    return Draft(REPLY + token, reply.data, reply.content_type, reply.encoding, sender=reply.sender)


def _too_late(*_: object) -> bytes:
    raise Unavailable("the node of the asker did not answer in time; the reply may have been received")
