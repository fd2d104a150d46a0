"""A client of pushd: publish, subscribe and resume, history, presence, requests.

`Pushd` is synchronous and needs nothing but Python, `AsyncPushd` is for asyncio, `TwistedPushd` for Twisted.
Applications issue credentials by `sign_url` and `issue_token`, and verify hooks by `verify_webhook`.
"""

from typing import TYPE_CHECKING, Any

from .callbacks import Decision, Question, verify_question
from .core.backoff import Backoff
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
from .source_urls import SourceUrls
from .sync import Pushd, Subscription
from .tokens import issue_token
from .url_signature import UrlKey, sign_url
from .version import VERSION as __version__
from .webhooks import InvalidWebhook, verify_webhook

if TYPE_CHECKING:
    from .asynchronous import AsyncPushd, AsyncSubscription
    from .twisted import TwistedPushd, TwistedSubscription

__all__ = [
    "AsyncPushd",
    "AsyncSubscription",
    "AuthenticationFailed",
    "Backoff",
    "ClientClosed",
    "ConnectionFailed",
    "Decision",
    "End",
    "Gap",
    "Heartbeat",
    "History",
    "InvalidWebhook",
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
    "Question",
    "Receipt",
    "Refused",
    "Reply",
    "SourceUrls",
    "Subscription",
    "TemporarilyRefused",
    "TwistedPushd",
    "TwistedSubscription",
    "UrlKey",
    "__version__",
    "issue_token",
    "sign_url",
    "verify_question",
    "verify_webhook",
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
