"""Replies to the messages of clients, with their errors, advice and extensions (pure)."""

from collections.abc import Mapping
from typing import Any, Final

from pushd.core.errors import (
    UNAUTHORIZED,
    AccessRefused,
    BadChannel,
    BadTopic,
    Kicked,
    NotFound,
    Refusal,
    Stopping,
)
from pushd.dialects.bayeux.envelope import ClientMessage, Malformed
from pushd.dialects.bayeux.settings import BayeuxSettings

CONNECTION_TYPES: Final = (
    "websocket",
    "eventsource",
    "long-polling",
    "cross-origin-long-polling",
    "callback-polling",
)
VERSION: Final = "1.0"
NO_SESSION: Final = "402::session_unknown"
INACTIVE: Final = "402::session_inactive"
MANY_SESSIONS: Final = "403::multiple_clients"
AGAIN: Final[Mapping[str, object]] = {"reconnect": "handshake", "interval": 0}
"""The advice after which a client makes a new session."""
GIVE_UP: Final[Mapping[str, object]] = {"reconnect": "none"}
_LATER: Final[Mapping[str, object]] = {"reconnect": "retry", "interval": 2000}
_MOST_MILLISECONDS: Final = 10**15
_ACCURATE_MILLISECONDS: Final = 25
"""The difference beyond which the clock of a client is answered again."""

Reply = dict[str, Any]


def reply_to(message: ClientMessage, **fields: object) -> Reply:
    """Return a reply that succeeds."""
    reply: Reply = {"channel": message.channel, "successful": True}
    if message.id is not None:
        reply["id"] = message.id
    return reply | fields


def failure(message: ClientMessage, error: str, **fields: object) -> Reply:
    """Return a reply that fails.

    :param error: ``CODE:ARGUMENTS:TEXT``.
    """
    return reply_to(message, successful=False, error=error, **fields)


def refused(message: ClientMessage, refusal: Refusal, argument: str = "") -> Reply:
    """Return the reply to a message that is refused."""
    return failure(message, error_of(refusal, argument))


def error_of(refusal: Refusal, argument: str = "") -> str:
    """Return the error of a refusal: its code, what it is about, and its text with the code of pushd."""
    if isinstance(refusal, BadChannel | BadTopic):
        number = 405
    elif isinstance(refusal, AccessRefused):
        number = 403
    else:
        number = 404 if isinstance(refusal, NotFound) else refusal.status
    return f"{number}:{argument}:{refusal.code}: {refusal}"


def refused_connect(message: ClientMessage, refusal: Refusal) -> Reply:
    """Return the reply to a connect that fails, with the advice that follows from the refusal."""
    if isinstance(refusal, Stopping):
        return reply_to(message, advice=_LATER)
    advice = GIVE_UP if isinstance(refusal, Kicked) else AGAIN if isinstance(refusal, UNAUTHORIZED) else _LATER
    return failure(message, error_of(refusal), advice=advice)


def malformed(message: Malformed) -> Reply:
    """Return the reply to a message that is no Bayeux message, with what is known of it."""
    reply: Reply = {"successful": False, "error": f"400::message_invalid: {message.why}"}
    for name, value in (("channel", message.channel), ("id", message.id)):
        if value is not None:
            reply[name] = value
    return reply


def no_session(message: ClientMessage) -> Reply:
    """Return the reply to a message of a client whose session is not known (any more)."""
    return failure(message, NO_SESSION, advice=AGAIN)


def advice_of(settings: BayeuxSettings, max_interval: float) -> Reply:
    """Return the times by which a client reconnects, in milliseconds.

    :param max_interval: how long its session lasts without a connect, in seconds.
    """
    return {
        "reconnect": "retry",
        "interval": round(settings.interval * 1000),
        "timeout": round(settings.timeout * 1000),
        "maxInterval": round(max_interval * 1000),
    }


def polling_advice_of(settings: BayeuxSettings, max_interval: float) -> Reply:
    """Return the advice of `advice_of` for a session that polls, since others of its browser hold connects."""
    interval = round(settings.multi_session_interval * 1000)
    return advice_of(settings, max_interval) | {"interval": interval, "multiple-clients": True}


def add_extension(reply: Reply, name: str, value: object) -> None:
    """Set a field of the `ext` of a reply."""
    reply.setdefault("ext", {})[name] = value


def _is_milliseconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST_MILLISECONDS


def time_sync(message: ClientMessage, received: float, now: float) -> Reply | None:
    """Return the answer of the extension ``timesync``; None if the message does not ask, or its client is accurate.

    :param received, now: when the message was received, and its reply is sent, in unix seconds.
    """
    asked = message.extension("timesync")
    if not isinstance(asked, dict):
        return None
    sent, lag, offset = (asked.get(name, 0) for name in ("tc", "l", "o"))
    if not all(_is_milliseconds(each) for each in (sent, lag, offset)):
        return None
    at = round(received * 1000)
    accuracy = sent + offset + lag - at
    if lag and abs(accuracy) < _ACCURATE_MILLISECONDS:
        return None
    return {"tc": sent, "ts": at, "p": round((now - received) * 1000), "a": accuracy}
