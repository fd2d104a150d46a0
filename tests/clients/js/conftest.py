"""A daemon for the tests of the browser client."""

from collections.abc import Iterator

import pytest

from tests.browser.daemon import Daemon

CONFIG = '[http]\nallow_origins = ["*"]\n'


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon whose clients may be pages of any origin."""
    daemon = Daemon(tmp_path_factory.mktemp("daemon"), CONFIG).start()
    yield daemon
    daemon.stop()
