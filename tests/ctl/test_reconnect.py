"""Who follows topics hears each message once, comes back with its last id, and stops where all has ended."""

from collections.abc import Iterator
from typing import Any

import pytest

from pushd.ctl.api_client import Web
from pushd.ctl.clients import ENDED, Heard, Place
from pushd.ctl.errors import Later, NotReachable, Refused
from pushd.ctl.reconnect import follow

PLACE = Place(Web("http://localhost:1"), ("localhost", 1), "a")


class Script:
    """A way that does what a test says, one connection after the other."""

    def __init__(self, *connections: list[Any]) -> None:
        self._connections = iter(connections)
        self.cursors: list[str | None] = []
        self.waits: list[float] = []
        self.said: list[str] = []

    def way(self, place: Place, since: str | None) -> Iterator[Heard]:
        """Hear what comes next."""
        self.cursors.append(since)
        for each in next(self._connections):
            if isinstance(each, Exception):
                raise each
            yield each

    def follow(self, place: Place = PLACE, since: str | None = None) -> list[Heard]:
        """Follow to the end."""
        return list(follow(self.way, place, since, self.said.append, self.waits.append))


def message(seq: int) -> Heard:
    return {"id": f"e-{seq}"}


def end(channel: str) -> Heard:
    return {"type": "end", "channel": channel}


@pytest.mark.parametrize("broken", [ConnectionResetError("gone"), Later("too much"), NotReachable("nobody"), None])
def test_a_break_is_said_and_it_goes_on_with_the_last_id(broken):
    script = Script([message(1), *([broken] if broken else [])], [message(2), end("a")])
    assert script.follow(since="all") == [message(1), message(2), end("a")]
    assert script.cursors == ["all", "e-1"]
    assert len(script.said) == len(script.waits) == 1
    assert 0 <= script.waits[0] <= 1


def test_control_objects_do_not_move_the_cursor():
    gap = {"type": "gap", "topic": "a", "from": "e-1", "to": "e-5", "reason": "evicted"}
    script = Script([message(1), gap, OSError()], [ENDED])
    script.follow()
    assert script.cursors == [None, "e-1"]


def test_it_ends_when_each_of_several_channels_has():
    place = PLACE._replace(topics="a,b")
    script = Script([end("a")], [end("b")])
    script.follow(place)
    assert len(script.cursors) == 2


def test_the_longer_nobody_answers_the_longer_it_waits():
    script = Script([message(1)], *[[NotReachable("nobody")]] * 12, [ENDED])
    script.follow()
    assert all(wait <= min(2.0**number, 30) for number, wait in enumerate(script.waits))
    assert max(script.waits) > 1


def test_one_who_was_never_there_is_not_waited_for():
    with pytest.raises(NotReachable):
        Script([NotReachable("nobody")]).follow()


def test_a_refusal_is_one():
    with pytest.raises(Refused):
        Script([message(1)], [Refused("no")]).follow()
