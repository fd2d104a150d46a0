"""Requests to the writer, and their results."""

from collections.abc import Sequence
from typing import NamedTuple

from pushd.core.channel_rules import Retentions
from pushd.core.errors import Refusal
from pushd.core.message import Draft, Message
from pushd.core.presence import Row
from pushd.core.revocations import Revocation


class PublishRequest(NamedTuple):
    """Publish messages in their order. Its result is a list: for each draft, the message or the refusal."""

    drafts: Sequence[Draft]
    size: int
    """Bytes of their data."""
    time: float
    """The timestamp of the messages, in unix seconds."""
    now: float
    """Seconds of log time."""


class DeleteRequest(NamedTuple):
    """Delete a channel. Its result is the sequence of the deletion, or 0 if the channel was not known."""

    name: str
    time: float
    now: float


class TickRequest(NamedTuple):
    """Advance the log time, so that messages expire. Its result is None."""

    time: float
    now: float


class RevokeRequest(NamedTuple):
    """Keep revocations, each merged with the one of its key. Its result is None."""

    revocations: Sequence[Revocation]
    time: float
    now: float


class UrlRequest(NamedTuple):
    """Remember that a signed URL was used. Its result is None."""

    digest: bytes
    until: float
    """Unix seconds."""
    time: float
    now: float


class RetentionRequest(NamedTuple):
    """Apply other rules for channels. Its result is None."""

    retentions: Retentions
    time: float
    now: float


class PresenceRequest(NamedTuple):
    """Publish events of members, and store the members. Its result is that of a `PublishRequest`."""

    drafts: Sequence[Draft]
    rows: Sequence[Row]
    deleted: Sequence[tuple[str, str]]
    """The channels and ids of members whose rows are deleted."""
    is_complete: bool
    """Whether the rows are those of all members, and replace all others."""
    time: float
    now: float


Request = PublishRequest | DeleteRequest | TickRequest | RevokeRequest | UrlRequest | RetentionRequest | PresenceRequest
RequestResult = list[Message | Refusal] | int | None


class LogTotals(NamedTuple):
    """The state of the log after a commit."""

    epoch: str
    head: int
    """The newest sequence of a message or deletion."""
    messages: int
    bytes: int
    """What the messages count towards `Bounds.total_bytes`."""
    channels: int
    newest_loss: int
    """The newest sequence that any channel lost."""
    record_bytes: int = 0
    """The bytes of memory of the records of all channels, also of deleted ones."""


class CommitResult(NamedTuple):
    """The result of one transaction."""

    results: list[RequestResult]
    """The result of each request, in the order of the requests."""
    totals: LogTotals
    dropped: list[str]
    """The channels whose records were dropped."""
