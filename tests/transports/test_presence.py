"""Presence over each transport: a connection enters with its subscription, and leaves with it."""

import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted

from pushd.auth.authenticator import Authenticator
from pushd.auth.token_checks import Verdict
from pushd.core.errors import Stopping
from pushd.core.grant import NOTHING, Grant
from pushd.core.identity import Identity
from pushd.core.outbox import Policy
from pushd.core.peer import DAEMON
from pushd.core.presence import MemberInfo
from tests.transports.in_memory_server import InMemoryServer, ServerTransport
from tests.transports.test_live_connections import CASES, Case, each_transport

SUBSCRIBING = tuple(case for case in CASES if case.name != "pull")
STREAMING = tuple(case for case in SUBSCRIBING if case.name != "longpoll")
GRACE = 15


class OneToken:
    """A verifier that accepts each token as its subject."""

    async def verify(self, token: str) -> Identity | None:
        """See `Verifier`."""
        grant = Grant.parse({"subscribe": ["**"], "presence": ["a"]}, token, where="test")
        return Identity(token, grant, "shop", None, f"id-{token}", (), -1.0)

    async def examine(self, token: str) -> Verdict | None:
        """See `Verifier`."""
        return Verdict(await self.verify(token))


@pytest_twisted.async_yield_fixture
async def server() -> AsyncIterator[InMemoryServer]:
    """A server without authentication."""
    running = await InMemoryServer(queue_messages=20).start()
    yield running
    running.stop()


@pytest_twisted.async_yield_fixture
async def guarded() -> AsyncIterator[InMemoryServer]:
    """A server that needs tokens."""
    authenticator = Authenticator((OneToken(),), lambda: 0.0, NOTHING)
    running = InMemoryServer(authenticator=authenticator)
    authenticator.revocations = running.hub.revocations
    await running.start()
    yield running
    running.stop()


def bytes_of(case: Case, option: str, token: str | None = None) -> bytes:
    """Return what a client sends to subscribe with an option."""
    if not case.is_http:
        auth = b"" if token is None else f"AUTH {token}\r\n".encode()
        return auth + f"SUB a {option}\r\n".encode()
    data = case.subscribe.replace(b"/a", f"/a?{option}".encode(), 1)
    return data if token is None else data.replace(b"\r\n\r\n", f"\r\nAuthorization: Bearer {token}\r\n\r\n".encode())


def connect(server: InMemoryServer, case: Case, option: str = "presence_id=alice", token: str | None = None) -> Any:
    """Connect a client that subscribes with an option; return its transport."""
    transport = server.connect(is_http=case.is_http)
    protocol: Any = transport.protocol
    protocol.dataReceived(bytes_of(case, option, token))
    return transport


def told(server: InMemoryServer, channel: str = "a") -> list[str]:
    """Return all events of a channel, as words."""
    channels = server.backend._log.channels
    found = channels.get(f"$presence/{channel}")
    events = [json.loads(message.data) for message in found.messages] if found else []
    return [" ".join(filter(None, (each["action"], each["id"], each["reason"]))) for each in events]


async def members(server: InMemoryServer, channel: str = "a") -> list[MemberInfo]:
    """Return the members of a channel."""
    return list((await server.hub.presence.members(DAEMON, channel, "", 100)).page.members)


def pass_time(server: InMemoryServer, seconds: int) -> None:
    """Let time pass, in which the clients answer nothing."""
    server.clock.pump([1] * seconds)


@each_transport(SUBSCRIBING)
async def test_enters_with_the_subscription(server: InMemoryServer, case: Case) -> None:
    connect(server, case)
    connect(server, case)
    assert await members(server) == [MemberInfo("alice", 0.0, 2, b"null")]
    assert told(server) == ["enter alice"]
    assert [
        dict(server.hub.presence.channels_of(each)) for each in server.hub.queries.connections(DAEMON, None, None, 9)
    ] == [{"a": "alice"}] * 2


@each_transport(SUBSCRIBING)
async def test_lost_connection_leaves_after_the_grace(server: InMemoryServer, case: Case) -> None:
    server.lose(connect(server, case))
    pass_time(server, GRACE - 1)
    assert told(server) == ["enter alice"]
    transport = connect(server, case)
    pass_time(server, 1)
    server.lose(transport)
    pass_time(server, GRACE - 1)
    assert told(server) == ["enter alice"]
    pass_time(server, 1)
    assert told(server) == ["enter alice", "leave alice timeout"]
    assert await members(server) == []
    assert not server.hub.presence._held


@each_transport(STREAMING)
async def test_kicked_connection_leaves_at_once(server: InMemoryServer, case: Case) -> None:
    connect(server, case)
    (subscriber,) = server.hub.queries.connections(DAEMON, None, None, 9)
    server.hub.kicks.kick(DAEMON, subscriber.peer.id)
    assert told(server) == ["enter alice", "leave alice kicked"]


@each_transport(SUBSCRIBING)
async def test_revoked_connection_leaves_at_once(guarded: InMemoryServer, case: Case) -> None:
    connect(guarded, case, "presence=self", "alice")
    connect(guarded, case, "presence=self", "bob")
    await guarded.hub.revocations.revoke(DAEMON, ("sub", "alice"))
    guarded.clock.pump([0] * 5)
    assert told(guarded) == ["enter alice", "enter bob", "leave alice revoked"]


@each_transport(STREAMING)
async def test_slow_connection_leaves_after_the_grace(server: InMemoryServer, case: Case) -> None:
    transport = connect(server, case)
    (subscriber,) = server.hub.queries.connections(DAEMON, None, None, 9)
    subscriber.policy = Policy.DISCONNECT
    transport.producer.pauseProducing()
    await server.publish("a", *map(str, range(30)))
    assert told(server) == ["enter alice"]
    pass_time(server, GRACE)
    assert told(server) == ["enter alice", "leave alice slow"]


@each_transport(SUBSCRIBING)
async def test_members_stay_when_the_daemon_shuts_down(server: InMemoryServer, case: Case) -> None:
    connect(server, case)
    for transport in server.transports:
        transport.close_all(Stopping("the daemon is shutting down"))
    if case.name != "longpoll":  # whose answer is no refusal
        pass_time(server, GRACE)
    assert told(server) == ["enter alice"]
    assert not server.hub.presence._held


@each_transport(STREAMING)
async def test_end_of_the_channel_is_the_end_of_the_stream(server: InMemoryServer, case: Case) -> None:
    connect(server, case)
    await server.publish("a", "bye", end=True)
    assert told(server) == ["enter alice", *([] if case.name == "tcp" else ["leave alice ended"])]


@each_transport(SUBSCRIBING)
async def test_id_of_another_member_needs_manage(guarded: InMemoryServer, case: Case) -> None:
    transport = connect(guarded, case, "presence_id=bob", "alice")
    guarded.clock.pump([0] * 5)
    assert told(guarded) == []
    output = bytes(transport.value())
    assert b"forbidden" in output or (4403).to_bytes(2) in output
    transport = connect(guarded, case, "presence_id=alice", "alice")
    assert told(guarded) == ["enter alice"]


@each_transport(SUBSCRIBING)
async def test_invalid_options_are_refused(server: InMemoryServer, case: Case) -> None:
    for option in ("presence=alice", "presence_id=a:b%2Fc" if case.is_http else "presence_id=a/c", "presence_id="):
        transport = connect(server, case, option)
        output = bytes(transport.value())
        assert b"bad-parameter" in output or b"bad-member" in output or (1008).to_bytes(2) in output, output
    data = bytes_of(case, "presence_id=alice").replace(b"SUB a ", b"SUB a/* ").replace(b"/a?", b"/a/*?")
    transport = server.connect(is_http=case.is_http)
    protocol: Any = transport.protocol
    protocol.dataReceived(data)
    output = bytes(transport.value())
    assert b"bad-parameter" in output or (1008).to_bytes(2) in output
    assert told(server) == []
    if case.is_http:
        assert not server.hub.queries.connections(DAEMON, None, None, 9)


@each_transport(SUBSCRIBING)
async def test_failed_subscription_leaves_no_member(server: InMemoryServer, case: Case) -> None:
    server.hub.presence._backend.reconfigure(GRACE, 0)
    transport = connect(server, case)
    output = bytes(transport.value())
    assert b"too-many-members" in output or (4429).to_bytes(2) in output
    assert not server.hub.presence._held
    subscribers = server.hub.queries.connections(DAEMON, None, None, 9)
    assert [list(each.starts) for each in subscribers] == ([] if case.is_http else [[]])


@each_transport(SUBSCRIBING)
async def test_events_are_received(server: InMemoryServer, case: Case) -> None:
    data = case.subscribe.replace(
        b"/a" if case.is_http else b" a", b"/$presence/a" if case.is_http else b" $presence/a"
    )
    transport = server.connect(is_http=case.is_http)
    protocol: Any = transport.protocol
    protocol.dataReceived(data)
    connect(server, CASES[0], "presence_id=bob")
    server.clock.pump([0] * 5)
    output = bytes(transport.value())
    assert b'"action":"enter","id":"bob"' in output or b'\\"bob\\"' in output


async def test_anonymous_member_has_the_id_of_its_connection(server: InMemoryServer) -> None:
    connect(server, CASES[0], "presence=self")
    (subscriber,) = server.hub.queries.connections(DAEMON, None, None, 9)
    assert told(server) == [f"enter {subscriber.peer.id}"]


async def test_anonymous_long_poll_needs_an_id(server: InMemoryServer) -> None:
    case = next(case for case in CASES if case.name == "longpoll")
    assert b"bad-parameter" in connect(server, case, "presence=self").value()


# Two-way peers


def websocket(server: InMemoryServer) -> ServerTransport:
    """Open a WebSocket of alice."""
    case = next(case for case in CASES if b"pushd.v1" in case.subscribe)
    transport: ServerTransport = connect(server, case)
    return transport


def masked(opcode: int, payload: bytes) -> bytes:
    """Return a frame of a client."""
    return bytes((0x80 | opcode, 0x80 | len(payload))) + bytes(4) + payload


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (struct.pack("!H", 1000), "client"),
        (b"", "client"),
        (struct.pack("!H", 1001), None),
        (struct.pack("!H", 3000), None),
        (b"\x00", None),
    ],
)
async def test_close_of_a_websocket(server: InMemoryServer, payload: bytes, reason: str | None) -> None:
    transport = websocket(server)
    protocol: Any = transport.protocol
    protocol.dataReceived(masked(8, payload))
    assert told(server) == ["enter alice", *([f"leave alice {reason}"] if reason else [])]
    pass_time(server, GRACE)
    assert len(told(server)) == 2


async def test_quit_leaves_at_once_and_a_closed_sending_side_after_the_grace(server: InMemoryServer) -> None:
    case = CASES[-1]
    transport = connect(server, case)
    transport.protocol.dataReceived(b"QUIT\r\n")
    assert told(server) == ["enter alice", "leave alice client"]
    transport = connect(server, case)
    transport.protocol.readConnectionLost()
    assert told(server)[2:] == ["enter alice"]
    pass_time(server, GRACE)
    assert told(server)[3:] == ["leave alice timeout"]


async def test_member_of_a_subscription_leaves_with_it(server: InMemoryServer) -> None:
    transport = connect(server, CASES[-1])
    transport.protocol.dataReceived(b"UNSUB a\r\n")
    assert told(server) == ["enter alice", "leave alice client"]
    transport.protocol.dataReceived(b"ENTER a id=alice\r\nSUB a presence_id=alice\r\nUNSUB a\r\n")
    assert told(server)[2:] == ["enter alice"]


def lines(server: InMemoryServer, transport: Any, text: str) -> list[str]:
    """Send lines; return the lines of the replies."""
    before = len(transport.value())
    transport.protocol.dataReceived(text.encode())
    return bytes(transport.value())[before:].decode().splitlines()


async def test_line_commands(server: InMemoryServer) -> None:
    transport = server.connect(is_http=False)
    server.clock.advance(5)
    (subscriber,) = server.hub.queries.connections(DAEMON, None, None, 9)
    me = subscriber.peer.id
    assert lines(server, transport, "ENTER chat/a\r\n") == [f"+OK ENTER chat/a {me}"]
    assert lines(server, transport, 'ENTER chat/a id=bob { "x" : "\u2028" }\r\n') == ["+OK ENTER chat/a bob"]
    assert told(server, "chat/a") == [f"enter {me}", f"leave {me} client", "enter bob"]
    other = server.connect(is_http=False)
    assert lines(server, other, "ENTER chat/a id=ada 1\r\nENTER chat/a id=ada 2\r\n") == ["+OK ENTER chat/a ada"] * 2
    assert told(server, "chat/a")[3:] == ["enter ada", "update ada"]
    assert lines(server, transport, "WHO chat/a\r\n") == ["ada 1 5 2", 'bob 1 5 {"x":"\\u2028"}', "+OK WHO 2"]
    assert lines(server, transport, "WHO chat/a limit=1\r\n") == ["ada 1 5 2", "+OK WHO 2 next=ada"]
    assert lines(server, transport, "WHO chat/a after=ada limit=1\r\n")[1:] == ["+OK WHO 2"]
    assert lines(server, transport, "LEAVE chat/a\r\n") == ["+OK LEAVE chat/a"]
    assert lines(server, transport, "HB bob 4000\r\nHB bob\r\n") == ["+OK HB bob 1000", "+OK HB bob -"]
    assert [member.id for member in await members(server, "online")] == ["bob"]
    refused = [
        ("LEAVE chat/a", "unknown-member"),
        ("ENTER", "bad-command"),
        ("ENTER chat/a {", "bad-json"),
        ("ENTER chat/a id=a/b", "bad-member"),
        (f'ENTER chat/a "{"x" * 1023}"', "bad-member"),
        ("ENTER $sys/a", "forbidden"),
        ("WHO chat/a limit=0", "bad-command"),
        ("HB bob x", "bad-command"),
    ]
    for line, code in refused:
        assert lines(server, transport, f"{line}\r\n")[0].startswith(f"-ERR {code} "), line


async def test_websocket_commands(server: InMemoryServer) -> None:
    transport = websocket(server)
    protocol: Any = transport.protocol

    def ask(**command: object) -> Any:
        before = len(transport.value())
        protocol.dataReceived(masked(1, json.dumps(command).encode()))
        output = bytes(transport.value())[before:]
        return json.loads(output[output.index(b'{"') :])

    assert ask(enter="a", meta={"x": 1}, id="alice")["id"] == "alice"
    assert told(server) == ["enter alice", "update alice"]
    found = ask(members="a", ref=7)
    assert found.pop("cursor").startswith("E-")
    member = {"id": "alice", "since": 0.0, "connections": 1, "meta": {"x": 1}}
    assert found == {"ref": 7, "ok": True, "channel": "a", "count": 1, "members": [member], "next": None}
    assert ask(leave="a")["leave"] == "a"
    assert told(server)[2:] == ["leave alice client"]
    assert ask(leave="a")["error"]["code"] == "unknown-member"
    assert ask(members="a", limit=0)["error"]["code"] == "bad-parameter"
    assert ask(enter="b")["error"]["code"] == "forbidden", "the socket is confined to its topics"
    assert ask(heartbeat="bob", ts=500)["error"]["code"] == "forbidden"


async def test_grant_that_is_lost_is_a_membership_that_is_lost(guarded: InMemoryServer) -> None:
    transport = connect(guarded, CASES[-1], "presence=self", "alice")
    (subscriber,) = guarded.hub.queries.connections(DAEMON, None, None, 9)
    grant = Grant.parse({"subscribe": ["**"], "enter": []}, "alice", where="test")
    identity = Identity("alice", grant, "shop", None, "id2", (), -1.0)
    guarded.hub.credentials.accept(subscriber, identity)
    assert told(guarded) == ["enter alice", "leave alice revoked"]
    assert not transport.disconnecting


async def test_channels_of_one_connection_are_bounded(server: InMemoryServer) -> None:
    transport = server.connect(is_http=False)
    replies = lines(server, transport, "".join(f"ENTER c{number} id=a\r\n" for number in range(1001)))
    assert replies[-1].startswith("-ERR too-many-members ")
    assert len(replies) == 1001
    server.lose(transport)
    pass_time(server, GRACE)
    assert server.backend.presence.usage.members == 0
