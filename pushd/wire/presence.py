"""Members and their events as JSON (docs/presence.md)."""

from collections.abc import Iterable

import msgspec

from pushd.core.cursor import MessageId
from pushd.core.message import JSON, Draft
from pushd.core.names import PRESENCE
from pushd.core.presence import Changed, MemberInfo, MemberPage, PresenceEvent, Seen
from pushd.core.timestamp import round_timestamp
from pushd.wire.json_messages import encode


def event_draft(event: PresenceEvent, ttl: float | None) -> Draft:
    """Return the message of an event on the channel of events, with a type such as ``presence.enter``.

    :param ttl: seconds for which it is kept; None: as long as other messages.
    """
    action = "diff" if event.is_diff else event.changes[0].action
    body = _diff(event.changes) if event.is_diff else _single(event.changes[0])
    return Draft(PRESENCE + event.channel, encode(body), JSON, "json", f"presence.{action}", ttl)


def member_facts(member: MemberInfo) -> dict[str, object]:
    """Return a member as it is listed."""
    return {
        "id": member.id,
        "since": round_timestamp(member.since),
        "connections": member.connections,
        "meta": msgspec.Raw(member.meta),
    }


def page_facts(channel: str, page: MemberPage, cursor: MessageId) -> dict[str, object]:
    """Return a page of members: ``{"channel","count","cursor","members","next"}``."""
    return {
        "channel": channel,
        "count": page.total,
        "cursor": str(cursor),
        "members": [member_facts(member) for member in page.members],
        "next": page.next,
    }


def seen_facts(id: str, seen: Seen) -> dict[str, object]:
    """Return when a member was seen last: ``{"id","online","last","lag"}``."""
    return {"id": id, "online": seen.is_online, "last": round_timestamp(seen.last), "lag": seen.lag}


def _single(changed: Changed) -> dict[str, object]:
    member = changed.member
    return {
        "action": changed.action,
        "id": member.id,
        "meta": msgspec.Raw(member.meta),
        "reason": changed.reason,
    }


def _diff(changes: Iterable[Changed]) -> dict[str, object]:
    items: dict[str, list[dict[str, object]]] = {"enter": [], "update": [], "leave": []}
    for changed in changes:
        facts = member_facts(changed.member)
        items[changed.action].append(facts | {"reason": changed.reason} if changed.action == "leave" else facts)
    return {"action": "diff", **items}
