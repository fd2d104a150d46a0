"""Requests to the writer, and its results."""

from collections.abc import Sequence
from typing import NamedTuple

from pushd.core.errors import Refusal
from pushd.core.message import Draft, Message


class PublishRequest(NamedTuple):
    """Publish messages in their order. The answer is a list with a message or a refusal for each."""

    drafts: Sequence[Draft]
    size: int
    """The bytes of their data."""
    time: float
    """Unix seconds: the time of the messages."""
    now: float
    """Seconds of log time, by which messages expire."""


class DeleteRequest(NamedTuple):
    """Delete a channel. The answer is whether it was known."""

    name: str
    time: float
    now: float


class TickRequest(NamedTuple):
    """Advance the log time, so that messages expire."""

    time: float
    now: float


Request = PublishRequest | DeleteRequest | TickRequest
RequestResult = list[Message | Refusal] | bool | None


class LogTotals(NamedTuple):
    """The content of the log after a commit, in numbers."""

    epoch: str
    head: int
    """The newest sequence."""
    messages: int
    bytes: int
    channels: int
    newest_loss: int
    """No message with a greater sequence was lost."""


class CommitResult(NamedTuple):
    """The result of a transaction."""

    answers: list[RequestResult]
    totals: LogTotals
    dropped: list[str]
    """Channels whose records were dropped."""
