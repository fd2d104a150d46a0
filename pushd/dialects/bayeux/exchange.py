"""What follows from an envelope: replies, and perhaps a connect that is held."""

from collections.abc import Sequence
from typing import NamedTuple

from pushd.dialects.bayeux.envelope import ClientMessage
from pushd.dialects.bayeux.session import Session


class PendingConnect(NamedTuple):
    """A connect that waits for messages: its reply is made when it is answered."""

    message: ClientMessage
    session: Session
    seconds: float
    is_polling: bool = False
    """Whether the client is told to poll, since other sessions of its browser hold connects."""


class Exchange(NamedTuple):
    """What follows from an envelope."""

    replies: Sequence[bytes]
    connect: PendingConnect | None = None
    has_begun: bool = False
    """Whether a session has begun."""
