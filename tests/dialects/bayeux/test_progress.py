"""How far a session has read."""

from pushd.core.cursor import MessageId
from pushd.core.message import Gap, Message
from pushd.dialects.bayeux.progress import Progress


def at(seq, epoch="E"):
    return MessageId(epoch, seq)


def message(channel, seq, epoch="E"):
    return Message(epoch, seq, None, channel, 0.0, b"x", "text/plain", "text")


def started(seq=10, topic="a"):
    progress = Progress()
    progress.add(topic, at(seq))
    return progress


def test_nothing_is_sent_before_the_first_topic():
    progress = Progress()
    progress.acknowledge(5)
    assert (progress.confirmed, progress.batch, dict(progress.topics)) == (None, 0, {})


def test_client_that_acknowledges_confirms_what_was_sent():
    progress = started()
    progress.advance(at(15), is_confirmed=False)
    assert (progress.confirmed, progress.batch) == (at(10), 15)
    progress.acknowledge(10)  # the answer was lost
    assert progress.confirmed == at(10)
    progress.acknowledge(15)
    assert progress.confirmed == at(15)


def test_acknowledgement_of_what_was_never_sent_is_ignored():
    progress = started()
    progress.advance(at(15), is_confirmed=False)
    for number in (16, 10**18, -1, 0):
        progress.acknowledge(number)
        assert progress.confirmed == at(10)


def test_client_without_acknowledgements_has_what_was_sent():
    progress = started()
    progress.advance(at(15), is_confirmed=True)
    assert progress.confirmed == at(15)


def test_topic_that_is_added_later_begins_later():
    progress = started()
    progress.add("b/*", at(20))
    assert progress.confirmed == at(10)
    assert progress.accepts(message("a", 15))
    assert not progress.accepts(message("b/c", 20))
    assert progress.accepts(message("b/c", 21))
    assert not progress.accepts_gap(Gap("b/*", "E-1", "E-20", "expired"))
    assert progress.accepts_gap(Gap("b/*", "E-1", "E-21", "expired"))
    assert progress.accepts_gap(Gap("a", "E-1", "E-12", "expired"))
    progress.advance(at(20), is_confirmed=True)
    assert dict(progress.topics) == {"a": None, "b/*": None}


def test_topic_that_begins_earlier_does_not_repeat_others():
    progress = started()
    progress.advance(at(15), is_confirmed=False)
    progress.add("b", at(3))
    assert progress.confirmed == at(3)
    progress.acknowledge(15)  # of before
    assert progress.confirmed == at(3)
    assert progress.accepts(message("b", 4))
    assert not progress.accepts(message("a", 15))
    assert progress.accepts(message("a", 16))


def test_topic_that_begins_earlier_does_not_hide_an_answer_that_was_lost():
    progress = started()
    progress.advance(at(15), is_confirmed=False)
    progress.add("b", at(3))
    progress.acknowledge(10)
    assert progress.confirmed == at(3)
    assert not progress.accepts(message("a", 10))
    assert progress.accepts(message("a", 11))


def test_number_of_before_confirms_nothing_at_another_node():
    progress = started()
    progress.advance(at(15), is_confirmed=False)
    progress.acknowledge(15)
    progress.add("b", at(3))
    elsewhere = Progress.load(progress.dump() | {"sent": None})
    elsewhere.acknowledge(15)
    assert elsewhere.confirmed == at(3)
    elsewhere.acknowledge(16)
    assert elsewhere.confirmed == at(16)


def test_topic_that_is_there_is_unchanged():
    progress = started()
    progress.add("a", at(30))
    assert dict(progress.topics) == {"a": None}
    assert progress.accepts(message("a", 11))


def test_start_of_another_epoch_does_not_hide_messages():
    progress = started()
    progress.add("b", at(5, "F"))
    assert progress.accepts(message("b", 1, "G"))
    assert not progress.accepts(message("b", 5, "F"))
    progress.advance(at(6, "F"), is_confirmed=True)
    assert dict(progress.topics) == {"a": None, "b": None}


def test_removed_topic_may_begin_anew():
    progress = started()
    assert progress.remove("a")
    assert not progress.remove("a")
    progress.add("a", at(30))
    assert progress.confirmed == at(30)


def test_state_survives_between_nodes():
    progress = started()
    progress.add("b", at(20))
    progress.advance(at(12), is_confirmed=False)
    loaded = Progress.load(progress.dump())
    assert loaded.dump() == progress.dump()
    assert not loaded.accepts(message("b", 20))
    assert Progress.load(Progress().dump()).confirmed is None


def test_node_that_does_not_know_what_was_sent_accepts_any_number():
    state = started().dump() | {"sent": None}
    progress = Progress.load(state)
    progress.acknowledge(14)
    assert progress.confirmed == at(14)
