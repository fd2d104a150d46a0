"""Events of hooks as JSON: ``{"id","type","channel","time",...}`` (docs/hooks.md)."""

import msgspec

from pushd.core.message import JSON, Draft, Message
from pushd.core.names import DEAD
from pushd.wire.json_messages import encode, encode_message


def publish_event(hook: str, message: Message, *, has_content: bool) -> bytes:
    """Return the event of a publish. It is the same each time, so it may be made when it is sent.

    :param hook: the name of the hook, a part of the id.
    :param has_content: whether ``message`` is the message as subscribers get it; else it has only the id.
    """
    body = {
        "id": f"{message.id}-{hook}",
        "type": "publish",
        "channel": message.channel,
        "time": message.time,
        "message": msgspec.Raw(encode_message(message)) if has_content else {"id": message.id},
    }
    return encode(body)


def dead_letter(hook: str, reason: str, event: bytes) -> Draft:
    """Return the message of an event that was not delivered to its hook: ``{"reason","event"}``."""
    return Draft(DEAD + hook, encode({"reason": reason, "event": msgspec.Raw(event)}), JSON, "json")
