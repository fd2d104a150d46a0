"""The states of an HTTP connection, and the permitted transitions.

A connection has two states, since a client may send further requests before the first one is answered (pipelining, RFC
9112, section 9.3.2). The reading state is where the parser is in the stream of requests. The answering state is what
happens to the requests that have been read. A transition that is not in `TRANSITIONS` is a bug.

Deadlines, and whether the socket is read, follow from both states; see `HttpConnection`.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, TypeVar


class ReadState(Enum):
    """How far a connection has read its next request."""

    __hash__ = object.__hash__  # faster than the hash of Enum

    NEW = auto()
    """Nothing has been received yet."""
    IDLE = auto()
    """Between two requests."""
    HEAD = auto()
    """Part of a head has been read."""
    BODY = auto()
    """A head has been read, and its body is being read."""
    BUFFERING = auto()
    """Received bytes are kept, and parsed only when the last request is answered, since that may switch protocols."""
    ENDED = auto()
    """No further request is read. Received bytes are discarded."""


class AnswerState(Enum):
    """What a connection does with the requests that it has read."""

    __hash__ = object.__hash__

    READY = auto()
    """No request is being answered. The next one in the queue is, unless the client has to read first."""
    QUEUED = auto()
    """Requests are queued for a later reactor turn: the time slice of this one is used up."""
    ANSWERING = auto()
    """A request is being answered."""
    HELD = auto()
    """A request is being answered, and waits for an event: it is answered, or its client disconnects."""
    DETACHED = auto()
    """Another protocol has the connection."""
    LINGERING = auto()
    """The last answer has been written. The connection closes once it is sent."""
    CLOSED = auto()
    """The connection is lost."""


# Named here as well, since each access to a member of an Enum takes as long as a function call in Python 3.11.
NEW: Final = ReadState.NEW
IDLE: Final = ReadState.IDLE
HEAD: Final = ReadState.HEAD
BODY: Final = ReadState.BODY
BUFFERING: Final = ReadState.BUFFERING
ENDED: Final = ReadState.ENDED
READY: Final = AnswerState.READY
QUEUED: Final = AnswerState.QUEUED
ANSWERING: Final = AnswerState.ANSWERING
HELD: Final = AnswerState.HELD
DETACHED: Final = AnswerState.DETACHED
LINGERING: Final = AnswerState.LINGERING
CLOSED: Final = AnswerState.CLOSED

TRANSITIONS: Final[Mapping[ReadState | AnswerState, frozenset[ReadState | AnswerState]]] = {
    # The parser: NEW, then any number of requests IDLE - HEAD - BODY - IDLE, then ENDED.
    NEW: frozenset({IDLE, BUFFERING, ENDED}),
    IDLE: frozenset({HEAD, BUFFERING, ENDED}),
    HEAD: frozenset({BODY, ENDED}),
    BODY: frozenset({IDLE, ENDED}),
    BUFFERING: frozenset({IDLE, ENDED}),
    ENDED: frozenset(),
    # The queue: one request after the other, READY - ANSWERING (- HELD) - READY, until the last answer.
    READY: frozenset({QUEUED, ANSWERING, LINGERING, CLOSED}),
    QUEUED: frozenset({READY, LINGERING, CLOSED}),
    ANSWERING: frozenset({READY, HELD, DETACHED, CLOSED}),
    HELD: frozenset({READY, HELD, DETACHED, LINGERING, CLOSED}),
    DETACHED: frozenset({READY}),
    LINGERING: frozenset({CLOSED}),
    CLOSED: frozenset(),
}
"""The states that may follow each state."""

S = TypeVar("S", ReadState, AnswerState)


class IllegalTransition(Exception):
    """A state was to follow that must not: a bug."""


def transition(state: S, following: S) -> S:
    """Return the state that follows.

    :raises IllegalTransition: when `TRANSITIONS` does not permit it.
    """
    if following not in TRANSITIONS[state]:
        raise IllegalTransition(f"{state} must not be followed by {following}")
    return following
