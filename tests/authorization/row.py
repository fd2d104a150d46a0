"""What a row of the table of requests and commands is, and what is prepared before it is sent.

A row is one way to use the daemon. `needs` are the actions and operations that a grant must have; nothing else may be
necessary. `test_matrix.py` sends each row with several credentials; `test_exhaustive.py` checks that none is missing.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tests.authorization.credentials import HEARTBEATS, SETUP, bearer
from tests.transports.client import Received
from tests.transports.daemon import RunningDaemon
from tests.transports.http_client import HttpClient, encode_request
from tests.transports.websocket_client import JsonWebSocket

ALLOWED: Final = "allowed"
CHANNEL: Final = "room/a"
"""The channel of most rows. It has two messages."""
CHALLENGES: Final = {
    "token-missing": (401, "Bearer"),
    "token-invalid": (401, 'Bearer error="invalid_token"'),
    "token-revoked": (401, 'Bearer error="invalid_token"'),
    "forbidden": (403, 'Bearer error="insufficient_scope"'),
    "unavailable": (503, ""),
}
"""The status and ``WWW-Authenticate`` of each code (RFC 6750, section 3.1)."""
READ: Final = ("subscribe", "history")
"""What a subscription with a cursor needs."""


class Prepared(NamedTuple):
    """A daemon with messages in `CHANNEL`, and the cursor of the first."""

    daemon: RunningDaemon
    cursor: str
    connection: str
    """The id of an open connection."""
    reply_to: str = ""
    """The channel for the reply to an open request."""


async def prepare(daemon: RunningDaemon) -> Prepared:
    """Publish two messages, and open a connection."""
    ids = [(await daemon.request("POST", f"/pub/{CHANNEL}", b"x", bearer(SETUP))).json["id"] for _ in range(2)]
    client: HttpClient = daemon.connect("http", HttpClient(encode_request("GET", "/sse/other", None, bearer(SETUP))))
    await client.head
    for path in (f"/presence/{CHANNEL}/bob?ttl=3600", f"/presence/{HEARTBEATS}/bob?ttl=3600"):
        await daemon.request("PUT", path, b"", bearer(SETUP))
    connections = (await daemon.request("GET", "/connections", None, bearer(SETUP))).json
    return Prepared(daemon, ids[0], connections[0]["id"])


async def prepare_request(daemon: RunningDaemon) -> Prepared:
    """Do the same, and open a request."""
    prepared, responder = await prepare(daemon), JsonWebSocket(daemon)
    await responder.open(f"/ws/{CHANNEL}", bearer(SETUP))
    daemon.connect("http", HttpClient(encode_request("POST", f"/request/{CHANNEL}?timeout=60", b"x", bearer(SETUP))))
    message = await responder.next()
    assert isinstance(message, Received)
    assert message.reply_to is not None
    return prepared._replace(reply_to=message.reply_to)


@dataclass(frozen=True)
class Row:
    """One way to use the daemon."""

    label: str
    needs: tuple[str, ...]
    """Actions and operations. If it is empty, any credential is accepted."""
    send: Callable[[Prepared, str | None], Coroutine[Any, Any, str]] = field(repr=False)
    """Send it with a token, or without one; return `ALLOWED` or the code of the refusal."""
    is_open: bool = False
    """Whether it is answered without a credential, and does not look at one."""
    prepare: Callable[[RunningDaemon], Coroutine[Any, Any, "Prepared"]] = field(default=prepare, repr=False)
    needs_token: bool = False
    """Whether it is refused without a credential even where everything is granted to anonymous peers."""
    begins_session: bool = False
    """Whether it does no more than to begin a session, for which an application that decides about topics suffices."""
