"""A daemon for the most expensive inputs, with the garbage collector settings of the real one."""

import gc
from collections.abc import Iterator

import pytest

from pushd.tap import GARBAGE
from tests.daemon_fixtures import start_daemon as start_daemon


@pytest.fixture(autouse=True)
def spared_garbage() -> Iterator[None]:
    """Apply the garbage collector settings of the daemon, and exempt existing objects."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE)
    yield
    gc.set_threshold(*before)
    gc.unfreeze()
