"""An HTTP connection: deadlines and reading follow from its states, and memory is released with it."""

import pytest
from httptools import HttpParserCallbackError
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pushd.core.budget import Budget
from pushd.core.outbox import QueueLimits
from pushd.http.limits import HttpLimits
from pushd.http.states import AnswerState, IllegalTransition, ReadState
from tests.transports.in_memory import InMemory

GET = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"
LATER, HELD, STREAM = (
    b"GET /a?%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % query for query in (b"later", b"held", b"stream")
)
POST = b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n"
HANDSHAKE = b"GET /a?later HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class Timed(InMemory):
    """A connection whose site has deadlines that a clock reaches."""

    def __init__(self, limits: HttpLimits | None = None) -> None:
        super().__init__(limits)
        self.site = self.connection._site
        self.clock: Clock = self.site.clock
        self.site.startFactory()

    def receive(self, data: bytes) -> None:
        """Let bytes arrive."""
        self.transport.protocol.dataReceived(data)

    def lose(self) -> None:
        """Lose the connection."""
        self.connection.connectionLost(Failure(ConnectionDone()))

    @property
    def states(self) -> tuple[ReadState, AnswerState]:
        """The states of the connection."""
        return self.connection.reading, self.connection.answering

    @property
    def deadlines(self) -> set[str]:
        """The names of the deadlines that run."""
        names = ("on_head", "on_body", "on_idle", "on_close")
        return {name for name in names if self.connection in getattr(self.site, name).expected}


@pytest.mark.parametrize(
    ("received", "reading", "answering", "deadlines", "is_reading"),
    [
        (b"", ReadState.NEW, AnswerState.READY, {"on_head"}, True),
        (b"\r\n", ReadState.IDLE, AnswerState.READY, {"on_idle"}, True),
        (GET, ReadState.IDLE, AnswerState.READY, {"on_idle"}, True),
        (GET[:9], ReadState.HEAD, AnswerState.READY, {"on_head"}, True),
        (POST, ReadState.BODY, AnswerState.READY, {"on_body", "on_idle"}, True),
        (LATER, ReadState.IDLE, AnswerState.ANSWERING, set(), True),
        (LATER + GET[:9], ReadState.HEAD, AnswerState.ANSWERING, {"on_head"}, True),
        (LATER + POST, ReadState.BODY, AnswerState.ANSWERING, {"on_body"}, True),
        (LATER + GET, ReadState.IDLE, AnswerState.ANSWERING, set(), False),
        (HELD, ReadState.IDLE, AnswerState.HELD, set(), True),
        (HELD + GET, ReadState.IDLE, AnswerState.HELD, set(), True),
        (HANDSHAKE, ReadState.BUFFERING, AnswerState.ANSWERING, set(), True),
        (HANDSHAKE + b"x", ReadState.BUFFERING, AnswerState.ANSWERING, set(), False),
        (STREAM, ReadState.IDLE, AnswerState.DETACHED, set(), True),
        (b"?\r\n", ReadState.ENDED, AnswerState.LINGERING, {"on_close"}, True),
        (LATER + b"?\r\n", ReadState.ENDED, AnswerState.ANSWERING, set(), False),
    ],
)
def test_deadlines_and_reading_follow_from_the_states(received, reading, answering, deadlines, is_reading):
    client = Timed()
    if received:
        client.receive(received)
    assert client.states == (reading, answering)
    assert client.deadlines == deadlines
    assert client.transport.is_reading is is_reading or client.is_closed


def test_what_follows_a_held_request_in_a_segment_of_its_own_is_buffered():
    client = Timed()
    client.receive(HELD)
    client.receive(GET)
    assert client.states == (ReadState.BUFFERING, AnswerState.HELD)
    client.recorder.answer()
    assert client.states == (ReadState.IDLE, AnswerState.READY)
    assert client.statuses == [200, 200]


@pytest.mark.parametrize(
    ("received", "seconds", "statuses"),
    [(b"", 10, [408]), (GET[:9], 10, [408]), (POST, 60, []), (GET, 60, [200]), (GET + GET[:9], 10, [200, 408])],
)
def test_a_deadline_that_is_over_ends_the_connection(received, seconds, statuses):
    client = Timed()
    if received:
        client.receive(received)
    client.clock.pump([1] * (seconds - 1))
    assert not client.is_closed
    client.clock.pump([1, 1])
    assert (client.statuses, client.is_closed) == (statuses, True)
    assert client.deadlines == {"on_close"}


def test_a_body_that_is_sent_steadily_has_to_be_complete_in_time():
    client = Timed(HttpLimits(upload=30))
    client.receive(POST)
    for _ in range(9):
        client.clock.pump([1] * 3)
        client.receive(b"x")
    assert not client.is_closed
    client.clock.pump([1] * 4)
    assert (client.statuses, client.is_closed) == ([408], True)


@pytest.mark.parametrize("received", [b"", GET, POST + b"x", LATER, HELD, LATER + GET, GET[:9], b"?\r\n"])
def test_a_lost_connection_leaves_nothing(received):
    budget = Budget()
    client = Timed(HttpLimits(queue=QueueLimits(budget=budget)))
    if received:
        client.receive(received)
    client.lose()
    assert client.states == (ReadState.ENDED, AnswerState.CLOSED)
    assert (client.deadlines, budget.used, client.site.counters.connections["http"]) == (set(), 0, 0)


def test_a_held_request_whose_client_leaves_is_disconnected_once():
    client = Timed()
    client.receive(HELD)
    client.connection.readConnectionLost()
    assert (client.recorder.gone, client.is_closed, client.deadlines) == (1, True, {"on_close"})
    client.lose()
    assert client.recorder.gone == 1


def test_a_partial_request_is_dropped_when_the_client_sends_nothing_more():
    budget = Budget()
    client = Timed(HttpLimits(queue=QueueLimits(budget=budget)))
    client.receive(LATER + POST)
    client.receive(b"x")
    assert budget.used == 1
    client.connection.readConnectionLost()
    assert (client.states, client.deadlines, budget.used) == ((ReadState.ENDED, AnswerState.ANSWERING), set(), 0)
    client.recorder.answer()
    assert (client.statuses, client.is_closed) == ([200], True)


def test_requests_are_queued_while_the_client_does_not_read():
    client = Timed()
    client.connection.pauseProducing()
    client.receive(GET + GET)
    assert (client.statuses, len(client.connection.queue), client.transport.is_reading) == ([], 2, False)
    client.connection.resumeProducing()
    assert (client.statuses, client.transport.is_reading) == ([200, 200], True)


def test_requests_that_take_long_are_queued_for_a_later_turn(monkeypatch):
    client = Timed()
    render = client.recorder.render

    def take_long(request):
        client.clock.rightNow += 1
        return render(request)

    monkeypatch.setattr(client.recorder, "render", take_long)
    client.receive(GET * 3)
    assert client.states == (ReadState.IDLE, AnswerState.QUEUED)
    assert (client.statuses, client.transport.is_reading) == ([200], False)
    client.clock.advance(0)
    client.clock.advance(0)
    assert (client.statuses, client.transport.is_reading) == ([200] * 3, True)


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("rest", [b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b""], ids=["upgrade", "none"])
def test_a_head_of_the_largest_size_is_accepted(rest, size):
    head = b"POST /a HTTP/1.1\r\nHost: localhost\r\n" + rest + b"Content-Length: 0\r\n\r\n"
    counted = len(b"/a") + len(head) - len(b"POST /a HTTP/1.1\r\n\r\n")
    client = Timed(HttpLimits(headers=counted - size))
    client.send([head])
    assert client.statuses == [431 if size else 200]


def test_a_bug_in_a_callback_of_the_parser_is_not_a_refusal(monkeypatch):
    client = Timed()

    def fail(request):
        raise KeyError("bug")

    monkeypatch.setattr(client.recorder, "max_body", fail)
    with pytest.raises(HttpParserCallbackError) as raised:
        client.receive(GET)
    assert isinstance(raised.value.__context__, KeyError)


@pytest.mark.parametrize("last", [b"POST /a HTTP/1.0\r\n\r\n", b"?\r\n", b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"])
def test_reading_can_end_while_an_exception_is_handled(last):
    """An answer that is given in an ``except`` block may lead to the parsing of buffered bytes."""
    client = Timed()
    client.receive(HANDSHAKE + last)
    try:
        raise KeyError
    except KeyError:
        client.recorder.answer()
    assert client.states == (ReadState.ENDED, AnswerState.LINGERING)
    assert len(client.statuses) == 2


def test_an_answer_to_no_request_is_a_bug():
    client = Timed()
    with pytest.raises(IllegalTransition):
        client.connection.answered(b"", is_last=False)


def test_the_resource_that_limits_the_body_answers_the_request():
    client = Timed(HttpLimits(message=9))
    client.receive(POST)
    assert (client.statuses, client.asked) == ([413], [])
    client = Timed(HttpLimits(message=10))
    client.receive(POST)
    client.receive(b"x" * 10)
    assert (client.statuses, client.asked[0].body) == ([200], b"x" * 10)
