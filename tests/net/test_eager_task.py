"""Eager tasks run synchronously up to their first wait."""

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pushd.net.eager_task import run_eagerly


@pytest.fixture
def broken():
    return []


async def add(waits, done):
    for wait in waits:
        done.append(await wait)
    done.append("end")


def test_coroutine_that_never_waits_runs_synchronously(broken):
    done: list[object] = []
    run_eagerly(add([], done), broken.append)
    assert (done, broken) == (["end"], [])


def test_coroutine_continues_with_each_awaited_result(broken):
    first, second, done = Deferred[object](), Deferred[object](), list[object]()
    run_eagerly(add([first, second], done), broken.append)
    assert done == []
    first.callback(1)
    assert done == [1]
    second.callback(2)
    assert (done, broken) == ([1, 2, "end"], [])


@pytest.mark.parametrize("waits", [0, 1, 2])
def test_exception_is_reported(broken, waits):
    waiting = [Deferred[None]() for _ in range(waits)]

    async def work():
        await add(waiting, [])
        raise LookupError("here")

    run_eagerly(work(), broken.append)
    for each in waiting:
        each.callback(None)
    assert [failure.check(LookupError) for failure in broken] == [LookupError]


@pytest.mark.parametrize("before", [0, 1])
def test_awaited_failure_is_raised_at_the_await(broken, before):
    waiting, caught = [Deferred[None]() for _ in range(before + 1)], list[str]()

    async def work():
        for each in waiting:
            try:
                await each
            except LookupError as error:
                caught.append(str(error))

    run_eagerly(work(), broken.append)
    for each in waiting[:-1]:
        each.callback(None)
    waiting[-1].errback(Failure(LookupError("lost")))
    assert (caught, broken) == (["lost"], [])
