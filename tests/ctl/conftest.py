"""A daemon, and `pushctl` to talk to it."""

from collections.abc import Iterator

import pytest

from tests.ctl.pushctl_process import Pushctl
from tests.doors.real import Daemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that nobody else uses."""
    daemon = Daemon(tmp_path_factory.mktemp("pushd"))
    yield daemon
    daemon.assert_well()
    daemon.stop()


@pytest.fixture
def pushctl(daemon: Daemon) -> Pushctl:
    """The program."""
    return Pushctl(daemon)
