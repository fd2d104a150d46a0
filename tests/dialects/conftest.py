"""The fixtures of this directory."""

from tests.backends.conftest import one_redis
from tests.daemon_fixtures import daemon, start_daemon

__all__ = ["daemon", "one_redis", "start_daemon"]
