"""Requests to the writer, and its results."""

from collections.abc import Sequence
from typing import NamedTuple

from pushd.core.errors import Refusal
from pushd.core.message import Draft, Message


class Publish(NamedTuple):
    """Accept messages, each for itself, in their order. The answer is a list of them, or of refusals."""

    drafts: Sequence[Draft]
    size: int
    """The bytes of their data."""
    time: float
    """Unix seconds, which are written on messages."""
    now: float
    """Seconds of the log's own time, by which messages expire."""


class Forget(NamedTuple):
    """Delete a channel. The answer is whether it was known."""

    name: str
    time: float
    now: float


class Tick(NamedTuple):
    """Advance the log time, so that messages expire."""

    time: float
    now: float


Request = Publish | Forget | Tick
Answer = list[Message | Refusal] | bool | None


class Held(NamedTuple):
    """How much the log holds, as of a commit."""

    epoch: str
    head: int
    """The newest sequence."""
    messages: int
    bytes: int
    channels: int
    newest_loss: int
    """Nothing newer was lost anywhere."""


class Outcome(NamedTuple):
    """The result of a transaction."""

    answers: list[Answer]
    held: Held
    dropped: list[str]
    """Channels of which nothing is known any more."""
