"""The checkpoint thread can be stopped at any moment."""

import sqlite3
from threading import Event

import pytest

from pushd.backends.sqlite import checkpoint_thread
from pushd.backends.sqlite.checkpoint_thread import CheckpointThread


def test_stop_while_a_request_is_cleared_ends_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    thread = CheckpointThread(sqlite3.connect(":memory:", check_same_thread=False), lambda: None, lambda reason: None)

    class Interrupted(Event):
        """An event that is cleared just after `finish` has set it."""

        def clear(self) -> None:
            thread._is_finishing.set()
            self.set()
            super().clear()

    monkeypatch.setattr(checkpoint_thread, "_INTERVAL_SECONDS", 0)
    monkeypatch.setattr(thread, "_is_requested", Interrupted())
    thread.start()
    thread.request()
    thread.join(30)
    assert not thread.is_alive()
