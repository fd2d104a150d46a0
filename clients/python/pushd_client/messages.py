"""What a subscription yields: messages, gaps and ends."""

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Message:
    """A message of a channel."""

    channel: str
    data: Any
    """The JSON value for ``application/json``, a `str` for text, else `bytes`."""
    content_type: str
    id: str | None
    """The id, which is a cursor; None for an ephemeral message."""
    time: float
    """When the daemon accepted it, in unix seconds."""
    prev: str | None = None
    """The id of the previous message of the channel."""
    event: str | None = None
    """The event type."""
    sender: str | None = None
    """The subject of the publisher's token (``from``); None if it had none."""
    reply_to: str | None = None
    """The channel for the reply, if this is a request."""

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Message":
        """Return the message of its JSON object.

        :raises KeyError: when a field is missing.
        :raises ValueError: when ``data_base64`` is not Base64.
        """
        encoded = fields.get("data_base64")
        return cls(
            channel=fields["channel"],
            data=fields["data"] if encoded is None else b64decode(encoded, validate=True),
            content_type=fields["content_type"],
            id=fields.get("id"),
            time=fields["time"],
            prev=fields.get("prev"),
            event=fields.get("event"),
            sender=fields.get("from"),
            reply_to=fields.get("reply_to"),
        )


@dataclass(frozen=True)
class Gap:
    """Messages of a topic after `start`, up to and including `end`, are missing, at least in part."""

    topic: str
    start: str
    end: str
    reason: str
    """``evicted``, ``expired``, ``epoch``, ``unknown``, ``slow`` or ``boundary``: see docs/protocol.md."""


@dataclass(frozen=True)
class End:
    """A channel has ended: its publisher has sent the last message."""

    channel: str


Item = Message | Gap | End
"""What a subscription yields."""
