"""Signs of life for many connections by one timer, and deadlines for their answers."""

import pytest
from twisted.internet.task import Clock

from pushd.net.keepalive import Deadlines, Hours, Wheel


class Connection:
    """Notes when it was asked for a sign of life, and when its time was up."""

    def __init__(self, clock, wheel=None):
        self.spoke = 0
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
        """Be written to: this is what a connection notes."""
        self.spoke = self._wheel.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def hours(clock):
    hours = Hours(clock)
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


def test_a_silent_connection_is_pinged_every_interval(clock, wheel):
    peer = Connection(clock)
    wheel.add(peer)
    pass_time(clock, 16)
    assert peer.pings == [5, 10, 15]


@pytest.mark.parametrize("start", range(7))
def test_the_interval_begins_when_the_connection_does(clock, wheel, start):
    pass_time(clock, start)
    peer = Connection(clock)
    wheel.add(peer)
    pass_time(clock, 11)
    assert peer.pings == [start + 5, start + 10]


@pytest.mark.parametrize("written", range(1, 5))
def test_a_write_puts_the_ping_off_by_a_whole_interval(clock, wheel, written):
    peer = Connection(clock, wheel)
    wheel.add(peer)
    pass_time(clock, written)
    peer.write()
    pass_time(clock, 10 - written)
    assert peer.pings == [written + 5]


def test_a_connection_that_is_written_to_often_is_never_pinged(clock, wheel):
    peer = Connection(clock, wheel)
    wheel.add(peer)
    for _ in range(20):
        pass_time(clock, 3)
        peer.write()
    assert peer.pings == []


def test_connections_are_pinged_each_in_its_own_time(clock, wheel):
    peers = []
    for _ in range(10):
        peers.append(Connection(clock))
        wheel.add(peers[-1])
        pass_time(clock, 1)
    pass_time(clock, 5)
    assert [peer.pings[0] for peer in peers] == list(range(5, 15))


def test_an_interval_of_one_second_works(clock):
    hours = Hours(clock)
    wheel, peer = Wheel(hours, 1), Connection(clock)
    hours.start()
    wheel.add(peer)
    pass_time(clock, 3)
    hours.stop()
    assert peer.pings == [1, 2, 3]


def test_a_crowd_that_is_silent_at_once_leaves_the_reactor_its_turns(clock, wheel):
    peers = [Connection(clock) for _ in range(1200)]
    for peer in peers:
        wheel.add(peer)
    counts = []
    peers[0].also = lambda: clock.callLater(0, lambda: counts.append(sum(len(peer.pings) for peer in peers)))
    pass_time(clock, 5)
    assert counts == [500]
    pass_time(clock, 5)
    assert all(peer.pings == [5, 10] for peer in peers)


def test_one_that_was_removed_is_not_pinged(clock, wheel):
    peer, stays = Connection(clock), Connection(clock)
    wheel.add(peer)
    wheel.add(stays)
    pass_time(clock, 6)
    wheel.remove(peer)
    wheel.remove(peer)
    pass_time(clock, 10)
    assert (peer.pings, stays.pings) == ([5], [5, 10, 15])


@pytest.mark.parametrize("who", ["itself", "another"])
def test_a_ping_may_remove_connections(clock, wheel, who):
    """Nothing that a ping does to others of the same second may bring them back."""
    first, second = Connection(clock), Connection(clock)
    for peer in (first, second):
        wheel.add(peer)
    first.also = lambda: wheel.remove(first if who == "itself" else second)
    pass_time(clock, 16)
    assert (first.pings, second.pings) == (([5], [5, 10, 15]) if who == "itself" else ([5, 10, 15], []))


def test_a_ping_that_fails_is_logged_and_the_others_are_pinged(clock, wheel, expected_failures):
    broken, well = Connection(clock), Connection(clock)
    broken.also = fail
    for peer in (broken, well):
        wheel.add(peer)
    pass_time(clock, 11)
    assert well.pings == [5, 10]
    assert [event["log_failure"].type for event in expected_failures] == [ZeroDivisionError] * 2


def test_a_wheel_that_stands_still_pings_nobody(clock, hours, wheel):
    peer = Connection(clock)
    wheel.add(peer)
    hours.stop()
    hours.stop()
    pass_time(clock, 10)
    assert peer.pings == []


def test_one_that_does_not_answer_is_overdue_after_the_time_and_once(clock, deadlines):
    peer = Connection(clock)
    deadlines.expect(peer)
    pass_time(clock, 2)
    assert peer.overdues == []
    pass_time(clock, 10)
    assert peer.overdues == [3]


def test_one_that_answers_is_not_overdue_and_may_be_asked_again(clock, deadlines):
    peer = Connection(clock)
    deadlines.expect(peer)
    pass_time(clock, 2)
    deadlines.heard(peer)
    deadlines.heard(peer)
    pass_time(clock, 2)
    deadlines.expect(peer)
    pass_time(clock, 5)
    assert peer.overdues == [7]


def test_one_that_is_asked_again_before_it_answered_keeps_its_first_deadline(clock, deadlines):
    peer = Connection(clock)
    deadlines.expect(peer)
    pass_time(clock, 2)
    deadlines.expect(peer)
    pass_time(clock, 5)
    assert peer.overdues == [3]


def test_each_has_its_own_deadline(clock, deadlines):
    peers = []
    for _ in range(4):
        peers.append(Connection(clock))
        deadlines.expect(peers[-1])
        pass_time(clock, 1)
    deadlines.heard(peers[2])
    pass_time(clock, 5)
    assert [peer.overdues for peer in peers] == [[3], [4], [], [6]]


def test_one_that_is_overdue_may_take_others_with_it(clock, deadlines):
    first, second = Connection(clock), Connection(clock)
    for peer in (first, second):
        deadlines.expect(peer)
    first.also = lambda: deadlines.heard(second)
    pass_time(clock, 5)
    assert (first.overdues, second.overdues) == ([3], [])


def test_one_that_can_not_be_closed_is_logged_and_the_others_are(clock, deadlines, expected_failures):
    broken, other = Connection(clock), Connection(clock)
    broken.also = fail
    for peer in (broken, other):
        deadlines.expect(peer)
    pass_time(clock, 5)
    assert (broken.overdues, other.overdues) == ([3], [3])
    assert [event["log_failure"].type for event in expected_failures] == [ZeroDivisionError]


@pytest.mark.parametrize(("seconds", "pings"), [(2, [4, 6, 8, 10]), (8, [8])])
def test_another_interval_holds_for_those_who_are_there(clock, wheel, seconds, pings):
    peer, gone = Connection(clock), Connection(clock)
    for each in (peer, gone):
        wheel.add(each)
    pass_time(clock, 3)
    wheel.turn_in(seconds)
    wheel.remove(gone)
    pass_time(clock, 8)
    assert (peer.pings, gone.pings) == (pings, [])


def test_another_deadline_holds_for_what_is_expected_from_then_on(clock, deadlines):
    first, second = Connection(clock), Connection(clock)
    deadlines.expect(first)
    deadlines.seconds = 6
    deadlines.expect(second)
    pass_time(clock, 10)
    assert (first.overdues, second.overdues) == ([3], [6])


def test_one_that_is_excused_is_looked_at_again_a_second_later(clock):
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


def test_one_that_is_excused_and_then_heard_is_not_overdue(clock):
    deadlines = Deadlines(clock, 3, Connection.overdue, lambda peer: clock.seconds() < 4)
    deadlines.start()
    peer = Connection(clock)
    deadlines.expect(peer)
    pass_time(clock, 3)
    deadlines.heard(peer)
    pass_time(clock, 5)
    assert peer.overdues == []
    deadlines.stop()
