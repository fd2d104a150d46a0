"""The first lines of the log: what has started, and a command to try."""

import os
from collections.abc import Iterator, Sequence

from pushd import __version__
from pushd.config.table import Config
from pushd.service.listener import ListenerService


def greeting(config: Config, listeners: Sequence[ListenerService]) -> Iterator[str]:
    """Return sentences for the log after the start; those with commands only where they work without a token."""
    yield f"pushd {__version__} has started: pid {os.getpid()}, history {_history(config)}"
    base = next(filter(None, (listener.url for listener in listeners)), None)
    if base is None or config.auth.is_enabled:
        return
    yield f"Subscribe: curl -N {base}/sse/demo"
    yield f"Publish: curl -d hello {base}/pub/demo"
    yield f"Demos: {base}/demo/"
    if config.http.console and not config.http.admin_listen:
        yield f"Console: {base}/console/"


def _history(config: Config) -> str:
    if config.backend.data_dir:
        return f"in {config.backend.data_dir}"
    return "in Redis" if config.backend.url else "in memory"
