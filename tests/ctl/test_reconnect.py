"""A subscription resumes from its last id after a disconnect, and stops when all channels have ended."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pushd.ctl.api_client import ApiClient
from pushd.ctl.clients import STREAM_ENDED, Item, Target
from pushd.ctl.credential import Credential
from pushd.ctl.errors import CredentialRefused, RequestRefused, TemporarilyRefused, Unreachable
from pushd.ctl.reconnect import subscribe_with_reconnect

TARGET = Target(ApiClient("http://localhost:1"), ("localhost", 1), "a")


class ScriptedTransport:
    """A transport that follows a script, one list per connection."""

    def __init__(self, *connections: list[Any]) -> None:
        self._connections = iter(connections)
        self.cursors: list[str | None] = []
        self.delays: list[float] = []
        self.warnings: list[str] = []

    def subscribe(self, target: Target, since: str | None) -> Iterator[Item]:
        """Yield or raise the items of the next connection."""
        self.cursors.append(since)
        for each in next(self._connections):
            if isinstance(each, Exception):
                raise each
            yield each

    def run(self, target: Target = TARGET, since: str | None = None) -> list[Item]:
        """Subscribe until the end; return all items."""
        return list(subscribe_with_reconnect(self.subscribe, target, since, self.warnings.append, self.delays.append))


def message(seq: int) -> Item:
    return {"id": f"e-{seq}"}


def end(channel: str) -> Item:
    return {"type": "end", "channel": channel}


@pytest.mark.parametrize(
    "error", [ConnectionResetError("reset"), TemporarilyRefused("too much"), Unreachable("timeout"), None]
)
def test_disconnect_is_reported_and_resumed_from_the_last_id(error):
    transport = ScriptedTransport([message(1), *([error] if error else [])], [message(2), end("a")])
    assert transport.run(since="all") == [message(1), message(2), end("a")]
    assert transport.cursors == ["all", "e-1"]
    assert len(transport.warnings) == len(transport.delays) == 1
    assert 0 <= transport.delays[0] <= 1


def test_control_objects_do_not_move_the_cursor():
    gap = {"type": "gap", "topic": "a", "from": "e-1", "to": "e-5", "reason": "evicted"}
    transport = ScriptedTransport([message(1), gap, OSError()], [STREAM_ENDED])
    transport.run()
    assert transport.cursors == [None, "e-1"]


def test_ends_when_all_channels_have_ended():
    target = TARGET._replace(topics="a,b")
    transport = ScriptedTransport([end("a")], [end("b")])
    transport.run(target)
    assert len(transport.cursors) == 2


def test_reconnect_delay_grows_while_unreachable():
    transport = ScriptedTransport([message(1)], *[[Unreachable("timeout")]] * 12, [STREAM_ENDED])
    transport.run()
    assert all(delay <= min(2.0**number, 30) for number, delay in enumerate(transport.delays))
    assert max(transport.delays) > 1


def test_unreachable_at_first_is_an_error():
    with pytest.raises(Unreachable):
        ScriptedTransport([Unreachable("timeout")]).run()


def test_refusal_is_an_error():
    with pytest.raises(RequestRefused):
        ScriptedTransport([message(1)], [RequestRefused("no")]).run()


EXPIRED = {"type": "expired", "code": "token-expired"}


@pytest.mark.parametrize("end", [CredentialRefused("token-expired: token has expired (claim exp)"), EXPIRED])
def test_refused_token_ends_the_subscription(end: Any) -> None:
    transport = ScriptedTransport([message(1), OSError()], [message(2), end])
    with pytest.raises(CredentialRefused, match="token-expired: "):
        transport.run()
    assert (len(transport.cursors), len(transport.delays)) == (2, 1)


@pytest.mark.parametrize("end", [CredentialRefused("token-revoked: gone"), EXPIRED])
def test_refused_token_is_replaced_once_by_that_of_the_file(end: Any, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old")
    target = TARGET._replace(api=ApiClient("http://localhost:1", Credential(file=file)))
    transport = ScriptedTransport([message(1), end], [message(2), end])
    used: list[str | None] = []

    def subscribe(target: Target, since: str | None) -> Iterator[Item]:
        used.append(target.api.credential.token())
        file.write_text("new")
        yield from transport.subscribe(target, since)

    received = []
    with pytest.raises(CredentialRefused):
        for item in subscribe_with_reconnect(
            subscribe, target, None, transport.warnings.append, transport.delays.append
        ):
            received.append(item)
    assert (received, used) == ([message(1), message(2)], ["old", "new"])
    assert transport.cursors == [None, "e-1"]
    assert len(transport.delays) == 1
    assert "reconnecting with the new token" in transport.warnings[0]
