"""Subscriptions: what is yielded, from where they resume, when they reconnect, and how they end."""

import json
from typing import Any

import pytest
from pushd_client import (
    AuthenticationFailed,
    ConnectionFailed,
    End,
    Gap,
    Message,
    NotPermitted,
    PushdError,
    Refused,
    TemporarilyRefused,
)
from pushd_client.core.address import Address
from pushd_client.core.interface import Closed, HttpResponse
from pushd_client.core.subscriber import State, Subscriber
from pushd_client.core.subscription_options import subscription_options
from pushd_client.sync import run

from tests.clients.python.core.scripted import (
    LONGEST,
    ScriptedConnection,
    ScriptedNetwork,
    caller,
    refused,
    response,
    tokens,
)

LOST = ConnectionFailed("lost")
ENDED = Closed(None)
GONE = HttpResponse(204, {})
TRANSPORTS = pytest.mark.parametrize("transport", ["sse", "websocket"])


def message(id: str | None, channel: str = "a", **fields: Any) -> dict[str, Any]:
    """Return a JSON message whose data is its id."""
    return {"id": id, "channel": channel, "time": 1.5, "content_type": "text/plain", "data": id, **fields}


BEGIN = {"type": "begin", "cursor": "e-0", "connection": "c1"}
GAP = {"type": "gap", "topic": "a", "from": "e-0", "to": "e-3", "reason": "evicted"}
END = {"type": "end", "channel": "a"}
EXPIRING, EXPIRED = {"type": "expiring", "at": 1}, {"type": "expired", "code": "token-expired"}


def connection(transport: str, *received: Any) -> ScriptedConnection:
    """Return a connection that receives JSON objects and what else is given."""

    def encode(step: Any) -> Any:
        if not isinstance(step, dict):
            return step
        text = json.dumps(step)
        return text if transport == "websocket" else f"event: {step.get('type', '')}\ndata: {text}\n\n".encode()

    return ScriptedConnection([encode(step) for step in received])


class Run:
    """A subscription over a scripted network."""

    def __init__(self, transport: Any, *steps: Any, token: Any = None, topics: str = "a", **keywords: Any) -> None:
        self.network = ScriptedNetwork(*steps)
        options = subscription_options(topics, transport=transport, **keywords)
        source = tokens(token)
        client = caller(self.network, source)
        self.subscriber = Subscriber(
            options,
            Address("http://pushd.test"),
            self.network,
            client,
            source,
            30.0,
            60.0,
            LONGEST.start(),
            self.network.clock,
        )

    def items(self, count: int = 100) -> list[Any]:
        """Return the next items; messages as their ids."""
        items: list[Any] = []
        while len(items) < count and (item := run(self.subscriber.next_item())) is not None:
            items.append(item.id if isinstance(item, Message) else item)
        return items

    @property
    def cursors(self) -> list[str | None]:
        """The cursors of all requests."""
        return [request.headers.get("Last-Event-ID") for request in self.network.requests]


@TRANSPORTS
def test_items_are_yielded_in_order_and_the_cursor_follows(transport):
    subscription = Run(transport, connection(transport, BEGIN, GAP, message("e-4"), END, ENDED))
    run(subscription.subscriber.open())
    assert (subscription.subscriber.cursor, subscription.subscriber.connection_id) == ("e-0", "c1")
    gap, end = Gap("a", "e-0", "e-3", "evicted"), End("a")
    assert subscription.items(1) == [gap]
    assert subscription.subscriber.cursor == "e-0"
    assert subscription.items(2) == ["e-4", end]
    assert subscription.subscriber.cursor == "e-4"


@TRANSPORTS
def test_cursor_is_that_of_the_item_that_was_returned_not_of_the_one_received(transport):
    subscription = Run(transport, connection(transport, BEGIN, message("e-1"), message("e-2")))
    assert subscription.items(1) == ["e-1"]
    assert subscription.subscriber.cursor == "e-1"


@TRANSPORTS
def test_reconnect_resumes_after_the_last_message(transport):
    subscription = Run(
        transport,
        connection(transport, LOST),
        connection(transport, BEGIN, LOST),
        connection(transport, {**BEGIN, "cursor": "e-0"}, message("e-1"), message(None, kept=False), LOST),
        connection(
            transport, {**BEGIN, "cursor": "e-1"}, message("e-2"), END, ENDED if transport == "sse" else Closed(4410)
        ),
        since="all",
    )
    assert subscription.items() == ["e-1", None, "e-2", End("a")]
    assert subscription.cursors == [None, None, "e-0", "e-1"]
    assert all("since=all" in request.target for request in subscription.network.requests)


@TRANSPORTS
def test_gap_and_end_that_are_repeated_after_a_loss_are_yielded_once(transport):
    again = connection(transport, BEGIN, GAP, END, message("e-4"), GAP, Closed(4410))
    subscription = Run(transport, connection(transport, BEGIN, GAP, END, LOST), again, topics="a,b*")
    gap = Gap("a", "e-0", "e-3", "evicted")
    assert subscription.items(4) == [gap, End("a"), "e-4", gap]


def test_stream_that_is_cut_at_any_byte_is_resumed():
    sent = [BEGIN, GAP, *(message(f"e-{number}") for number in (4, 5, 6)), END]
    encoded = [f"event: x\ndata: {json.dumps(each)}\n\n".encode() for each in sent]
    whole = b"".join(encoded)
    for cut in range(len(whole)):
        first = ScriptedConnection([whole[:cut], LOST])
        complete = sum(len(b"".join(encoded[: index + 1])) <= cut for index in range(len(encoded)))
        received = max(0, complete - 2)
        rest = connection("sse", *(sent[:2] if received == 0 else sent[:1]), *sent[2 + received :], ENDED)
        subscription = Run("sse", first, rest)
        assert subscription.items() == [Gap("a", "e-0", "e-3", "evicted"), "e-4", "e-5", "e-6", End("a")], cut
        assert subscription.cursors[1] == (
            None if complete == 0 else f"e-{3 + min(received, 3)}" if received else "e-0"
        )


@TRANSPORTS
def test_end_of_all_channels_ends_the_subscription(transport):
    subscription = Run(transport, connection(transport, BEGIN, LOST), GONE, topics="a,b")
    assert subscription.items() == [End("a"), End("b")]
    assert subscription.items() == []


def test_end_of_a_stream_is_no_end_of_its_channels():
    subscription = Run("sse", connection("sse", BEGIN, ENDED), GONE)
    assert subscription.items() == [End("a")]
    assert len(subscription.network.requests) == 2


def test_channel_that_began_anew_has_not_ended():
    subscription = Run("sse", connection("sse", BEGIN, END, message("e-9"), ENDED), GONE)
    assert subscription.items() == [End("a"), "e-9", End("a")]


@TRANSPORTS
def test_delays_grow_until_a_connection_begins(transport):
    subscription = Run(
        transport,
        LOST,
        refused(503, "unavailable"),
        connection(transport, LOST),
        connection(transport, BEGIN, LOST),
        connection(transport, BEGIN, message("e-1")),
    )
    assert subscription.items(1) == ["e-1"]
    assert subscription.network.sleeps == [1, 2, 4, 1]


def test_retry_after_is_heeded():
    subscription = Run(
        "sse", refused(429, "too-many-connections", retry_after="9"), connection("sse", BEGIN, message("e-1"))
    )
    subscription.items(1)
    assert subscription.network.sleeps == [10]


def test_retry_before_the_end_is_heeded():
    stopping = connection("sse", b"retry: 3000\n", BEGIN, b"retry: 7500\n", ENDED)
    subscription = Run("sse", stopping, connection("sse", BEGIN, message("e-1")))
    subscription.items(1)
    assert subscription.network.sleeps == [10.5]  # 7.5, and at random up to 3


def test_retry_of_a_stream_that_ends_at_once_is_heeded():
    subscription = Run("sse", connection("sse", b":\nretry: 20000\n", ENDED), connection("sse", BEGIN, message("e-1")))
    subscription.items(1)
    assert subscription.network.sleeps == [40]


@pytest.mark.parametrize(
    ("code", "delay"), [(1012, 3), (1013, 1), (1011, 1), (1008, 1), (1001, 1), (4408, 1), (4429, 1)]
)
def test_close_code_after_which_the_client_reconnects(code, delay):
    closed = connection("websocket", BEGIN, Closed(code, "because"))
    subscription = Run("websocket", closed, connection("websocket", BEGIN, message("e-1")))
    assert subscription.items(1) == ["e-1"]
    assert subscription.network.sleeps == [delay]
    assert closed.is_closed


@pytest.mark.parametrize(("code", "kind"), [(4401, AuthenticationFailed), (4403, NotPermitted)])
def test_close_code_after_which_it_does_not(code, kind):
    subscription = Run("websocket", connection("websocket", BEGIN, Closed(code, "because")), token="fixed")
    with pytest.raises(kind, match="because"):
        subscription.items()
    assert subscription.subscriber.state is State.FINISHED


@TRANSPORTS
@pytest.mark.parametrize("answer", [refused(400, "bad-topic"), refused(403, "forbidden"), HttpResponse(404, {}, b"")])
def test_refusal_of_the_subscription_is_raised(transport, answer):
    subscription = Run(transport, answer)
    with pytest.raises(Refused):
        subscription.items()
    assert subscription.items() == []


@TRANSPORTS
def test_first_connection_is_attempted_for_a_while(transport):
    subscription = Run(transport, *[LOST] * 20)
    with pytest.raises(ConnectionFailed, match="lost"):
        run(subscription.subscriber.open())
    assert subscription.network.sleeps == [1, 2, 4, 8, 16]


@pytest.mark.parametrize(("seconds", "sleeps"), [(10, [1, 2, 4]), (0, []), (None, [1, 2, 4, 8, 16, *[30] * 4])])
def test_outage_may_last_as_long_as_the_program_says(seconds, sleeps):
    lost = [refused(503, "unavailable")] * 8
    subscription = Run("sse", connection("sse", BEGIN, LOST), *lost, refused(400, "bad-topic"), outage_seconds=seconds)
    with pytest.raises((ConnectionFailed, Refused)):
        subscription.items()
    assert subscription.network.sleeps == sleeps


REFUSED_TOKENS = {
    "401": lambda transport: refused(401, "token-expired"),
    "in band": lambda transport: (
        connection(transport, b"retry: 3600000\n", EXPIRED, ENDED)
        if transport == "sse"
        else connection(transport, BEGIN, Closed(4401, "token has expired"))
    ),
}


@TRANSPORTS
@pytest.mark.parametrize("how", REFUSED_TOKENS)
def test_refused_token_is_renewed_at_once(transport, how):
    issued = iter(["first", "second"])
    subscription = Run(
        transport,
        REFUSED_TOKENS[how](transport),
        connection(transport, BEGIN, message("e-1")),
        token=lambda: next(issued),
    )
    assert subscription.items(1) == ["e-1"]
    assert [request.headers["Authorization"] for request in subscription.network.requests] == [
        "Bearer first",
        "Bearer second",
    ]
    assert subscription.network.sleeps == []


@TRANSPORTS
@pytest.mark.parametrize("how", REFUSED_TOKENS)
def test_refusal_of_a_fixed_token_is_raised(transport, how):
    subscription = Run(transport, REFUSED_TOKENS[how](transport), token="fixed")
    with pytest.raises(AuthenticationFailed):
        subscription.items()


def test_tokens_that_are_refused_again_do_not_loop():
    issued = iter(range(1000))
    answers = [refused(401, "token-invalid")] * 3
    subscription = Run("sse", *answers, token=lambda: f"t{next(issued)}")
    with pytest.raises(AuthenticationFailed):
        subscription.items()
    assert len(subscription.network.requests) == 2


def test_token_is_renewed_in_place_over_server_sent_events():
    issued = iter(["first", "second"])
    stream = connection("sse", BEGIN, EXPIRING, message("e-1"))
    subscription = Run(
        "sse", stream, response(200, {"connection": "c1", "unsubscribed": []}), token=lambda: next(issued)
    )
    assert subscription.items(1) == ["e-1"]
    renewal = subscription.network.requests[1]
    assert (renewal.method, renewal.target) == ("POST", "/base/connections/c1/auth")
    assert not stream.is_closed


def test_token_is_renewed_in_place_over_a_websocket():
    issued = iter(["first", "second"])
    socket = connection("websocket", BEGIN, EXPIRING, {"ref": "auth", "ok": True, "auth": "bob"}, message("e-1"))
    subscription = Run("websocket", socket, token=lambda: next(issued))
    assert subscription.items(1) == ["e-1"]
    assert socket.sent == [{"auth": "second", "ref": "auth"}]


def test_subscription_reconnects_where_a_token_cannot_be_renewed_in_place():
    issued = iter(["first", "second"])
    subscription = Run(
        "sse",
        connection("sse", BEGIN, EXPIRING),
        refused(404, "unknown-connection"),
        connection("sse", BEGIN, message("e-1")),
        token=lambda: next(issued),
    )
    assert subscription.items(1) == ["e-1"]
    assert subscription.network.requests[2].headers["Authorization"] == "Bearer second"
    assert subscription.network.sleeps == []


def test_failure_of_the_token_function_before_the_expiry_is_no_failure_of_the_subscription():
    def issue():
        if issued:
            raise OSError("the issuer cannot be reached")
        issued.append(1)
        return "first"

    issued: list[int] = []
    subscription = Run("sse", connection("sse", BEGIN, EXPIRING, message("e-1")), token=issue)
    assert subscription.items(1) == ["e-1"]


@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_token_that_does_not_cover_a_topic_ends_the_subscription(transport):
    issued = iter(["first", "second"])
    withdrawn = {"ref": None, "error": {"code": "forbidden", "message": "a is not granted"}}
    stream = connection(transport, BEGIN, EXPIRING, {"ref": "auth", "ok": True}, withdrawn)
    answer = response(200, {"connection": "c1", "unsubscribed": ["a"]})
    subscription = Run(transport, stream, answer, token=lambda: next(issued))
    with pytest.raises(NotPermitted):
        subscription.items()


@TRANSPORTS
@pytest.mark.parametrize("text", ["<html>", "{}", "[]", '{"channel":"a"}', '{"type":"begin"}'])
def test_what_is_not_of_pushd_is_a_lost_connection(transport, text):
    foreign = connection(transport, f"data: {text}\n\n".encode() if transport == "sse" else text)
    subscription = Run(transport, foreign, connection(transport, BEGIN, message("e-1")))
    assert subscription.items(1) == ["e-1"]


def test_what_precedes_garbage_counts():
    objects = [BEGIN, message("e-1"), EXPIRING]
    piece = b"".join(f"data: {json.dumps(each)}\n\n".encode() for each in objects) + b"data: garbage\n\n"
    issued = iter(["first", "second"])
    again = connection("sse", BEGIN, message("e-2"))
    subscription = Run("sse", connection("sse", piece), again, token=lambda: next(issued))
    assert subscription.items(2) == ["e-1", "e-2"]
    assert subscription.cursors == [None, "e-1"]


def test_message_that_is_too_large_ends_the_subscription():
    subscription = Run("sse", connection("sse", BEGIN, message("e-1", data="x" * 500)), max_message_bytes=400)
    with pytest.raises(PushdError, match="must not exceed 400"):
        subscription.items()


@TRANSPORTS
def test_unknown_control_objects_are_ignored(transport):
    subscription = Run(transport, connection(transport, BEGIN, {"type": "ping"}, {"type": "new"}, message("e-1")))
    assert subscription.items(1) == ["e-1"]


def test_temporary_refusal_is_raised_after_the_outage():
    subscription = Run("sse", *[refused(503, "stopping")] * 20)
    with pytest.raises(TemporarilyRefused):
        subscription.items()


@TRANSPORTS
@pytest.mark.parametrize("preceding", [[], [BEGIN]], ids=["before the start cursor", "after it"])
def test_orderly_end_that_is_repeated_is_raised_after_the_outage(transport, preceding):
    closed = ENDED if transport == "sse" else Closed(1011, "because")
    ended = [connection(transport, closed) for _ in range(20)]
    subscription = Run(transport, connection(transport, *preceding, closed), *ended, outage_seconds=10)
    with pytest.raises(ConnectionFailed, match=r"the stream has ended|closed with 1011 because"):
        subscription.items()
    assert subscription.subscriber.state is State.FINISHED


@TRANSPORTS
def test_parameters_of_the_request(transport):
    subscription = Run(
        transport,
        connection(transport, BEGIN),
        topics="a/b,c/*,ü",
        since=1.5,
        slow="drop",
        presence="self",
        responder=True,
    )
    run(subscription.subscriber.open())
    path = {"sse": "/sse/", "websocket": "/ws/"}[transport]
    last = {"sse": "format=json", "websocket": "begin=1"}[transport]
    assert subscription.network.requests[0].target == (
        f"{path}a/b,c/*,%C3%BC?since=1.5&slow=drop&presence=self&responder=1&{last}"
    )


@pytest.mark.parametrize("keywords", [{"transport": "carrier"}, {"idle_timeout": 0}])
def test_invalid_options_are_refused(keywords):
    with pytest.raises(ValueError, match="must be"):
        subscription_options("a", **keywords)
    with pytest.raises(ValueError, match="topics must not be empty"):
        subscription_options("a,,b")
