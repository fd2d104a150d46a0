"""`pytest -p tests.one_browser` runs all tests of tests/browser one after another, in one process of pytest-xdist.

Several browsers at once are more than two cores can do: each of them, and what runs beside them, becomes slow. The
process starts each browser once.
"""

from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

_DIRECTORY = "tests/browser"


class OneBrowserScheduling(LoadFileScheduling):
    """Gives the tests of a file to one process, and those with a browser to the same process."""

    def _split_scope(self, nodeid: str) -> str:
        """Return what the tests that have to run in one process have in common."""
        file: str = super()._split_scope(nodeid)
        return _DIRECTORY if file.startswith(f"{_DIRECTORY}/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneBrowserScheduling:
    """Return the scheduler of pytest-xdist. A hook of pytest-xdist."""
    return OneBrowserScheduling(config, log)
