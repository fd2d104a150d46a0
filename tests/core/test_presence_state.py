"""The members of channels, and that their events always result in the same members."""

import copy
import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushd.core.errors import TooManyMembers, UnknownMember
from pushd.core.presence import (
    Change,
    EndLease,
    Enter,
    Leave,
    MemberInfo,
    PresenceEvent,
    Renew,
    Row,
    Seen,
    Update,
)
from pushd.core.presence_state import PresenceState

GRACE = 15.0
WALL = 1_000_000.0
"""Unix seconds at the monotonic second 0."""


class Scene:
    """Members, the time, and what a subscriber to the events makes of them."""

    def __init__(self, limit: int = 1000, grace: float = GRACE) -> None:
        self.state = PresenceState(grace, limit)
        self.now = 0.0
        self.events: list[PresenceEvent] = []

    def do(self, change: Change) -> None:
        """Apply a change."""
        self.state.apply(change, self.now, WALL + self.now)
        self.events += self.state.take_events()

    def wait(self, seconds: float) -> None:
        """Let seconds pass, with a call whenever something is due."""
        until = self.now + seconds
        while self.state.due <= until:
            self.now = max(self.now, self.state.due)
            self.state.advance(self.now, WALL + self.now)
        self.now = until
        self.events += self.state.take_events()

    def leave(self, id: str = "a", channel: str = "c", *, is_final: bool = True) -> None:
        """Close a connection."""
        self.do(Leave(channel, id, "client" if is_final else "timeout", is_final))

    def told(self) -> list[str]:
        """Return the events since the last call, as words."""
        words = []
        for event in self.events:
            actions = [f"{each.action} {each.member.id}" for each in event.changes]
            words.append(f"diff({', '.join(actions)})" if event.is_diff else actions[0])
        self.events = []
        return words

    def members(self, channel: str = "c") -> list[str]:
        """Return the ids of the members of a channel."""
        return [member.id for member in self.state.page(channel, "", 1000).members]


@pytest.fixture
def scene() -> Scene:
    """Members of which there are none yet."""
    return Scene()


def test_only_the_first_and_the_last_connection_are_events(scene: Scene) -> None:
    for _ in range(3):
        scene.do(Enter("c", "a"))
    assert scene.state.info("c", "a") == MemberInfo("a", WALL, 3, b"null")
    scene.leave()
    scene.leave()
    assert scene.told() == ["enter a"]
    scene.leave()
    assert scene.told() == ["leave a"]
    assert scene.members() == []
    assert scene.state.channels == len(scene.state) == 0


def test_a_lost_connection_may_return_within_the_grace(scene: Scene) -> None:
    scene.do(Enter("c", "a"))
    scene.leave(is_final=False)
    scene.wait(GRACE - 0.1)
    assert scene.members() == ["a"]
    scene.do(Enter("c", "a"))
    scene.wait(10 * GRACE)
    assert scene.told() == ["enter a"]
    scene.leave(is_final=False)
    scene.wait(GRACE)
    assert scene.told() == ["leave a"]
    assert scene.events == []


def test_the_last_connection_decides(scene: Scene) -> None:
    scene.do(Enter("c", "a"))
    scene.do(Enter("c", "a"))
    scene.leave(is_final=False)
    scene.leave()
    assert scene.told() == ["enter a", "leave a"]


def test_a_clean_leave_after_a_return_is_at_once(scene: Scene) -> None:
    scene.do(Enter("c", "a"))
    scene.leave(is_final=False)
    scene.do(Enter("c", "a"))
    scene.leave()
    assert scene.told() == ["enter a", "leave a"]


def test_the_event_of_leaving_has_the_reason_of_the_lost_connection(scene: Scene) -> None:
    scene.do(Enter("c", "a"))
    scene.do(Leave("c", "a", "slow", is_final=False))
    scene.wait(GRACE)
    assert [each.reason for event in scene.events for each in event.changes] == [None, "slow"]


def test_without_a_grace_a_lost_connection_leaves_at_once() -> None:
    scene = Scene(grace=0)
    scene.do(Enter("c", "a"))
    scene.leave(is_final=False)
    assert scene.told() == ["enter a", "leave a"]


def test_a_connection_that_is_not_there_cannot_leave(scene: Scene) -> None:
    scene.leave()
    scene.do(Renew("c", "a", 30))
    scene.leave()
    assert scene.told() == ["enter a"]


def test_a_lease_lasts_until_its_time_unless_it_is_renewed(scene: Scene) -> None:
    scene.do(Renew("c", "a", 30))
    for _ in range(10):
        scene.wait(29)
        scene.do(Renew("c", "a", 30))
    assert scene.told() == ["enter a"]
    scene.wait(29.9)
    assert scene.members() == ["a"]
    scene.wait(0.1)
    assert scene.told() == ["leave a"]


def test_a_shorter_lease_ends_earlier(scene: Scene) -> None:
    scene.do(Renew("c", "a", 3000))
    scene.do(Renew("c", "a", 2))
    scene.wait(2)
    assert scene.told() == ["enter a", "leave a"]


def test_a_lease_that_is_ended_leaves_at_once(scene: Scene) -> None:
    scene.do(Renew("c", "a", 30))
    scene.do(EndLease("c", "a"))
    assert scene.told() == ["enter a", "leave a"]
    with pytest.raises(UnknownMember):
        scene.do(EndLease("c", "a"))


def test_a_member_has_a_lease_and_connections(scene: Scene) -> None:
    scene.do(Renew("c", "a", 30))
    scene.do(Enter("c", "a"))
    scene.wait(100)
    assert scene.members() == ["a"]
    scene.do(Renew("c", "a", 30))
    scene.leave()
    assert scene.members() == ["a"]
    scene.wait(30)
    assert scene.told() == ["enter a", "leave a"]


def test_what_describes_a_member_is_updated_where_it_changes(scene: Scene) -> None:
    scene.do(Enter("c", "a", b"1"))
    scene.do(Enter("c", "a"))
    scene.do(Enter("c", "a", b"1"))
    scene.do(Update("c", "a", b"1"))
    scene.do(Renew("c", "a", 30, b"1"))
    scene.do(Renew("c", "a", 30))
    assert scene.told() == ["enter a"]
    scene.do(Update("c", "a", b"2"))
    scene.do(Renew("c", "a", 30, b"null"))
    assert scene.told() == ["update a", "update a"]
    with pytest.raises(UnknownMember):
        scene.do(Update("c", "b", b"2"))


def test_members_are_paged_in_the_order_of_their_ids(scene: Scene) -> None:
    ids = [f"m{number}" for number in range(25)]
    for id in reversed(ids):
        scene.do(Enter("c", id))
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page = scene.state.page("c", after, 10)
        assert page.total == scene.state.count("c") == 25
        found += [member.id for member in page.members]
        after = page.next
    assert found == sorted(ids)
    assert scene.state.page("d", "", 10) == (0, (), None)
    assert scene.state.page("c", "m99", 10).next is None


def test_members_are_limited_over_all_channels() -> None:
    scene = Scene(limit=2)
    scene.do(Enter("c", "a"))
    scene.do(Renew("d", "a", 30))
    scene.do(Enter("d", "a"))
    with pytest.raises(TooManyMembers):
        scene.do(Enter("c", "b"))
    scene.leave()
    scene.do(Enter("c", "b"))


def test_many_changes_are_one_diff_a_second(scene: Scene) -> None:
    for number in range(100):
        scene.do(Enter("c", f"{number:02}"))
    assert len(scene.told()) == 20
    scene.do(Enter("d", "x"))
    scene.wait(1)
    others, diff = scene.told()
    assert others == "enter x"
    assert diff == f"diff({', '.join(f'enter {number:02}' for number in range(20, 100))})"
    scene.leave("00")
    scene.do(Update("c", "01", b"1"))
    assert scene.told() == []
    scene.wait(1)
    assert scene.told() == ["diff(leave 00, update 01)"]
    scene.do(Enter("c", "00"))
    assert scene.told() == ["enter 00"]


def test_a_diff_says_what_has_become_of_a_member(scene: Scene) -> None:
    scene.do(Enter("c", "stays"))
    for number in range(20):
        scene.do(Enter("c", f"{number:02}"))
    scene.told()
    scene.wait(0.5)
    scene.leave("stays")
    scene.do(Enter("c", "stays", b"1"))
    scene.do(Enter("c", "passes"))
    scene.leave("passes")
    scene.do(Enter("c", "new"))
    scene.do(Update("c", "new", b"2"))
    scene.wait(0.5)
    assert scene.told() == ["diff(enter 19, update stays, leave passes, enter new)"]


def test_much_is_done_in_many_steps() -> None:
    """All connections of a large room are lost at the same time, as after a failure of the network."""
    scene, number = Scene(limit=3000), 3000
    for each in range(number):
        scene.do(Enter("c", f"{each:04}"))
    scene.wait(2)
    for each in range(number):
        scene.leave(f"{each:04}", is_final=False)
    scene.told()
    scene.now += GRACE
    steps = 0
    while scene.state.due <= scene.now:
        scene.state.advance(scene.now, WALL + scene.now)
        assert sum(len(event.changes) for event in scene.state.take_events()) <= 300
        steps += 1
    assert steps >= number // 100
    scene.wait(2)
    assert scene.members() == []
    diffs = [word for word in scene.told() if word.startswith("diff")]
    assert sum(diff.count("leave") for diff in diffs) == number - 20


def test_a_large_diff_is_split(scene: Scene) -> None:
    for number in range(720):
        scene.do(Enter("c", f"{number:03}"))
    scene.told()
    scene.wait(1)
    diffs = [word for word in scene.told() if word.startswith("diff")]
    assert [diff.count("enter") for diff in diffs] == [200, 200, 200, 100]


def test_events_that_were_not_published_are_part_of_the_next_diff(scene: Scene) -> None:
    scene.do(Enter("c", "a"))
    lost, scene.events = scene.events, []
    scene.do(Enter("c", "b"))
    scene.told()
    scene.state.put_back(lost, scene.now)
    assert scene.state.take_unsaved() == set()
    scene.leave("a")
    scene.leave("b")
    assert scene.told() == []
    scene.wait(1)
    assert scene.told() == ["diff(leave a, leave b)"]


def test_who_left_was_seen_last_then(scene: Scene) -> None:
    scene.do(Enter("c", "a"))
    scene.wait(10)
    assert scene.state.seen("c", "a", WALL + 10) == Seen(True, WALL + 10, None)
    scene.leave()
    scene.wait(3600)
    assert scene.state.seen("c", "a", WALL) == Seen(False, WALL + 10, None)
    scene.do(Renew("c", "a", 30, lag=7))
    scene.wait(20)
    scene.do(Renew("c", "a", 30))
    assert scene.state.seen("c", "a", WALL) == Seen(True, WALL + 3630, 7)
    scene.wait(50)
    assert scene.state.seen("c", "a", WALL) == Seen(False, WALL + 3630, 7)
    scene.wait(24 * 3600)
    scene.do(Enter("c", "b"))
    assert scene.state.seen("c", "a", WALL) is None


def test_the_members_of_the_previous_run_are_in_grace() -> None:
    scene = Scene()
    rows = [
        Row("c", "a", WALL - 5, b"1", None, None, None, None),
        Row("c", "b", WALL - 5, None, 40.0, WALL - 1, 3, None),
        Row("c", "gone", 0.0, None, None, WALL - 9, None, -9.0),
        Row("c", "returns", WALL - 5, None, None, None, None, None),
    ]
    scene.state.restore(rows, scene.now)
    assert list(scene.state.rows()) == [rows[0], rows[1], rows[3]]
    assert scene.state.row("c", "gone") == rows[2]
    assert scene.members() == ["a", "b", "returns"]
    scene.do(Enter("c", "returns"))
    assert scene.told() == []
    scene.wait(GRACE)
    assert scene.told() == ["leave a"]
    scene.wait(25)
    assert scene.told() == ["leave b"]


def test_rows_change_with_the_events_and_with_leases(scene: Scene) -> None:
    scene.do(Renew("c", "a", 30))
    assert scene.state.take_unsaved() == {("c", "a")}
    assert scene.state.take_unsaved() == set()
    scene.do(EndLease("c", "a"))
    row = scene.state.row("c", "a")
    assert row is not None
    assert row.left == scene.now
    assert scene.state.row("c", "b") is None


IDS = st.sampled_from("abc")
CHANGES: list[Callable[[str], Change]] = [
    lambda id: Enter("c", id),
    lambda id: Enter("c", id, b"1"),
    lambda id: Update("c", id, b"2"),
    lambda id: Leave("c", id, "client", True),
    lambda id: Leave("c", id, "timeout", False),
    lambda id: Renew("c", id, 0.7),
    lambda id: Renew("c", id, 3.0, b"3"),
    lambda id: EndLease("c", id),
]
STEPS = st.tuples(st.sampled_from(CHANGES), IDS, st.sampled_from([0.0, 0.0, 0.0, 0.0, 0.01, 0.3, 1.0, 2.5]))


def replay(events: list[PresenceEvent], members: dict[str, bytes]) -> dict[str, bytes]:
    """Return the members after events, with what describes them."""
    for event in events:
        for changed in event.changes:
            if changed.action == "leave":
                members.pop(changed.member.id, None)
            else:
                members[changed.member.id] = changed.member.meta
    return members


def listed(state: PresenceState) -> dict[str, bytes]:
    """Return the members as they are listed."""
    return {member.id: member.meta for member in state.page("c", "", 1000).members}


@given(st.lists(STEPS, max_size=120), st.integers(0, 119), st.booleans())
@settings(max_examples=300, deadline=None)
def test_the_list_is_the_replay_of_the_events_at_any_moment(
    steps: list[tuple[Callable[[str], Change], str, float]], joins: int, fails: bool
) -> None:
    """Also for a subscriber that has read the list at any moment and follows the events from there."""
    scene = Scene(grace=1.5)
    published: list[PresenceEvent] = []
    joined: dict[str, bytes] = {}
    since = 0
    for number, (make, id, pause) in enumerate(steps):
        with suppress(UnknownMember):
            scene.do(make(id))
        scene.wait(pause)
        if fails and number % 7 == 3:  # the backend cannot store these
            scene.state.put_back(scene.events, scene.now)
        else:
            published += scene.events
        scene.events = []
        if number == joins:
            joined, since = listed(scene.state), len(published)
        later = copy.deepcopy(scene.state)
        later.flush()
        rest = later.take_events()
        assert replay(published + rest, {}) == listed(scene.state)
        if number >= joins:
            assert replay(published[since:] + rest, dict(joined)) == listed(scene.state)
    scene.wait(10)
    published += scene.events
    assert replay(published, {}) == listed(scene.state)
    assert len(scene.state) == len(listed(scene.state))


@given(st.lists(STEPS, max_size=200))
@settings(max_examples=100, deadline=None)
def test_at_most_twenty_events_and_a_diff_in_a_second(
    steps: list[tuple[Callable[[str], Change], str, float]],
) -> None:
    scene = Scene(grace=1.5)
    times: list[float] = []
    for make, id, pause in steps:
        with suppress(UnknownMember):
            scene.do(make(id))
        times += [scene.now] * len(scene.events)
        scene.events = []
        scene.wait(pause)
        times += [scene.now] * len(scene.events)
        scene.events = []
    for start in times:
        assert sum(start <= time < start + 1 for time in times) <= 2 * 21


def test_a_member_takes_at_most_300_bytes() -> None:
    number = 20_000
    state = PresenceState(GRACE, number)
    changes = [Enter("room/general", f"user-{each:07}") for each in range(number)]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for change in changes:
        state.apply(Enter("room/general", "".join(change.id)), 0.0, WALL)
        state.take_events()
    while state.due <= 1.0:
        state.advance(1.0, WALL)
        state.take_events()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    print(f"{used / number:.0f} bytes a member")
    assert used / number <= 300
