"""Keepalive pings for many connections with one timer, and deadlines for their replies."""

import pytest
from twisted.internet.task import Clock

from pushd.net.keepalive import Deadlines, Ticks, Wheel


class Connection:
    """Records the times of its pings, and when its deadline passed."""

    def __init__(self, clock, wheel=None):
        self.last_write = 0
        self.pings = []
        self.overdues = []
        self.also = lambda: None
        self._clock = clock
        self._wheel = wheel

    def ping(self):
        self.pings.append(self._clock.seconds())
        self.also()

    def overdue(self):
        self.overdues.append(self._clock.seconds())
        self.also()

    def write(self):
        """Record the tick, as a connection does when it is written to."""
        self.last_write = self._wheel.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def hours(clock):
    hours = Ticks(clock)
    hours.start()
    yield hours
    hours.stop()
    assert clock.getDelayedCalls() == []


@pytest.fixture
def wheel(hours):
    return Wheel(hours, 5)


@pytest.fixture
def deadlines(clock):
    deadlines = Deadlines(clock, 3, Connection.overdue)
    deadlines.start()
    yield deadlines
    deadlines.stop()
    assert clock.getDelayedCalls() == []


def fail():
    raise ZeroDivisionError


def pass_time(clock, seconds):
    clock.pump([1] * seconds)


def test_idle_connection_is_pinged_every_interval(clock, wheel):
    peer = Connection(clock)
    wheel.add(peer)
    pass_time(clock, 16)
    assert peer.pings == [5, 10, 15]


@pytest.mark.parametrize("start", range(7))
def test_interval_starts_with_the_connection(clock, wheel, start):
    pass_time(clock, start)
    peer = Connection(clock)
    wheel.add(peer)
    pass_time(clock, 11)
    assert peer.pings == [start + 5, start + 10]


@pytest.mark.parametrize("written", range(1, 5))
def test_write_postpones_ping_by_a_whole_interval(clock, wheel, written):
    peer = Connection(clock, wheel)
    wheel.add(peer)
    pass_time(clock, written)
    peer.write()
    pass_time(clock, 10 - written)
    assert peer.pings == [written + 5]


def test_busy_connection_is_never_pinged(clock, wheel):
    peer = Connection(clock, wheel)
    wheel.add(peer)
    for _ in range(20):
        pass_time(clock, 3)
        peer.write()
    assert peer.pings == []


def test_connections_are_pinged_at_different_times(clock, wheel):
    peers = []
    for _ in range(10):
        peers.append(Connection(clock))
        wheel.add(peers[-1])
        pass_time(clock, 1)
    pass_time(clock, 5)
    assert [peer.pings[0] for peer in peers] == list(range(5, 15))


def test_an_interval_of_one_second_works(clock):
    hours = Ticks(clock)
    wheel, peer = Wheel(hours, 1), Connection(clock)
    hours.start()
    wheel.add(peer)
    pass_time(clock, 3)
    hours.stop()
    assert peer.pings == [1, 2, 3]


def test_many_due_pings_are_spread_over_reactor_turns(clock, wheel):
    peers = [Connection(clock) for _ in range(1200)]
    for peer in peers:
        wheel.add(peer)
    counts = []
    peers[0].also = lambda: clock.callLater(0, lambda: counts.append(sum(len(peer.pings) for peer in peers)))
    pass_time(clock, 5)
    assert counts == [500]
    pass_time(clock, 5)
    assert all(peer.pings == [5, 10] for peer in peers)


def test_removed_connection_is_not_pinged(clock, wheel):
    peer, stays = Connection(clock), Connection(clock)
    wheel.add(peer)
    wheel.add(stays)
    pass_time(clock, 6)
    wheel.remove(peer)
    wheel.remove(peer)
    pass_time(clock, 10)
    assert (peer.pings, stays.pings) == ([5], [5, 10, 15])


@pytest.mark.parametrize("who", ["itself", "another"])
def test_ping_may_remove_connections(clock, wheel, who):
    """Connections of the same slot that a ping removes are not added again."""
    first, second = Connection(clock), Connection(clock)
    for peer in (first, second):
        wheel.add(peer)
    first.also = lambda: wheel.remove(first if who == "itself" else second)
    pass_time(clock, 16)
    assert (first.pings, second.pings) == (([5], [5, 10, 15]) if who == "itself" else ([5, 10, 15], []))


def test_failing_ping_is_logged_and_others_are_pinged(clock, wheel, expected_failures):
    broken, well = Connection(clock), Connection(clock)
    broken.also = fail
    for peer in (broken, well):
        wheel.add(peer)
    pass_time(clock, 11)
    assert well.pings == [5, 10]
    assert [event["log_failure"].type for event in expected_failures] == [ZeroDivisionError] * 2


def test_stopped_wheel_does_not_ping(clock, hours, wheel):
    peer = Connection(clock)
    wheel.add(peer)
    hours.stop()
    hours.stop()
    pass_time(clock, 10)
    assert peer.pings == []


def test_unanswered_deadline_is_overdue_once(clock, deadlines):
    peer = Connection(clock)
    deadlines.expect(peer)
    pass_time(clock, 2)
    assert peer.overdues == []
    pass_time(clock, 10)
    assert peer.overdues == [3]


def test_answered_deadline_can_start_again(clock, deadlines):
    peer = Connection(clock)
    deadlines.expect(peer)
    pass_time(clock, 2)
    deadlines.cancel(peer)
    deadlines.cancel(peer)
    pass_time(clock, 2)
    deadlines.expect(peer)
    pass_time(clock, 5)
    assert peer.overdues == [7]


def test_running_deadline_is_not_extended(clock, deadlines):
    peer = Connection(clock)
    deadlines.expect(peer)
    pass_time(clock, 2)
    deadlines.expect(peer)
    pass_time(clock, 5)
    assert peer.overdues == [3]


def test_deadlines_are_independent(clock, deadlines):
    peers = []
    for _ in range(4):
        peers.append(Connection(clock))
        deadlines.expect(peers[-1])
        pass_time(clock, 1)
    deadlines.cancel(peers[2])
    pass_time(clock, 5)
    assert [peer.overdues for peer in peers] == [[3], [4], [], [6]]


def test_overdue_callback_may_cancel_other_deadlines(clock, deadlines):
    first, second = Connection(clock), Connection(clock)
    for peer in (first, second):
        deadlines.expect(peer)
    first.also = lambda: deadlines.cancel(second)
    pass_time(clock, 5)
    assert (first.overdues, second.overdues) == ([3], [])


def test_failing_overdue_callback_is_logged_and_others_are_called(clock, deadlines, expected_failures):
    broken, other = Connection(clock), Connection(clock)
    broken.also = fail
    for peer in (broken, other):
        deadlines.expect(peer)
    pass_time(clock, 5)
    assert (broken.overdues, other.overdues) == ([3], [3])
    assert [event["log_failure"].type for event in expected_failures] == [ZeroDivisionError]


@pytest.mark.parametrize(("seconds", "pings"), [(2, [4, 6, 8, 10]), (8, [8])])
def test_new_interval_applies_to_existing_connections(clock, wheel, seconds, pings):
    peer, gone = Connection(clock), Connection(clock)
    for each in (peer, gone):
        wheel.add(each)
    pass_time(clock, 3)
    wheel.reconfigure(seconds)
    wheel.remove(gone)
    pass_time(clock, 8)
    assert (peer.pings, gone.pings) == (pings, [])


def test_new_deadline_applies_to_later_expectations(clock, deadlines):
    first, second = Connection(clock), Connection(clock)
    deadlines.expect(first)
    deadlines.seconds = 6
    deadlines.expect(second)
    pass_time(clock, 10)
    assert (first.overdues, second.overdues) == ([3], [6])


def test_excused_peer_is_checked_again_after_a_second(clock):
    late: dict[Connection, bool] = {}
    deadlines = Deadlines(clock, 3, Connection.overdue, lambda peer: late.get(peer, False))
    deadlines.start()
    excused, other = Connection(clock), Connection(clock)
    late[excused] = True
    for peer in (excused, other):
        deadlines.expect(peer)
    pass_time(clock, 4)
    assert (excused.overdues, other.overdues) == ([], [3])
    late[excused] = False
    deadlines.expect(excused)
    pass_time(clock, 1)
    assert excused.overdues == [5]
    pass_time(clock, 5)
    assert excused.overdues == [5]
    deadlines.stop()


def test_excused_peer_that_acts_is_not_overdue(clock):
    deadlines = Deadlines(clock, 3, Connection.overdue, lambda peer: clock.seconds() < 4)
    deadlines.start()
    peer = Connection(clock)
    deadlines.expect(peer)
    pass_time(clock, 3)
    deadlines.cancel(peer)
    pass_time(clock, 5)
    assert peer.overdues == []
    deadlines.stop()


class TurnClock(Clock):
    """A clock that makes one turn when it is told to."""

    def turn(self):
        """Run the calls that are due, but not those that they add."""
        due = [call for call in self.calls if call.getTime() <= self.seconds()]
        for call in due:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


def test_many_overdue_peers_are_closed_in_several_turns():
    clock = TurnClock()
    deadlines = Deadlines(clock, 3, Connection.overdue)
    deadlines.start()
    peers = [Connection(clock) for _ in range(250)]
    for peer in peers:
        deadlines.expect(peer)
    deadlines.cancel(peers[0])
    clock.rightNow = 3.0
    closed = []
    for _ in range(4):
        clock.turn()
        closed.append(sum(bool(peer.overdues) for peer in peers))
    assert closed == [100, 200, 249, 249]
    assert [peer.overdues for peer in peers] == [[]] + [[3]] * 249
