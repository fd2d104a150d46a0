"""Events of hooks as JSON: ``{"id","type","channel","time",...}`` (docs/hooks.md)."""

import msgspec

from pushd.core.message import JSON, Draft, Message
from pushd.core.names import DEAD
from pushd.wire.json_messages import encode, encode_message


def publish_event(hook: str, id: str, channel: str, time: float, content: Message | None = None) -> bytes:
    """Return the event of a publish. It is the same each time, so it may be made when it is sent.

    :param hook: the name of the hook, a part of the id of the event.
    :param id: the id of the message.
    :param time: when it was accepted, in unix seconds.
    :param content: the message, if the event has all of it; else it has only the id.
    """
    message = {"id": id} if content is None else msgspec.Raw(encode_message(content))
    return encode({"id": f"{id}-{hook}", "type": "publish", "channel": channel, "time": time, "message": message})


def message_tail(draft: Draft) -> bytes:
    """Return the JSON of a message after its time, for a backend that makes the event where the message is stored."""
    fields = draft.channel, 0.0, draft.data, draft.content_type, draft.encoding, draft.event, draft.end, draft.sender
    head = b'{"id":"-0","prev":null,"channel":%b,"time":0.0' % encode(draft.channel)
    return encode_message(Message("", 0, None, *fields)).removeprefix(head)


def dead_letter_draft(hook: str, reason: str, event: bytes) -> Draft:
    """Return the message of an event that its hook did not receive: ``{"reason","event"}``."""
    return Draft(DEAD + hook, encode({"reason": reason, "event": msgspec.Raw(event)}), JSON, "json")
