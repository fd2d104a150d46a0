"""Line connections of plug-ins: NUL ends lines, too, and a policy request is answered instead of a greeting."""

from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from pushd.core.errors import Refusal
from pushd.transports.backpressure import CLOSE_SECONDS
from pushd.transports.tcp_lines import LineConnection, LineFactory
from pushd.wire.nul_lines import NUL, POLICY_REQUEST, NulLines

_GREETING_SECONDS: Final = 1.0
"""How long the greeting waits for the first line, which may be a policy request."""


class NulLineConnection(LineConnection):
    """A line connection whose greeting waits for the first line."""

    __slots__ = ("_greeting",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._greeting: IDelayedCall | None = None
        """The timer of the greeting; None when it was sent, or will not be."""

    def _greet(self) -> None:
        self._greeting = self._factory.clock.callLater(_GREETING_SECONDS, self._greet_or_wait)

    def _greet_or_wait(self) -> None:
        """Called when no line has arrived in time: wait on if a policy request has begun."""
        if self._rest and self._rest == POLICY_REQUEST[: len(self._rest)]:
            self._greet()
        else:
            self._greet_now()

    def _greet_now(self) -> None:
        self._cancel_greeting()
        super()._greet()

    def dataReceived(self, data: bytes) -> None:
        """See `LineConnection`."""
        data = data.replace(NUL, b"\n")
        if self._greeting is not None and b"\n" in data:
            if (bytes(self._rest) + data).partition(b"\n")[0] == POLICY_REQUEST:
                self._answer_policy_request()
                return
            self._greet_now()
        super().dataReceived(data)

    def _answer_policy_request(self) -> None:
        factory = self._factory
        assert isinstance(factory, NulLineFactory)
        self.transport.write((factory.nul_lines.policy or b"") + NUL)
        self._close(None)

    def connectionLost(self, reason: Failure) -> None:
        """See `LineConnection`."""
        self._cancel_greeting()
        super().connectionLost(reason)

    def _close(self, why: Refusal | None, seconds: float = CLOSE_SECONDS) -> None:
        self._cancel_greeting()
        super()._close(why, seconds)

    def _cancel_greeting(self) -> None:
        timer, self._greeting = self._greeting, None
        if timer is not None and timer.active():
            timer.cancel()


class NulLineFactory(LineFactory):
    """Creates a `NulLineConnection` for each connection."""

    connection_class = NulLineConnection

    def __init__(self, nul_lines: NulLines, *args: Any) -> None:
        """For the other arguments see `LineFactory`."""
        super().__init__(*args)
        self.nul_lines = nul_lines
