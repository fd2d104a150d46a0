"""`python -m tests.soak.expiring_tokens --minutes 60`: pages whose tokens live for a minute receive every message once.

The example with FastAPI runs with nginx and headless Chromium. The page of Alice renews its tokens in time; that of Bob
cannot renew them for part of the run, so that its connections end with its token, and it has to come back and resume.
"""

import json
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, Page, Request, Route

from tests.browser.conftest import running_chromium
from tests.browser.notifications import Site, User, log_in

TOKEN_SECONDS = 60
TRANSPORTS = ("events", "socket")
_PAUSE_MS = 1000
"""Between two messages."""
_CYCLE_SECONDS = 300
"""How often the second page cannot renew its tokens."""
_BLOCKED_SECONDS = 120
"""For how long: longer than a token and the grace after it."""
_SETTLE_MS = 15_000
"""The time in which the last messages arrive: a page waits for up to 3 seconds before it connects again."""
_MOST_SETTLES = 4
"""How many of those times a busy machine may need."""
_REPORT_EVERY = 60


class Faults(NamedTuple):
    """The numbers that are wrong in what a page shows."""

    lost: int
    duplicate: int
    reordered: int


def compare(shown: Sequence[int], published: int) -> Faults:
    """Compare the numbers that a page shows with those from 0 up to, but not including, `published`."""
    lost = len(set(range(published)) - set(shown))
    reordered = sum(later < earlier for earlier, later in pairwise(shown))
    return Faults(lost, len(shown) - len(set(shown)), reordered)


class Visitor:
    """A user with a page, and what its page requests."""

    def __init__(self, chromium: Browser, site: Site, name: str, password: str) -> None:
        self.name = name
        self.renewals = 0
        """How often the page has requested a new token."""
        self.connects = 0
        """How often the page has opened a stream or a WebSocket."""
        self.user: User = log_in(chromium, site, name, password, self._watch)

    @property
    def page(self) -> Page:
        """The page."""
        return self.user.page

    def shown(self, transport: str) -> list[int]:
        """Return the numbers on the page that have come over a transport."""
        return [int(text.rpartition(" ")[2]) for text in self.user.shown(transport)]

    @contextmanager
    def without_renewal(self) -> Iterator[None]:
        """Make every request for a new token fail."""
        self.page.route("**/token", _abort)
        yield
        self.page.unroute("**/token", _abort)

    def _watch(self, page: Page) -> None:
        page.on("request", self._count)
        page.on("websocket", lambda websocket: self._count_connect())

    def _count(self, request: Request) -> None:
        self.renewals += request.url.endswith("/token")
        if "/push/sse/" in request.url:
            self._count_connect()

    def _count_connect(self) -> None:
        self.connects += 1


def _abort(route: Route) -> None:
    route.abort()


class Run:
    """One run.

    :param seconds: how long messages are published.
    """

    def __init__(self, chromium: Browser, site: Site, seconds: float) -> None:
        self._site = site
        self._seconds = seconds
        self._begin = time.monotonic()
        self.published = 0
        self.visitors = tuple(
            Visitor(chromium, site, name, password) for name, password in (("alice", "wonderland"), ("bob", "builder"))
        )

    def run(self) -> int:
        """Publish, compare, print the result; return the number of faults."""
        bob = self.visitors[1]
        while self._elapsed < self._seconds:
            self._publish_for(_CYCLE_SECONDS - _BLOCKED_SECONDS)
            with bob.without_renewal():
                self._publish_for(_BLOCKED_SECONDS)
        for _ in range(_MOST_SETTLES):
            bob.page.wait_for_timeout(_SETTLE_MS)
            if all(
                compare(each.shown(name), self.published).lost == 0 for each in self.visitors for name in TRANSPORTS
            ):
                break
        self._site.daemon.assert_healthy()
        return self.report()

    def report(self) -> int:
        """Print what each page has received; return the number of faults."""
        total = 0
        for visitor in self.visitors:
            for transport in TRANSPORTS:
                shown = visitor.shown(transport)
                faults = compare(shown, self.published)
                total += sum(faults)
                print(f"{visitor.name} {transport}: {len(shown)} of {self.published} messages, {faults}", flush=True)
            print(f"{visitor.name}: {visitor.renewals} requests for tokens, {visitor.connects} connects", flush=True)
        return total

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._begin

    def _publish_for(self, seconds: float) -> None:
        end = min(self._elapsed + seconds, self._seconds)
        while self._elapsed < end:
            self._publish()
            if self.published % _REPORT_EVERY == 0:
                print(f"{self._elapsed:.0f} s: {self.published} messages published", flush=True)
            self.visitors[0].page.wait_for_timeout(_PAUSE_MS)

    def _publish(self) -> None:
        headers = {"Authorization": f"Bearer {self._site.server_token}", "Content-Type": "application/json"}
        for visitor in self.visitors:
            body = json.dumps({"from": "soak", "text": str(self.published)}).encode()
            response = self._site.request("POST", f"/pub/users/{visitor.name}/notifications", headers, body)
            assert response.status in (201, 202), response
        self.published += 1


def run(minutes: float) -> int:
    """Run the example for some minutes; return the number of faults."""
    with (
        tempfile.TemporaryDirectory() as directory,
        Site(Path(directory), TOKEN_SECONDS) as site,
        running_chromium() as chromium,
    ):
        return Run(chromium, site, 60 * minutes).run()


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    sys.exit(1 if run(parser.parse_args().minutes) else 0)
