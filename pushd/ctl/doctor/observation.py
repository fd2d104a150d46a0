"""What became of a technique, as it was seen from here. All times are seconds of one clock."""

from dataclasses import dataclass, field


@dataclass
class Answer:
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
class Course:
    """The life of one listener."""

    name: str
    """Of the technique."""
    is_websocket: bool = False
    asked: float = 0.0
    """When it was asked for."""
    answer: Answer | None = None
    """How the request was answered; None where nothing came."""
    is_origin_refused: bool = False
    """Whether it was refused as a page would ask for it, and asked for again as a program does."""
    kind: str = ""
    """The content type, without parameters."""
    coding: str = ""
    """The ``Content-Encoding``."""
    heard: dict[str, float] = field(default_factory=dict)
    """When each of the messages came, by their words."""
    arrivals: list[float] = field(default_factory=list)
    """When bytes came, signs of life among them; for a long poll, also when each poll was asked for."""
    closed: float | None = None
    """When it was closed by the other side."""
    end: str = ""
    """How it was closed."""


@dataclass(frozen=True)
class Published:
    """When pushd had each message."""

    before: str
    """The word of the message that is in the history when a listener comes."""
    live: dict[str, float]
    """Those that came alone while all were listening."""
    last: float
    """When the message after the silence was published."""
    last_word: str | None
    """None where it could not be published."""
    idle: float
    """The seconds of silence before that."""
