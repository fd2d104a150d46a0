"""A daemon for the most expensive inputs, with the garbage collector settings of the real one."""

import gc
from collections.abc import Iterator

import pytest

from pushd.tap import GARBAGE
from tests.daemon_fixtures import start_daemon as start_daemon
from tests.garbage import freeze


@pytest.fixture(autouse=True)
def spared_garbage() -> Iterator[None]:
    """Apply the garbage collector settings of the daemon, and exempt existing objects."""
    before = gc.get_threshold()
    freeze()
    gc.set_threshold(*GARBAGE)
    yield
    gc.set_threshold(*before)


@pytest.fixture(scope="module", autouse=True)
def collected_at_the_end() -> Iterator[None]:
    """Free the large backends of a module."""
    yield
    gc.unfreeze()
    freeze()
