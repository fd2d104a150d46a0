"""The keyword arguments of methods that several clients have; `Pushd` describes them."""

from typing import TypedDict

from .subscription_options import Since, Transport


class PublishKeywords(TypedDict, total=False):
    """Those of `Pushd.publish`, except the key."""

    content_type: str | None
    event: str | None
    ttl: float | None
    end: bool
    keep: bool | None
    except_: str | None


class SubscribeKeywords(TypedDict, total=False):
    """Those of `Pushd.subscribe`."""

    since: Since
    slow: str | None
    presence: str | None
    presence_id: str | None
    responder: bool
    transport: Transport
    idle_timeout: float
    outage_seconds: float | None
    max_message_bytes: int
