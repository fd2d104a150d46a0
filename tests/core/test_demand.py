"""Demand: a store hears of the first subscriber of a topic and of the last, and of none between."""

from pushd.core.demand import Demand


def test_only_the_first_and_the_last_count() -> None:
    told: list[str] = []
    demand = Demand(lambda topic: told.append(f"+{topic}"), lambda topic: told.append(f"-{topic}"))
    for topic in ("a", "b", "a", "*"):
        demand.add(topic)
    demand.remove("a")
    assert told == ["+a", "+b", "+*"]
    for topic in ("a", "b", "*"):
        demand.remove(topic)
    demand.add("a")
    assert told[3:] == ["-a", "-b", "-*", "+a"]
