"""A poll receives one result: the kept messages, as many as an answer holds, or the first live ones."""

import pytest

from pushd.core.delivery import Recent
from pushd.core.grant import FULL
from pushd.core.message import Gap, Message
from pushd.core.outbox import QueueLimits
from pushd.core.peer import Peer
from pushd.core.poll import Poll, PollResult
from pushd.core.replay import Page, StartPosition
from tests.build import ReadableWire, at, batch, message, page

GAP = Gap("a", "E-1", "E-3", "evicted")


class PollClient:
    """A client that closes its poll once it is answered."""

    def __init__(self, *topics: str, limits: QueueLimits | None = None) -> None:
        self.poll = Poll(self, ReadableWire(data_only=True), limits or QueueLimits(), Peer("longpoll", "::1", FULL))
        self.catch_up = self.poll.start_replay(topics or ("a",))
        self.answers: list[PollResult] = []
        self.topics_ended_calls = 0

    @property
    def received(self) -> list[tuple[list[str], list[Gap], str]]:
        """The results: channels and sequences, gaps, and the id to continue from."""
        return [
            ([f"{each.channel}:{each.seq}" for each in answer.messages], list(answer.gaps), answer.position)
            for answer in self.answers
        ]

    def read(self, read: Page) -> bool:
        return self.poll.replay(self.catch_up, read, Recent())

    def deliver_result(self, result: PollResult) -> None:
        self.answers.append(result)
        self.poll.close()

    def write(self, data: bytes) -> None:
        raise AssertionError("nothing is written to a poll")

    def topics_ended(self) -> None:
        self.topics_ended_calls += 1

    def close(self, why: Exception) -> None:
        raise AssertionError("a poll is never too slow")

    def abort(self) -> None:
        raise AssertionError("a poll is never aborted")


def a(*seqs: int, data: bytes = b"x") -> list[Message]:
    return [message(seq, data=data) for seq in seqs]


def test_all_pages_of_the_history_are_one_answer() -> None:
    client = PollClient()
    assert not client.read(page(*a(1, 2), upto=2, more=True))
    assert client.received == []
    assert client.read(page(*a(3), upto=7))
    assert client.received == [(["a:1", "a:2", "a:3"], [], "E-3")]


def test_the_first_live_batch_is_the_only_answer_if_the_history_is_empty() -> None:
    client = PollClient()
    assert client.read(page(upto=7))
    client.poll.deliver(batch(*a(7)))
    assert client.received == []
    assert client.poll.position == "E-7"
    client.poll.deliver(batch(*a(8, 9)))
    client.poll.deliver(batch(*a(10)))
    assert client.received == [(["a:8", "a:9"], [], "E-9")]


def test_messages_held_while_the_history_is_read_belong_to_the_answer() -> None:
    client = PollClient()
    client.poll.deliver(batch(*a(2, 3)))
    client.read(page(*a(1, 2), upto=2))
    assert client.received == [(["a:1", "a:2", "a:3"], [], "E-3")]


@pytest.mark.parametrize("limits", [QueueLimits(messages=2), QueueLimits(bytes=20)])
def test_an_answer_is_limited_and_has_the_id_of_its_last_message(limits: QueueLimits) -> None:
    client = PollClient(limits=limits)
    client.read(page(*a(1, 2, 3, data=b"x" * 10), upto=3, more=True))
    assert client.received == [(["a:1", "a:2"], [], "E-2")]


@pytest.mark.parametrize("limits", [QueueLimits(messages=2), QueueLimits(bytes=20)])
def test_an_answer_with_live_messages_is_limited_too(limits: QueueLimits) -> None:
    client = PollClient(limits=limits)
    client.read(page(upto=0))
    client.poll.deliver(batch(*a(1, 2, 3, data=b"x" * 10)))
    assert client.received == [(["a:1", "a:2"], [], "E-2")]


def test_an_answer_that_is_exactly_full_waits_for_the_next_page() -> None:
    client = PollClient(limits=QueueLimits(messages=2))
    client.read(page(*a(1, 2), upto=2, more=True))
    assert client.received == []
    client.read(page(upto=9))
    assert client.received == [(["a:1", "a:2"], [], "E-2")]


def test_an_answer_has_room_for_one_message_of_any_size() -> None:
    client = PollClient(limits=QueueLimits(messages=0, bytes=1))
    client.read(page(*a(1, 2, data=b"x" * 10), upto=2))
    assert client.received == [(["a:1"], [], "E-1")]


def test_each_gap_is_in_the_answer_once() -> None:
    later = Gap("a", "E-4", "E-5", "expired")
    client = PollClient()
    client.poll.gap(client.catch_up.reports.opened(StartPosition(at(0), (GAP,), True, False)))
    client.read(page(*a(4), upto=4, more=True, gaps=(GAP,)))
    client.read(page(*a(6), upto=6, gaps=(GAP, later)))
    assert client.received == [(["a:4", "a:6"], [GAP, later], "E-6")]


def test_a_gap_alone_is_an_answer_with_the_position_after_it() -> None:
    client = PollClient()
    client.poll.gap([GAP])
    client.read(page(upto=7))
    assert client.received == [([], [GAP], "E-7")]


def test_a_poll_that_ends_before_its_history_was_read_leaves_the_gap_to_the_next_one() -> None:
    """A gap in an answer is between the cursor of the request and that of the answer."""
    client = PollClient()
    client.poll.position = "E-0"
    client.catch_up.origin = at(1)
    client.poll.gap([GAP])
    assert not client.read(page(upto=1, more=True))
    client.poll.finish()
    assert client.received == [([], [], "E-0")]


def test_a_live_gap_is_part_of_the_answer_with_the_message_after_it() -> None:
    client = PollClient()
    client.read(page(upto=1))
    client.poll.gap([GAP])
    assert client.received == []
    client.poll.deliver(batch(*a(4)))
    assert client.received == [(["a:4"], [GAP], "E-4")]


def test_a_poll_that_ends_without_the_message_after_a_live_gap_leaves_it_to_the_next_one() -> None:
    client = PollClient()
    client.read(page(upto=1))
    client.poll.gap([GAP])
    client.poll.finish()
    assert client.received == [([], [], "E-1")]


def test_the_consumer_is_called_once_all_channels_have_ended_and_there_are_no_messages() -> None:
    client = PollClient("a", "b")
    client.read(page(upto=7, ended=("a",)))
    assert (client.received, client.topics_ended_calls) == ([], 0)
    client.poll.end("b", 8)
    assert client.topics_ended_calls == 1


def test_a_message_of_another_channel_is_no_answer() -> None:
    client = PollClient("a")
    client.read(page(upto=7))
    client.poll.deliver(batch(message(8, "b")))
    assert client.received == []
