"""What an open console costs the daemon: `python -m tests.browser.console_cost`, about three minutes.

The daemon has 100,000 channels and 10,000 subscribers. Each view is open for half a minute in Chromium. It fails if one
costs more than 2 % of a core.
"""

import json
import resource
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, expect

from tests.browser.conftest import running_chromium
from tests.browser.daemon import Daemon

_CHANNELS: Final = 99_990
"""The rest of 100,000 is for others."""
_BATCH: Final = 5000
_CONNECTIONS: Final = 10_000
_SECONDS: Final = 30.0
_MOST: Final = 2.0
"""Percent of a core."""
_VIEWS: Final = ("", "channels", "connections", "channel/c%2F000001")


def main() -> int:
    """Measure all views; return the status of the process."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder)).start()
        try:
            _publish(daemon)
            sockets = [_subscribe(daemon, number) for number in range(_CONNECTIONS)]
            idle = _percent(daemon)
            print(f"without a console: {idle:.2f} % of a core")
            with running_chromium() as chromium:
                page = chromium.new_page()
                costs = [_cost(daemon, page, view) for view in _VIEWS]
            for each in sockets:
                each.close()
        finally:
            daemon.stop()
    return int(max(costs) - idle > _MOST)


def _publish(daemon: Daemon) -> None:
    for start in range(0, _CHANNELS, _BATCH):
        names = (f"c/{number:06}" for number in range(start, min(start + _BATCH, _CHANNELS)))
        lines = "\n".join(json.dumps({"channel": name, "data": "x"}) for name in names)
        daemon.request("POST", "/pub", lines.encode(), {"Content-Type": "application/x-ndjson"})


def _subscribe(daemon: Daemon, number: int) -> socket.socket:
    """Open a stream: half of them have one channel, the others all of them."""
    stream = socket.create_connection(("127.0.0.1", daemon.port))
    topic = f"c/{number:06}" if number % 2 else "c/*"
    stream.sendall(f"GET /stream/{topic} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert stream.recv(1)
    return stream


def _cost(daemon: Daemon, page: Page, view: str) -> float:
    page.goto("about:blank")
    page.goto(f"{daemon.url}/console/#/{view}")
    expect(page.locator("h1")).to_be_visible()
    percent = _percent(daemon, page)
    print(f"{view or 'overview'}: {percent:.2f} % of a core", flush=True)
    return percent


def _percent(daemon: Daemon, page: Page | None = None) -> float:
    """Return the CPU time of the daemon, in percent of a core, while a page is open or nothing happens."""
    before, begin = daemon.metric("process_cpu_seconds_total"), time.monotonic()
    if page is None:
        time.sleep(_SECONDS)
    else:
        page.wait_for_timeout(1000 * _SECONDS)
    return 100 * (daemon.metric("process_cpu_seconds_total") - before) / (time.monotonic() - begin)


if __name__ == "__main__":
    sys.exit(main())
