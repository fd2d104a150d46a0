"""Messages about requests on pub/sub, of nodes and of other clients of Redis."""

from contextlib import suppress
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pushd.backends.redis.requests import RedisRequests
from pushd.core.errors import Unavailable
from pushd.core.message import Draft, draft

NODE, OTHER = "0123456789ab", "ba9876543210"
WORDS = st.sampled_from(
    [
        *("seek", "found", "left", "whose", "reply", "answer", "here", "alive"),
        *(NODE, OTHER, "1", "10", "inf", "nan", "-", "x"),
    ]
)


class Sent:
    """A command runner that records what is published."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bytes]] = []
        self.receivers = 1
        self.is_away = False

    async def publish(self, channel: bytes, payload: bytes) -> int:
        """Record a message."""
        if self.is_away:
            raise Unavailable("away")
        self.messages.append((channel, payload))
        return self.receivers


class Listener:
    """The requests of this node."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.nodes: set[str] = set()

    def on_seek(self, node: str, channel: str, seconds: float) -> float | None:
        """Have a responder of channel a."""
        assert 0 <= seconds <= 60
        return 5 if channel == "a" else None

    def on_responders_left(self, node: str, channel: str, oldest: float) -> None:
        """Record a report."""
        self.calls.append(("left", node, channel, oldest))

    def on_node_lost(self, node: str) -> None:
        """Record a lost node."""
        self.calls.append(("lost", node))

    def answering_nodes(self) -> set[str]:
        """Return the nodes on which requests depend."""
        return self.nodes

    def request_channel(self, token: str) -> str | None:
        """Have one request."""
        return "a" if token == "1" else None

    def on_reply(self, token: str, reply: Draft) -> bool:
        """Have one request."""
        self.calls.append(("reply", token, reply.data))
        return token == "1"


class Scene:
    """The requests of a node."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.sent = Sent()
        commands: Any = self.sent
        self.requests = RedisRequests(commands, NODE, self.clock)
        self.listener = self.requests.listener = Listener()

    def receive(self, text: str) -> list[tuple[bytes, bytes]]:
        """Receive a message, and return what is sent then."""
        self.sent.messages.clear()
        assert self.requests.handle_message(text.encode())
        return self.sent.messages


@given(st.lists(WORDS, max_size=6), st.binary(max_size=30) | st.just(b"a"), st.booleans())
def test_any_message_is_handled_or_malformed(words: list[str], body: bytes, has_body: bool) -> None:
    raw = " ".join(["req", *words]).encode() + (b"\n" + body if has_body else b"")
    with suppress(ValueError):
        Scene().requests.handle_message(raw)


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        (f"req seek {OTHER} 7 10\na", [b"req found %b 7 5"]),
        (f"req seek {OTHER} 7 10\nb", [b"req found %b 7 -"]),
        (f"req whose {OTHER} 7 1", [b"req answer %b 7\na"]),
        (f"req whose {OTHER} 7 2", [b"req answer %b 7"]),
        (f"req here {OTHER}", [b"req alive %b"]),
        (f"req alive {OTHER}", []),
        (f"req found {OTHER} 7 1", []),
        (f"req answer {OTHER} 7\nx", []),
        (f"req seek {NODE} 7 10\na", []),
    ],
)
def test_answers_to_other_nodes(text: str, answers: list[bytes]) -> None:
    expected = [(b"n:" + OTHER.encode(), answer % NODE.encode()) for answer in answers]
    assert Scene().receive(text) == expected


@pytest.mark.parametrize("text", ["ask x 1\na", "kick x", "m E 1 0 0\nx", "request"])
def test_other_messages_are_left(text: str) -> None:
    assert not Scene().requests.handle_message(text.encode())


def test_reports_of_other_nodes() -> None:
    scene = Scene()
    scene.receive(f"req left {OTHER} 7\na/b")
    scene.receive(f"req left {OTHER} inf\na")
    assert scene.listener.calls == [("left", OTHER, "a/b", 7), ("left", OTHER, "a", inf)]


async def test_reply_goes_to_the_node_in_its_token_and_waits_for_the_answer() -> None:
    scene, other = Scene(), Scene()
    token = "0" * 32 + OTHER
    for answer, expected in (("1", True), ("0", False)):
        scene.sent.messages.clear()
        replying = Deferred.fromCoroutine(scene.requests.reply(token, draft(f"$reply/{token}", b"x\n\xff")))
        ((channel, payload),) = scene.sent.messages
        assert channel == b"n:" + OTHER.encode()
        assert not replying.called
        theirs = payload.replace(b"req reply " + NODE.encode(), b"req reply " + OTHER.encode())
        assert other.requests.handle_message(theirs)
        assert other.listener.calls[-1] == ("reply", token, b"x\n\xff")
        number = payload.split(b" ")[3].decode()
        scene.receive(f"req answer {OTHER} {number}\n{answer}")
        assert await replying is expected


async def test_node_that_does_not_answer() -> None:
    scene = Scene()
    asking = Deferred.fromCoroutine(scene.requests.channel_of("0" * 32 + OTHER))
    scene.clock.advance(2)
    with pytest.raises(Unavailable, match="did not answer in time"):
        await asking
    scene.sent.receivers = 0
    assert await scene.requests.channel_of("0" * 32 + OTHER) is None
    scene.sent.is_away = True
    with pytest.raises(Unavailable, match="away"):
        await scene.requests.channel_of("0" * 32 + OTHER)


def test_node_without_a_connection_is_lost_at_the_second_heartbeat() -> None:
    scene = Scene()
    scene.listener.nodes = {OTHER}
    scene.sent.receivers = 0
    scene.requests.check_nodes()
    scene.sent.receivers = 1
    scene.requests.check_nodes()  # it has reconnected
    scene.sent.receivers = 0
    scene.requests.check_nodes()
    assert scene.listener.calls == []
    scene.requests.check_nodes()
    assert scene.listener.calls == [("lost", OTHER)]


def test_node_that_is_silent_is_lost_after_ten_seconds() -> None:
    scene = Scene()
    scene.listener.nodes = {OTHER}
    scene.requests.check_nodes()
    scene.clock.advance(9)
    scene.receive(f"req alive {OTHER}")
    scene.clock.advance(9)
    scene.requests.check_nodes()
    assert scene.listener.calls == []
    scene.clock.advance(2)
    scene.requests.check_nodes()
    assert scene.listener.calls == [("lost", OTHER)]
    scene.listener.nodes = set()
    scene.requests.check_nodes()
    assert scene.requests._liveness == {}
