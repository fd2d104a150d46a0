"""The thread for checkpoints ends whenever it is asked to."""

import sqlite3
from threading import Event

import pytest

from pushd.backends.sqlite import checkpoint_thread
from pushd.backends.sqlite.checkpoint_thread import CheckpointThread


def test_a_stop_just_before_the_wish_is_cleared_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    thread = CheckpointThread(sqlite3.connect(":memory:", check_same_thread=False), lambda: None, lambda why: None)

    class Interrupted(Event):
        """An event that is cleared just after the thread was asked to stop."""

        def clear(self) -> None:
            thread._is_finishing.set()
            self.set()
            super().clear()

    monkeypatch.setattr(checkpoint_thread, "_INTERVAL_SECONDS", 0)
    monkeypatch.setattr(thread, "_is_requested", Interrupted())
    thread.start()
    thread.request()
    thread.join(5)
    assert not thread.is_alive()
