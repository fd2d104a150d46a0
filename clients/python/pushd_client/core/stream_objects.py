"""The JSON objects of a subscription: messages, control objects, and replies to commands (docs/protocol.md)."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..errors import ConnectionFailed
from ..messages import End, Gap, Message


class Begin(NamedTuple):
    """The subscription begins."""

    cursor: str
    connection: str


class Expiring(NamedTuple):
    """The token expires soon."""

    at: float
    """When, in unix seconds."""


class Expired(NamedTuple):
    """The token has expired, or was revoked."""

    code: str


class CommandReply(NamedTuple):
    """The reply to a command over a WebSocket."""

    ref: Any
    error: Mapping[str, Any] | None


StreamObject = Message | Gap | End | Begin | Expiring | Expired | CommandReply

_CONTROL: Mapping[str, Callable[[Mapping[str, Any]], StreamObject]] = {
    "begin": lambda fields: Begin(fields["cursor"], fields["connection"]),
    "gap": lambda fields: Gap(fields["topic"], fields["from"], fields["to"], fields["reason"]),
    "end": lambda fields: End(fields["channel"]),
    "expiring": lambda fields: Expiring(fields["at"]),
    "expired": lambda fields: Expired(fields["code"]),
}


def parse_object(text: str) -> StreamObject | None:
    """Return an object; None for one without consequences, such as a ping.

    :raises ConnectionFailed: when it is none of pushd, as from a proxy that answers something else.
    """
    try:
        fields = json.loads(text)
        if "type" in fields:
            parse = _CONTROL.get(fields["type"])
            return None if parse is None else parse(fields)
        if "channel" in fields and "ref" not in fields:
            return Message.from_json(fields)
        return CommandReply(fields["ref"], fields.get("error"))
    except (LookupError, TypeError, ValueError) as error:
        raise ConnectionFailed(f"the stream is not one of pushd: {text[:80]!r}") from error
