"""Checks for every test: a deadline, no leftover reactor calls, no logged failures."""

import functools
import inspect
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, cast

import hypothesis
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from tests.garbage import freeze

_TEST_SECONDS = 180
_GRACE_TURNS = 200
_TURN_SECONDS = 0.01

# A shell without job control starts background jobs with SIGINT ignored, which child processes would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Examples have no deadline, since the machine may be busy. They are the same each time, so that a failure is caused by
# a change; `--hypothesis-profile=others` draws others, and `make fuzz` many.
hypothesis.settings.register_profile("others", deadline=None)
hypothesis.settings.register_profile("pushd", deadline=None, derandomize=True)
hypothesis.settings.load_profile("pushd")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Add a deadline to every coroutine test: nothing else ends a test that waits on the reactor."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = _with_deadline(_TEST_SECONDS, item.obj)


def pytest_collection_finish() -> None:
    """Exempt all tests and modules from collections of garbage, of which they would be most of the work."""
    freeze()


def _with_deadline(seconds: float, test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Deferred[None]]:
    @functools.wraps(test)
    def bounded(*args: object, **kwargs: object) -> Deferred[None]:
        from twisted.internet import reactor

        return Deferred.fromCoroutine(test(*args, **kwargs)).addTimeout(seconds, reactor, _raise_timeout)

    return bounded


def _raise_timeout(result: object, seconds: float) -> None:
    """Raise a `TimeoutError` that shows where the test waited."""
    cause = result.value if isinstance(result, Failure) else None
    raise TimeoutError(f"timeout after {seconds} s") from cause


@pytest_twisted.async_yield_fixture(autouse=True)
async def no_leftover_calls() -> AsyncIterator[None]:
    """Fail a test that leaves delayed calls on the reactor, after waiting for those that are due."""
    from twisted.internet import reactor

    before = set(reactor.getDelayedCalls())
    yield
    for _ in range(_GRACE_TURNS):
        leftover = set(reactor.getDelayedCalls()) - before
        if not leftover:
            return
        await deferLater(reactor, _TURN_SECONDS)
    for call in leftover:
        if call.active():
            call.cancel()
    pytest.fail(f"leftover on the reactor: {', '.join(map(str, leftover))}")


@pytest.fixture(autouse=True)
def logged_failures(request: pytest.FixtureRequest) -> Iterator[list[LogEvent]]:
    """Fail a test during which a failure was logged, unless it uses `expected_failures`."""
    failures: list[LogEvent] = []

    def record_failure(event: LogEvent) -> None:
        if "log_failure" in event:
            failures.append(event)

    observer = cast(ILogObserver, record_failure)
    globalLogPublisher.addObserver(observer)
    yield failures
    globalLogPublisher.removeObserver(observer)
    if failures and "expected_failures" not in request.fixturenames:
        texts = (f"{formatEvent(event)}\n{event['log_failure'].getTraceback()}" for event in failures)
        pytest.fail("logged:\n" + "\n".join(texts))


@pytest.fixture
def expected_failures(logged_failures: list[LogEvent]) -> list[LogEvent]:
    """The log events of failures, for tests that check them."""
    return logged_failures
