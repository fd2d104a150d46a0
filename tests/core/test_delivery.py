"""Deliveries: a message is encoded once per wire, what goes out together is joined once per wire."""

from msgspec import structs

from pushd.core.delivery import Batch, Delivery, Recent, encode
from tests.build import Following, Words, message


def test_a_message_is_encoded_once_per_wire_however_often_it_is_asked_for() -> None:
    delivery = Delivery(message(1, "a"))
    one, other = Words(), Words()
    frames = [delivery.frame(wire) for wire in (one, other, one, other, one)]
    assert frames == [b"a:1 "] * 5
    assert one.encoded == other.encoded == [1]


def test_an_empty_frame_is_remembered_too() -> None:
    class Silent(Words):
        def message(self, message: object) -> bytes:
            self.encoded.append(0)
            return b""

    wire = Silent()
    delivery = Delivery(message())
    assert delivery.frame(wire) == delivery.frame(wire) == b""
    assert wire.encoded == [0]


def test_a_batch_is_joined_once_per_wire_from_frames_that_may_exist_already() -> None:
    deliveries = [Delivery(message(1)), Delivery(message(3, "b")), Delivery(message(4))]
    wire, other = Words(), Words()
    deliveries[1].frame(wire)
    batch = Batch(deliveries)
    assert batch.block(wire) == batch.block(wire) == b"a:1 b:3 a:4 "
    assert batch.block(other) == b"a:1 b:3 a:4 "
    assert wire.blocks == other.blocks == 1
    assert sorted(wire.encoded) == sorted(other.encoded) == [1, 3, 4]


def test_a_batch_knows_its_first_and_last_sequence() -> None:
    batch = Batch([Delivery(message(3)), Delivery(message(7))])
    assert (batch.first, batch.last) == (3, 7)


def test_frames_of_a_fluid_wire_follow_each_other_and_lead_to_the_wire_for_what_comes_next() -> None:
    wire = Following()
    deliveries = [Delivery(message(1, "a")), Delivery(message(2, "b")), Delivery(message(3, "b"))]
    frames, following = encode(deliveries, wire)
    assert frames == [b">a:1 ", b"a>b:2 ", b"b>b:3 "]
    assert encode([Delivery(message(4, "a"))], following)[0] == [b"b>a:4 "]
    assert encode([], wire) == ([], wire)


def test_a_batch_is_joined_once_for_each_form_of_a_fluid_wire() -> None:
    wire = Following()
    batch = Batch([Delivery(message(1, "a")), Delivery(message(2, "a"))])
    later = wire.after(message(0, "b"))
    assert batch.block(wire) == batch.block(wire) == b">a:1 a>a:2 "
    assert batch.block(later) == b"b>a:1 a>a:2 "
    assert (wire.encoded, later.encoded) == ([1], [1])
    assert wire.after(message(0, "a")).encoded == [2]


def test_a_steady_wire_stays_and_closes_without_a_word() -> None:
    wire = Words()
    assert not wire.is_stateful
    assert wire.after(message()) is wire
    assert wire.last() == b""
    assert wire.block([b"a", b"b"]) == b"ab"


def test_two_who_ask_for_the_same_message_share_its_delivery() -> None:
    recent = Recent()
    kept = message(1)
    assert recent.of(kept) is recent.of(kept)
    assert recent.of(message(2)) is not recent.of(kept)


def test_messages_of_different_epochs_are_different_messages() -> None:
    recent = Recent()
    before, after = message(1, epoch="E"), message(1, epoch="F")
    assert recent.of(before).message is before
    assert recent.of(after).message is after


def test_only_so_many_messages_are_remembered_and_the_oldest_goes_first() -> None:
    recent = Recent(max_messages=2)
    messages = [message(seq) for seq in (1, 2, 3)]
    first, second, third = [recent.of(each) for each in messages]
    assert recent.of(messages[2]) is third
    assert recent.of(messages[1]) is second
    assert recent.of(messages[0]) is not first


def test_only_so_many_bytes_are_remembered() -> None:
    messages = [message(seq, data=b"x" * 100) for seq in (1, 2, 3)]
    recent = Recent(max_bytes=2 * messages[0].size)
    first, second, third = [recent.of(each) for each in messages]
    assert recent.of(messages[2]) is third
    assert recent.of(messages[1]) is second
    assert recent.of(messages[0]) is not first


def test_a_message_beyond_the_limit_is_delivered_but_not_remembered() -> None:
    small, large = message(1), message(2, data=b"x" * 1000)
    recent = Recent(max_bytes=100)
    recent.of(small)
    assert recent.of(large).message is large
    assert recent.of(large) is not recent.of(large)
    assert recent.of(small) is recent.of(small)


def test_a_local_message_is_not_taken_for_the_one_whose_id_it_has() -> None:
    recent = Recent()
    kept = recent.of(message(1, data=b"kept"))
    local = structs.replace(message(1, data=b"local"), is_local=True)
    assert recent.of(local).message.data == b"local"
    assert recent.of(message(1)) is kept
