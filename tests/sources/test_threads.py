"""Blocking calls run in daemon threads."""

import threading

import pytest
from twisted.internet.defer import CancelledError

from pushd.sources.threads import run_in_thread
from tests.sources.source_harness import until


async def test_result_arrives_in_the_reactor_thread():
    from twisted.internet import reactor

    here = threading.get_ident()
    assert await run_in_thread(reactor, threading.get_ident) != here
    assert threading.get_ident() == here


async def test_error_is_raised():
    from twisted.internet import reactor

    def fail() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await run_in_thread(reactor, fail)


async def test_hanging_call_can_be_cancelled_and_is_a_daemon_thread():
    from twisted.internet import reactor

    release = threading.Event()
    hanging = run_in_thread(reactor, release.wait)
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "pushd-source-call")
    try:
        assert thread.daemon
        hanging.cancel()
        with pytest.raises(CancelledError):
            await hanging
    finally:
        release.set()
    await until(lambda: not thread.is_alive(), "the end of the thread")
