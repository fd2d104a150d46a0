"""A daemon, and `pushctl` with its addresses."""

from collections.abc import Iterator

import pytest

from tests.ctl.pushctl_process import Pushctl
from tests.daemon.real import Daemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon for the tests of one module."""
    daemon = Daemon(tmp_path_factory.mktemp("pushd"))
    yield daemon
    daemon.assert_healthy()
    daemon.stop()


@pytest.fixture
def pushctl(daemon: Daemon) -> Pushctl:
    """A runner of `pushctl`."""
    return Pushctl(daemon)
