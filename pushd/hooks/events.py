"""Events as JSON, apart from those that the backend adds for publishes; see `pushd.wire.hook_events`."""

import secrets

import msgspec

from pushd.backends.hook_outbox import QueuedEvent
from pushd.core.names import PRESENCE
from pushd.core.timestamp import round_timestamp
from pushd.hooks.endpoint import EventType, HookEndpoint
from pushd.wire.json_messages import encode


def event(kind: EventType, channel: str, time: float, **fields: str | None) -> bytes:
    """Return an event with a new id.

    :param channel: empty for the events of connections.
    :param time: unix seconds.
    :param fields: further fields; those that are None are left out.
    """
    body: dict[str, object] = {"id": f"evt_{secrets.token_urlsafe(16)}", "type": kind}
    if channel:
        body["channel"] = channel
    body["time"] = round_timestamp(time)
    return encode(body | {name: value for name, value in fields.items() if value is not None})


class _Member(msgspec.Struct):
    id: str
    reason: str | None = None


class _Presence(msgspec.Struct):
    action: str
    id: str = ""
    reason: str | None = None
    enter: list[_Member] = []
    leave: list[_Member] = []


class _Message(msgspec.Struct):
    data: _Presence


class _Published(msgspec.Struct):
    id: str
    time: float
    message: _Message


_decode = msgspec.json.Decoder(_Published).decode


def sent_events(endpoint: HookEndpoint, queued: QueuedEvent) -> list[bytes]:
    """Return the events that an event of the outbox is sent as.

    It is itself, unless it is the publish of an event of presence, which reports the changes of one or more members.
    They are `enter` and `leave`, each with an id that is the same each time.
    """
    if not queued.channel.startswith(PRESENCE):
        return [queued.body]
    published, channel = _decode(queued.body), queued.channel.removeprefix(PRESENCE)
    changes = [change for change in _changes(published.message.data) if endpoint.wants(change[0], channel)]
    return [
        encode(
            {"id": f"{published.id}-{number}", "type": kind, "channel": channel, "time": published.time}
            | {"member": member.id}
            | ({} if member.reason is None else {"reason": member.reason})
        )
        for number, (kind, member) in enumerate(changes, 1)
    ]


def _changes(presence: _Presence) -> list[tuple[EventType, _Member]]:
    member = _Member(presence.id, presence.reason)
    match presence.action:
        case "enter":
            return [("enter", member)]
        case "leave":
            return [("leave", member)]
    left: list[tuple[EventType, _Member]] = [("leave", each) for each in presence.leave]
    return [*left, *(("enter", each) for each in presence.enter)]
