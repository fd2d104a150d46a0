"""Ephemeral messages in the core: their place among other messages, and what they do not change."""

from collections.abc import Sequence
from functools import partial

import pytest
from msgspec import structs

from pushd.core.catch_up import CatchUp
from pushd.core.delivery import Delivery, Recent
from pushd.core.dispatcher import Dispatcher
from pushd.core.errors import BadParameter
from pushd.core.message import Message, draft, unkept_message
from pushd.core.outbox import QueueLimits
from tests.build import FakePeer, StatefulWire, at, message, page
from tests.core.dispatching import ALL, accept, dispatcher_of


def ephemeral(seq: int, channel: str = "a") -> Message:
    """Return an ephemeral message that was accepted after sequence `seq`."""
    return structs.replace(message(seq, channel), is_kept=False)


def accept_all(dispatcher: Dispatcher, text: str) -> None:
    """Accept messages written as ``CHANNEL:SEQ``, an ephemeral one as ``~CHANNEL:SEQ``."""
    for word in text.split():
        if not word.startswith("~"):
            accept(dispatcher, word)
            continue
        channel, _, seq = word.removeprefix("~").partition(":")
        dispatcher.accept(ephemeral(int(seq), channel))


def send(peer: FakePeer, block: bytes) -> int:
    peer.write(block)
    return len(block)


def run(dispatcher: Dispatcher) -> None:
    assert dispatcher.run(ALL) == []
    assert dispatcher.is_idle


@pytest.mark.parametrize("options", [{"ttl": 1.0}, {"end": True}])
def test_a_draft_that_is_not_kept_has_neither_a_time_to_live_nor_an_end(options: dict[str, object]) -> None:
    with pytest.raises(BadParameter, match="must have neither"):
        draft("a", b"x", keep=False, **options)  # type: ignore[arg-type]


def test_unkept_message_has_all_fields_of_its_draft() -> None:
    made = structs.replace(draft("a", b"x", "text/plain", "event", keep=False), sender="alice")
    sent = unkept_message(made, "E", 7, 1.25)
    assert (sent.seq, sent.order, sent.prev, sent.is_kept, sent.is_local) == (7, 8, None, False, False)
    assert (sent.channel, sent.data, sent.content_type, sent.encoding) == ("a", b"x", "text/plain", "text")
    assert (sent.event, sent.sender, sent.time) == ("event", "alice", 1.25)
    local = unkept_message(draft("a", b"x", end=True), "E", 7, 1.25, is_local=True)
    assert (local.order, local.is_kept, local.is_local, local.end) == (8, True, True, True)


@pytest.mark.parametrize("topics", [["a"], ["a", "b"], ["*"], ["a", "**"]])
@pytest.mark.parametrize("has_handle", [False, True])
def test_it_is_received_in_the_order_of_acceptance(topics: Sequence[str], *, has_handle: bool) -> None:
    peer = FakePeer().subscribe_live(*topics, after=5)
    if has_handle:
        peer.subscriber.attach(partial(send, peer))
    dispatcher = dispatcher_of(peer)
    accept_all(dispatcher, "~a:5 ~b:5 ~a:5 a:6 ~b:6 ~a:6 b:7 a:8 ~b:8 ~a:8")
    run(dispatcher)
    accept_all(dispatcher, "~a:8 ~b:8")
    run(dispatcher)
    expected = ["a:5", "b:5", "a:5", "a:6", "b:6", "a:6", "b:7", "a:8", "b:8", "a:8", "a:8", "b:8"]
    assert peer.received == [each for each in expected if topics != ["a"] or each.startswith("a")]


def test_subscribers_that_have_just_gone_live_get_it_as_one_shared_block() -> None:
    """It has the sequence at which they are live, so only its order tells that it comes after."""
    peers = [FakePeer().subscribe_live("a", after=5) for _ in range(3)]
    for peer in peers:
        peer.subscriber.attach(peer)
    sent: list[int] = []

    def send_each(handles: list[object], block: bytes) -> tuple[()]:
        sent.append(len(handles))
        return ()

    dispatcher = Dispatcher(Recent(), send_each)
    for peer in peers:
        dispatcher.subscribe(["a"], peer.subscriber)
        peer.subscriber.set_wire(peers[0].subscriber.wire)
    accept_all(dispatcher, "~a:5")
    run(dispatcher)
    assert sent == [3]


def test_one_of_before_the_subscription_is_not_received() -> None:
    """Another node may have published it before the history that was replayed ended."""
    peer = FakePeer().subscribe_live("a", after=5)
    dispatcher = dispatcher_of(peer)
    accept_all(dispatcher, "~a:4 ~a:5")
    run(dispatcher)
    assert peer.received == ["a:5"]


def test_a_topic_unsubscribed_in_the_same_turn_is_not_received() -> None:
    peer = FakePeer().subscribe_live("a", "b")
    peer.subscriber.attach(partial(send, peer))
    dispatcher = dispatcher_of(peer)
    accept_all(dispatcher, "a:1 ~b:1 ~a:1 ~a:9")
    dispatcher.unsubscribe(["a"], peer.subscriber)
    run(dispatcher)
    assert peer.received == ["b:1"]


def test_it_does_not_reopen_a_channel() -> None:
    peer = FakePeer().subscribe_live("a", "b")
    dispatcher = dispatcher_of(peer)
    dispatcher.accept(message(1, end=True))
    accept_all(dispatcher, "~a:1")
    run(dispatcher)
    assert peer.received == ["a:1", "end:a", "a:1"]
    assert peer.ends == ["a"]
    accept_all(dispatcher, "a:2")
    run(dispatcher)
    assert peer.ends == []


def test_a_stateful_wire_continues_after_it() -> None:
    peer = FakePeer(StatefulWire()).subscribe_live("a", "b")
    dispatcher = dispatcher_of(peer)
    for text in ("a:1", "~b:1", "a:2"):
        accept_all(dispatcher, text)
        run(dispatcher)
    assert peer.received == [">a:1", "a>b:1", "b>a:2"]


# Beside a replay


def test_those_that_follow_the_replay_are_received_after_it() -> None:
    peer = FakePeer()
    dispatcher = Dispatcher(Recent())
    catch_up = peer.subscriber.start_replay(["a"])
    dispatcher.subscribe(["a"], peer.subscriber)
    accept_all(dispatcher, "~a:3 a:4 ~a:4 ~a:6 a:7 ~a:7 ~a:9")
    run(dispatcher)
    assert peer.subscriber.replay(catch_up, page(message(3), message(4), upto=6), Recent())
    assert peer.received == ["a:3", "a:4", "a:6", "a:7", "a:7", "a:9"]
    accept_all(dispatcher, "a:8 ~a:8")
    run(dispatcher)
    assert peer.received[6:] == ["a:8", "a:8"]


@pytest.mark.parametrize("limits", [QueueLimits(messages=2), QueueLimits(bytes=2 * message().size)])
def test_those_beyond_the_limits_of_a_replay_are_left_out(limits: QueueLimits) -> None:
    catch_up = CatchUp(["a"], limits)
    for each in (message(1), message(2), ephemeral(2), ephemeral(2)):
        catch_up.hold(Delivery(each))
    assert catch_up.has_reached(at(0))
    assert [each.order for each in catch_up.held] == [1, 2]
    catch_up.hold(Delivery(message(3)))  # discards the held ones
    catch_up.hold(Delivery(ephemeral(9)))
    assert catch_up.held == []
    assert not catch_up.has_reached(at(2))
    assert catch_up.has_reached(at(3))
