"""The base class of refusals."""

from typing import ClassVar, Self


class Refusal(Exception):
    """A request or connection is refused. ``str(refusal)`` is the text sent to the peer."""

    code: ClassVar[str] = "refused"
    status: ClassVar[int] = 400
    close: ClassVar[int] = 1008
    retry_after: int | None = None
    """Seconds after which a retry makes sense; None: never."""
    is_limit: ClassVar[bool] = False
    """Whether a limit was exceeded, so that the log names the peer."""
    is_abrupt: ClassVar[bool] = False
    """Whether a connection that it closes discards its queued output."""
    challenge: ClassVar[str | None] = None
    """The value of ``WWW-Authenticate`` in HTTP responses (RFC 6750, section 3); None: no such header."""

    def without_traceback(self) -> Self:
        """Return a copy without the traceback, whose frames a raised exception keeps alive."""
        return type(self)(*self.args)
