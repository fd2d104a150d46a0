"""Sessions of Pushlet: the topics of a client, and the cursor up to which it has read."""

import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from twisted.internet.interfaces import IReactorTime

from pushd.core.cursor import MessageId
from pushd.core.errors import TooManyConnections
from pushd.core.peer import Peer
from pushd.dialects.pushlet.events import EventWire
from pushd.net.coarse_timers import CoarseTimers

_ID_BYTES: Final = 20


class Limits(NamedTuple):
    """The limits of sessions."""

    sessions: int
    sessions_per_address: int
    timeout: float
    """Seconds without a request after which a session ends."""


class Session:
    """A client."""

    __slots__ = ("_on_expired", "cursor", "due", "id", "mode", "network", "next_id", "owner", "subscriptions", "wire")

    def __init__(self, peer: Peer, wire: EventWire, on_expired: Callable[["Session"], None]) -> None:
        self.id = secrets.token_hex(_ID_BYTES)
        self.wire = wire
        self.owner = _owner(peer)
        """Who has created it; nobody else may use it."""
        self.network = peer.network
        self.subscriptions: dict[str, Sequence[str]] = {}
        """The subjects of each subscription, by its id."""
        self.cursor: MessageId | None = None
        self.mode = "pull"
        self.next_id = 1
        self.due = 0
        self._on_expired = on_expired

    @property
    def topics(self) -> list[str]:
        """The topics of its subjects: a subject matches as a prefix."""
        subjects = [subject for words in self.subscriptions.values() for subject in words]
        return list(dict.fromkeys(topic for subject in subjects for topic in topics_of(subject)))

    def expire(self) -> None:
        """Called when its time is over."""
        self._on_expired(self)


def _owner(peer: Peer) -> tuple[str, str | None] | None:
    return None if peer.identity is None else (peer.identity.issuer, peer.identity.subject)


def topics_of(subject: str) -> list[str]:
    """Return the topics of a subject."""
    name = subject.removeprefix("/").removesuffix("/")
    return [name, f"{name}/**"]


class Sessions:
    """The sessions of this node."""

    def __init__(self, clock: IReactorTime, limits: Limits) -> None:
        self.limits = limits
        self._timers = CoarseTimers(clock)
        self._by_id: dict[str, Session] = {}
        self._by_network: Counter[str] = Counter()

    def create(self, peer: Peer, wire: EventWire) -> Session:
        """Return a new session.

        :raises TooManyConnections: when there are too many.
        """
        limits, network = self.limits, peer.network
        if len(self._by_id) >= limits.sessions:
            raise TooManyConnections("there are too many Pushlet sessions already")
        if network is not None and self._by_network[network] >= limits.sessions_per_address:
            raise TooManyConnections("there are too many Pushlet sessions of this address already")
        session = Session(peer, wire, self.end)
        self._by_id[session.id] = session
        if network is not None:
            self._by_network[network] += 1
        self._timers.start(session, limits.timeout)
        return session

    def find(self, id: str, peer: Peer) -> Session | None:
        """Return the session of a peer, which lasts longer now; None if there is none."""
        session = self._by_id.get(id)
        if session is None or session.owner != _owner(peer):
            return None
        self._timers.cancel(session)
        self._timers.start(session, self.limits.timeout)
        return session

    def end(self, session: Session) -> None:
        """End a session; one that has ended is ignored."""
        if self._by_id.pop(session.id, None) is None:
            return
        self._timers.cancel(session)
        if session.network is not None:
            self._by_network[session.network] -= 1
            if not self._by_network[session.network]:
                del self._by_network[session.network]

    def stop(self) -> None:
        """End all sessions."""
        for session in list(self._by_id.values()):
            self.end(session)
