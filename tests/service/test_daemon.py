"""The daemon as a whole."""

import pytest

from tests.transports.daemon import RunningDaemon


@pytest.mark.parametrize("key", ["http.reuse_port", "tcp.reuse_port", None])
async def test_shared_port_without_a_shared_history_is_warned_of(key: str | None) -> None:
    daemon = await RunningDaemon({key: "true"} if key else {}).start()
    try:
        warnings = [line for line in daemon.log if line.startswith("reuse_port without Redis: ")]
        assert len(warnings) == (key is not None)
    finally:
        await daemon.stop()
