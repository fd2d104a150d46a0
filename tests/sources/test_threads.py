"""Calls that may hang: in a thread of their own, for which nobody waits."""

import threading

import pytest
from twisted.internet.defer import CancelledError

from pushd.sources.threads import run_in_thread
from tests.sources.source_harness import until


async def test_a_result_comes_back_to_the_thread_of_the_reactor():
    from twisted.internet import reactor

    here = threading.get_ident()
    assert await run_in_thread(reactor, threading.get_ident) != here
    assert threading.get_ident() == here


async def test_an_error_comes_back():
    from twisted.internet import reactor

    def fail() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await run_in_thread(reactor, fail)


async def test_what_hangs_can_be_given_up_and_keeps_no_process_alive():
    from twisted.internet import reactor

    release = threading.Event()
    hanging = run_in_thread(reactor, release.wait)
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "pushd-aside")
    try:
        assert thread.daemon
        hanging.cancel()
        with pytest.raises(CancelledError):
            await hanging
    finally:
        release.set()
    await until(lambda: not thread.is_alive(), "the end of the thread")
