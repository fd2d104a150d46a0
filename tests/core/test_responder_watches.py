"""Watches of responders: which nodes are told that responders have left."""

from math import inf

from pushd.core.responder_watches import ResponderWatches


def test_nodes_are_told_about_each_change_until_their_watch_ends() -> None:
    watches = ResponderWatches()
    watches.add("a", "n1", oldest=3, until=10)
    watches.add("a", "n2", oldest=3, until=20)
    assert "a" in watches
    assert "b" not in watches
    assert watches.changed("b", inf, 0) == []
    assert watches.changed("a", 3, 0) == []
    assert watches.changed("a", 5, 0) == ["n1", "n2"]
    assert watches.changed("a", 5, 0) == []
    assert watches.changed("a", inf, 10) == ["n2"]
    assert watches.changed("a", 3, 20) == []
    assert len(watches) == 0


def test_nodes_with_different_knowledge_are_all_told() -> None:
    watches = ResponderWatches()
    watches.add("a", "n1", oldest=inf, until=10)
    watches.add("a", "n2", oldest=3, until=10)
    assert watches.changed("a", inf, 0) == ["n1", "n2"]


def test_watch_is_prolonged_and_never_shortened() -> None:
    watches = ResponderWatches()
    for until in (10, 20, 5):
        watches.add("a", "n1", oldest=3, until=until)
    assert watches.changed("a", 4, 19) == ["n1"]


def test_number_of_watches_is_limited_to_the_newest() -> None:
    watches = ResponderWatches(most=2)
    for channel in ("a", "b", "a", "c"):
        watches.add(channel, "n1", oldest=3, until=10)
    assert watches.channels == ["a", "c"]


def test_watches_that_have_ended_are_dropped() -> None:
    watches = ResponderWatches()
    watches.add("a", "n1", oldest=3, until=10)
    watches.add("b", "n1", oldest=3, until=20)
    watches.expire(10)
    assert watches.channels == ["b"]
