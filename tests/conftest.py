"""What holds for every test: it ends in time, and leaves nothing on the reactor and no failure in the log."""

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

_TEST_SECONDS = 60
_GRACE_TURNS = 50
_TURN_SECONDS = 0.01

# A shell without job control starts background jobs with SIGINT ignored; what a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no reason to fail: examples have no deadline of their own. And they are the same each time, so that
# a change is to blame for what fails; `--hypothesis-profile=others` tries others, and `make fuzz` many.
hypothesis.settings.register_profile("others", deadline=None)
hypothesis.settings.register_profile("pushd", deadline=None, derandomize=True)
hypothesis.settings.load_profile("pushd")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every coroutine a deadline: nothing else ends a test that waits on the reactor."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = _within(_TEST_SECONDS, item.obj)


def _within(seconds: float, test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Deferred[None]]:
    @functools.wraps(test)
    def bounded(*args: object, **kwargs: object) -> Deferred[None]:
        from twisted.internet import reactor

        return Deferred.fromCoroutine(test(*args, **kwargs)).addTimeout(seconds, reactor, _too_late)

    return bounded


def _too_late(result: object, seconds: float) -> None:
    """Say where the test was when its time was up."""
    cause = result.value if isinstance(result, Failure) else None
    raise TimeoutError(f"not done within {seconds} s") from cause


@pytest_twisted.async_yield_fixture(autouse=True)
async def tidy_reactor() -> AsyncIterator[None]:
    """Fail where a test leaves a call on the reactor; one that is due at once is waited for."""
    from twisted.internet import reactor

    before = set(reactor.getDelayedCalls())
    yield
    for _ in range(_GRACE_TURNS):
        left = set(reactor.getDelayedCalls()) - before
        if not left:
            return
        await deferLater(reactor, _TURN_SECONDS)
    for call in left:
        if call.active():
            call.cancel()
    pytest.fail(f"left on the reactor: {', '.join(map(str, left))}")


@pytest.fixture(autouse=True)
def logged_failures(request: pytest.FixtureRequest) -> Iterator[list[LogEvent]]:
    """Fail where something broke and only the log knows, unless the test takes `expected_failures`."""
    failures: list[LogEvent] = []

    def watch(event: LogEvent) -> None:
        if "log_failure" in event:
            failures.append(event)

    observer = cast(ILogObserver, watch)
    globalLogPublisher.addObserver(observer)
    yield failures
    globalLogPublisher.removeObserver(observer)
    if failures and "expected_failures" not in request.fixturenames:
        broken = (f"{formatEvent(event)}\n{event['log_failure'].getTraceback()}" for event in failures)
        pytest.fail("logged:\n" + "\n".join(broken))


@pytest.fixture
def expected_failures(logged_failures: list[LogEvent]) -> list[LogEvent]:
    """The log events of failures: a test that takes this says itself which are right."""
    return logged_failures
