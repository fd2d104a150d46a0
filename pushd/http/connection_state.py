"""The state of an HTTP connection, and what follows from it: deadlines, and whether the socket is read."""

from typing import Any, Final

from pushd.core.errors import Refusal
from pushd.http.interface import HttpSite
from pushd.http.request import Request
from pushd.http.states import BODY, HEAD, HELD, LINGERING, NEW, QUEUED, READY, AnswerState, ReadState
from pushd.net.keepalive import Deadlines
from pushd.net.sockets import limit_reads

READ_AHEAD: Final = 8 << 10
"""Bytes that may follow a held request while the connection is still read, so that its end is noticed."""
_REQUEST: Final = 2 << 10
"""Bytes of memory of a queued request besides its body."""
_READ: Final = 8 << 10
"""Bytes read at once: some 270 of the smallest requests, or 1,300 of the smallest WebSocket frames."""


class ConnectionState:
    """The two states of a connection (see `pushd.http.states`), its transport, and the queued requests and bytes.

    The states change by `transition` only. `_update` is called when received bytes or an answer have been processed.
    """

    __slots__ = (
        "_deadline",
        "_is_read_paused",
        "_is_write_paused",
        "_queued",
        "_read_ahead",
        "_site",
        "_unsent",
        "answering",
        "buffered",
        "queue",
        "reading",
        "transport",
    )

    def __init__(self, site: HttpSite) -> None:
        self.transport: Any = None
        """None while another protocol has the connection, and after it is lost."""
        self.reading: ReadState = NEW
        self.answering: AnswerState = READY
        self.queue: list[Request] = []
        """The requests that have been read and wait to be answered. The last one may be a refusal."""
        self._site = site
        self.buffered = b""
        """The bytes of the state `BUFFERING`."""
        self._read_ahead = 0
        """Bytes received after the held request."""
        self._deadline: Deadlines[Any] | None = None
        """The deadline that runs, except `on_idle`, which may run besides."""
        self._is_read_paused = False
        self._unsent = 0
        """Bytes of answers that are charged to the memory budget, until they are sent."""
        self._queued = 0
        """Bytes of queued requests, and of those that are not parsed yet, that are charged to the memory budget."""
        self._is_write_paused = False
        """Whether the transport has as much to send as it takes."""

    @property
    def is_mid_request(self) -> bool:
        """Whether a request has been read in part."""
        return self.reading is HEAD or self.reading is BODY

    def _update(self) -> None:
        """Start and cancel deadlines, and pause or resume reading, as the states require.

        ============  =========================================================================================
        deadline      runs while
        ============  =========================================================================================
        ``on_head``   a new connection has not sent anything, or a head is being read
        ``on_body``   a body is being read
        ``on_idle``   no request is being answered and no head is being read; it starts again with each update
        ``on_close``  the connection lingers
        ============  =========================================================================================

        Reading pauses while requests or bytes are queued, but not before the read-ahead of a held request is used up.
        """
        site, reading, answering = self._site, self.reading, self.answering
        is_in_head = reading is HEAD or reading is NEW
        deadline = None
        if is_in_head:
            deadline = site.on_head
        elif reading is BODY:
            deadline = site.on_body
        elif answering is LINGERING:
            deadline = site.on_close
        if deadline is not self._deadline:
            self._start_deadline(deadline)
        site.on_idle.cancel(self)
        if (answering is READY or answering is QUEUED) and not is_in_head:
            site.on_idle.expect(self)
        is_paused = bool(self.queue or self.buffered) and not (answering is HELD and self._read_ahead <= READ_AHEAD)
        if is_paused != self._is_read_paused:
            self._pause_reading(is_paused)

    def _start_deadline(self, deadline: Deadlines[Any] | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel(self)
        self._deadline = deadline
        if deadline is not None:
            deadline.expect(self)

    def _pause_reading(self, is_paused: bool) -> None:
        self._is_read_paused = is_paused
        if is_paused:
            self.transport.pauseProducing()
        else:
            self.transport.resumeProducing()

    def _charge_unsent(self, size: int) -> None:
        """Charge `size` bytes of unsent answers to the memory budget.

        :raises NoRoom: when the budget is exceeded.
        """
        if size != self._unsent:
            self._unsent = self._site.limits.queue.budget.grow(self._unsent, size, self)

    def _charge_queue(self) -> None:
        """Charge what has been received and not answered to the memory budget.

        :raises NoRoom: when the budget is exceeded.
        """
        size = len(self.buffered)
        for request in self.queue:
            size += _REQUEST + len(request.body)
        if size != self._queued:
            self._queued = self._site.limits.queue.budget.grow(self._queued, size)

    def release_for(self, refusal: Refusal) -> None:
        """Called to release the unsent answers at once; see `pushd.core.budget.Holder`."""
        raise NotImplementedError

    def _attach_transport(self, transport: Any) -> None:
        """Begin to use a transport, as the producer of what it sends."""
        self.transport = transport
        self._is_write_paused = False
        limit_reads(transport, _READ)
        transport.registerProducer(self, True)
        self._site.counters.connections["http"] += 1

    def _detach_transport(self) -> None:
        """Stop the deadlines, and release the transport and the memory of what it was to send."""
        site = self._site
        self._charge_unsent(0)
        self._charge_queue()
        self._start_deadline(None)
        site.on_idle.cancel(self)
        site.counters.connections["http"] -= 1
        self.transport = None
