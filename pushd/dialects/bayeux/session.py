"""Sessions: what the daemon keeps for a client of Bayeux, and for how long."""

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from twisted.internet.interfaces import IReactorTime

from pushd.core.errors import BadParameter, Refusal, TooManyConnections
from pushd.core.names import covers
from pushd.core.peer import Peer
from pushd.core.presence import AsMember
from pushd.dialects.bayeux.progress import Progress
from pushd.dialects.bayeux.repeats import Repeats
from pushd.dialects.bayeux.settings import BayeuxSettings
from pushd.net.coarse_timers import CoarseTimers

_ID_BYTES: Final = 20
"""A client id is 160 random bits: who has it acts for the client."""
_ACTIVE_STEPS: Final = 16
"""How many messages are recorded at most in the time after which a session is inactive."""
_MOST_RESPONSES: Final = 100
_MOST_RESPONSE_BYTES: Final = 1 << 20
"""The most replies to requests, and their bytes, that wait for the next connect of a session."""


class Held(Protocol):
    """The held connect of a session."""

    def release(self) -> None:
        """Answer it now."""

    def restart(self) -> None:
        """Called when the topics have changed."""

    def refuse(self, why: Refusal) -> None:
        """Answer it with a refusal."""


class Stream(Protocol):
    """The event stream of a session."""

    def close(self) -> None:
        """End it."""


class Session:
    """A client. It has no connection of its own: every request or frame names it."""

    __slots__ = (
        "_on_expired",
        "active",
        "due",
        "has_ack",
        "has_connected",
        "held",
        "id",
        "member",
        "needs_advice",
        "peer",
        "progress",
        "repeats",
        "responses",
        "stream",
    )

    def __init__(self, id: str, peer: Peer, on_expired: Callable[["Session"], None]) -> None:
        self.id = id
        """The secret by which the client is known."""
        self.peer = peer
        """Who it is, and what it may do."""
        self.has_ack = False
        """Whether it acknowledges what it has received."""
        self.has_connected = False
        """Whether a connect was answered."""
        self.active: int | None = None
        """The unix seconds of its last message, rounded; None while nobody asks. See `Sessions.mark_active`."""
        self.needs_advice = False
        """Whether its client may act on advice that is not that of the settings."""
        self.member: AsMember | None = None
        """As whom it enters the channels of its subscriptions."""
        self.progress = Progress()
        self.repeats: Repeats | None = None
        """Its last publishes; None before the first."""
        self.held: Held | None = None
        """Its connect that is being held."""
        self.responses: list[bytes] | None = None
        """Encoded replies to its requests, for the next connect."""
        self.stream: Stream | None = None
        """Its event stream, over which messages are sent; then connects are answered at once."""
        self.due = 0
        """See `Expiring`."""
        self._on_expired = on_expired

    def member_in(self, topics: Sequence[str]) -> AsMember | None:
        """Return as whom it enters the channels among topics; None if it enters none."""
        try:
            return None if self.member is None or not self.member.channels(topics) else self.member
        except BadParameter:  # there are only patterns
            return None

    def expire(self) -> None:
        """Called when no connect has followed in time."""
        self._on_expired(self)

    def respond(self, response: bytes) -> bool:
        """Send the reply to a request with the held connect, or the next one; return whether there is room for it."""
        waiting = self.responses or []
        if len(waiting) >= _MOST_RESPONSES or sum(map(len, waiting)) + len(response) > _MOST_RESPONSE_BYTES:
            return False
        self.responses = [*waiting, response]
        if self.held is not None:
            self.held.release()
        return True

    def take_responses(self) -> list[bytes]:
        """Remove and return the replies that wait."""
        responses, self.responses = self.responses or [], None
        return responses


class Sessions:
    """The sessions of this node.

    :param on_ended: called with each session that has ended.
    """

    def __init__(self, clock: IReactorTime, settings: BayeuxSettings, on_ended: Callable[[Session], None]) -> None:
        self.settings = settings
        self._timers = CoarseTimers(clock)
        self._on_ended = on_ended
        self._by_id: dict[str, Session] = {}
        self._by_network: Counter[str] = Counter()
        self._clock = clock
        self._epoch = time.time() - clock.seconds()
        """The unix seconds when the clock was at 0: nodes, and what runs after a restart, have other clocks."""

    def __len__(self) -> int:
        """Return the number of sessions."""
        return len(self._by_id)

    def __iter__(self) -> Iterator[Session]:
        """Return all sessions, of a copy."""
        return iter(list(self._by_id.values()))

    def create(self, peer: Peer) -> Session:
        """Return a new session.

        :raises TooManyConnections: when there are too many.
        """
        settings, network = self.settings, peer.network
        if len(self._by_id) >= settings.sessions:
            raise TooManyConnections("there are too many Bayeux sessions already")
        if network is not None and self._by_network[network] >= settings.sessions_per_address:
            raise TooManyConnections("there are too many Bayeux sessions of this address already")
        return self.add(Session(secrets.token_hex(_ID_BYTES), peer, self.end))

    def adopt(self, id: str, peer: Peer) -> Session:
        """Return a session that has begun elsewhere."""
        return self.add(Session(id, peer, self.end))

    def add(self, session: Session) -> Session:
        """Add a session, which ends unless a connect follows."""
        self._by_id[session.id] = session
        if session.peer.network is not None:
            self._by_network[session.peer.network] += 1
        self._timers.start(session, self.seconds_of(session))
        return session

    def find(self, id: str) -> Session | None:
        """Return a session; None if there is none."""
        return self._by_id.get(id)

    def hold(self, session: Session, held: Held) -> None:
        """Record that a connect of a session is being held; the one before is released."""
        former, session.held = session.held, held
        if former is not None:
            former.release()
        self._timers.cancel(session)

    def release(self, session: Session, held: Held) -> None:
        """Record that a connect is not held any more. The session ends unless another one follows."""
        if session.held is held:
            session.held = None
            if self._by_id.get(session.id) is session:
                self._timers.start(session, self.seconds_of(session))

    def renew(self, session: Session) -> None:
        """Restart the time after which a session without a held connect expires; one that has ended is ignored."""
        if session.held is None and self._by_id.get(session.id) is session:
            self._timers.cancel(session)
            self._timers.start(session, self.seconds_of(session))

    def end(self, session: Session) -> None:
        """End a session; one that has ended is ignored."""
        if self._by_id.get(session.id) is not session:
            return
        del self._by_id[session.id]
        self._timers.cancel(session)
        network = session.peer.network
        if network is not None:
            self._by_network[network] -= 1
            if not self._by_network[network]:
                del self._by_network[network]
        self._on_ended(session)

    def mark_active(self, session: Session) -> bool:
        """Record that a session has sent or received a message; return whether that must be kept.

        So that a busy session is kept rarely, messages that follow within a sixteenth of the time are not recorded.
        """
        settings, now = self.settings, self._now()
        if not settings.max_inactive:
            return False
        if session.active is not None and now - session.active < settings.max_inactive / _ACTIVE_STEPS:
            return False
        session.active = round(now)
        return True

    def is_inactive(self, session: Session) -> bool:
        """Return whether a session has no messages besides connects for too long."""
        most = self.settings.max_inactive
        if not most or session.active is None:
            return False
        return self._now() > session.active + most + most / _ACTIVE_STEPS

    def _now(self) -> float:
        return self._epoch + self._clock.seconds()

    def seconds_of(self, session: Session) -> float:
        """Return how long a session lasts without a connect."""
        settings = self.settings
        seconds = settings.interval + settings.max_interval
        return max(seconds, settings.persistent_interval) if self.is_persistent(session) else seconds

    def is_persistent(self, session: Session) -> bool:
        """Return whether a session has a persistent topic."""
        persistent = self.settings.persistent
        return bool(persistent) and any(covers(each, topic) for topic in session.progress.topics for each in persistent)
