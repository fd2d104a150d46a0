"""A narrower token, by another request, while a command of the connection is under way: nothing lost is sent."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from pushd.core.grant import Grant
from tests.authorization.credentials import EVERYTHING, SETUP, Credentials, bearer, subject_of
from tests.daemon_fixtures import Start
from tests.transports.client import Received
from tests.transports.daemon import RunningDaemon, turns, until
from tests.transports.line_client import JsonLines
from tests.transports.websocket_client import CommandWebSocket

TOKEN = "token-of-the-renewals"
NARROW = Grant.parse({"subscribe": ["kept"], "history": ["kept"]}, subject_of(TOKEN), where="test")


@pytest_twisted.async_fixture
async def daemon(start_daemon: Start, tmp_path: Path) -> RunningDaemon:
    """A daemon with messages in two channels."""
    credentials = Credentials(tmp_path)
    credentials.write({TOKEN: EVERYTHING})
    daemon = await start_daemon({}, file=credentials.file)
    await publish(daemon, "before")
    return daemon


async def publish(daemon: RunningDaemon, text: str) -> None:
    """Publish to the channel that is kept, and to the one that is lost."""
    for channel in ("lost", "kept"):
        await daemon.request("POST", f"/pub/{channel}", f"{channel} {text}".encode(), bearer(SETUP))


def stall(daemon: RunningDaemon, patch: pytest.MonkeyPatch, call: str) -> tuple[Deferred[None], list[None]]:
    """Let a call of the backend wait for the Deferred; the list has an item for each call."""
    backend = daemon._service.hub._backend
    original: Callable[..., Any] = getattr(backend, call)
    gate: Deferred[None] = Deferred()
    called: list[None] = []

    async def later(*arguments: Any) -> Any:
        called.append(None)
        if not gate.called:
            waiting: Deferred[None] = Deferred()
            gate.addCallback(lambda _: waiting.callback(None))
            await waiting
        return await original(*arguments)

    patch.setattr(backend, call, later)
    return gate, called


@pytest.mark.parametrize("client_class", [JsonLines, CommandWebSocket], ids=["tcp", "websocket"])
@pytest.mark.parametrize(("call", "since"), [("open", None), ("open", "all"), ("page", "all"), ("page", "last:5")])
@pytest_twisted.ensureDeferred
async def test_topic_that_is_lost_while_it_is_opened_or_replayed(
    daemon: RunningDaemon,
    monkeypatch: pytest.MonkeyPatch,
    client_class: type[JsonLines] | type[CommandWebSocket],
    call: str,
    since: str | None,
) -> None:
    client = client_class(daemon)
    if isinstance(client, JsonLines):
        client.open()
        await client.ask(f"AUTH {TOKEN}")
    else:
        await client.open("/ws", bearer(TOKEN))
    gate, called = stall(daemon, monkeypatch, call)
    if isinstance(client, JsonLines):
        client.send("SUB lost,kept" + (f" since={since}" if since else ""))
    else:
        client.ask(subscribe="lost,kept", **({"since": since} if since else {}))
    await until(lambda: bool(called), "the call")
    (subscriber,) = daemon.subscribers("lost")
    assert subscriber.peer.identity is not None
    narrow = replace(subscriber.peer.identity, grant=NARROW)
    assert list(daemon._service.hub.credentials.accept(subscriber, narrow)) == ["lost"]
    gate.callback(None)
    await publish(daemon, "after")
    await turns()
    received = [item.data.decode() for item in client.taken() if isinstance(item, Received)]
    assert received == (["kept before"] if since else []) + ["kept after"]
