"""A daemon for the worst inputs, and a garbage collector that looks at new objects only, as in the real one."""

import gc
from collections.abc import Iterator

import pytest

from pushd.tap import GARBAGE
from tests.daemon_fixtures import start_daemon as start_daemon


@pytest.fixture(autouse=True)
def spared_garbage() -> Iterator[None]:
    """Let the garbage collector work as the daemon has it, and not look at what the tests before left."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE)
    yield
    gc.set_threshold(*before)
    gc.unfreeze()
