"""Retries of calls: when, how often, with which key and token."""

import json

import pytest
from pushd_client import (
    AuthenticationFailed,
    ConnectionFailed,
    NoReply,
    NoResponders,
    NotPermitted,
    Publication,
    Refused,
    TemporarilyRefused,
)
from pushd_client.core import calls
from pushd_client.core.interface import HttpResponse
from pushd_client.sync import run

from tests.clients.python.core.scripted import ScriptedNetwork, caller, refused, response

RECEIPT = response(202, {"id": "e-1", "channel": "a", "subscribers": 0})
LOST, UNSENT = ConnectionFailed("lost"), ConnectionFailed("unreachable", is_sent=False)
KEPT = Publication("a", "x")
EPHEMERAL = Publication("a", "x", keep=False)


def test_publish_is_repeated_with_the_same_key_and_body():
    network = ScriptedNetwork(LOST, UNSENT, refused(503, "overloaded"), HttpResponse(502, {}, b"<html>"), RECEIPT)
    assert run(caller(network).perform(calls.publish(KEPT))).id == "e-1"
    assert len({request.headers["Idempotency-Key"] for request in network.requests}) == 1
    assert {(request.method, request.target, request.body) for request in network.requests} == {
        ("POST", "/base/pub/a", b"x")
    }
    assert network.sleeps == [1, 2, 4, 8]


def test_two_publishes_have_two_keys():
    network = ScriptedNetwork(RECEIPT, RECEIPT)
    for _ in range(2):
        run(caller(network).perform(calls.publish(KEPT)))
    assert len({request.headers["Idempotency-Key"] for request in network.requests}) == 2


@pytest.mark.parametrize("status", [429, 503, 507])
def test_retry_after_is_heeded(status):
    network = ScriptedNetwork(refused(status, "rate-limited", retry_after="7"), RECEIPT)
    run(caller(network).perform(calls.publish(KEPT)))
    assert network.sleeps == [8]


def test_retry_stops_before_the_key_is_forgotten():
    network = ScriptedNetwork(*[LOST] * 100)
    with pytest.raises(ConnectionFailed, match="lost"):
        run(caller(network, retry_seconds=100).perform(calls.publish(KEPT)))
    assert network.sleeps == [1, 2, 4, 8, 16, 30, 30]
    assert all(request.seconds <= 30 for request in network.requests)
    with pytest.raises(ValueError, match="between 0 and 100"):
        caller(network, retry_seconds=101)


@pytest.mark.parametrize("first", [True, False])
def test_failure_says_whether_any_attempt_may_have_been_received(first):
    unsent = [ConnectionFailed("unreachable", is_sent=False) for _ in range(100)]
    network = ScriptedNetwork(ConnectionFailed("lost", is_sent=first), *unsent)
    with pytest.raises(ConnectionFailed, match="unreachable") as caught:
        run(caller(network).perform(calls.publish(KEPT)))
    assert caught.value.is_sent is first


def test_last_attempt_ends_with_the_time_for_retries():
    network = ScriptedNetwork(*[LOST] * 4)
    with pytest.raises(ConnectionFailed):
        run(caller(network, retry_seconds=8).perform(calls.publish(KEPT)))
    assert [request.seconds for request in network.requests] == [30, 7, 5, 1]


@pytest.mark.parametrize(
    "error", [LOST, HttpResponse(502, {}, b""), refused(503, "stopping"), refused(500, "internal")]
)
@pytest.mark.parametrize(
    "call",
    [calls.publish(EPHEMERAL), calls.request(KEPT, 1), calls.batch([b"{}"], None), calls.delete("a")],
    ids=["ephemeral", "request", "batch", "delete"],
)
def test_what_may_have_been_done_is_not_repeated_without_a_key(call, error):
    network = ScriptedNetwork(error)
    with pytest.raises((ConnectionFailed, TemporarilyRefused)):
        run(caller(network).perform(call))


@pytest.mark.parametrize("error", [UNSENT, refused(429, "rate-limited"), refused(503, "overloaded")])
def test_what_was_not_done_is_repeated_without_a_key(error):
    network = ScriptedNetwork(error, RECEIPT)
    assert run(caller(network).perform(calls.publish(EPHEMERAL))).channel == "a"
    assert "Idempotency-Key" not in network.requests[0].headers
    assert network.requests[0].target == "/base/pub/a?keep=0"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refused(400, "bad-channel"), Refused),
        (refused(403, "forbidden"), NotPermitted),
        (refused(503, "no-responders"), NoResponders),
        (refused(504, "no-reply"), NoReply),
        (refused(503, "outcome-unknown"), TemporarilyRefused),
        (refused(401, "token-revoked"), AuthenticationFailed),
        (HttpResponse(301, {"location": "/"}, b""), Refused),
        (HttpResponse(200, {}, b"<html>"), Refused),
        (HttpResponse(200, {}, b"[]"), Refused),
    ],
)
def test_refusal_is_raised_at_once(answer, kind):
    network = ScriptedNetwork(answer)
    with pytest.raises(Refused) as raised:
        run(caller(network, "token").perform(calls.publish(KEPT)))
    assert type(raised.value) is kind


def test_refusal_has_code_sentence_status_and_time():
    network = ScriptedNetwork(refused(429, "rate-limited", retry_after="3"))
    with pytest.raises(TemporarilyRefused, match="rate-limited: because") as raised:
        run(caller(network, retry_seconds=0).perform(calls.publish(KEPT)))
    error = raised.value
    assert (error.code, error.message, error.status, error.retry_after) == ("rate-limited", "because", 429, 3)


def test_refused_token_is_renewed_once():
    issued = iter(["first", "second", "third"])
    network = ScriptedNetwork(refused(401, "token-expired"), RECEIPT, RECEIPT)
    client = caller(network, lambda: next(issued))
    run(client.perform(calls.publish(KEPT)))
    run(client.perform(calls.publish(KEPT)))
    sent = [request.headers["Authorization"] for request in network.requests]
    assert sent == ["Bearer first", "Bearer second", "Bearer second"]
    assert network.sleeps == []


def test_second_refusal_of_a_token_is_raised():
    issued = iter(["first", "second", "third"])
    network = ScriptedNetwork(refused(401, "token-expired"), refused(401, "token-invalid"))
    with pytest.raises(AuthenticationFailed, match="token-invalid"):
        run(caller(network, lambda: next(issued)).perform(calls.publish(KEPT)))


def test_refusal_is_raised_if_the_function_has_no_other_token():
    network = ScriptedNetwork(refused(401, "token-expired"))
    with pytest.raises(AuthenticationFailed, match="token-expired"):
        run(caller(network, lambda: "same").perform(calls.publish(KEPT)))


@pytest.mark.parametrize("token", ["", "a b", "a\r\nHost: x", "ü", 5])
def test_token_that_could_end_the_header_is_refused(token):
    with pytest.raises(ValueError, match="visible ASCII"):
        run(caller(ScriptedNetwork(), lambda: token).perform(calls.publish(KEPT)))


def batch_answer(*lines):
    """Return the answer to a batch: ids, or codes of refusals."""
    objects = (
        {"id": line, "channel": "a", "subscribers": 0} if "-1" in line else {"error": {"code": line, "message": "m"}}
        for line in lines
    )
    return HttpResponse(200, {}, b"".join(json.dumps(each).encode() + b"\n" for each in objects))


def test_lines_that_are_refused_for_a_while_are_repeated_alone():
    network = ScriptedNetwork(batch_answer("e-1", "overloaded", "bad-channel"), LOST, batch_answer("e-11"))
    outcomes = run(caller(network).publish_batch([Publication("a", n) for n in range(3)], "key"))
    assert [getattr(each, "id", None) or getattr(each, "code", None) for each in outcomes] == [
        "e-1",
        "e-11",
        "bad-channel",
    ]
    assert [request.headers["Idempotency-Key"] for request in network.requests] == ["key/0", "key/0/1", "key/0/1"]
    assert [(request.body or b"").count(b"\n") + 1 for request in network.requests] == [3, 1, 1]


def test_lines_that_are_refused_for_too_long_keep_their_refusal():
    network = ScriptedNetwork(*[batch_answer("overloaded")] * 20)
    (outcome,) = run(caller(network, retry_seconds=5).publish_batch([KEPT], None))
    assert isinstance(outcome, TemporarilyRefused)
    assert network.sleeps == [
        2,
    ]


def test_large_batch_is_sent_in_parts():
    def accept(request):
        return batch_answer(*["e-1"] * (request.body.count(b"\n") + 1))

    network = ScriptedNetwork(accept, accept, accept)
    messages = [*[Publication("a", 1)] * 5001, Publication("a", "x" * (5 << 20))]
    assert len(run(caller(network).publish_batch(messages, "k"))) == 5002
    assert [(request.body or b"").count(b"\n") + 1 for request in network.requests] == [5000, 1, 1]
    assert [request.headers["Idempotency-Key"] for request in network.requests] == ["k/0", "k/1", "k/2"]


def test_empty_batch_sends_nothing():
    assert run(caller(ScriptedNetwork()).publish_batch([], None)) == []


def test_key_is_refused_for_what_is_not_kept():
    client = caller(ScriptedNetwork())
    with pytest.raises(ValueError, match="key must be omitted"):
        run(client.publish_batch([KEPT, EPHEMERAL], "key"))
    with pytest.raises(ValueError, match="key must be omitted"):
        calls.publish(EPHEMERAL, "key")
