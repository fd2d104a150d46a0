"""Excluded subscribers in the core: only they lack the message, and only that one."""

from functools import partial

import pytest
from msgspec import structs

from pushd.core.delivery import Recent
from pushd.core.dispatcher import Dispatcher
from pushd.core.errors import BadParameter
from pushd.core.grant import FULL
from pushd.core.identity import ANONYMOUS, Identity, owner_of
from pushd.core.message import Exclusion
from tests.build import FakePeer, ReadableWire, message, page
from tests.core.dispatching import ALL, accept

WIRE = ReadableWire()


def peers_on(*topics: str, count: int = 2) -> list[FakePeer]:
    """Return live peers, each with a number of its own, that are sent to by their handles."""
    peers = []
    for number in range(1, count + 1):
        peer = FakePeer(WIRE).subscribe_live(*topics)
        peer.subscriber.peer.number = number
        peer.subscriber.attach(partial(send, peer))
        peers.append(peer)
    return peers


def send(peer: FakePeer, block: bytes) -> int:
    peer.write(block)
    return len(block)


def dispatcher_of(*peers: FakePeer) -> Dispatcher:
    dispatcher = Dispatcher(Recent())
    for peer in peers:
        dispatcher.subscribe(list(peer.subscriber.starts), peer.subscriber)
    return dispatcher


@pytest.mark.parametrize("topics", [("a",), ("a", "b"), ("**",), ("*", *map("c{}".format, range(40)))])
@pytest.mark.parametrize("is_kept", [False, True])
def test_only_the_excluded_subscriber_lacks_the_message(topics: tuple[str, ...], *, is_kept: bool) -> None:
    peers = peers_on(*topics, count=3)
    dispatcher = dispatcher_of(*peers)
    accept(dispatcher, "a:1 a:2")
    excluded = structs.replace(message(3 if is_kept else 2, "a", b"excluded"), is_kept=is_kept)
    dispatcher.accept(excluded, peers[0].subscriber)
    accept(dispatcher, "a:4")
    assert dispatcher.run(ALL) == []
    accept(dispatcher, "a:5")
    assert dispatcher.run(ALL) == []
    text = f"a:{excluded.seq}"
    assert peers[0].received == ["a:1", "a:2", "a:4", "a:5"]
    assert peers[1].received == peers[2].received == ["a:1", "a:2", text, "a:4", "a:5"]
    assert [peer.subscriber.sent for peer in peers] == [4, 5, 5]


def test_the_next_message_takes_the_fast_path_again() -> None:
    peers = peers_on("a")
    dispatcher = dispatcher_of(*peers)
    dispatcher.accept(message(1), peers[0].subscriber)
    dispatcher.run(ALL)
    first = peers[0].subscriber
    assert first.threshold < 2
    accept(dispatcher, "a:2")
    dispatcher.run(ALL)
    assert peers[0].received == ["a:2"]


def test_a_paused_subscriber_does_not_queue_it() -> None:
    (peer,) = peers_on("a", count=1)
    dispatcher = dispatcher_of(peer)
    peer.subscriber.pause()
    dispatcher.accept(message(1), peer.subscriber)
    accept(dispatcher, "a:2")
    dispatcher.run(ALL)
    assert peer.subscriber.queued_bytes == message(2).size
    peer.subscriber.resume()
    assert peer.received == ["a:2"]


def test_a_replay_sends_it() -> None:
    """The history does not record exclusions, so one that subscribes at that moment may receive it."""
    peer, recent = FakePeer(), Recent()
    peer.subscriber.peer.number = 1
    dispatcher = Dispatcher(recent)
    catch_up = peer.subscriber.start_replay(["a"])
    dispatcher.subscribe(["a"], peer.subscriber)
    kept = message(1)
    dispatcher.accept(kept, peer.subscriber)
    dispatcher.accept(message(2), peer.subscriber)
    dispatcher.run(ALL)
    assert peer.subscriber.replay(catch_up, page(kept, upto=1), recent)
    assert peer.received == ["a:1"]
    accept(dispatcher, "a:3")
    dispatcher.run(ALL)
    assert peer.received == ["a:1", "a:3"]


def test_the_end_of_a_channel_reaches_the_excluded_subscriber() -> None:
    peers = peers_on("a")
    dispatcher = dispatcher_of(*peers)
    dispatcher.accept(message(1, end=True), peers[0].subscriber)
    dispatcher.run(ALL)
    assert [peer.received for peer in peers] == [["end:a"], ["a:1", "end:a"]]


def test_owners_are_equal_for_one_authority_and_subject() -> None:
    alice = Identity("alice", FULL, "token:phone")
    others = [
        None,
        Identity("bob", FULL, "token:phone"),
        Identity("alice", FULL, "issuer"),
        Identity(None, FULL, "token:phone"),
        Identity(None, FULL, "token:laptop"),
        Identity("", FULL, "token:phone"),
    ]
    owners = {owner_of(each) for each in (alice, *others)}
    assert len(owners) == 7
    assert owner_of(Identity("alice", FULL, "token:laptop")) == owner_of(alice)
    assert owner_of(None) == ANONYMOUS
    assert all(len(owner) <= 24 and " " not in owner for owner in owners)


@pytest.mark.parametrize("text", ["", "x", "0" * 31, "0" * 33, "A" * 32, "0" * 32 + "\n"])
def test_a_text_that_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(BadParameter, match="32 hexadecimal digits"):
        Exclusion.parse(text)
