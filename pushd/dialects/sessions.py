"""Sessions of dialects whose clients poll or read streams: ids, owners, limits and expiry."""

import secrets
from collections import Counter
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from twisted.internet.interfaces import IReactorTime

from pushd.core.cursor import Latest, MessageId, Since, parse_since
from pushd.core.errors import BadSince, TooManyConnections
from pushd.core.peer import Peer
from pushd.http.query import parameter
from pushd.http.request import Request
from pushd.net.coarse_timers import CoarseTimers

_ID_BYTES: Final = 20
"""An id is 160 random bits: who has it acts for the client, unless that has a credential."""


class Limits(NamedTuple):
    """The limits of sessions."""

    sessions: int
    sessions_per_address: int
    timeout: float
    """Seconds without a request after which a session ends."""


class Stream(Protocol):
    """An endless answer of a session."""

    def end(self) -> None:
        """End it, since its session has ended or has another one; one that has ended is ignored."""


class Session:
    """A client. Subclasses add what their protocol needs."""

    def __init__(self, peer: Peer) -> None:
        self.id = secrets.token_hex(_ID_BYTES)
        self.owner = _owner(peer)
        """Who has created it; nobody else may use it."""
        self.network = peer.network
        self.waiting: Request | None = None
        """The request that waits for messages."""
        self.stream: Stream | None = None
        """The stream that is open, or is being opened: the session does not expire meanwhile."""

    def wait(self, request: Request) -> None:
        """Let a request wait for messages, instead of the one before, whose client has sent another."""
        self.stop_reading()
        self.waiting = request

    def stop_reading(self) -> None:
        """Have the request that waits answered without messages, and end the stream."""
        before, self.waiting = self.waiting, None
        hurry(before)
        self.end_stream()

    def end_stream(self) -> None:
        """End the stream, if there is one."""
        if self.stream is not None:
            self.stream.end()

    def stop_waiting(self, request: Request) -> bool:
        """Record that a request has an answer; return whether it was the one that waited for messages."""
        was_waiting = self.waiting is request
        if was_waiting:
            self.waiting = None
        return was_waiting


def hurry(request: Request | None) -> None:
    """Have a request that waits answered at once."""
    if request is not None and request.hurry is not None:
        request.hurry()


def session_since(request: Request, name: bytes) -> Since:
    """Return where a session begins: a parameter of the query, else `NOW`.

    :raises BadSince: when it is invalid, or begins at another cursor for each channel.
    """
    since = parse_since(parameter(request, name) or "")
    if isinstance(since, Latest):
        raise BadSince(f"{name.decode('ascii')}=latest is not supported: a session has one cursor for all channels")
    return since


def set_cursor(request: Request, cursor: MessageId | None) -> None:
    """Set the header of an answer with the cursor behind it, if there is one."""
    if cursor is not None:
        request.setHeader(b"Pushd-Cursor", str(cursor).encode("ascii"))


def _owner(peer: Peer) -> tuple[str, str | None] | None:
    return None if peer.identity is None else (peer.identity.issuer, peer.identity.subject)


S = TypeVar("S", bound=Session)


class _Lease(Generic[S]):
    """A session with its timer."""

    __slots__ = ("_sessions", "due", "session")

    def __init__(self, session: S, sessions: "Sessions[S]") -> None:
        self.session = session
        self.due = 0
        self._sessions = sessions

    def expire(self) -> None:
        """Called when its time is over."""
        if self.session.stream is None:
            self._sessions.end(self.session)
        else:
            self._sessions.extend(self.session)


class Sessions(Generic[S]):
    """The sessions of a dialect at this node."""

    def __init__(self, clock: IReactorTime, limits: Limits) -> None:
        self.limits = limits
        self._timers = CoarseTimers(clock)
        self._by_id: dict[str, _Lease[S]] = {}
        self._by_network: Counter[str] = Counter()

    def add(self, session: S) -> S:
        """Add a new session, and return it.

        :raises TooManyConnections: when there are too many.
        """
        limits, network = self.limits, session.network
        if len(self._by_id) >= limits.sessions:
            raise TooManyConnections("there are too many sessions already")
        if network is not None and self._by_network[network] >= limits.sessions_per_address:
            raise TooManyConnections("there are too many sessions of this address already")
        lease = self._by_id[session.id] = _Lease(session, self)
        if network is not None:
            self._by_network[network] += 1
        self._timers.start(lease, limits.timeout)
        return session

    def find(self, id: str, peer: Peer) -> S | None:
        """Return the session of a peer, which lasts longer now; None if there is none."""
        lease = self._by_id.get(id)
        if lease is None or lease.session.owner != _owner(peer):
            return None
        self.extend(lease.session)
        return lease.session

    def extend(self, session: S) -> None:
        """Restart the time of a session; one that has ended is ignored."""
        lease = self._by_id.get(session.id)
        if lease is not None:
            self._timers.cancel(lease)
            self._timers.start(lease, self.limits.timeout)

    def end(self, session: S) -> None:
        """End a session; one that has ended is ignored."""
        lease = self._by_id.pop(session.id, None)
        if lease is None:
            return
        self._timers.cancel(lease)
        session.stop_reading()
        if session.network is not None:
            self._by_network[session.network] -= 1
            if not self._by_network[session.network]:
                del self._by_network[session.network]

    def stop(self) -> None:
        """End all sessions."""
        for lease in list(self._by_id.values()):
            self.end(lease.session)
