"""The checker of the model finds planted losses, duplicates, disorder and false gaps, and accepts what is right."""

from collections.abc import Callable, Sequence

import pytest

from tests.model.checker import Checker
from tests.model.record import Limits, Publication, Record, check_ids
from tests.model.trace import Closed, Event, Opened, Trace
from tests.soak.transports import (
    Confirmed,
    ReceivedCursor,
    ReceivedEnd,
    ReceivedEphemeral,
    ReceivedGap,
    ReceivedMessage,
)

_COUNT = 6
_LIMITS = Limits()


class Scene:
    """Messages on two channels in turn, and a subscriber of both with a cursor before the first."""

    def __init__(self, limits: Limits = _LIMITS, count: int = _COUNT, since: str | None = "E-0") -> None:
        self.record = Record(limits)
        self.trace = Trace("s", ("a", "b"), since)
        for number in range(1, count + 1):
            self.publish(number)

    def publish(self, number: int, epoch: str = "E", **fields: object) -> Publication:
        """Publish a message that is acknowledged; on `a` if its number is odd."""
        channel = "a" if number % 2 else "b"
        publication = Publication(f"{epoch}.{number}", channel, self.record.tick(), **fields)  # type: ignore[arg-type]
        self.record.publish(publication)
        self.record.accept(publication, f"{epoch}-{number}")
        return publication

    def faults(self, *events: Event) -> list[str]:
        """Return the faults of a trace of one connection."""
        for event in (Opened("test", self.trace.cursor), Confirmed(), *events, Closed("cut")):
            self.trace.events.append((self.record.tick(), event))
        check_ids(self.record)
        Checker(self.record, self.trace).check()
        return [sentence for sentence, _ in self.record.faults]


def message(number: int, epoch: str = "E") -> ReceivedMessage:
    """Return a message as it was published."""
    return ReceivedMessage(f"{epoch}-{number}", "a" if number % 2 else "b", f"{epoch}.{number} padding")


ALL = [message(number) for number in range(1, _COUNT + 1)]


def without(*numbers: int) -> list[Event]:
    """Return all messages but some."""
    return [each for number, each in enumerate(ALL, 1) if number not in numbers]


def test_everything_in_order_has_no_fault() -> None:
    assert Scene().faults(*ALL) == []


def test_resume_on_another_connection_has_no_fault() -> None:
    scene = Scene()
    assert scene.faults(*ALL[:3], Closed("cut"), Opened("other", "E-3"), *ALL[3:]) == []
    assert scene.trace.cursor == "E-6"


PLANTED: dict[str, tuple[Sequence[Event], str]] = {
    "loss": (without(3), "E-3 E.3 was not received, and no gap covers it"),
    "loss at the end": (without(6), "E-6 E.6 was not received"),
    "loss before a cursor": ([*ALL[:5], ReceivedCursor("E-6")], "E-6 E.6 was not received"),
    "duplicate": ([*ALL[:3], ALL[2], *ALL[3:]], "received E-3 E.3 twice"),
    "second id": ([*ALL, ReceivedMessage("E-7", "a", "E.5 x")], "received E.5 with the ids"),
    "disorder": ([ALL[1], ALL[0], *ALL[2:]], "received E-1 E.1 after E-2"),
    "other channel": ([ALL[0]._replace(channel="b"), *ALL[1:]], "received E.1 of a on b"),
    "unpublished": ([*ALL, ReceivedMessage("E-7", "a", "nobody")], "which was not published"),
    "false gap": ([*ALL[:2], ReceivedGap("a", "E-2", "E-3", "evicted"), *ALL[2:]], "although nothing in it was lost"),
    "impossible reason": (
        [*ALL[:2], ReceivedGap("a", "E-2", "E-3", "expired"), *ALL[3:]],
        "although nothing in it was lost for this reason",
    ),
    "late gap": ([*without(3), ReceivedGap("a", "E-2", "E-3", "evicted")], "arrived after E-6"),
    "gap of another topic": (
        [*ALL[:2], ReceivedGap("b", "E-2", "E-3", "evicted"), *ALL[3:]],
        "E-3 E.3 was not received",
    ),
    "gap that ends too early": (
        [*ALL[:2], ReceivedGap("a", "E-2", "E-3", "evicted"), ALL[3], ALL[5]],
        "E-5 E.5 was not received",
    ),
    "unasked slow gap": ([*ALL[:2], ReceivedGap("a", "E-2", "E-3", "slow"), *ALL[3:]], "although nothing"),
    "false end": ([*ALL, ReceivedEnd("a")], "received the end of a, which has not ended"),
    "false end of all": ([*ALL, ReceivedEnd("")], "received the end of b, which has not ended"),
    "end of another channel": ([*ALL, ReceivedEnd("c")], "which was not subscribed by name"),
    "false epoch": ([*ALL, ReceivedGap("a", "E-6", "F-0", "epoch")], "although nothing was lost"),
    "unreported epoch": ([*ALL, ReceivedCursor("F-3")], "of another epoch, without a gap"),
    "cursor that goes back": ([*ALL, ReceivedCursor("E-5")], "the cursor E-5 follows E-6"),
}


@pytest.mark.parametrize(("events", "fault"), PLANTED.values(), ids=PLANTED.keys())
def test_planted_fault_is_found(events: Sequence[Event], fault: str) -> None:
    faults = Scene().faults(*events)
    assert [each for each in faults if fault in each], faults


def lose_evicted(scene: Scene) -> None:
    scene.record.delete("a").finished = scene.record.tick()


def lose_expired(scene: Scene) -> None:
    scene.record.publications["E.3"].ttl = 0.1


@pytest.mark.parametrize(("reason", "lose"), [("evicted", lose_evicted), ("expired", lose_expired)])
def test_possible_gap_covers_a_loss(reason: str, lose: Callable[[Scene], None]) -> None:
    scene = Scene()
    lose(scene)
    assert scene.faults(*ALL[:2], ReceivedGap("a", "E-2", "E-3", reason), *ALL[3:]) == []


@pytest.mark.parametrize(("messages", "is_possible"), [(1, True), (2, True), (3, False)])
def test_eviction_is_possible_when_enough_messages_follow(messages: int, is_possible: bool) -> None:
    faults = Scene(Limits(messages)).faults(ReceivedGap("a", "E-0", "E-1", "evicted"), *ALL[1:])
    assert (faults == []) is is_possible


@pytest.mark.parametrize("reconnects", [True, False])
def test_message_dropped_for_a_slow_subscriber_may_be_received_again_only_on_another_connection(
    reconnects: bool,
) -> None:
    """The gap has no cursor: a client that is cut before the next message continues from before it."""
    dropping, gap = Opened("slow", "E-2", "drop"), ReceivedGap("a", "E-2", "E-3", "slow")
    cut: list[Event] = [Closed("cut"), Opened("other", "E-2"), Confirmed("E-2")] if reconnects else []
    faults = Scene().faults(*ALL[:2], Closed("cut"), dropping, gap, *cut, *ALL[2:])
    assert (faults == []) is reconnects
    assert reconnects or "although nothing in it was lost" in faults[0]


def test_loss_of_an_epoch_needs_a_gap_to_the_next_one() -> None:
    scene = Scene()
    scene.record.lose("epoch", "flush")
    scene.publish(1, "F")
    scene.publish(2, "F")
    gaps = [ReceivedGap(topic, "E-4", "F-0", "epoch") for topic in ("a", "b")]
    assert scene.faults(*ALL[:4], *gaps, message(1, "F"), message(2, "F")) == []


def test_lost_message_of_the_next_epoch_is_found() -> None:
    scene = Scene()
    scene.record.lose("epoch", "flush")
    scene.publish(1, "F")
    scene.publish(2, "F")
    gaps = [ReceivedGap(topic, "E-4", "F-0", "epoch") for topic in ("a", "b")]
    (fault,) = scene.faults(*ALL[:4], *gaps, message(2, "F"))
    assert "F-1 F.1 was not received" in fault


def test_gap_of_one_topic_does_not_cover_the_epoch_of_another() -> None:
    scene = Scene()
    scene.record.lose("epoch", "flush")
    scene.publish(2, "F")
    faults = scene.faults(*ALL[:4], ReceivedGap("b", "E-4", "F-0", "epoch"), message(2, "F"))
    assert [each for each in faults if "E-5 E.5 was not received" in each]


def test_subscriber_from_now_on_is_owed_what_follows_its_confirmation() -> None:
    scene = Scene(count=0, since=None)
    assert scene.faults() == []
    for number in (1, 2, 3):
        scene.publish(number)
    (fault,) = scene.faults(message(2), message(3))
    assert "E-1 E.1 was not received" in fault


def test_subscriber_from_now_on_receives_nothing_older() -> None:
    (fault,) = Scene(count=1, since=None).faults(message(1))
    assert "received E-1 E.1, which was published before the subscription" in fault


def test_subscriber_of_the_latest_is_owed_the_newest_message_of_each_channel_and_what_follows() -> None:
    def faults(*received: int) -> list[str]:
        scene = Scene(since="latest")
        scene.trace.events += [(scene.record.tick(), Opened("test", "latest")), (scene.record.tick(), Confirmed("E-4"))]
        scene.publish(7)
        for number in received:
            scene.trace.events.append((scene.record.tick(), message(number)))
        check_ids(scene.record)
        Checker(scene.record, scene.trace).check()
        return [sentence for sentence, _ in scene.record.faults]

    assert faults(5, 6, 7) == []
    assert "E-6 E.6 was not received" in faults(5, 7)[0]
    assert "E-7 E.7 was not received" in faults(5, 6)[0]
    assert [each for each in faults(3, 5, 6, 7) if "although a E.5: accepted, E-5 is newer" in each]


@pytest.mark.parametrize("limits", [_LIMITS, Limits(1)])
def test_reported_start_cursor_binds_before_the_first_message(limits: Limits) -> None:
    scene = Scene(limits, count=0, since=None)
    scene.trace.events.append((scene.record.tick(), Confirmed("E-0")))
    for number in (1, 2):
        scene.publish(number)
    assert scene.trace.cursor == "E-0"
    assert [each for each in scene.faults(message(2)) if "E-1 E.1 was not received" in each]


def test_refused_message_must_not_be_received() -> None:
    scene = Scene()
    refused = scene.record.publish(Publication("E.7", "a", scene.record.tick()))
    scene.record.refuse(refused, "storage", is_known=True)
    (fault,) = scene.faults(*ALL, message(7))
    assert "received E-7 E.7, which was refused" in fault


def test_unanswered_message_may_be_received_once_or_not() -> None:
    for events in ([], [message(7)]):
        scene = Scene()
        scene.record.refuse(scene.record.publish(Publication("E.7", "a", scene.record.tick())), "cut", is_known=False)
        assert scene.faults(*ALL, *events) == []


@pytest.mark.parametrize("has_restarted", [True, False])
def test_key_is_published_twice_only_over_a_restart_that_forgets_it(has_restarted: bool) -> None:
    scene = Scene()
    publication = scene.record.publications["E.6"]
    publication.key = "key"
    if has_restarted:
        scene.record.restart("the daemon is killed")
    scene.record.accept(publication, "E-7")
    faults = scene.faults(*ALL, ReceivedMessage("E-7", "b", "E.6"))
    assert (faults == []) is has_restarted
    assert has_restarted or "was published more than once" in faults[0]


def test_id_of_two_messages_is_found() -> None:
    scene = Scene()
    scene.record.accept(scene.record.publish(Publication("other", "a", scene.record.tick())), "E-6")
    assert "other has the id E-6 of E.6" in scene.record.faults[0][0]


def test_id_older_than_an_acknowledged_one_is_found() -> None:
    scene = Scene(count=0)
    scene.publish(2)
    scene.publish(1)
    check_ids(scene.record)
    (fault,) = scene.record.faults
    assert "was published after" in fault[0]


# Ephemeral messages


def with_ephemeral(number: int = 7) -> tuple[Scene, ReceivedEphemeral]:
    """Return a scene in which an ephemeral message is acknowledged last, and the message."""
    scene = Scene()
    publication = Publication(f"E.{number}", "a", scene.record.tick(), is_ephemeral=True)
    scene.record.publish(publication)
    scene.record.pass_on(publication)
    return scene, ReceivedEphemeral("a", publication.text)


def test_ephemeral_message_may_be_missing_and_is_received_once_on_each_connection() -> None:
    scene, ephemeral = with_ephemeral()
    assert scene.faults(*ALL) == []
    scene, ephemeral = with_ephemeral()
    assert scene.faults(*ALL, ephemeral, Closed("cut"), Opened("test", "E-6"), Confirmed(), ephemeral) == []


def test_ephemeral_message_that_is_received_twice_is_found() -> None:
    scene, ephemeral = with_ephemeral()
    assert "received E.7 twice" in scene.faults(*ALL, ephemeral, ephemeral)[0]


def test_ephemeral_message_after_a_later_one_is_found() -> None:
    scene, ephemeral = with_ephemeral()
    scene.publish(9)
    assert "received E.7 after a message" in scene.faults(*ALL, message(9), ephemeral)[0]


def test_ephemeral_message_with_an_id_is_found() -> None:
    scene, _ = with_ephemeral()
    assert any("E.7, which is ephemeral, with the id E-7" in fault for fault in scene.faults(*ALL, message(7)))


def test_ephemeral_message_that_was_not_published_so_is_found() -> None:
    assert "received 'E.1' without an id" in Scene().faults(*ALL, ReceivedEphemeral("a", "E.1"))[0]
    scene, ephemeral = with_ephemeral()
    assert "on b" in scene.faults(*ALL, ephemeral._replace(channel="b"))[0]


@pytest.mark.parametrize("reason", ["evicted", "expired", "slow"])
def test_gap_because_of_an_ephemeral_message_is_found(reason: str) -> None:
    scene, _ = with_ephemeral()
    scene.publish(8)
    faults = scene.faults(*ALL, ReceivedGap("a", "E-6", "E-7", reason), message(8))
    assert "although nothing in it was lost" in faults[0]
