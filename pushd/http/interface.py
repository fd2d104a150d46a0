"""What an HTTP connection requires of its site."""

from collections.abc import Iterable
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource

from pushd.core.errors import Refusal
from pushd.http.limits import HttpLimits
from pushd.http.request import Request
from pushd.metrics import Counters
from pushd.net.admission import Slot
from pushd.net.keepalive import Deadlines
from pushd.net.turn_slices import Slices


class HttpSite(Protocol):
    """The site of a connection; see `PushSite`."""

    root: IResource
    """The tree of resources, each a `RequestResource`."""
    limits: HttpLimits
    counters: Counters
    clock: IReactorTime
    slices: Slices
    on_head: Deadlines[Any]
    on_body: Deadlines[Any]
    on_idle: Deadlines[Any]
    on_close: Deadlines[Any]
    known_host: bytes | None
    is_stopping: bool

    def date(self) -> bytes:
        """Return the header lines that all answers of this second share."""

    def start_log_entry(self, request: Request, method: bytes, path: bytes) -> None:
        """Pick a request for the access log, or not."""

    def judge_hosts(self, hosts: Iterable[bytes], transport: Any) -> Refusal | None:
        """Return why a connection does not serve a request for some hosts; None if it does."""

    def open_cors(self, request: Request) -> object:
        """Open CORS for an allowed origin."""

    def resume(self, transport: Any, slot: Slot, early: bytes) -> None:
        """Take a connection back from another protocol."""
