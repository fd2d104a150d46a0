"""The fixtures of this directory."""

from tests.daemon_fixtures import daemon, start_daemon

__all__ = ["daemon", "start_daemon"]
