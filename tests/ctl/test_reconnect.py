"""Who follows topics hears each message once, comes back with its last id, and stops where all has ended."""

from collections.abc import Iterator
from typing import Any

import pytest

from pushd.ctl.api_client import ApiClient
from pushd.ctl.clients import STREAM_ENDED, Item, Target
from pushd.ctl.errors import RequestRefused, TemporarilyRefused, Unreachable
from pushd.ctl.reconnect import subscribe_with_reconnect

TARGET = Target(ApiClient("http://localhost:1"), ("localhost", 1), "a")


class ScriptedTransport:
    """A way that does what a test says, one connection after the other."""

    def __init__(self, *connections: list[Any]) -> None:
        self._connections = iter(connections)
        self.cursors: list[str | None] = []
        self.delays: list[float] = []
        self.warnings: list[str] = []

    def subscribe(self, target: Target, since: str | None) -> Iterator[Item]:
        """Hear what comes next."""
        self.cursors.append(since)
        for each in next(self._connections):
            if isinstance(each, Exception):
                raise each
            yield each

    def run(self, target: Target = TARGET, since: str | None = None) -> list[Item]:
        """Follow to the end."""
        return list(subscribe_with_reconnect(self.subscribe, target, since, self.warnings.append, self.delays.append))


def message(seq: int) -> Item:
    return {"id": f"e-{seq}"}


def end(channel: str) -> Item:
    return {"type": "end", "channel": channel}


@pytest.mark.parametrize(
    "error", [ConnectionResetError("gone"), TemporarilyRefused("too much"), Unreachable("nobody"), None]
)
def test_a_break_is_said_and_it_goes_on_with_the_last_id(error):
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


def test_it_ends_when_each_of_several_channels_has():
    target = TARGET._replace(topics="a,b")
    transport = ScriptedTransport([end("a")], [end("b")])
    transport.run(target)
    assert len(transport.cursors) == 2


def test_the_longer_nobody_answers_the_longer_it_waits():
    transport = ScriptedTransport([message(1)], *[[Unreachable("nobody")]] * 12, [STREAM_ENDED])
    transport.run()
    assert all(delay <= min(2.0**number, 30) for number, delay in enumerate(transport.delays))
    assert max(transport.delays) > 1


def test_one_who_was_never_there_is_not_waited_for():
    with pytest.raises(Unreachable):
        ScriptedTransport([Unreachable("nobody")]).run()


def test_a_refusal_is_one():
    with pytest.raises(RequestRefused):
        ScriptedTransport([message(1)], [RequestRefused("no")]).run()
