"""Asks the application: equal questions once, a bounded number at a time, and none for a while after failures."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, islice
from typing import Final, NamedTuple, Protocol

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.auth.answer_cache import AnswerCache
from pushd.auth.callback_question import Answer, CallbackAction, InvalidAnswer, Question, parse_answer
from pushd.core.errors import CallbackUnavailable
from pushd.net.circuit_breaker import FAILURES, PAUSE_SECONDS, CircuitBreaker
from pushd.net.outgoing_requests import OutgoingRequest, RequestFailed
from pushd.wire.webhook_signature import new_message_id, signature_headers

MAX_REQUESTS: Final = 32
"""The most requests under way."""
MAX_WAITING: Final = 1000
"""The most questions that wait for one of them to end."""
MAX_BYTES: Final = 16 << 20
"""The most bytes of all questions under way and waiting."""
_RELEASED: Final = 20
"""Waiting peers that continue in one reactor turn: about 2 ms."""
_LOG_SECONDS: Final = 60
"""The least time between two log lines about the same failure."""
_REFUSAL: Final = "the application cannot be asked at present whether this is allowed"


@dataclass(frozen=True, slots=True)
class CallbackEndpoint:
    """Where and how the application is asked."""

    url: str
    keys: tuple[bytes, ...]
    """The secrets that sign requests."""
    actions: frozenset[CallbackAction]
    timeout: float
    """Seconds in which a response must arrive. A question waits no longer than that for its turn."""
    forward_headers: tuple[str, ...] = ()


class CallbackObserver(Protocol):
    """Counts what happens, for the metrics."""

    callback_questions: Counter[str]
    """Questions by how they were answered: ``request``, ``coalesced``, ``cache`` or ``unavailable``."""

    def observe_callback(self, outcome: str, seconds: float) -> None:
        """Count a request by its outcome: ``allowed``, ``denied``, or the kind of the failure."""


class CallbackTools(NamedTuple):
    """What a client uses of its surroundings."""

    send: Callable[[OutgoingRequest], Awaitable[bytes]]
    """Sends a request; returns the body of the response, or raises `RequestFailed`."""
    clock: IReactorTime
    unix_time: Callable[[], float]
    observer: CallbackObserver


class CallbackClient:
    """Asks the application at one endpoint."""

    log = Logger()

    def __init__(self, endpoint: CallbackEndpoint, tools: CallbackTools) -> None:
        self.endpoint = endpoint
        self.failure = ""
        """Why the last request failed, for the health of the daemon; empty if it succeeded."""
        self._tools = tools
        self._cache = AnswerCache()
        self._breaker = CircuitBreaker()
        self._turns = DeferredSemaphore(MAX_REQUESTS)
        self._waiters: dict[bytes, list[Deferred[Answer]]] = {}
        """Who waits for the answer to a question, by its digest."""
        self._running: set[Deferred[None]] = set()
        self._bytes = 0
        """Bytes of the questions under way and waiting."""
        self._version = 0
        """Changes when answers are forgotten."""
        self._is_stopped = False
        self._logged_failure = ""
        self._log_again_at = 0.0

    def stop(self) -> None:
        """Cancel all requests; who waits is refused as unavailable."""
        self._is_stopped = True
        for running in list(self._running):
            running.cancel()

    def forget(self, subjects: Set[str]) -> None:
        """Forget the cached answers about some subjects. What is being asked now is not cached."""
        self._version += 1
        self._cache.forget(subjects)

    async def ask(self, question: Question) -> Answer:
        """Return the answer to a question: a cached one, that of the same question under way, or a new one.

        :raises CallbackUnavailable: when there is none in time.
        """
        body = question.encode()
        digest = sha256(body).digest()
        answer = self._cache.get(digest, self._tools.clock.seconds())
        if answer is not None:
            self._tools.observer.callback_questions["cache"] += 1
            return answer
        waiter: Deferred[Answer] = Deferred()
        if (waiters := self._waiters.get(digest)) is not None:
            self._tools.observer.callback_questions["coalesced"] += 1
            waiters.append(waiter)
        else:
            self._waiters[digest] = [waiter]
            self._start(digest, body, question.sub)
        return await waiter

    def _start(self, digest: bytes, body: bytes, subject: str | None) -> None:
        """Start to ask; all who wait for the answer get it."""
        start: Deferred[None] = Deferred()
        version = self._version
        self._running.add(start)
        self._bytes += len(body)
        asking = start.addCallback(lambda _: Deferred.fromCoroutine(self._ask(body, subject)))
        asking.addCallbacks(
            lambda answer: self._answer(digest, answer, subject, version), lambda failure: self._refuse(digest, failure)
        ).addBoth(lambda _: self._ended(start, len(body)))
        start.callback(None)

    def _ended(self, start: Deferred[None], size: int) -> None:
        self._running.discard(start)
        self._bytes -= size

    def _answer(self, digest: bytes, answer: Answer, subject: str | None, version: int) -> None:
        self._tools.observer.callback_questions["request"] += 1
        if version == self._version:
            self._cache.put(digest, answer, self._tools.clock.seconds(), subject)
        self._release(iter(self._waiters.pop(digest)), lambda waiter: waiter.callback(answer))

    def _refuse(self, digest: bytes, failure: Failure) -> None:
        refusal = failure.value
        if not isinstance(refusal, CallbackUnavailable):
            if not failure.check(CancelledError):
                self.log.failure("Callback to the application failed by an internal error", failure)
            refusal = CallbackUnavailable(_REFUSAL)
        self._tools.observer.callback_questions["unavailable"] += 1
        self._release(iter(self._waiters.pop(digest)), lambda waiter: waiter.errback(refusal.without_traceback()))

    def _release(self, waiters: Iterator[Deferred[Answer]], fire: Callable[[Deferred[Answer]], None]) -> None:
        """Continue what waits for an answer, some in each reactor turn: there may be thousands."""
        for waiter in islice(waiters, _RELEASED):
            fire(waiter)
        if (following := next(waiters, None)) is not None:
            self._tools.clock.callLater(0, self._release, chain((following,), waiters), fire)

    async def _ask(self, body: bytes, subject: str | None) -> Answer:
        """Ask as soon as it is the turn of this question.

        :raises CallbackUnavailable: when that is not possible, or the request fails.
        """
        await self._wait_for_turn()
        try:
            if not self._breaker.admit(self._now):
                raise CallbackUnavailable(_REFUSAL, self._breaker.retry_after(self._now))
            return await self._request(body, subject)
        finally:
            self._end_turn()

    async def _wait_for_turn(self) -> None:
        is_full = not self._turns.tokens and len(self._turns.waiting) >= MAX_WAITING
        if is_full or self._bytes > MAX_BYTES:
            raise CallbackUnavailable(_REFUSAL)
        acquired = self._turns.acquire()
        if not acquired.called:
            acquired.addTimeout(self.endpoint.timeout, self._tools.clock)
        try:
            await acquired
        except Exception:  # it has timed out, or the client was stopped
            raise CallbackUnavailable(_REFUSAL) from None

    def _end_turn(self) -> None:
        """Let the next question have its turn, in the next reactor turn: it may be refused at once, and so may a
        thousand more.
        """
        if self._turns.waiting:
            self._tools.clock.callLater(0, self._turns.release)
        else:
            self._turns.release()

    async def _request(self, body: bytes, subject: str | None) -> Answer:
        """Send the request; its result, whatever it is, is reported to the breaker."""
        since = self._now
        try:
            answer = parse_answer(await self._tools.send(self._signed(body)), subject)
        except (RequestFailed, InvalidAnswer) as error:
            self._observe(error.kind if isinstance(error, RequestFailed) else "invalid", since)
            self._on_failure(str(error))
            raise CallbackUnavailable(_REFUSAL, self._breaker.retry_after(self._now)) from None
        except BaseException:
            self._breaker.failed(self._now)
            raise
        self._observe("allowed" if answer.is_allowed else "denied", since)
        self._on_success()
        return answer

    def _signed(self, body: bytes) -> OutgoingRequest:
        endpoint = self.endpoint
        signature = signature_headers(endpoint.keys, new_message_id(), int(self._tools.unix_time()), body)
        headers: Mapping[str, str] = {"Content-Type": "application/json", "Accept": "application/json", **signature}
        return OutgoingRequest("POST", endpoint.url, headers, body, endpoint.timeout)

    def _observe(self, outcome: str, since: float) -> None:
        self._tools.observer.observe_callback(outcome, self._now - since)

    def _on_success(self) -> None:
        if not self._breaker.is_closed:
            self.log.info("Callback: the application answers again")
        self._breaker.succeeded()
        self.failure = ""

    def _on_failure(self, reason: str) -> None:
        has_opened = self._breaker.failed(self._now)
        if self._is_stopped:
            return
        if has_opened:
            self.log.error(
                "Callback: {count} requests to the application failed in a row, the last one because {reason}; one "
                "is sent every {pause:.0f} s until it answers, and what it decides is refused as unavailable",
                count=FAILURES,
                reason=reason,
                pause=PAUSE_SECONDS,
            )
        elif self._breaker.is_closed and (reason != self._logged_failure or self._now >= self._log_again_at):
            self._logged_failure, self._log_again_at = reason, self._now + _LOG_SECONDS
            self.log.warn(
                "Callback: a request to the application failed: {reason}; what it decides is refused as unavailable",
                reason=reason,
            )
        self.failure = reason

    @property
    def _now(self) -> float:
        return self._tools.clock.seconds()
