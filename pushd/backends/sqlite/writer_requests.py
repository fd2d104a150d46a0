"""Requests to the writer, and their results."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from pushd.backends.hook_outbox import Backlog, HookBounds, HookEvent, PublishHook
from pushd.backends.interface import PublishResult
from pushd.core.channel_rules import Retentions
from pushd.core.idempotency import IdempotencyKey
from pushd.core.message import Draft, Message
from pushd.core.presence import Row
from pushd.core.revocations import Revocation

_NONE: Final[Mapping[str, Backlog]] = MappingProxyType({})


class PublishEvents(NamedTuple):
    """The hooks with events of the messages of a request."""

    hooks: Sequence[Sequence[PublishHook]]
    """Those of each message."""
    bounds: Mapping[str, HookBounds]
    """The bounds of all these hooks."""


class PublishRequest(NamedTuple):
    """Publish messages in their order. Its result is a list: for each draft, the message or the refusal, or the
    duplicate of an earlier run.
    """

    drafts: Sequence[Draft]
    size: int
    """Bytes of their data."""
    time: float
    """The timestamp of the messages, in unix seconds."""
    now: float
    """Seconds of log time."""
    hooks: PublishEvents | None = None
    key: IdempotencyKey | None = None


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
    hooks: PublishEvents | None = None


class EventRequest(NamedTuple):
    """Add events of hooks. Its result is None."""

    events: Sequence[HookEvent]
    bounds: Mapping[str, HookBounds]
    """The bounds of all their hooks."""
    time: float
    now: float


class ConfirmRequest(NamedTuple):
    """Remove the events of a hook up to a number. Its result is None."""

    hook: str
    through: int
    time: float
    now: float


class DeadLetterRequest(NamedTuple):
    """Make dead letters of the oldest events of a hook, a limited number. Its result is `DeadLetters`."""

    hook: str
    through: int
    """The number of the newest event."""
    before: float
    """Unix seconds before which they were added."""
    reason: str
    time: float
    now: float


HookRequest = EventRequest | ConfirmRequest | DeadLetterRequest
Request = (
    PublishRequest
    | DeleteRequest
    | TickRequest
    | RevokeRequest
    | UrlRequest
    | RetentionRequest
    | PresenceRequest
    | HookRequest
)


class DeadLetters(NamedTuple):
    """The result of a `DeadLetterRequest`."""

    messages: list[Message]
    has_more: bool
    """Whether there are more events of which to make dead letters."""


RequestResult = list[PublishResult] | DeadLetters | int | None


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
    hooks: Mapping[str, Backlog] = _NONE
    """The backlog of each hook."""


class CommitResult(NamedTuple):
    """The result of one transaction."""

    results: list[RequestResult]
    """The result of each request, in the order of the requests."""
    totals: LogTotals
    dropped: list[str]
    """The channels whose records were dropped."""
    dead: Sequence[Message] = ()
    """The dead letters of events beyond the bounds of their hooks, which are newer than all results."""
