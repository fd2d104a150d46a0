"""Refusals because of a limit, and of peers that are too late or too slow."""

from typing import Self

from pushd.core.errors.refusal import Refusal
from pushd.core.token_bucket import RateState


class TooManyChannels(Refusal):
    """All ``limits.channels`` channels are in use."""

    code = "too-many-channels"
    is_limit = True
    status = 429
    close = 4429
    retry_after = 60


class TooManySubscriptions(Refusal):
    """One connection has more topics than ``limits.subscriptions``, or all together take half of
    ``limits.waiting_bytes``.
    """

    code = "too-many-subscriptions"
    is_limit = True
    status = 429
    close = 4429
    retry_after = 60


class TooManyConnections(Refusal):
    """There are more connections than ``limits.connections`` or ``limits.connections_per_address``."""

    code = "too-many-connections"
    is_limit = True
    status = 429
    close = 4429
    retry_after = 10


class RateLimited(Refusal):
    """A peer publishes more than its quota or ``limits.messages_per_second`` allows. `state`: for HTTP headers."""

    code = "rate-limited"
    is_limit = True
    status = 429
    close = 4429

    def __init__(self, text: str, retry_after: int | None = 1, state: RateState | None = None) -> None:
        super().__init__(text)
        self.retry_after, self.state = retry_after, state

    def without_traceback(self) -> Self:
        """Return a copy without the traceback."""
        return type(self)(str(self), self.retry_after, self.state)


class TooManyMembers(Refusal):
    """There are as many members as ``presence.members``, or a connection has entered too many channels."""

    code = "too-many-members"
    is_limit = True
    status = 429
    close = 4429
    retry_after = 60


class TooManyRevocations(Refusal):
    """As many revocations as possible are kept already."""

    code = "too-many-revocations"
    is_limit = True
    status = 429
    retry_after = 60


class TooLate(Refusal):
    """The headers of a request did not arrive within ``limits.handshake``."""

    code = "request-timeout"
    status = 408
    is_limit = True


class NoPong(Refusal):
    """The peer did not answer a ping."""

    code = "no-pong"
    close = 4408


class TooSlow(Refusal):
    """The subscriber's queue is full and its policy is to disconnect."""

    code = "slow"
    is_limit = True
    status = 503
    close = 1013
    retry_after = 1


class NoRoom(Refusal):
    """The memory budget of all connections, ``limits.waiting_bytes``, is exceeded."""

    code = "no-room"
    is_limit = True
    is_abrupt = True
    status = 503
    close = 1013
    retry_after = 1
