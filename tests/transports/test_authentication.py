"""Authentication of two-way connections: at the handshake, in the first seconds, and by AUTH."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from websockets.frames import Frame, Opcode

from pushd.core.errors import TokenInvalid
from pushd.core.grant import FULL, NOTHING, Grant
from pushd.core.peer import Peer
from tests.transports.in_memory_server import CLIENT, InMemoryServer, request
from tests.transports.two_way_in_memory import (
    Event,
    InMemoryPeer,
    LinePeer,
    Tokens,
    WebSocketPeer,
    pass_time,
    server_with,
)

GRANTS = {
    "all": {"subscribe": ["**"], "publish": ["**"]},
    "a": {"subscribe": ["a"], "publish": ["a"]},
    "b": {"subscribe": ["b"], "publish": ["b"]},
    "live": {"subscribe": ["**"], "history": []},
    "none": {},
}
SECONDS = 10
"""The default of `limits.handshake`."""
FORGED = "shop:alice:s3cret-0f-a-client"
OK, PING = Event("ok"), {"ping": "x"}
PEERS = (LinePeer, WebSocketPeer)
each_peer = pytest.mark.parametrize("peer_class", PEERS, ids=lambda peer_class: peer_class.label)

Starter = Callable[..., InMemoryServer]


@pytest.fixture
def tokens() -> Tokens:
    """The verifier of the server."""
    return Tokens(GRANTS)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """All log lines."""
    lines: list[str] = []

    observer = cast(ILogObserver, lambda event: lines.append(formatEvent(event)))
    globalLogPublisher.addObserver(observer)
    yield lines
    globalLogPublisher.removeObserver(observer)


@pytest.fixture
def start(tokens: Tokens) -> Iterator[Starter]:
    """A function that starts a server."""
    servers: list[InMemoryServer] = []

    def start(**anonymous: object) -> InMemoryServer:
        server = server_with(tokens, anonymous or None)
        servers.append(server)
        Deferred.fromCoroutine(server.start())
        return server

    yield start
    for server in servers:
        server.stop()


def codes(events: list[Event]) -> list[str]:
    """Return the kinds of events, or the code of an error."""
    return [event.detail if event.kind in ("error", "message") else event.kind for event in events]


def bearer(token: str) -> dict[str, str]:
    """Return the header with a token."""
    return {"Authorization": f"Bearer {token}"}


# The handshake


@pytest.mark.parametrize(
    ("path", "headers", "close", "code"),
    [
        ("/ws", bearer(FORGED), "4401", "token-invalid"),
        ("/ws", {"Sec_WebSocket_Protocol": f"pushd.v1, bearer.{FORGED}"}, "4401", "token-invalid"),
        ("/ws", {"Cookie": f"__Host-pushd={FORGED}", "Origin": "http://localhost"}, "4401", "token-invalid"),
        ("/ws/a", bearer(FORGED), "4401", "token-invalid"),
        ("/ws/a", {}, "4401", "token-missing"),
        ("/ws/a,c", bearer("shop:alice:a"), "4403", "forbidden"),
        ("/ws/a?since=all", bearer("shop:alice:live"), "4403", "forbidden"),
    ],
)
async def test_refused_credential_is_a_close_code_with_the_subprotocol_and_a_status_without(
    start: Starter, path: str, headers: dict[str, str], close: str, code: str, logged: list[str]
) -> None:
    server = start()
    peer = WebSocketPeer(server, path, **headers)
    assert peer.status == 101
    assert "Sec-WebSocket-Protocol: pushd.v1\r\n" in peer.head + "\r\n"
    assert "Pushd-Cursor" not in peer.head
    assert codes(peer.events()) == ["close"]
    assert server.counters.refusals[code] == 1
    if "Sec_WebSocket_Protocol" not in headers:
        bare = WebSocketPeer(server, path if path != "/ws" else "/ws/a", Sec_WebSocket_Protocol="", **headers)
        assert bare.status == {"4401": 401, "4403": 403}[close]
        assert server.counters.refusals[code] == 2
        bare.lose()
        assert b"s3cret" not in bare.sent
    peer.lose()
    assert server.counters.connections["websocket"] == 0
    assert any(f": GET {path.partition('?')[0]} 101, ended" in line for line in logged)
    assert b"s3cret" not in peer.sent
    assert not any("s3cret" in line for line in logged)


@pytest.mark.parametrize("path", ["/ws/a", "/sub/a"])
async def test_close_frame_has_code_and_reason_of_the_refusal(start: Starter, path: str) -> None:
    peer = WebSocketPeer(start(), path, **bearer("shop:alice:b"))
    (event,) = peer.events()
    assert event == Event("close", "4403", "action subscribe on topic a is not granted")


async def test_long_reason_is_cut_between_characters(start: Starter) -> None:
    peer = WebSocketPeer(start(), "/ws/" + "%C3%A9" * 100, **bearer("shop:alice:a"))
    (event,) = peer.events()
    assert event.text == "action subscribe on topic " + "é" * 48


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec_WebSocket_Key": "x", **bearer(FORGED)}, 400),
        ({"Sec_WebSocket_Version": "7", **bearer(FORGED)}, 426),
        ({"Origin": "https://evil.example", **bearer(FORGED)}, 403),
        ({"Origin": "https://evil.example", "Cookie": f"__Host-pushd={FORGED}"}, 403),
        ({"Sec_WebSocket_Protocol": f"pushd.v1, bearer.{FORGED}", **bearer(FORGED)}, 400),
        ({"Sec_WebSocket_Protocol": f"pushd.v1, bearer.{FORGED}, bearer.{FORGED}"}, 400),
    ],
)
async def test_other_refusals_of_the_handshake_are_a_status(
    start: Starter, headers: dict[str, str], status: int
) -> None:
    peer = WebSocketPeer(start(), **headers)
    assert peer.status == status
    assert FORGED.encode() not in peer.sent


async def test_invalid_topic_is_a_status(start: Starter) -> None:
    assert WebSocketPeer(start(), "/ws/a//b", **bearer("shop:alice:all")).status == 400


async def test_credential_of_the_handshake_is_that_of_the_session(start: Starter) -> None:
    server = start()
    for headers in (bearer("shop:alice:a"), {"Sec_WebSocket_Protocol": "pushd.v1, bearer.shop:alice:a"}):
        peer = WebSocketPeer(server, **headers)
        assert "Sec-WebSocket-Protocol: pushd.v1" in peer.head
        assert "bearer" not in peer.head
        assert codes(peer.ask({"subscribe": "a"}, {"subscribe": "b"})) == ["ok", "forbidden"]
        pass_time(2 * SECONDS, peer)
        assert not peer.is_closing


async def test_refused_websocket_keeps_its_slots_until_the_peer_answers(start: Starter) -> None:
    server = start()
    peer = WebSocketPeer(server, "/ws/a")
    peer.events()
    assert (len(server.admission), server.admission._by_network[CLIENT]) == (1, 1)
    peer.send({"subscribe": "a"})  # sent before the peer has received the close frame
    assert not peer.is_closing
    peer.answer_close()
    assert peer.is_closing
    peer.lose()
    assert (len(server.admission), server.admission._by_network[CLIENT]) == (0, 0)
    assert not server.context.access.streams
    assert not any(call.func == peer.transport.abortConnection for call in server.clock.getDelayedCalls())


async def test_refused_websocket_that_does_not_answer_is_aborted(start: Starter) -> None:
    server = start()
    silent, noisy = WebSocketPeer(server, "/ws/a"), WebSocketPeer(server, "/ws/a")
    noisy.receive(b"\x82\xff" + (1 << 20).to_bytes(8, "big") + bytes(4) + bytes(60_000))
    assert not noisy.is_closing
    noisy.receive(bytes(60_000))
    assert noisy.is_closing
    server.clock.advance(4.9)
    assert not silent.is_closing
    server.clock.advance(0.2)
    assert silent.is_closing


async def test_refused_websocket_behind_a_full_proxy_is_a_status(start: Starter) -> None:
    server = start()
    server.admission.reconfigure(10, 0)
    assert WebSocketPeer(server, "/ws", **bearer(FORGED)).status == 429


@pytest.mark.parametrize("path", ["/ws", "/ws/a", "/sse/a", "/longpoll/a", "/stream/a", "/sub/a"])
@pytest.mark.parametrize("is_good", [True, False])
async def test_client_that_leaves_while_it_is_authenticated(
    start: Starter, tokens: Tokens, path: str, *, is_good: bool
) -> None:
    server = start()
    tokens.fetching = Deferred()
    if "ws" in path:
        transport = WebSocketPeer(server, path, **bearer("shop:alice:all")).transport
    else:
        transport = server.connect(is_http=True)
        transport.protocol.dataReceived(request(path, **bearer("shop:alice:all")))
    server.lose(transport)
    tokens.fetching.callback(None) if is_good else tokens.fetching.errback(TokenInvalid("no"))
    assert transport.value() == b""
    assert (len(server.admission), sum(server.counters.connections.values())) == (0, 0)


# Peers without a credential


@each_peer
async def test_peer_without_a_credential_may_only_authenticate_and_ping(
    start: Starter, peer_class: type[InMemoryPeer]
) -> None:
    peer = peer_class(start())
    commands = {"subscribe": "a"}, {"unsubscribe": "a"}, {"publish": "a", "data": "x"}, PING
    assert codes(peer.ask(*commands)) == [*["token-missing"] * 3, "ok"]
    assert codes(peer.ask({"auth": FORGED})) == ["token-invalid"]
    assert codes(peer.ask({"auth": "shop:alice:a"}, *commands)) == ["ok", "ok", "ok", "ok", "ok"]


async def test_line_peer_without_a_credential_may_ask_for_help_and_quit(start: Starter) -> None:
    peer = LinePeer(start())
    for line, code in {"HIST a": "token-missing", "STAT a": "token-missing", "FORMAT json": "token-missing"}.items():
        peer.receive(line.encode() + b"\n")
        assert codes(peer.events()) == [code]
    peer.receive(b"HELP\n")
    assert codes(peer.events()) == ["ok"]
    peer.receive(b"QUIT\n")
    assert codes(peer.events()) == ["ok", "close"]


@each_peer
async def test_peer_that_does_not_authenticate_in_time_is_disconnected(
    start: Starter, peer_class: type[InMemoryPeer]
) -> None:
    server = start()
    silent, busy, good = peer_class(server), peer_class(server), peer_class(server)
    good.send({"auth": "shop:alice:none"})
    for _ in range(SECONDS - 1):
        pass_time(1, silent, good)
        busy.send(PING, {"auth": FORGED})
    assert not (silent.is_closing or busy.is_closing)
    busy.events()
    pass_time(2, silent, busy, good)
    for peer in (silent, busy):
        assert (peer.events()[0].detail, peer.is_closing) == (
            ("token-missing", True) if peer_class is LinePeer else ("4401", False)
        )
    assert codes(good.ask(PING))[-1] == "ok"
    assert server.counters.refusals["token-missing"] == 2
    assert not server.credentials.expected


@each_peer
async def test_deadline_ends_with_its_connection(start: Starter, peer_class: type[InMemoryPeer]) -> None:
    server = start()
    peer, quitting = peer_class(server), LinePeer(server)
    assert len(server.credentials.expected) == 2
    peer.lose()
    quitting.receive(b"QUIT\n")
    assert not server.credentials.expected


@each_peer
@pytest.mark.parametrize("right", ["subscribe", "publish"])
async def test_anonymous_peer_to_whom_something_is_granted_may_stay(
    start: Starter, peer_class: type[InMemoryPeer], right: str
) -> None:
    server = start(**{right: ["a"]})
    peer = peer_class(server)
    answers = codes(peer.ask({"subscribe": "a"}, {"publish": "a", "data": "x"}, {"subscribe": "b"}))
    assert [code for code in answers if code != "x"] == (
        ["ok", "token-missing", "token-missing"] if right == "subscribe" else ["token-missing", "ok", "token-missing"]
    )
    pass_time(2 * SECONDS, peer)
    assert codes(peer.ask(PING)) == ["ok"]


def renew(server: InMemoryServer, anonymous: Grant) -> None:
    """Give anonymous peers another grant, as a reload does."""
    server.context.authenticator.reconfigure((), anonymous)

    def to_anonymous(peer: Peer) -> None:
        if peer.identity is None:
            peer.grant = anonymous

    Deferred.fromCoroutine(server.hub.renew_grants(to_anonymous))
    server.clock.advance(0)


@each_peer
async def test_reload_that_grants_nothing_to_anonymous_peers_disconnects_them(
    start: Starter, peer_class: type[InMemoryPeer]
) -> None:
    server = start(subscribe=["a"])
    anonymous, known = peer_class(server), peer_class(server)
    known.ask({"auth": "shop:alice:a"})
    renew(server, NOTHING)
    assert anonymous.events()[0].detail == ("token-missing" if peer_class is LinePeer else "4401")
    new = peer_class(server)
    renew(server, NOTHING)
    assert codes(new.ask(PING)) == codes(known.ask(PING)) == ["ok"]
    renew(server, FULL)
    pass_time(2 * SECONDS, new)
    assert codes(new.ask({"subscribe": "a"})) == ["ok"]


@each_peer
async def test_reload_that_narrows_the_anonymous_grant_disconnects_peers_with_lost_topics(
    start: Starter, peer_class: type[InMemoryPeer]
) -> None:
    server = start(subscribe=["a", "b"])
    lost, kept = peer_class(server), peer_class(server)
    lost.ask({"subscribe": "a"})
    kept.ask({"subscribe": "b"})
    renew(server, Grant.parse({"subscribe": ["b"]}, None, where="test"))
    await server.publish("a", "secret")
    await server.publish("b", "news")
    assert codes(lost.events())[0] in ("token-missing", "close")
    assert b"secret" not in lost.sent
    assert codes(kept.events()) == ["news"]


@each_peer
async def test_reload_that_takes_the_history_ends_a_replay(start: Starter, peer_class: type[InMemoryPeer]) -> None:
    server = start(subscribe=["**"])
    await server.publish("a", "old")
    server.backend.reading = Deferred()
    replaying, live = peer_class(server), peer_class(server)
    replaying.ask({"subscribe": "a", "since": "all"})
    live.ask({"subscribe": "a"})
    assert server.backend.readers
    renew(server, Grant.parse({"subscribe": ["**"], "history": []}, None, where="test"))
    server.backend.reading.callback(None)
    assert b"old" not in replaying.transport.value()
    assert codes(replaying.events())[0] in ("token-missing", "close")
    await server.publish("a", "new")
    assert codes(live.events()) == ["new"]


# AUTH


@each_peer
async def test_second_token_must_be_of_the_same_issuer_and_subject(
    start: Starter, peer_class: type[InMemoryPeer]
) -> None:
    peer = peer_class(start())
    assert codes(peer.ask({"auth": "shop:alice:a"}, {"subscribe": "a"})) == ["ok", "ok"]
    for token in ("shop:bob:all", "other:alice:all"):
        assert codes(peer.ask({"auth": token}, {"subscribe": "b"})) == ["forbidden", "forbidden"]
    for token in (FORGED, "", "x" * 8193):
        assert codes(peer.ask({"auth": token} if token or peer_class is WebSocketPeer else {"auth": "a b"}))[0] in (
            "token-invalid",
            "bad-command",
        )
    await peer.server.publish("a", "kept")
    assert codes(peer.events()) == ["kept"]
    assert codes(peer.ask({"auth": "shop:alice:all"}, {"subscribe": "b"})) == ["ok", "ok"]
    assert codes(peer.ask({"auth": "shop:alice:b"}))[0] == "ok"


@each_peer
async def test_anonymous_peer_becomes_any_subject(start: Starter, peer_class: type[InMemoryPeer]) -> None:
    server = start(subscribe=["a"])
    for subject in ("alice", "bob"):
        peer = peer_class(server)
        assert codes(peer.ask({"subscribe": "a"}, {"auth": f"shop:{subject}:all"}, {"subscribe": "b"})) == ["ok"] * 3


@each_peer
async def test_lost_topics_are_unsubscribed_with_an_error_for_each(
    start: Starter, peer_class: type[InMemoryPeer]
) -> None:
    server = start()
    peer = peer_class(server)
    peer.ask({"auth": "shop:alice:all"}, {"subscribe": "a,b,c/*"})
    ok, *errors = peer.ask({"auth": "shop:alice:b"})
    assert ok == OK
    assert [(event.detail, event.text) for event in errors] == [
        ("forbidden", f"action subscribe on topic {topic} is not granted any more") for topic in ("a", "c/*")
    ]
    for channel in ("a", "b", "c/d"):
        await server.publish(channel, f"in {channel}")
    assert codes(peer.events()) == ["in b"]
    assert not server.hub.dispatcher.subscribers_by_name("a")


@each_peer
async def test_messages_that_wait_for_a_slow_reader_are_not_sent_for_lost_topics(
    start: Starter, peer_class: type[InMemoryPeer], tokens: Tokens
) -> None:
    server = start()
    peer = peer_class(server)
    peer.ask({"auth": "shop:alice:all"}, {"subscribe": "a,b"})
    tokens.fetching = Deferred()
    peer.send({"auth": "shop:alice:b"})
    producer: Any = peer.transport.producer
    producer.pauseProducing()
    await server.publish("a", "secret")
    await server.publish("b", "news")
    tokens.fetching.callback(None)
    producer.resumeProducing()
    assert sorted(codes(peer.events())) == ["forbidden", "news", "ok"]
    assert b"secret" not in peer.sent


@each_peer
async def test_commands_behind_auth_wait_for_it_and_are_executed_with_the_new_grant(
    start: Starter, peer_class: type[InMemoryPeer], tokens: Tokens
) -> None:
    server = start()
    peer = peer_class(server)
    tokens.fetching = Deferred()
    commands = {"subscribe": "a"}, {"publish": "a", "data": "1"}, {"publish": "b", "data": "2"}, PING
    assert peer.ask(PING, {"auth": "shop:alice:a"}, *commands) == [OK]
    pass_time(SECONDS - 2, peer)
    assert peer.events() == []
    tokens.fetching.callback(None)
    assert sorted(codes(peer.events())) == ["1", "forbidden", "ok", "ok", "ok", "ok"]
    tokens.fetching = Deferred()
    assert peer.ask({"auth": "shop:alice:b"}, {"publish": "a", "data": "3"}, {"publish": "b", "data": "4"}) == []
    await server.publish("a", "still granted")
    assert codes(peer.events()) == ["still granted"]
    tokens.fetching.callback(None)
    assert codes(peer.events()) == ["ok", "forbidden", "forbidden", "ok"]


@each_peer
@pytest.mark.parametrize("is_good", [True, False])
async def test_connection_may_close_while_it_is_authenticated(
    start: Starter, peer_class: type[InMemoryPeer], tokens: Tokens, *, is_good: bool
) -> None:
    server = start()
    lost, late = peer_class(server), peer_class(server)
    tokens.fetching = Deferred()
    lost.send({"auth": "shop:alice:a"}, {"subscribe": "a"})
    late.send({"auth": "shop:alice:a"}, {"subscribe": "a"})
    lost.lose()
    pass_time(SECONDS + 1, late)
    received = late.events()
    assert received[0].detail in ("token-missing", "4401")
    tokens.fetching.callback(None) if is_good else tokens.fetching.errback(TokenInvalid("no"))
    assert not server.hub.dispatcher.subscribers_by_name("a")
    assert not server.credentials.expected


@each_peer
async def test_refused_subscription_does_not_change_the_policy(start: Starter, peer_class: type[InMemoryPeer]) -> None:
    server = start()
    peer = peer_class(server)
    peer.ask({"auth": "shop:alice:a"}, {"subscribe": "a"})
    (subscriber,) = server.hub.dispatcher.subscribers_by_name("a")
    before = subscriber.policy
    assert codes(peer.ask({"subscribe": "b", "slow": "drop"})) == ["forbidden"]
    assert subscriber.policy is before


async def test_token_of_the_greatest_size_fits_into_a_line(start: Starter) -> None:
    peer = LinePeer(start())
    for size, text in ((8192, "signature of the token is not valid"), (8193, "token must not exceed 8192 bytes")):
        assert peer.ask({"auth": "x" * size}) == [Event("error", "token-invalid", text)]


@pytest.mark.parametrize("line", [b"AUTH", b"AUTH ", b"AUTH a b"])
async def test_auth_without_one_token_is_answered_with_its_usage(start: Starter, line: bytes) -> None:
    peer = LinePeer(start())
    peer.receive(line + b"\n")
    assert peer.events() == [Event("error", "bad-command", "usage: AUTH TOKEN")]


@each_peer
async def test_no_token_is_needed_where_authentication_is_off(peer_class: type[InMemoryPeer]) -> None:
    server = await InMemoryServer().start()
    peer = peer_class(server)
    assert codes(peer.ask({"auth": FORGED}, {"subscribe": "a"})) == ["ok", "ok"]
    assert b"no token is needed" in peer.sent
    pass_time(2 * SECONDS, peer)
    assert codes(peer.ask(PING))[-1] == "ok"
    server.stop()


MISPLACED: dict[type[InMemoryPeer], list[bytes]] = {
    LinePeer: [
        f"AUTH {FORGED} more".encode(),
        f"AUTH {FORGED}{'x' * 8192}".encode(),
        FORGED.encode(),
        f"SUB  {FORGED}?".encode(),
        f"SUB a since={FORGED}".encode(),
        f"SUB a token={FORGED}".encode(),
        f"FORMAT {FORGED}".encode(),
        f"HIST a {FORGED}".encode(),
        f"PUBJ {{{FORGED}".encode(),
        f'PUBJ {{"channel":"a","token":"{FORGED}"}}'.encode(),
        f"SUB {FORGED}{'x' * (3 << 20)}".encode(),
    ],
    WebSocketPeer: [
        f'{{"auth":"{FORGED}"'.encode(),
        f'{{"auth":["{FORGED}"]}}'.encode(),
        f'{{"auth":{FORGED}}}'.encode(),
        f'{{"auth":"{FORGED}","{FORGED}":1}}'.encode(),
        f'{{"token":"{FORGED}"}}'.encode(),
        f'{{"subscribe":"a","since":"{FORGED}"}}'.encode(),
        f'{{"subscribe":"a","slow":"{FORGED}"}}'.encode(),
        f'"{FORGED}"'.encode(),
        FORGED.encode(),
        f'{{"auth":"{FORGED}{"x" * 8192}"}}'.encode(),
    ],
}


@pytest.mark.parametrize(
    ("peer_class", "text"), [(peer_class, text) for peer_class, texts in MISPLACED.items() for text in texts]
)
async def test_no_error_and_no_log_line_has_a_token(
    start: Starter, peer_class: type[InMemoryPeer], text: bytes, logged: list[str]
) -> None:
    server = start()
    peer = peer_class(server)
    peer.receive(Frame(Opcode.TEXT, text).serialize(mask=True) if peer_class is WebSocketPeer else text + b"\n")
    assert peer.events()[0].kind == "error"
    server.clock.pump([1] * (SECONDS + 1))
    peer.events()
    peer.lose()
    assert b"s3cret" not in peer.sent
    assert not any("s3cret" in line for line in logged)
