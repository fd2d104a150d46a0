"""What to subscribe to, and how."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from .address import split_topics

Transport = Literal["sse", "websocket"]
Since = str | float | None
"""A cursor, ``all``, ``last:N``, ``latest``, a duration such as ``5m``, or unix seconds; None: now."""


@dataclass(frozen=True)
class SubscriptionOptions:
    """The parameters of `Pushd.subscribe`."""

    topics: tuple[str, ...]
    since: Since = None
    parameters: Mapping[str, object] = field(default_factory=dict)
    """Further parameters of the request."""
    transport: Transport = "sse"
    idle_seconds: float = 60.0
    outage_seconds: float | None = None
    max_message_bytes: int = 16 << 20


def subscription_options(
    topics: str | Iterable[str],
    *,
    since: Since = None,
    slow: str | None = None,
    presence: str | None = None,
    presence_id: str | None = None,
    responder: bool = False,
    transport: Transport = "sse",
    idle_timeout: float = 60.0,
    outage_seconds: float | None = None,
    max_message_bytes: int = 16 << 20,
) -> SubscriptionOptions:
    """Return options of the parameters of `Pushd.subscribe`.

    :raises ValueError: when one is invalid.
    """
    if transport not in ("sse", "websocket"):
        raise ValueError(f"transport must be sse or websocket (got {transport!r})")
    if not idle_timeout > 0:
        raise ValueError(f"idle_timeout must be a positive number of seconds (got {idle_timeout})")
    parameters = {
        "slow": slow,
        "presence": presence,
        "presence_id": presence_id,
        "responder": 1 if responder else None,
    }
    return SubscriptionOptions(
        split_topics(topics), since, parameters, transport, idle_timeout, outage_seconds, max_message_bytes
    )
