"""What became of a technique, as it was seen from here. All times are seconds of one clock."""

from dataclasses import dataclass, field


@dataclass
class Response:
    """How a request was answered."""

    status: int
    """Of the answer; 0 where there was none."""
    code: str = ""
    """pushd's own word for its refusal; empty where somebody on the way refused."""
    seconds: float = 0.0
    """How long it took."""
    error: str = ""
    """Why there was no answer."""


@dataclass
class Observation:
    """The life of one listener."""

    name: str
    """Of the technique."""
    is_websocket: bool = False
    requested_at: float = 0.0
    """When it was asked for."""
    response: Response | None = None
    """How the request was answered; None where nothing came."""
    is_origin_refused: bool = False
    """Whether it was refused as a page would ask for it, and asked for again as a program does."""
    content_type: str = ""
    """The content type, without parameters."""
    content_encoding: str = ""
    """The ``Content-Encoding``."""
    received: dict[str, float] = field(default_factory=dict)
    """When each of the messages came, by their words."""
    activity: list[float] = field(default_factory=list)
    """When bytes came, signs of life among them; for a long poll, also when each poll was asked for."""
    closed_at: float | None = None
    """When it was closed by the other side."""
    close_reason: str = ""
    """How it was closed."""


@dataclass(frozen=True)
class PublishTimes:
    """When pushd had each message."""

    history_marker: str
    """The word of the message that is in the history when a listener comes."""
    live: dict[str, float]
    """Those that came alone while all were listening."""
    last_at: float
    """When the message after the silence was published."""
    last_marker: str | None
    """None where it could not be published."""
    idle: float
    """The seconds of silence before that."""
