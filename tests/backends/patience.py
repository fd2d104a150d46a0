"""Timeouts of nodes that share a Redis, for tests that are not about them."""

from typing import Final

import pytest

from pushd.backends.redis import audiences, kicks, requests, usage

_SECONDS: Final = 10.0


def wait_for_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make nodes wait for Redis and for each other for longer than a busy machine may stop a process."""
    for module in (audiences, kicks, usage):
        monkeypatch.setattr(module, "_TIMEOUT_SECONDS", _SECONDS)
    monkeypatch.setattr(requests, "_SEEK_SECONDS", _SECONDS)
