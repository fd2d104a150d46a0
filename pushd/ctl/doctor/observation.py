"""What a probe observed of one transport. All times are seconds of the monotonic clock."""

from dataclasses import dataclass, field


@dataclass
class Response:
    """The response to a request, as far as the diagnosis needs it."""

    status: int
    """HTTP status; 0 if there was no response."""
    code: str = ""
    """Error code of a refusal by pushd itself; empty if a proxy refused."""
    seconds: float = 0.0
    """Time from the request to the response."""
    error: str = ""
    """Reason why there was no response."""


@dataclass
class Observation:
    """The life of one `ProbeSubscriber`."""

    name: str
    """Name of the transport."""
    is_websocket: bool = False
    requested_at: float = 0.0
    """Time of the request."""
    response: Response | None = None
    """Response to the request; None if nothing arrived."""
    is_origin_refused: bool = False
    """Whether the request was refused with an ``Origin`` header, and then repeated without."""
    content_type: str = ""
    """Content type of the response, without parameters."""
    content_encoding: str = ""
    """``Content-Encoding`` of the response."""
    received: dict[str, float] = field(default_factory=dict)
    """Arrival times of the messages, by marker."""
    activity: list[float] = field(default_factory=list)
    """Times at which bytes arrived, keepalives included; for long polls also the times of the requests."""
    closed_at: float | None = None
    """Time at which the other side closed the connection; None while it is open."""
    close_reason: str = ""
    """Description of the close, such as ``closed`` or ``broken off``."""


@dataclass(frozen=True)
class PublishTimes:
    """The times at which pushd accepted the messages of a probe run."""

    history_marker: str
    """Marker of the message that is in the history before anyone subscribes."""
    live: dict[str, float]
    """Publish times of the live messages, by marker."""
    last_at: float
    """Publish time of the message after the silence."""
    last_marker: str | None
    """Marker of that message; None if it could not be published."""
    idle: float
    """Length of the silence before it in seconds."""
