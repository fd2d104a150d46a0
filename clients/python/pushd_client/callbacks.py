"""The callback: the daemon asks the application what a peer may do (``[auth.callback]``)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .key_material import Secret
from .webhooks import Headers, verify_webhook

REFUSED_TTL: Final = 5.0
"""The seconds for which a refusal is valid: a user who logs in does not wait longer."""


@dataclass(frozen=True)
class Question:
    """What the daemon asks: may this peer do this?"""

    action: str
    """``connect``, ``subscribe`` or ``publish``."""
    topics: list[str]
    """The topics to read, or the channels to publish to; empty for ``connect``."""
    sub: str | None = None
    """The subject of its credential, which the daemon has verified; None without one."""
    claims: Mapping[str, Any] | None = None
    """All claims of a JSON Web Token; None for other credentials."""
    address: str = ""
    """The address of the client."""
    connection: str | None = None
    """The id of a WebSocket or TCP connection, for its subscriptions and publishes."""
    transport: str = ""
    """``sse``, ``websocket``, ``tcp``, ``http`` …"""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Those of ``forward_headers`` that the request had."""

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies of the header ``Cookie``; empty if that is not forwarded."""
        text = next((value for name, value in self.headers.items() if name.lower() == "cookie"), "")
        pairs = (pair.partition("=") for pair in text.split(";"))
        return {name.strip(): value.strip() for name, equals, value in pairs if equals}


@dataclass(frozen=True)
class Decision:
    """An answer to the daemon."""

    allow: bool
    grant: Mapping[str, Any] | None = None
    """What a peer may do; None: what its credential, or ``[auth.anonymous]``, grants."""
    ttl: float | None = None
    """For how many seconds the same question has this answer; None: 60, or 5 if it is a refusal."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of the answer."""
        ttl = REFUSED_TTL if self.ttl is None and not self.allow else self.ttl
        members = {"allow": self.allow, "grant": None if self.grant is None else dict(self.grant), "ttl": ttl}
        return {name: value for name, value in members.items() if value is not None}


Answer = Decision | Mapping[str, Any] | bool | None
"""A decision; or a grant, which is allowed; or whether the action is allowed; None: it is not."""


def verify_question(headers: Headers, body: bytes, secret: Secret | Iterable[Secret]) -> Question:
    """Verify the signature of a callback, and return the question. See `verify_webhook` for the rest.

    :raises InvalidWebhook: when the request must not be trusted.
    """
    fields = verify_webhook(headers, body, secret)
    known = {name: fields[name] for name in Question.__dataclass_fields__ if name in fields}
    return Question(**{"action": "", "topics": [], **known})


def decide(answer: Answer) -> Decision:
    """Return the decision that an answer stands for.

    :raises TypeError: when it is none.
    """
    if isinstance(answer, Decision):
        return answer
    if isinstance(answer, Mapping):
        return Decision(True, answer)
    if answer is None or isinstance(answer, bool):
        return Decision(bool(answer))
    raise TypeError(f"answer must be a grant, a Decision, a bool or None (got {type(answer).__name__})")
