"""The settings of presence."""

from dataclasses import dataclass

from pushd.config.fields import setting
from pushd.config.mistakes import shown
from pushd.config.parsers import count, duration, flag, nonblank_string, size
from pushd.core.errors import Refusal
from pushd.core.names import check_channel


def member_channel(value: object) -> str:
    """Return the name of a channel that may have members."""
    try:
        name = check_channel(nonblank_string(value))
    except Refusal as refusal:
        raise ValueError(f"{shown(value)} is not a channel name: {refusal}") from None
    if name[0] == "$":
        raise ValueError(f"{shown(value)} begins with $: these channels have no members")
    return name


@dataclass(frozen=True, slots=True)
class PresenceSettings:
    """The members of channels."""

    disabled: bool = setting(False, flag, "Refuse members, heartbeats and the list of members.", "true or false")
    grace: float = setting(
        15,
        duration(minimum=0, maximum=86_400),
        "The time in which a member whose last connection was lost may return before it leaves.",
        "seconds",
    )
    members: int = setting(100_000, count(), "The most members of all channels together.", "members")
    events: int = setting(
        1000, count(minimum=0), "The most events kept of the members of a channel.", "messages", at_restart=True
    )
    age: float = setting(
        "1h",
        duration(),
        "How long an event is kept, if that is less than history.age.",
        "seconds",
        at_restart=True,
    )
    event_bytes: int = setting(
        "64MiB",
        size(minimum=0),
        "The most bytes kept of the events of all channels; those of the channel without events for longest go first.",
        "bytes",
        at_restart=True,
    )
    heartbeat_channel: str = setting(
        "online", member_channel, "The channel whose members are the clients that send heartbeats.", "channel"
    )
    heartbeat_ttl: float = setting(
        30, duration(minimum=1, maximum=86_400), "The time after which a heartbeat must have followed.", "seconds"
    )
