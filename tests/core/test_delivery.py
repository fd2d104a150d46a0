"""Deliveries: a message is encoded once per wire, and a batch is joined once per wire."""

from msgspec import structs

from pushd.core.delivery import Batch, Delivery, Recent, encode
from tests.build import ReadableWire, StatefulWire, message


def test_message_is_encoded_once_per_wire() -> None:
    delivery = Delivery(message(1, "a"))
    one, other = ReadableWire(), ReadableWire()
    frames = [delivery.frame(wire) for wire in (one, other, one, other, one)]
    assert frames == [b"a:1 "] * 5
    assert one.encoded == other.encoded == [1]


def test_empty_frame_is_cached() -> None:
    class EmptyWire(ReadableWire):
        def message(self, message: object) -> bytes:
            self.encoded.append(0)
            return b""

    wire = EmptyWire()
    delivery = Delivery(message())
    assert delivery.frame(wire) == delivery.frame(wire) == b""
    assert wire.encoded == [0]


def test_batch_is_joined_once_per_wire_from_cached_frames() -> None:
    deliveries = [Delivery(message(1)), Delivery(message(3, "b")), Delivery(message(4))]
    wire, other = ReadableWire(), ReadableWire()
    deliveries[1].frame(wire)
    batch = Batch(deliveries)
    assert batch.block(wire) == batch.block(wire) == b"a:1 b:3 a:4 "
    assert batch.block(other) == b"a:1 b:3 a:4 "
    assert wire.blocks == other.blocks == 1
    assert sorted(wire.encoded) == sorted(other.encoded) == [1, 3, 4]


def test_batch_has_the_first_sequence() -> None:
    batch = Batch([Delivery(message(3)), Delivery(message(7))])
    assert batch.first == 3


def test_stateful_wire_encodes_frames_in_sequence_and_returns_next_state() -> None:
    wire = StatefulWire()
    deliveries = [Delivery(message(1, "a")), Delivery(message(2, "b")), Delivery(message(3, "b"))]
    frames, following = encode(deliveries, wire)
    assert frames == [b">a:1 ", b"a>b:2 ", b"b>b:3 "]
    assert encode([Delivery(message(4, "a"))], following)[0] == [b"b>a:4 "]
    assert encode([], wire) == ([], wire)


def test_batch_is_joined_once_per_state_of_stateful_wire() -> None:
    wire = StatefulWire()
    batch = Batch([Delivery(message(1, "a")), Delivery(message(2, "a"))])
    later = wire.after(message(0, "b"))
    assert batch.block(wire) == batch.block(wire) == b">a:1 a>a:2 "
    assert batch.block(later) == b"b>a:1 a>a:2 "
    assert (wire.encoded, later.encoded) == ([1], [1])
    assert wire.after(message(0, "a")).encoded == [2]


def test_stateless_wire_returns_itself_and_ends_without_bytes() -> None:
    wire = ReadableWire()
    assert not wire.is_stateful
    assert wire.after(message()) is wire
    assert wire.last() == b""
    assert wire.block([b"a", b"b"]) == b"ab"


def test_delivery_of_a_message_is_shared() -> None:
    recent = Recent()
    kept = message(1)
    assert recent.of(kept) is recent.of(kept)
    assert recent.of(message(2)) is not recent.of(kept)


def test_messages_of_different_epochs_have_different_deliveries() -> None:
    recent = Recent()
    before, after = message(1, epoch="E"), message(1, epoch="F")
    assert recent.of(before).message is before
    assert recent.of(after).message is after


def test_recent_evicts_oldest_message_over_count_limit() -> None:
    recent = Recent(max_messages=2)
    messages = [message(seq) for seq in (1, 2, 3)]
    first, second, third = [recent.of(each) for each in messages]
    assert recent.of(messages[2]) is third
    assert recent.of(messages[1]) is second
    assert recent.of(messages[0]) is not first


def test_recent_evicts_oldest_message_over_byte_limit() -> None:
    messages = [message(seq, data=b"x" * 100) for seq in (1, 2, 3)]
    recent = Recent(max_bytes=2 * messages[0].size)
    first, second, third = [recent.of(each) for each in messages]
    assert recent.of(messages[2]) is third
    assert recent.of(messages[1]) is second
    assert recent.of(messages[0]) is not first


def test_message_over_byte_limit_is_delivered_but_not_cached() -> None:
    small, large = message(1), message(2, data=b"x" * 1000)
    recent = Recent(max_bytes=100)
    recent.of(small)
    assert recent.of(large).message is large
    assert recent.of(large) is not recent.of(large)
    assert recent.of(small) is recent.of(small)


def test_local_message_is_not_confused_with_message_of_same_id() -> None:
    recent = Recent()
    kept = recent.of(message(1, data=b"kept"))
    local = structs.replace(message(1, data=b"local"), is_local=True)
    assert recent.of(local).message.data == b"local"
    assert recent.of(message(1, data=b"kept")) is kept


def test_forged_message_does_not_replace_the_true_one_of_the_same_id() -> None:
    recent = Recent(max_bytes=150)
    forged, other = message(1, data=b"forged"), message(1, data=b"forged", channel="b")
    for each in (forged, other, message(1, data=b"x" * 100), message(2, data=b"y" * 100)):
        assert recent.of(each).message is each
    assert recent.of(forged).message is forged
