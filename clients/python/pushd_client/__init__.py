"""A client of pushd: publish, subscribe and resume, history, presence, requests.

`Pushd` is synchronous and needs nothing but Python, `AsyncPushd` is for asyncio, `TwistedPushd` for Twisted.
"""

from typing import TYPE_CHECKING, Any

from .errors import (
    AuthenticationFailed,
    ClientClosed,
    ConnectionFailed,
    NoReply,
    NoResponders,
    NotPermitted,
    PushdError,
    Refused,
    TemporarilyRefused,
)
from .messages import End, Gap, Item, Message
from .publications import Publication
from .results import Heartbeat, History, Member, Members, Receipt, Reply
from .sync import Pushd, Subscription
from .version import VERSION as __version__

if TYPE_CHECKING:
    from .asynchronous import AsyncPushd, AsyncSubscription
    from .twisted import TwistedPushd, TwistedSubscription

__all__ = [
    "AsyncPushd",
    "AsyncSubscription",
    "AuthenticationFailed",
    "ClientClosed",
    "ConnectionFailed",
    "End",
    "Gap",
    "Heartbeat",
    "History",
    "Item",
    "Member",
    "Members",
    "Message",
    "NoReply",
    "NoResponders",
    "NotPermitted",
    "Publication",
    "Pushd",
    "PushdError",
    "Receipt",
    "Refused",
    "Reply",
    "Subscription",
    "TemporarilyRefused",
    "TwistedPushd",
    "TwistedSubscription",
    "__version__",
]
_LAZY = {
    "AsyncPushd": "asynchronous",
    "AsyncSubscription": "asynchronous",
    "TwistedPushd": "twisted",
    "TwistedSubscription": "twisted",
}
"""Names whose modules need packages that are optional."""


def __getattr__(name: str) -> Any:
    """Import a class whose packages are optional (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
