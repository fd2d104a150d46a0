"""Asking the application: coalesced, cached, bounded, with a circuit breaker; with a clock and without sockets."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from pushd.auth.callback import Callback
from pushd.auth.callback_client import MAX_REQUESTS, MAX_WAITING, CallbackEndpoint, CallbackTools
from pushd.auth.callback_question import Answer, Question
from pushd.core.errors import CallbackUnavailable
from pushd.net.circuit_breaker import FAILURES, PAUSE_SECONDS
from pushd.net.outgoing_requests import OutgoingRequest, RequestFailed

ALLOWED = b'{"allow":true,"ttl":60}'
ENDPOINT = CallbackEndpoint("http://127.0.0.1:1/", (b"x" * 32,), frozenset({"connect", "publish"}), 1.0)


def question(number: int = 0, sub: str | None = None) -> Question:
    """Return a question; each number is another one."""
    return Question("publish", (f"a/{number}",), sub, b"", "127.0.0.1", None, "http")


class Asked:
    """A question that was asked, and its result."""

    def __init__(self, asking: Deferred[Answer]) -> None:
        self._results: list[Any] = []
        asking.addBoth(self._results.append)

    @property
    def called(self) -> bool:
        """Whether there is a result."""
        return bool(self._results)

    @property
    def answer(self) -> Answer:
        """The answer, which must be there."""
        [answer] = self._results
        assert isinstance(answer, Answer)
        return answer

    @property
    def retry_after(self) -> int:
        """The seconds after which to retry; the question must be refused."""
        [failure] = self._results
        refusal = failure.value
        assert isinstance(refusal, CallbackUnavailable)
        assert refusal.retry_after is not None
        return refusal.retry_after


class Scene:
    """A callback whose requests the test answers. It is the observer, too."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.requests: list[OutgoingRequest] = []
        self.pending: list[Deferred[bytes]] = []
        self.callback_questions: Counter[str] = Counter()
        self.outcomes: list[tuple[str, float]] = []
        self.log: list[str] = []
        untyped: Any = self.clock
        self.callback = Callback(CallbackTools(self.send, untyped, lambda: 1_800_000_000.9, self))
        self.callback.reconfigure(ENDPOINT)

    def observe_callback(self, outcome: str, seconds: float) -> None:
        """See `CallbackObserver`."""
        self.outcomes.append((outcome, seconds))

    def send(self, request: OutgoingRequest) -> Deferred[bytes]:
        """Keep a request; it times out."""
        pending: Deferred[bytes] = Deferred()
        self.requests.append(request)
        self.pending.append(pending)

        def fail(*_: object) -> bytes:
            raise RequestFailed("no complete response within 1 seconds", "timeout")

        return pending.addTimeout(request.timeout, self.clock, fail)

    def ask(self, number: int = 0, sub: str | None = None) -> Asked:
        """Ask a question."""
        return Asked(Deferred.fromCoroutine(self.callback.ask(question(number, sub))))

    def answer(self, body: bytes = ALLOWED) -> None:
        """Answer the oldest request."""
        self.pending.pop(0).callback(body)

    def fail(self, reason: str = "refused") -> None:
        """Fail the oldest request."""
        self.pending.pop(0).errback(RequestFailed(reason))

    def _watch(self, event: LogEvent) -> None:
        if event["log_namespace"].startswith("pushd.auth.callback"):
            self.log.append(f"{event['log_level'].name}: {formatEvent(event)}")


@pytest.fixture
def scene() -> Any:
    """A callback, whose log is kept."""
    scene = Scene()
    untyped: Any = scene._watch
    globalLogPublisher.addObserver(untyped)
    yield scene
    globalLogPublisher.removeObserver(untyped)


def test_a_request_is_signed_and_its_answer_is_cached(scene: Scene) -> None:
    asking = scene.ask(1)
    [request] = scene.requests
    assert (request.method, request.url, request.timeout) == ("POST", ENDPOINT.url, 1.0)
    assert request.body == question(1).encode()
    assert request.headers["webhook-timestamp"] == "1800000000"
    assert request.headers["webhook-id"].startswith("msg_")
    assert not asking.called
    scene.clock.advance(0.5)
    scene.answer()
    assert asking.answer.is_allowed
    scene.clock.advance(59)
    assert scene.ask(1).answer.is_allowed
    scene.clock.advance(1)
    assert not scene.ask(1).called
    assert len(scene.requests) == 2
    assert scene.outcomes == [("allowed", 0.5)]
    assert scene.callback_questions == {"request": 1, "cache": 1}


def test_another_question_is_another_request(scene: Scene) -> None:
    for number, sub in ((1, None), (2, None), (1, "alice"), (1, "bob")):
        scene.ask(number, sub)
    assert len(scene.requests) == 4


def test_equal_questions_under_way_share_a_request(scene: Scene) -> None:
    asking = [scene.ask() for _ in range(1000)]
    assert len(scene.requests) == 1
    scene.answer(b'{"allow":false,"ttl":0}')
    assert 0 < sum(each.called for each in asking) < 100, "all continued in one reactor turn"
    for _ in range(100):
        scene.clock.advance(0)
    assert not any(each.answer.is_allowed for each in asking)
    assert scene.outcomes == [("denied", 0.0)]
    assert scene.callback_questions == {"request": 1, "coalesced": 999}
    scene.ask()
    assert len(scene.requests) == 2


def test_requests_and_questions_that_wait_are_bounded(scene: Scene) -> None:
    asking = [scene.ask(number) for number in range(MAX_REQUESTS + MAX_WAITING)]
    assert len(scene.requests) == MAX_REQUESTS
    assert scene.ask(-1).retry_after == 1
    scene.answer()
    scene.clock.advance(0)
    assert asking[0].answer.is_allowed
    assert len(scene.requests) == MAX_REQUESTS + 1
    assert scene.requests[-1].body == question(MAX_REQUESTS).encode()


def test_the_bytes_of_questions_are_bounded(scene: Scene) -> None:
    def ask_large(number: int) -> Asked:
        large = question(number)._replace(topics=(f"a/{number}", "b" * (4 << 20)))
        return Asked(Deferred.fromCoroutine(scene.callback.ask(large)))

    asked = [ask_large(number) for number in range(5)]
    assert [each.called for each in asked] == [False, False, False, True, True]
    assert asked[4].retry_after == 1
    scene.answer()
    assert asked[0].answer.is_allowed
    assert not ask_large(5).called


def test_a_question_waits_no_longer_than_a_request_takes(scene: Scene) -> None:
    for number in range(MAX_REQUESTS):
        scene.ask(number)
    scene.clock.advance(0.9)
    waiting = scene.ask(-1)
    for _ in range(MAX_REQUESTS):
        scene.answer()
        scene.clock.advance(0)
        scene.ask(1000 + len(scene.requests))
    assert scene.requests[MAX_REQUESTS].body == question(-1).encode()
    late = scene.ask(-2)
    assert not waiting.called
    assert len(scene.requests) == 2 * MAX_REQUESTS
    for _ in range(MAX_REQUESTS - 1):  # the requests stay under way
        scene.clock.advance(0.03)
    assert not late.called
    scene.clock.advance(0.1)
    assert late.retry_after >= 1


def test_failures_open_the_circuit_and_one_probe_closes_it(scene: Scene) -> None:
    for number in range(FAILURES):
        asking = scene.ask(number)
        assert scene.callback.failure == ("refused" if number else "")
        scene.fail()
        assert asking.retry_after == (1 if number < FAILURES - 1 else PAUSE_SECONDS)
    assert scene.ask(9).retry_after == PAUSE_SECONDS
    assert len(scene.requests) == FAILURES
    scene.clock.advance(PAUSE_SECONDS)
    probe, other = scene.ask(10), scene.ask(11)
    assert len(scene.requests) == FAILURES + 1
    assert other.retry_after == 1
    scene.fail()
    assert probe.retry_after == PAUSE_SECONDS
    scene.clock.advance(PAUSE_SECONDS)
    probe = scene.ask(12)
    scene.answer()
    assert probe.answer.is_allowed
    assert scene.callback.failure == ""
    asked = scene.ask(13)
    scene.answer()
    assert asked.answer.is_allowed
    assert [line.partition(";")[0] for line in scene.log] == [
        "warn: Callback: a request to the application failed: refused",
        f"error: Callback: {FAILURES} requests to the application failed in a row, the last one because refused",
        "info: Callback: the application answers again",
    ]


def test_requests_that_hang_together_do_not_keep_others_waiting(scene: Scene) -> None:
    asking = [scene.ask(number) for number in range(200)]
    scene.clock.advance(1.0)
    for _ in range(50):
        scene.clock.advance(0)
    assert all(each.retry_after >= 1 for each in asking)
    assert len(scene.requests) <= MAX_REQUESTS + FAILURES
    assert scene.ask(-1).retry_after >= 1


def test_cached_answers_are_used_while_the_application_fails(scene: Scene) -> None:
    asked = scene.ask(1)
    scene.answer()
    assert asked.answer.is_allowed
    for number in range(2, 2 + FAILURES):
        asking = scene.ask(number)
        scene.fail()
        assert asking.retry_after
    assert scene.ask(1).answer.is_allowed


@pytest.mark.parametrize("body", [b"<html>", b'{"allow":true,"grant":{"x":1}}', b'{"allow":"no"}'])
def test_an_invalid_answer_is_a_failure(scene: Scene, body: bytes) -> None:
    asking = scene.ask()
    scene.answer(body)
    assert asking.retry_after == 1
    assert scene.callback.failure.startswith("the answer is not of the expected form: ")
    assert scene.outcomes == [("invalid", 0.0)]


def test_the_same_failure_is_logged_once_a_minute(scene: Scene) -> None:
    for number in range(20):
        asking = scene.ask(number)
        scene.fail("refused")
        assert asking.retry_after
        asked = scene.ask(100 + number)
        scene.answer()
        assert asked.answer
        scene.clock.advance(6)
    assert 2 <= len(scene.log) <= 3


def test_a_reload_asks_the_new_endpoint_and_forgets_the_answers_of_the_old_one(scene: Scene) -> None:
    cached, asking = scene.ask(1), scene.ask(2)
    scene.answer()
    assert cached.answer
    new = CallbackEndpoint("http://127.0.0.1:2/", ENDPOINT.keys, frozenset({"publish"}), 1.0, ("Cookie",))
    scene.callback.reconfigure(new)
    assert [request.url for request in scene.requests] == [ENDPOINT.url, ENDPOINT.url, new.url]
    assert scene.requests[-1].body == question(2).encode()
    scene.pending.pop(0)
    scene.answer(b'{"allow":false}')
    assert not asking.answer.is_allowed
    again = scene.ask(1)
    assert scene.requests[-1].url == new.url
    scene.answer(b'{"allow":false}')
    assert not again.answer.is_allowed
    assert (scene.callback.asks_connect, scene.callback.asks_publish) == (False, True)
    assert scene.callback.forward_headers == ("Cookie",)
    assert not scene.log


def test_a_reload_without_a_change_keeps_the_answers(scene: Scene) -> None:
    asked = scene.ask(1)
    scene.answer()
    assert asked.answer
    scene.callback.reconfigure(replace(ENDPOINT))
    assert scene.ask(1).called


def test_a_reload_that_removes_the_callback_decides_nothing(scene: Scene) -> None:
    asking = scene.ask(1)
    scene.callback.reconfigure(None)
    assert asking.answer == Answer(True)
    assert not (scene.callback.asks_connect or scene.callback.asks_publish)
    assert scene.callback.forward_headers is None
    assert scene.callback.failure == ""


def test_a_stop_refuses_all_questions(scene: Scene) -> None:
    asking = [scene.ask(number) for number in range(MAX_REQUESTS + 5)]
    scene.callback.startService()
    scene.callback.stopService()
    scene.clock.advance(0)
    assert [each.retry_after for each in asking]
    assert not scene.log
    assert not scene.clock.getDelayedCalls()


def test_answers_about_revoked_subjects_are_forgotten_also_those_under_way(scene: Scene) -> None:
    for sub in ("alice", "bob"):
        scene.ask(sub=sub)
        scene.answer()
    scene.ask(1, sub="alice")
    scene.callback.forget({"alice"})
    scene.answer()
    del scene.requests[:]
    assert scene.ask(sub="bob").called
    assert not (scene.ask(sub="alice").called or scene.ask(1, sub="alice").called)
    assert len(scene.requests) == 2
